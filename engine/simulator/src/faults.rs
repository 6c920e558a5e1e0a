//! The execution of a plan's faults: hosts that crash, restart, join, leave or stall, and links that are cut or slow.
//!
//! A crash aborts the work of the host's nodes and devices. Every host that has a connection to the crashed host
//! receives `Gone` after the link's delay, and so does every host that sends to the crashed host later. Messages on
//! their way to the crashed host are lost. A stall and a partition lose nothing, because TCP retransmits: messages sent
//! meanwhile arrive after the fault's end, in order.
use super::{ActorTable, SimEvent, Simulation};
use crate::network::contacts::Contacts;
use actors::id::{HostId, NodeId};
use actors::limits;
use actors::message::{Gone, Leave, Message};
use actors::record::FaultKind;
use actors::time::{Duration, Timestamp};
use actors::world::{ActorSlot, Delivery, SimContext};
use links::Passage;
use scenarios::plan::{Plan, What, When};
use std::collections::{BTreeMap, VecDeque};
use topology::fault_windows::FaultWindows;
use topology::holders::Holders;
use topology::spawn;

pub(super) struct Faults<'p> {
    plan: &'p Plan,
    windows: FaultWindows,
    /// The incarnation and state of each host, indexed by host.
    lives: Vec<Life>,
    /// The pairs of hosts that have a connection, each in both orders.
    links: Contacts,
    /// The arrival time of the last message from one host to another; no later message of the pair arrives before it.
    last: BTreeMap<(HostId, HostId), Timestamp>,
    released: bool,
    holders: Holders,
}

#[derive(Default)]
struct Life {
    state: State,
    /// The number of the host's incarnations that have ended, which is the number of its present incarnation.
    /// Deliveries for earlier incarnations are dropped.
    ended: u32,
    /// The deliveries that arrived while the host was stalled, each with its sender and its receiver.
    held: Vec<(NodeId, NodeId, Delivery)>,
    /// The host's crashes that depend on the number of received steps: that number, and the time after which the host
    /// restarts (`None` if it does not).
    crashes: VecDeque<(u64, Option<Duration>)>,
    /// The number of steps that the host has received since the barrier's release or its own last start, whichever is
    /// later.
    steps: u64,
    /// Whether the host has been told to leave. Its process then ends as soon as it holds no session.
    leaving: bool,
    /// Whether the host starts again after it has left, because its next start was already due.
    wanted: bool,
    /// The number of scheduled starts of the host that have not happened yet.
    starts: u32,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Up,
    Still(Timestamp),
    Down,
}

/// The actor slot of a node whose host is down: it ignores every delivery.
struct Vacant;

impl ActorSlot for Vacant {
    fn start(&mut self, _: &mut SimContext) {}
    fn deliver(&mut self, _: NodeId, _: Delivery, _: &mut SimContext) {}
}

impl<'p> Faults<'p> {
    /// Returns the state of the plan's faults at the start of a run, or `None` if the plan has no faults.
    pub fn of(plan: &'p Plan) -> Option<Box<Faults<'p>>> {
        if plan.faults.is_empty() {
            return None;
        }
        let mut lives: Vec<Life> = plan.hosts.iter().map(|_| Life::default()).collect();
        for host in plan.late_hosts() {
            lives[host.0 as usize].state = State::Down;
        }
        for fault in &plan.faults {
            match (fault.at, &fault.what) {
                (When::Steps { count, .. }, &What::Crash { host, back }) => {
                    lives[host.0 as usize].crashes.push_back((count, back));
                }
                (_, What::Restart { host } | What::Join { host }) => lives[host.0 as usize].starts += 1,
                _ => {}
            }
        }
        let windows = FaultWindows::of(plan, Timestamp::default());
        let (links, last) = (Contacts::new(plan.hosts.len()), BTreeMap::new());
        Some(Box::new(Faults { plan, windows, lives, links, last, released: false, holders: Holders::of(plan) }))
    }

    /// Returns the number of the host's current incarnation.
    pub fn incarnation(&self, host: HostId) -> u32 {
        self.lives[host.0 as usize].ended
    }

    pub fn is_down(&self, host: HostId) -> bool {
        self.lives[host.0 as usize].state == State::Down
    }

    /// Returns the remaining time of the host's stall; 0 if it is not stalled.
    pub fn still(&self, now: Timestamp, host: HostId) -> Duration {
        match self.lives[host.0 as usize].state {
            State::Still(until) => until.since(now),
            State::Up | State::Down => Duration::ZERO,
        }
    }

    /// Records that the hosts `a` and `b` have a connection.
    pub fn connect(&mut self, a: HostId, b: HostId) {
        if self.links.insert(a, b) {
            self.links.insert(b, a);
        }
    }

    /// Delays a message by the slow links and partitions that are active when it is sent. If needed, delays it further,
    /// so that it does not arrive before an earlier message from the same host to the same host.
    pub fn hinder(&mut self, from: HostId, to: HostId, passage: &mut Passage) {
        if self.windows.is_empty() {
            return;
        }
        let by = self.windows.slow_link(passage.sent, from, to);
        if by > 1.0 {
            passage.stretch(by);
        }
        if let Some(until) = self.windows.apart(passage.sent, from, to) {
            passage.hold(until.since(passage.sent));
        }
        let last = self.last.entry((from, to)).or_default();
        passage.hold(last.since(passage.last));
        *last = passage.last;
    }

    /// Returns the factor by which slow-device faults lengthen a job that begins on `host` at `now`; 1 if none is
    /// active.
    pub fn slow_device(&self, now: Timestamp, host: HostId) -> f64 {
        self.windows.slow_device(now, host)
    }

    /// Returns the number of messages that arrived at stalled hosts and are not yet delivered.
    pub fn held(&self) -> usize {
        let held = self.lives.iter().flat_map(|incarnation| &incarnation.held);
        held.filter(|(.., delivery)| matches!(delivery, Delivery::Message(_))).count()
    }

    fn nodes(&self, host: HostId) -> Vec<NodeId> {
        self.plan.nodes().filter(|(_, node)| node.host == host).map(|(id, _)| id).collect()
    }
}

impl Simulation<'_> {
    /// Schedules the plan's faults. With `released`, these are the faults with times relative to the barrier's release;
    /// without it, the faults with times relative to the start of the run.
    pub(super) fn schedule_faults(&mut self, released: bool) {
        let Some(faults) = &mut self.faults else { return };
        if released {
            faults.released = true;
            faults.windows.release(self.world.now);
            faults.lives.iter_mut().for_each(|incarnation| incarnation.steps = 0);
        }
        for (fault, index) in faults.plan.faults.iter().zip(0..) {
            let after = match fault.at {
                When::Start(after) if !released => after,
                When::Release(after) if released => after,
                _ => continue,
            };
            self.queue.schedule(self.world.now + after, SimEvent::FaultBegins(index));
        }
    }

    /// Carries out the plan's fault with this index.
    pub(super) fn begin_fault(&mut self, index: u32) {
        let Some(faults) = &self.faults else { return };
        let what = &faults.plan.faults[index as usize].what;
        // A host that is down cannot crash again.
        if !matches!(*what, What::Crash { host, .. } if faults.is_down(host)) {
            self.events.push(faults.plan.fault_event(self.world.now, what));
        }
        match *what {
            What::Crash { host, .. } => {
                let wanted = faults.lives[host.0 as usize].wanted;
                self.crash(host);
                if wanted {
                    self.start_again(host);
                }
                self.look_for_lost_blocks(host, "the scenario crashed the host");
            }
            What::Restart { host } | What::Join { host } => {
                self.begin_start(host);
                self.start_again(host);
            }
            What::Leave { host } => self.leave(host),
            What::Stall { host, lasts } => self.stall(host, lasts),
            // Slow devices, slow links and partitions need no action now: they are looked up whenever a job begins or a
            // message is sent.
            What::SlowDevice { .. } | What::SlowLink { .. } | What::Partition { .. } => {}
        }
    }

    /// Returns the delivery if its node receives it now; `None` if the delivery is lost, or is kept for a stalled host.
    pub(super) fn admit(&mut self, from: NodeId, to: NodeId, delivery: Delivery, incarnation: u32) -> Option<Delivery> {
        let Some(faults) = &mut self.faults else { return Some(delivery) };
        let (there, here) = (self.hosts[from.0 as usize], self.hosts[to.0 as usize]);
        let it = &mut faults.lives[here.0 as usize];
        if it.state == State::Down || it.ended != incarnation {
            self.account.lost += u64::from(matches!(delivery, Delivery::Message(_)));
            // A sender that had a connection to the crashed incarnation was already told of the crash when it happened.
            if let Delivery::Message(message) = &delivery
                && (it.state, it.ended) == (State::Down, incarnation)
                && there != here
                && message.is_swarm_traffic()
                && !faults.is_down(there)
            {
                self.account.sent += 1;
                self.transmit(to, from, self.world.now, Message::Gone(Gone));
            }
            return None;
        }
        if let State::Still(_) = it.state {
            it.held.push((from, to, delivery));
            return None;
        }
        if faults.released && matches!(delivery, Delivery::Message(Message::Step(_))) {
            it.steps += 1;
            if it.crashes.front().is_some_and(|(count, _)| *count == it.steps) {
                let back = it.crashes.pop_front().and_then(|(_, back)| back);
                self.events.push(faults.plan.fault_event_at(self.world.now, FaultKind::Crash, &[here], None));
                self.account.lost += 1;
                self.crash(here);
                if let Some(back) = back {
                    self.expect_start(here);
                    self.queue.schedule(self.world.now + back, SimEvent::HostRestarts(here));
                }
                self.look_for_lost_blocks(here, "the scenario crashed the host at a step");
                return None;
            }
        }
        Some(delivery)
    }

    /// Restarts a host that crashed when it had received a given number of steps.
    pub(super) fn return_from_crash(&mut self, host: HostId) {
        if let Some(faults) = &self.faults {
            self.events.push(faults.plan.fault_event_at(self.world.now, FaultKind::Restart, &[host], None));
        }
        self.begin_start(host);
        self.start_again(host);
    }

    /// Records that a start of the host is scheduled.
    fn expect_start(&mut self, host: HostId) {
        if let Some(faults) = &mut self.faults {
            faults.lives[host.0 as usize].starts += 1;
        }
    }

    /// Records that a scheduled start of the host takes place.
    fn begin_start(&mut self, host: HostId) {
        if let Some(faults) = &mut self.faults {
            let starts = &mut faults.lives[host.0 as usize].starts;
            *starts = starts.saturating_sub(1);
        }
    }

    /// Schedules the end of the run if the host is down for good and was the last holder of some blocks. Before the
    /// barrier's release nothing is scheduled, because the orchestrator itself then aborts the run.
    fn look_for_lost_blocks(&mut self, host: HostId, why: &str) {
        let now = self.world.now;
        let Some(faults) = &mut self.faults else { return };
        let incarnation = &faults.lives[host.0 as usize];
        let for_good = incarnation.state == State::Down && incarnation.starts == 0;
        if for_good && faults.holders.lose(faults.plan, host, why.to_owned()) && faults.released {
            self.queue.schedule(now + limits::LAST_ANSWERS, SimEvent::GiveUp);
        }
    }

    /// Ends the run because some blocks are lost for good. The event is scheduled late enough for every response that
    /// had already passed these blocks to arrive.
    pub(super) fn give_up(&mut self) {
        if let Some(outcome) = self.faults.as_ref().and_then(|faults| faults.holders.outcome(faults.plan)) {
            self.end.get_or_insert(outcome);
        }
    }

    fn crash(&mut self, host: HostId) {
        let Some(faults) = &mut self.faults else { return };
        let incarnation = &mut faults.lives[host.0 as usize];
        if incarnation.state == State::Down {
            return;
        }
        (incarnation.state, incarnation.steps) = (State::Down, 0);
        (incarnation.leaving, incarnation.wanted) = (false, false);
        incarnation.ended += 1;
        let held = incarnation.held.drain(..);
        self.account.lost += held.filter(|(.., delivery)| matches!(delivery, Delivery::Message(_))).count() as u64;
        let gone = faults.nodes(host);
        let linked = faults.links.part(host).into_iter().filter(|other| *other != HostId(0));
        // The orchestrator's host has a connection to every host.
        let told: Vec<NodeId> = linked.chain([HostId(0)]).flat_map(|other| faults.nodes(other)).collect();
        for node in &gone {
            self.slots[node.0 as usize] = Box::new(Vacant);
            self.checker.lost(*node);
        }
        for begun in self.devices.crash(self.world.now, host, &gone) {
            self.await_job(Some(begun));
        }
        for dead in gone {
            for &node in &told {
                self.account.sent += 1;
                if node == Plan::ORCHESTRATOR {
                    self.post(dead, node, Delivery::Message(Message::Gone(Gone)));
                } else {
                    self.transmit(dead, node, self.world.now, Message::Gone(Gone));
                }
            }
        }
    }

    /// Starts the host's nodes in their initial state.
    fn start_again(&mut self, host: HostId) {
        let Some(faults) = &mut self.faults else { return };
        let plan = faults.plan;
        let incarnation = &mut faults.lives[host.0 as usize];
        if incarnation.leaving && incarnation.state != State::Down {
            // The host's present process is still running; the next one starts when it has ended.
            incarnation.wanted = true;
            return;
        }
        self.crash(host);
        let Some(faults) = &mut self.faults else { return };
        faults.lives[host.0 as usize].state = State::Up;
        let nodes = faults.nodes(host);
        for me in nodes {
            let mut spawner = ActorTable::empty(plan);
            spawn::spawn_actor(plan, me, &mut spawner);
            for slot in spawner.slots {
                self.slots[me.0 as usize] = slot;
            }
            self.think(me, |slot, world| slot.start(world));
        }
    }

    /// Tells the host's nodes to leave, as a signal to a live process does. The peers then withdraw their records and
    /// finish their open sessions.
    fn leave(&mut self, host: HostId) {
        let now = self.world.now;
        let Some(faults) = &mut self.faults else { return };
        let incarnation = &mut faults.lives[host.0 as usize];
        if incarnation.state == State::Down || incarnation.leaving {
            return;
        }
        incarnation.leaving = true;
        self.queue.schedule(now + limits::FAREWELL, SimEvent::HostDeparts(host));
        for node in faults.nodes(host) {
            self.post(node, node, Delivery::Leave(Leave));
        }
    }

    /// Ends the process of a leaving host if it holds no session any more. Otherwise checks again later.
    pub(super) fn depart(&mut self, host: HostId) {
        let now = self.world.now;
        let Some(faults) = &self.faults else { return };
        let incarnation = &faults.lives[host.0 as usize];
        if incarnation.state == State::Down || !incarnation.leaving {
            return;
        }
        let wanted = incarnation.wanted;
        let holds = faults.nodes(host).iter().any(|node| self.checker.holds(*node));
        if holds || incarnation.state != State::Up {
            return self.queue.schedule(now + limits::FAREWELL_LOOK, SimEvent::HostDeparts(host));
        }
        self.crash(host);
        if wanted {
            self.start_again(host);
        }
        self.look_for_lost_blocks(host, "the scenario made the host leave");
    }

    fn stall(&mut self, host: HostId, lasts: Duration) {
        let now = self.world.now;
        let Some(faults) = &mut self.faults else { return };
        let before = faults.still(now, host);
        let incarnation = &mut faults.lives[host.0 as usize];
        if incarnation.state == State::Down || lasts <= before {
            return;
        }
        incarnation.state = State::Still(now + lasts);
        self.queue.schedule(now + lasts, SimEvent::HostResumes(host));
        for begun in self.devices.put_off(host, Duration(lasts.0 - before.0)) {
            self.queue.schedule(begun.until, SimEvent::JobDone(begun.slot, begun.version));
        }
    }

    /// Resumes a stalled host and delivers the messages that arrived meanwhile.
    pub(super) fn resume_host(&mut self, host: HostId) {
        let now = self.world.now;
        let Some(faults) = &mut self.faults else { return };
        let incarnation = &mut faults.lives[host.0 as usize];
        if incarnation.state != State::Still(now) {
            return;
        }
        incarnation.state = State::Up;
        for (from, to, delivery) in std::mem::take(&mut incarnation.held) {
            self.post(from, to, delivery);
        }
    }
}

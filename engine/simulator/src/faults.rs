//! A plan's faults carried out: hosts that crash, start again, join, leave or stand still, and ways that are cut or slow.
//!
//! A crash ends what the host's nodes and its device were at. Whoever has a connection to it hears that it is gone, after
//! the time of the way; so does whoever sends to it later. What was on its way to it is lost. A stall and a partition lose
//! nothing, as TCP does not: what is sent meanwhile comes later, in order.
use super::{ActorTable, SimEvent, Simulation};
use actors::id::{HostId, NodeId};
use actors::limits;
use actors::message::{Gone, Message};
use actors::record::FaultKind;
use actors::time::{Duration, Timestamp};
use actors::world::{ActorSlot, Delivery, SimContext};
use links::Passage;
use scenarios::plan::{Plan, What, When};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use topology::fault_windows::FaultWindows;
use topology::holders::Holders;
use topology::spawn;

pub(super) struct Faults<'p> {
    plan: &'p Plan,
    windows: FaultWindows,
    /// By host.
    lives: Vec<Life>,
    /// Pairs of hosts with a connection, the lower first.
    links: BTreeSet<(HostId, HostId)>,
    /// When the last message of a way arrives: a connection keeps its order.
    last: BTreeMap<(HostId, HostId), Timestamp>,
    released: bool,
    holders: Holders,
}

#[derive(Default)]
struct Life {
    state: State,
    /// How often it has ended: what was meant for an earlier life reaches nobody.
    ended: u32,
    /// What came while it stood still.
    held: Vec<(NodeId, NodeId, Delivery)>,
    /// Crashes after so many steps, each with the time until the host starts again.
    crashes: VecDeque<(u64, Option<Duration>)>,
    /// Since the release or the last start.
    steps: u64,
    /// It has been told to leave, and ends when it holds no session any more.
    leaving: bool,
    /// It is to start again when it has left.
    wanted: bool,
    /// Starts of it that are still to come.
    starts: u32,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Up,
    Still(Timestamp),
    Down,
}

/// The seat of a node that is not there.
struct Vacant;

impl ActorSlot for Vacant {
    fn start(&mut self, _: &mut SimContext) {}
    fn deliver(&mut self, _: NodeId, _: Delivery, _: &mut SimContext) {}
}

impl<'p> Faults<'p> {
    /// Of a plan that has any.
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
        let (links, last) = (BTreeSet::new(), BTreeMap::new());
        Some(Box::new(Faults { plan, windows, lives, links, last, released: false, holders: Holders::of(plan) }))
    }

    /// Which life of a host it is.
    pub fn life(&self, host: HostId) -> u32 {
        self.lives[host.0 as usize].ended
    }

    pub fn is_down(&self, host: HostId) -> bool {
        self.lives[host.0 as usize].state == State::Down
    }

    /// How long the host stands still yet.
    pub fn still(&self, now: Timestamp, host: HostId) -> Duration {
        match self.lives[host.0 as usize].state {
            State::Still(until) => until.since(now),
            State::Up | State::Down => Duration::ZERO,
        }
    }

    /// The hosts have a connection from now on.
    pub fn connect(&mut self, a: HostId, b: HostId) {
        self.links.insert((a.min(b), a.max(b)));
    }

    /// What a message meets that is cut off or slowed down.
    pub fn hinder(&mut self, from: HostId, to: HostId, passage: &mut Passage) {
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

    /// How many times as long a job takes that begins now.
    pub fn slow_device(&self, now: Timestamp, host: HostId) -> f64 {
        self.windows.slow_device(now, host)
    }

    /// Messages that wait for a host that stands still.
    pub fn held(&self) -> usize {
        let held = self.lives.iter().flat_map(|life| &life.held);
        held.filter(|(.., parcel)| matches!(parcel, Delivery::Message(_))).count()
    }

    fn nodes(&self, host: HostId) -> Vec<NodeId> {
        self.plan.nodes().filter(|(_, node)| node.host == host).map(|(id, _)| id).collect()
    }
}

impl Simulation<'_> {
    /// Schedules the faults that count from the start of the run, or from the barrier's release.
    pub(super) fn schedule_faults(&mut self, released: bool) {
        let Some(faults) = &mut self.faults else { return };
        if released {
            faults.released = true;
            faults.windows.release(self.world.now);
            faults.lives.iter_mut().for_each(|life| life.steps = 0);
        }
        for (fault, index) in faults.plan.faults.iter().zip(0..) {
            let after = match fault.at {
                When::Start(after) if !released => after,
                When::Release(after) if released => after,
                _ => continue,
            };
            self.queue.schedule(self.world.now + after, SimEvent::Strikes(index));
        }
    }

    /// A fault happens.
    pub(super) fn strike(&mut self, index: u32) {
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
                self.look_for_lost_blocks(host, "it crashed, as the scenario asks");
            }
            What::Restart { host } | What::Join { host } => {
                self.begin_start(host);
                self.start_again(host);
            }
            What::Leave { host } => self.leave(host),
            What::Stall { host, lasts } => self.stall(host, lasts),
            // They are asked for when something is on its way or begins.
            What::SlowDevice { .. } | What::SlowLink { .. } | What::Partition { .. } => {}
        }
    }

    /// Whether a parcel reaches its node now; nothing, if it is lost, or waits.
    pub(super) fn admit(&mut self, from: NodeId, to: NodeId, parcel: Delivery, life: u32) -> Option<Delivery> {
        let Some(faults) = &mut self.faults else { return Some(parcel) };
        let (there, here) = (self.hosts[from.0 as usize], self.hosts[to.0 as usize]);
        let it = &mut faults.lives[here.0 as usize];
        if it.state == State::Down || it.ended != life {
            self.account.lost += u64::from(matches!(parcel, Delivery::Message(_)));
            // Who had a connection to an earlier life was told of its end.
            if let Delivery::Message(message) = &parcel
                && (it.state, it.ended) == (State::Down, life)
                && there != here
                && message.is_swarm_traffic()
                && !faults.is_down(there)
            {
                self.account.sent += 1;
                self.transmit(to, from, Message::Gone(Gone));
            }
            return None;
        }
        if let State::Still(_) = it.state {
            it.held.push((from, to, parcel));
            return None;
        }
        if faults.released && matches!(parcel, Delivery::Message(Message::Step(_))) {
            it.steps += 1;
            if it.crashes.front().is_some_and(|(count, _)| *count == it.steps) {
                let back = it.crashes.pop_front().and_then(|(_, back)| back);
                self.events.push(faults.plan.befell(self.world.now, FaultKind::Crash, &[here], None));
                self.account.lost += 1;
                self.crash(here);
                if let Some(back) = back {
                    self.expect_start(here);
                    self.queue.schedule(self.world.now + back, SimEvent::Starts(here));
                }
                self.look_for_lost_blocks(here, "it crashed at a step, as the scenario asks");
                return None;
            }
        }
        Some(parcel)
    }

    /// A host that crashed at a step is back.
    pub(super) fn return_from_crash(&mut self, host: HostId) {
        if let Some(faults) = &self.faults {
            self.events.push(faults.plan.befell(self.world.now, FaultKind::Restart, &[host], None));
        }
        self.begin_start(host);
        self.start_again(host);
    }

    /// A start of the host is to come.
    fn expect_start(&mut self, host: HostId) {
        if let Some(faults) = &mut self.faults {
            faults.lives[host.0 as usize].starts += 1;
        }
    }

    /// It comes now.
    fn begin_start(&mut self, host: HostId) {
        if let Some(faults) = &mut self.faults {
            let starts = &mut faults.lives[host.0 as usize].starts;
            *starts = starts.saturating_sub(1);
        }
    }

    /// Ends the run soon if the host is down for good and was the last with some blocks. Before the barrier's release the
    /// orchestrator gives up by itself.
    fn look_for_lost_blocks(&mut self, host: HostId, why: &str) {
        let now = self.world.now;
        let Some(faults) = &mut self.faults else { return };
        let life = &faults.lives[host.0 as usize];
        let for_good = life.state == State::Down && life.starts == 0;
        if for_good && faults.holders.lose(faults.plan, host, why.to_owned()) && faults.released {
            self.queue.schedule(now + limits::LAST_ANSWERS, SimEvent::GivesUp);
        }
    }

    /// Blocks are lost for good, and what had passed them has arrived.
    pub(super) fn give_up(&mut self) {
        if let Some(outcome) = self.faults.as_ref().and_then(|faults| faults.holders.outcome(faults.plan)) {
            self.end.get_or_insert(outcome);
        }
    }

    fn crash(&mut self, host: HostId) {
        let Some(faults) = &mut self.faults else { return };
        let life = &mut faults.lives[host.0 as usize];
        if life.state == State::Down {
            return;
        }
        (life.state, life.steps) = (State::Down, 0);
        (life.leaving, life.wanted) = (false, false);
        life.ended += 1;
        let held = life.held.drain(..);
        self.account.lost += held.filter(|(.., parcel)| matches!(parcel, Delivery::Message(_))).count() as u64;
        let gone = faults.nodes(host);
        let linked: Vec<HostId> = {
            let other = |&(a, b): &(HostId, HostId)| match () {
                () if a == host => Some(b),
                () if b == host => Some(a),
                () => None,
            };
            faults.links.iter().filter_map(other).filter(|other| *other != HostId(0)).collect()
        };
        faults.links.retain(|(a, b)| *a != host && *b != host);
        // Whoever conducts the run has a connection to every host.
        let told: Vec<NodeId> = linked.into_iter().chain([HostId(0)]).flat_map(|other| faults.nodes(other)).collect();
        for node in &gone {
            self.seats[node.0 as usize] = Box::new(Vacant);
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
                    self.transmit(dead, node, Message::Gone(Gone));
                }
            }
        }
    }

    /// The host's nodes begin as new.
    fn start_again(&mut self, host: HostId) {
        let Some(faults) = &mut self.faults else { return };
        let plan = faults.plan;
        let life = &mut faults.lives[host.0 as usize];
        if life.leaving && life.state != State::Down {
            // Its next process begins when the present one has ended.
            life.wanted = true;
            return;
        }
        self.crash(host);
        let Some(faults) = &mut self.faults else { return };
        faults.lives[host.0 as usize].state = State::Up;
        let nodes = faults.nodes(host);
        for me in nodes {
            let mut cast = ActorTable::empty(plan);
            spawn::spawn_actor(plan, me, &mut cast);
            for seat in cast.seats {
                self.seats[me.0 as usize] = seat;
            }
            self.think(me, |seat, world| seat.start(world));
        }
    }

    /// The host's nodes are told, as by a signal to their process: peers withdraw, and finish what they have begun.
    fn leave(&mut self, host: HostId) {
        let now = self.world.now;
        let Some(faults) = &mut self.faults else { return };
        let life = &mut faults.lives[host.0 as usize];
        if life.state == State::Down || life.leaving {
            return;
        }
        life.leaving = true;
        self.queue.schedule(now + limits::FAREWELL, SimEvent::Departs(host));
        for node in faults.nodes(host) {
            self.account.sent += 1;
            self.post(node, node, Delivery::Message(Message::Gone(Gone)));
        }
    }

    /// The process of a host that leaves ends, if it has finished what it held.
    pub(super) fn depart(&mut self, host: HostId) {
        let now = self.world.now;
        let Some(faults) = &self.faults else { return };
        let life = &faults.lives[host.0 as usize];
        if life.state == State::Down || !life.leaving {
            return;
        }
        let wanted = life.wanted;
        let holds = faults.nodes(host).iter().any(|node| self.checker.holds(*node));
        if holds || life.state != State::Up {
            return self.queue.schedule(now + limits::FAREWELL_LOOK, SimEvent::Departs(host));
        }
        self.crash(host);
        if wanted {
            self.start_again(host);
        }
        self.look_for_lost_blocks(host, "it left, as the scenario asks");
    }

    fn stall(&mut self, host: HostId, lasts: Duration) {
        let now = self.world.now;
        let Some(faults) = &mut self.faults else { return };
        let before = faults.still(now, host);
        let life = &mut faults.lives[host.0 as usize];
        if life.state == State::Down || lasts <= before {
            return;
        }
        life.state = State::Still(now + lasts);
        self.queue.schedule(now + lasts, SimEvent::Stirs(host));
        for begun in self.devices.put_off(host, Duration(lasts.0 - before.0)) {
            self.queue.schedule(begun.until, SimEvent::JobDone(begun.slot, begun.version));
        }
    }

    /// The host goes on, with all that has come meanwhile.
    pub(super) fn stir(&mut self, host: HostId) {
        let now = self.world.now;
        let Some(faults) = &mut self.faults else { return };
        let life = &mut faults.lives[host.0 as usize];
        if life.state != State::Still(now) {
            return;
        }
        life.state = State::Up;
        for (from, to, parcel) in std::mem::take(&mut life.held) {
            self.post(from, to, parcel);
        }
    }
}

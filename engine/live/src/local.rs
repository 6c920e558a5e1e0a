//! The host that runs in this process: runs the host's actors, carries out their effects, and owns the host's devices,
//! links and record.
//!
//! A host runs on one arbiter, a single thread. A step therefore passes through a host without a thread switch, except
//! to and from the device. No call blocks: the result of a slow operation returns as an [`Arrival`] or through a link.
mod message_account;
mod remote_host;

use super::arrival::{Arrival, Held};
use super::clock;
use super::control::{Place, Report, Token};
use super::core_lease::TicketLock;
use super::cores::Cores;
use super::device::{Device, DeviceSlowdown};
use super::shaper::Shaper;
use super::warnings::Warnings;
use actix::Actor;
use actors::id::{HostId, NodeId};
use actors::invariants::message_account::Account;
use actors::invariants::{Invariant, InvariantChecker};
use actors::message::{Computed, Job, Leave, Message, Refusal, Timer, Woken, Work};
use actors::record::Event;
use actors::time::{Duration, Timestamp};
use actors::world::{self, Delivery, Effect, Host, Post};
use actors::{client, dht, orchestrator, peer};
use message_account::Counts;
use remote_host::{RemoteHost, Waiting};
use scenarios::plan::{Plan, Role, What, When};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration as StdDuration;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::spawn_local;
use topology::fault_windows::FaultWindows;
use topology::spawn::{self, ActorSpawner};

/// The time limit after a run for the messages that close sessions to arrive. It is enough for any shaped path and a
/// busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(2);

/// The data about the run that a process receives when it joins.
pub struct Directory {
    /// The address where each host listens, by host id.
    pub book: Vec<Option<Place>>,
    /// The run's token. A host accepts only connections whose greeting has this token.
    pub token: Token,
    /// The number of the host's incarnation that the process is.
    pub incarnation: u32,
    pub started: Timestamp,
}

/// One host of a live run: its actors, devices, connections and record.
pub struct LocalHost {
    itself: Weak<LocalHost>,
    here: HostId,
    plan: Arc<Plan>,
    incarnation: u32,
    /// The mailboxes of this host's nodes, by node id; `None` for nodes of other hosts.
    posts: RefCell<Vec<Option<Box<dyn Post>>>>,
    connections: Connections,
    /// The devices of this host in the plan's order; empty if no node of this host submits jobs.
    devices: Vec<Device>,
    slowdown: DeviceSlowdown,
    shaper: Option<RefCell<Shaper>>,
    windows: RefCell<FaultWindows>,
    /// The number of steps until the process kills itself; `None` unless the plan crashes it after a number of steps.
    doom: Cell<Option<u64>>,
    record: Recorder,
    /// Warnings that other hosts can cause any number of times.
    warnings: Warnings,
    /// True once the run is over. Connections that end after that are not reported as lost.
    stopping: Cell<bool>,
    /// True while messages are counted after the run: no node may send any more.
    sealed: Cell<bool>,
}

/// The connections to the other hosts of the run.
struct Connections {
    /// The run's token, which this host sends when it dials another host.
    token: Token,
    /// The address where each host listens, by host id.
    book: RefCell<Vec<Option<Place>>>,
    /// The connections, by host id.
    links: RefCell<Vec<RemoteHost>>,
    /// For each host, its last incarnation that has dialled this process.
    callers: RefCell<Vec<Option<u32>>>,
    /// The number of incoming connections that wait until the orchestrator announces the process that dialled them.
    ahead: Cell<usize>,
    places_changed: Notify,
    /// The messages that wait for the end of a partition, by destination host, in order.
    waiting: RefCell<BTreeMap<HostId, VecDeque<Waiting>>>,
}

impl Connections {
    /// Creates the state of a process that has no connection to any of the `hosts` yet.
    fn new(token: Token, book: Vec<Option<Place>>, hosts: usize) -> Connections {
        Connections {
            token,
            book: RefCell::new(book),
            links: RefCell::new(vec![RemoteHost::Unknown; hosts]),
            callers: RefCell::new(vec![None; hosts]),
            ahead: Cell::new(0),
            places_changed: Notify::new(),
            waiting: RefCell::default(),
        }
    }
}

/// The record of a host: its events, which are checked against the invariants as they happen, and the numbers of
/// messages that it sends and delivers.
struct Recorder {
    events: RefCell<Vec<Event>>,
    checker: RefCell<InvariantChecker>,
    /// The channel to the run controller.
    reports: UnboundedSender<Report>,
    account: RefCell<Counts>,
}

impl LocalHost {
    /// Spawns the actors of the host `here` on the arbiter of the calling thread.
    ///
    /// # Errors
    /// If the lock files of the core leases cannot be opened, or a thread cannot be started.
    pub fn spawn_actors(
        plan: Arc<Plan>,
        here: HostId,
        directory: Directory,
        turns: &Path,
        reports: UnboundedSender<Report>,
    ) -> io::Result<Rc<LocalHost>> {
        let (sender, arrivals) = unbounded_channel();

        let Directory { book, token, incarnation, started } = directory;
        let windows = FaultWindows::of(&plan, started);
        let slowdown = DeviceSlowdown::new(here, windows.clone());
        let mut devices = Vec::new();
        if plan.nodes().any(|(_, node)| node.host == here && super::computes(&node.role)) {
            let host = plan.host(here);
            let leases = plan.machines.get(host.machine as usize).and_then(|machine| machine.leases);
            let neighbours = plan.hosts.iter().filter(|other| other.machine == host.machine);
            let executors = neighbours.flat_map(|host| host.devices()).count();
            let divided = Cores::of(&plan, host.machine);
            for device in host.devices() {
                // Each device opens the core queue for itself, as the devices of other processes do.
                let ticket_lock = leases.map(|cores| TicketLock::open(turns, cores, executors)).transpose()?;
                let (executor, cores) = (device.executor.clone(), divided.clone());
                devices.push(Device::start(
                    plan.clone(),
                    executor,
                    ticket_lock,
                    cores,
                    slowdown.clone(),
                    sender.clone(),
                )?);
            }
            // This thread is confined only after the devices have started, because the devices' threads would otherwise
            // inherit its cores.
            divided.iter().for_each(Cores::serve);
        }
        let shaper = match plan.network.shape {
            true => Some(RefCell::new(Shaper::start(&plan, here, sender)?)),
            false => None,
        };
        let posts = plan.nodes.iter().map(|_| None).collect();
        let mine = |fault: &scenarios::plan::Fault| match fault.at {
            When::Steps { host, count } if host == here => Some(count),
            _ => None,
        };
        let mut incarnations: Vec<u32> = book.iter().map(|place| place.map_or(0, |place| place.incarnation)).collect();
        incarnations[here.0 as usize] = incarnation;
        // The plan may crash a host several times after a number of steps: the first such crash is that of the first
        // incarnation, and so on.
        let doom = plan.faults.iter().filter_map(mine).nth(incarnation as usize);
        let host = Rc::new_cyclic(|itself| LocalHost {
            itself: itself.clone(),
            here,
            plan: plan.clone(),
            incarnation,
            posts: RefCell::new(posts),
            connections: Connections::new(token, book, plan.hosts.len()),
            devices,
            slowdown,
            shaper,
            windows: RefCell::new(windows),
            doom: Cell::new(doom),
            record: Recorder {
                events: RefCell::default(),
                checker: RefCell::new(InvariantChecker::of_a_host()),
                reports,
                account: RefCell::new(Counts::of(incarnations.into_iter())),
            },
            warnings: Warnings::new("messages or connections had no valid destination"),
            stopping: Cell::new(false),
            sealed: Cell::new(false),
        });
        world::install(host.clone());
        spawn_local(host.clone().receive(arrivals));
        spawn::spawn_actors(&plan, Some(here), &mut Spawning(&host));
        Ok(host)
    }

    /// Takes the events that this host has recorded so far, and empties its record.
    pub fn take_events(&self) -> Vec<Event> {
        self.record.events.take()
    }

    /// Sets the time of the barrier's release. The start times of some faults count from it.
    pub fn released(&self, at: Timestamp) {
        self.windows.borrow_mut().release(at);
        self.slowdown.release(at);
    }

    /// Tells the peers of this host to leave: they withdraw from the DHT, accept no new sessions, and finish the open
    /// ones.
    pub fn leave(&self) {
        for (me, node) in self.plan.nodes() {
            if node.host == self.here && matches!(node.role, Role::Peer { .. }) {
                self.post(me, me, Delivery::Leave(Leave));
            }
        }
    }

    /// Whether no node of this host holds a session.
    pub fn is_idle(&self) -> bool {
        self.record.checker.borrow().holding().is_none()
    }

    /// Marks the run as over: from now on a connection that ends is not reported as lost.
    pub fn stop(&self) {
        self.stopping.set(true);
    }

    /// Stops all sending by nodes after a run, so that messages can be counted.
    pub fn seal(&self) {
        self.sealed.set(true);
    }

    /// Returns the numbers of messages that this host has sent and delivered so far.
    pub fn account(&self) -> Account {
        let waiting = self.connections.waiting.borrow();
        let waits = |there: HostId| waiting.get(&there).map_or(0, |queue| queue.len() as u64);
        Account { host: self.here, incarnation: self.incarnation, tallies: self.record.account.borrow().tallies(waits) }
    }

    /// Checks after a run that all sessions are closed. Returns the report of a broken invariant if a node of this host
    /// still holds a session after the time limit. If `drained` is false, a client has not finished, and nothing is
    /// checked.
    pub async fn left_over(&self, drained: bool) -> Option<Report> {
        // After a partition, a stall or a slow link, the message that closes a session can arrive long after the run.
        // So runs with such faults are not checked.
        let hinders = |what: &What| matches!(what, What::Partition { .. } | What::Stall { .. } | What::SlowLink { .. });
        if !drained || self.plan.faults.iter().any(|fault| hinders(&fault.what)) {
            return None;
        }
        let deadline = clock::now() + CLOSED_WITHIN;
        while self.record.checker.borrow().holding().is_some() && clock::now() < deadline {
            tokio::time::sleep(StdDuration::from_millis(1)).await;
        }
        let kept = *self.record.checker.borrow().holding()?;
        Some(Report::Broken { invariant: Invariant::CacheFreed, event: Box::new(Event::Reserved(kept)) })
    }

    /// Delivers the inputs from other threads to this host's nodes.
    async fn receive(self: Rc<Self>, mut arrivals: UnboundedReceiver<Arrival>) {
        while let Some(arrival) = arrivals.recv().await {
            match arrival {
                Arrival::Computed { node, computed } => self.post(node, node, Delivery::Computed(computed)),
                Arrival::Seen(event) => self.record(event),
                Arrival::LoadFailed { node, what } => self.report(Report::LoadFailed { node, what }),
                Arrival::Held(Held { from, to, incarnation, message, .. }) => {
                    if let Some(shaper) = &self.shaper {
                        shaper.borrow_mut().delivered();
                    }
                    self.hand_over(from, incarnation, to, message);
                }
            }
        }
    }

    fn post(&self, from: NodeId, to: NodeId, delivery: Delivery) {
        if let Some(Some(post)) = self.posts.borrow().get(to.0 as usize) {
            post.post(from, delivery);
        }
    }

    /// Delivers a message from a node of any host to a node of this host.
    fn hand_over(&self, from: NodeId, incarnation: u32, to: NodeId, message: Message) {
        if let Some(Some(post)) = self.posts.borrow().get(to.0 as usize) {
            post.post(from, Delivery::Message(message));
            self.record.account.borrow_mut().delivered(self.plan.node(from).host, incarnation);
        }
    }

    fn report(&self, report: Report) {
        // Sending fails only when the run is over and the run controller has gone.
        let _ = self.record.reports.send(report);
    }

    // -- effects of actors --

    fn wake(&self, me: NodeId, after: Duration, timer: Timer) {
        let Some(host) = self.itself.upgrade() else { return };
        spawn_local(async move {
            tokio::time::sleep(StdDuration::from_nanos(after.0)).await;
            host.post(me, me, Delivery::Woken(Woken(timer)));
        });
    }

    fn compute(&self, me: NodeId, job: Job) {
        let (ticket, answered) = (job.ticket, !matches!(job.work, Work::Release { .. }));
        let device = self.plan.nodes.get(me.0 as usize).and_then(|node| self.devices.get(node.device as usize));
        let given = match device {
            Some(device) => device.give(me, job),
            None => {
                let now = clock::now();
                Err(Computed { ticket, started: now, finished: now, output: Err(Refusal::DeviceFailed) })
            }
        };
        match given {
            Err(refused) if answered => self.post(me, me, Delivery::Computed(refused)),
            Err(_) => self.warnings.warn(|| {
                let node = self.plan.called(me);
                format!("{node} cannot release the KV cache of a session, because the queue of its device is full")
            }),
            Ok(()) => {}
        }
    }

    fn record(&self, event: Event) {
        if let Err(invariant) = self.record.checker.borrow_mut().check(&event) {
            self.report(Report::Broken { invariant, event: Box::new(event.clone()) });
        }
        if let Event::Released { at } = event {
            self.report(Report::Released { at });
        }
        if matches!(event, Event::Drained(_) | Event::Aborted { .. }) {
            self.report(Report::Ended(Box::new(event.clone())));
        }
        self.record.events.borrow_mut().push(event);
    }
}

impl Host for LocalHost {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn carry(&self, me: NodeId, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, message } => self.send(me, to, message),
                Effect::Wake { after, timer } => self.wake(me, after, timer),
                Effect::Compute(job) => self.compute(me, job),
                Effect::Record(event) => self.record(event),
            }
        }
    }

    fn panicked(&self, me: NodeId, what: String) {
        self.report(Report::Panicked { node: me, what });
    }
}

/// Spawns the live actors of a host.
struct Spawning<'a>(&'a LocalHost);

impl Spawning<'_> {
    fn spawn_actor(&self, me: NodeId, post: impl Post + 'static) {
        self.0.posts.borrow_mut()[me.0 as usize] = Some(Box::new(post));
    }
}

impl ActorSpawner for Spawning<'_> {
    fn computes_values(&self) -> bool {
        true
    }

    fn orchestrator(&mut self, core: orchestrator::Core) {
        self.spawn_actor(core.me(), orchestrator::Orchestrator::<world::Live>::new(core).start());
    }

    fn bootstrap(&mut self, core: dht::bootstrap::Core) {
        self.spawn_actor(core.me(), dht::bootstrap::Bootstrap::<world::Live>::new(core).start());
    }

    fn peer(&mut self, core: peer::Core) {
        self.spawn_actor(core.me(), peer::Peer::<world::Live>::new(core).start());
    }

    fn client(&mut self, core: client::Core) {
        self.spawn_actor(core.me(), client::Client::<world::Live>::new(core).start());
    }
}

#[cfg(test)]
mod tests;

//! The simulation of a plan: one thread, a virtual clock in nanoseconds, and random numbers only from the plan's seeds.
//!
//! The simulation takes the next event from the queue, delivers it to the `Handler`s that also run live, and carries
//! out their effects: messages by the link model, jobs by the cost model, timers by the clock. The same plan gives the
//! same run, byte for byte.
#![forbid(unsafe_code)]
mod actor_table;
mod cpu_steal;
mod device;
mod echo;
pub mod event_queue;
mod faults;
mod message_overheads;
mod message_transfer;
pub mod network;
pub mod observed;
pub mod pool;
mod run_end;
pub mod soak;
mod trace;

use actor_table::ActorTable;
use actors::id::{HostId, NodeId};
use actors::invariants::{InvariantChecker, MessageAccount};
use actors::limits;
use actors::message::{Job, Message, NodeRole, Woken, Work};
use actors::record::{Event, Recorder};
use actors::time::{Duration, Timestamp};
use actors::world::{ActorSlot, Delivery, Effect, SimContext, panic_text};
use device::{Begun, Devices, Slot};
use event_queue::EventQueue;
use faults::Faults;
use links::Passage;
use message_overheads::MessageOverheads;
use network::Network;
use network::fair::Fair;
use observed::Observed;
use scenarios::plan::{Plan, Sharing};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use topology::outcome::{Outcome, Run};
use trace::Trace;

/// Simulates `plan` to its end, or for at most `horizon` deliveries. The returned run holds all of its events.
pub fn run(plan: &Plan, horizon: u64) -> Run {
    collected(Simulation::of(plan), horizon)
}

/// Simulates `plan` to its end, or for at most `horizon` deliveries. The events go to the recorder soon after they
/// happen, and the returned run has none. If the recorder closes before the run's end, the run is interrupted.
pub fn run_into(plan: &Plan, horizon: u64, recorder: &mut dyn Recorder) -> Run {
    Simulation::of(plan).recorded(horizon, recorder)
}

/// Simulates `plan` with the job times that a live run of it measured. The returned run holds all of its events.
pub fn run_observed(plan: &Plan, horizon: u64, observed: Observed) -> Run {
    collected(Simulation::observing(plan, observed), horizon)
}

/// Simulates `plan` with the job times that a live run of it measured, and passes the events to the recorder as
/// [`run_into`] does.
pub fn run_observed_into(plan: &Plan, horizon: u64, observed: Observed, recorder: &mut dyn Recorder) -> Run {
    Simulation::observing(plan, observed).recorded(horizon, recorder)
}

fn collected(simulation: Simulation<'_>, horizon: u64) -> Run {
    let mut events = Vec::new();
    let run = simulation.recorded(horizon, &mut events);
    Run { events, ..run }
}

/// The number of deliveries after which new events are passed on to the recorder: few enough for the events to stay in
/// the processor's cache.
const PASSED_ON_AFTER: u64 = 1024;

/// The number of deliveries after which a run is aborted. It takes about an hour to compute, and is far more than any
/// plan within the limits needs.
pub const HORIZON: u64 = 4_000_000_000;

/// A simulation in progress, with one actor in `slots` for each node of the plan.
pub struct Simulation<'p> {
    slots: Vec<Box<dyn ActorSlot>>,
    /// The host of each node.
    hosts: Vec<HostId>,
    /// The role of each node; only debug assertions read it.
    roles: Vec<NodeRole>,
    queue: EventQueue<SimEvent>,
    network: Network,
    /// The network in which transfers share bandwidth fairly. It replaces `network` if the plan asks for it.
    fair: Option<Box<Fair<'p, Sent>>>,
    devices: Devices<'p>,
    overheads: MessageOverheads,
    /// The state of the plan's faults; `None` if the plan has none.
    faults: Option<Box<Faults<'p>>>,
    world: SimContext,
    checker: InvariantChecker,
    account: MessageAccount,
    trace: Trace,
    events: Vec<Event>,
    delivered: u64,
    recording: bool,
    /// The node that is handling an event at present.
    thinking: Option<NodeId>,
    /// The time of the last event that was not upkeep ([`is_upkeep`]).
    progressed: Timestamp,
    /// The virtual time at which the run is given up as deadlocked if nothing but upkeep ([`is_upkeep`]) happens until
    /// then.
    still_at: Timestamp,
    stillness: Duration,
    end: Option<Outcome>,
}

/// A message in the network: its sender, its receiver, the time at which it was sent, and the message.
type Sent = (NodeId, NodeId, Timestamp, Message);

enum SimEvent {
    Deliver {
        from: NodeId,
        to: NodeId,
        /// The incarnation of the receiver's host to which the delivery was sent.
        incarnation: u32,
        delivery: Delivery,
    },
    /// A message enters the network: its sender has finished sending it.
    Depart { from: NodeId, to: NodeId, incarnation: u32, message: Message },
    /// The first byte of a message has reached the receiver's NIC.
    Arrive { from: NodeId, to: NodeId, passage: Box<Arriving>, message: Message },
    /// The last byte of a message has reached its receiver. `held` is the time for which a shaped network held the
    /// message; 0 without a shaped network.
    Receive { from: NodeId, to: NodeId, incarnation: u32, held: Duration, message: Message },
    /// The device finishes its job. Ignored if the version of the device's job end has changed since this event was
    /// scheduled.
    JobDone(Slot, u32),
    /// A transfer of the fairly shared network begins or ends. Ignored if the version of the rates has changed since
    /// this event was scheduled.
    Settled(u64),
    /// The plan's fault with this index begins.
    FaultBegins(u32),
    /// A host restarts that crashed when it had received a given number of steps.
    HostRestarts(HostId),
    /// A stalled host resumes.
    HostResumes(HostId),
    /// A leaving host checks whether its process may end now.
    HostDeparts(HostId),
    /// The run ends because some blocks are lost for good.
    GiveUp,
}

/// The passage of a message whose first byte reaches the receiver's NIC.
struct Arriving {
    passage: Passage,
    /// The time at which the sender had finished sending.
    left: Timestamp,
    /// The message's size on the wire, kept here because the message itself is no longer in the processor's caches.
    bytes: u64,
}

impl<'p> Simulation<'p> {
    /// Creates a simulation of `plan` before its start.
    ///
    /// # Panics
    /// If `slots` does not have one actor for each node of the plan.
    pub fn new(plan: &'p Plan, slots: Vec<Box<dyn ActorSlot>>) -> Simulation<'p> {
        assert_eq!(slots.len(), plan.nodes.len(), "a slot for each node");
        let wait = Duration(plan.timeout.max(plan.ready_within).0.saturating_mul(2));
        let stillness = wait.max(limits::STILLNESS);
        Simulation {
            slots,
            hosts: plan.nodes.iter().map(|node| node.host).collect(),
            roles: plan.nodes.iter().map(|node| node.role.node_role()).collect(),
            queue: EventQueue::default(),
            network: Network::new(plan),
            fair: (plan.network.sharing == Sharing::Fair).then(|| Box::new(Fair::new(plan))),
            devices: Devices::new(plan),
            overheads: MessageOverheads::of(plan),
            faults: Faults::of(plan),
            world: SimContext::default(),
            checker: InvariantChecker::of_a_run(),
            account: MessageAccount::default(),
            trace: Trace::default(),
            events: Vec::new(),
            delivered: 0,
            recording: true,
            thinking: None,
            progressed: Timestamp::default(),
            still_at: Timestamp::default() + stillness,
            stillness,
            end: None,
        }
    }

    /// Creates a simulation of `plan` with the actors of its nodes.
    fn of(plan: &'p Plan) -> Simulation<'p> {
        Simulation::new(plan, ActorTable::of(plan).slots)
    }

    /// Creates a simulation of `plan` with the measured job times of a live run of it.
    fn observing(plan: &'p Plan, observed: Observed) -> Simulation<'p> {
        let mut simulation = Simulation::of(plan);
        simulation.devices.observing(observed);
        simulation
    }

    /// Stops the recording of transfers over links. A benchmark can then deliver more messages than memory could hold
    /// events.
    pub fn unrecorded(mut self) -> Self {
        self.recording = false;
        self
    }

    /// Starts every actor and delivers events until the run ends or has made `horizon` deliveries.
    pub fn run(&mut self, horizon: u64) -> Outcome {
        self.guarded(|run| {
            for node in 0..run.slots.len() {
                let me = NodeId(node as u32);
                if run.faults.as_ref().is_some_and(|faults| faults.is_down(run.hosts[node])) {
                    continue;
                }
                run.think(me, |slot, world| slot.start(world));
            }
            run.schedule_faults(false);
            run.deliver_until(horizon)
        })
    }

    /// Runs the simulation to its end, or for at most `horizon` deliveries, and passes the events to the recorder.
    fn recorded(mut self, horizon: u64, recorder: &mut dyn Recorder) -> Run {
        let mut until = horizon.min(PASSED_ON_AFTER);
        let mut outcome = self.run(until);
        loop {
            self.events.drain(..).for_each(|event| recorder.record(event));
            match outcome {
                Outcome::Horizon { .. } if !recorder.is_open() => return self.over(Outcome::Interrupted),
                Outcome::Horizon { .. } if until < horizon => {}
                end => return self.over(end),
            }
            until = horizon.min(until + PASSED_ON_AFTER);
            outcome = self.resume(until);
        }
    }

    /// Continues a run that ended at its horizon, up to `horizon` deliveries in total.
    pub fn resume(&mut self, horizon: u64) -> Outcome {
        self.guarded(|run| run.deliver_until(horizon))
    }

    /// Returns the outcome of `act`. If an actor panics during the call, the outcome names that actor.
    fn guarded(&mut self, act: impl FnOnce(&mut Self) -> Outcome) -> Outcome {
        // One guard covers all messages. A guard for each message would be a call that the compiler cannot inline.
        match catch_unwind(AssertUnwindSafe(|| act(self))) {
            Ok(outcome) => outcome,
            Err(panic) => match self.thinking.take() {
                Some(node) => Outcome::Panicked { node, what: panic_text(panic.as_ref()) },
                None => resume_unwind(panic),
            },
        }
    }

    fn deliver_until(&mut self, horizon: u64) -> Outcome {
        while self.end.is_none() {
            if self.delivered >= horizon {
                return Outcome::Horizon { events: self.delivered };
            }
            let Some((now, event)) = self.queue.take_next() else {
                return Outcome::Deadlock { at: self.world.now };
            };
            if now > self.still_at {
                return Outcome::Deadlock { at: self.progressed };
            }
            self.happen(now, event);
        }
        self.end.take().expect("the loop ends with one")
    }

    // Every function that a message passes through is inlined here, because each call would copy the message once more.
    #[inline(always)]
    fn happen(&mut self, now: Timestamp, event: SimEvent) {
        self.world.now = now;
        match event {
            SimEvent::Deliver { from, to, incarnation, delivery } => self.deliver(from, to, incarnation, delivery),
            SimEvent::Depart { from, to, incarnation, message } => self.enter_network(from, to, incarnation, message),
            SimEvent::Arrive { from, to, mut passage, message } => {
                let Arriving { passage, left, bytes } = &mut *passage;
                self.network.arrive(self.hosts[to.0 as usize], passage, *bytes);
                self.carry(from, to, *left, passage, message);
            }
            SimEvent::Receive { from, to, incarnation, held, message } => {
                let at = self.overheads.receive(now, to, &message, held);
                let delivery = Delivery::Message(message);
                self.queue.schedule(at, SimEvent::Deliver { from, to, incarnation, delivery });
            }
            SimEvent::JobDone(slot, version) => self.finish_job(slot, version),
            SimEvent::Settled(version) => self.settle(version),
            SimEvent::FaultBegins(index) => self.begin_fault(index),
            SimEvent::HostRestarts(host) => self.return_from_crash(host),
            SimEvent::HostResumes(host) => self.resume_host(host),
            SimEvent::HostDeparts(host) => self.depart(host),
            SimEvent::GiveUp => self.give_up(),
        }
    }

    /// Returns the number of deliveries so far.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    #[inline(always)]
    fn deliver(&mut self, from: NodeId, to: NodeId, incarnation: u32, delivery: Delivery) {
        if self.faults.is_none() {
            return self.hand_over(from, to, delivery);
        }
        if let Some(delivery) = self.admit(from, to, delivery, incarnation) {
            self.hand_over(from, to, delivery);
        }
    }

    #[inline(always)]
    fn hand_over(&mut self, from: NodeId, to: NodeId, delivery: Delivery) {
        self.delivered += 1;
        self.account.delivered += u64::from(matches!(delivery, Delivery::Message(_)));
        if !is_upkeep(&delivery) {
            self.progress();
        }
        self.trace.note(self.world.now, from, to, &delivery);
        self.think(to, |slot, world| slot.deliver(from, delivery, world));
    }

    /// Records that an event other than upkeep has happened. If no further such event happens within `stillness`, the
    /// run is given up as deadlocked. `stillness` is longer than every wait in the plan.
    #[inline]
    fn progress(&mut self) {
        self.progressed = self.world.now;
        self.still_at = self.world.now + self.stillness;
    }

    /// Lets the actor of a node handle an event, then carries out the actor's effects.
    #[inline]
    fn think(&mut self, me: NodeId, act: impl FnOnce(&mut dyn ActorSlot, &mut SimContext)) {
        let slot = self.slots[me.0 as usize].as_mut();
        self.thinking = Some(me);
        act(slot, &mut self.world);
        self.thinking = None;
        let mut effects = std::mem::take(&mut self.world.effects);
        for effect in effects.drain(..) {
            self.carry_out(me, effect);
        }
        self.world.effects = effects;
    }

    #[inline(always)]
    fn carry_out(&mut self, me: NodeId, effect: Effect) {
        let now = self.world.now;
        match effect {
            Effect::Send { to, message } => self.send(me, to, message),
            Effect::Wake { after, timer } => {
                self.post_at(now + after, me, me, Delivery::Woken(Woken(timer)));
            }
            Effect::Compute(Job { work: Work::Release { session }, .. }) => self.devices.release(me, session),
            Effect::Compute(job) => {
                let begun = self.devices.submit(now, me, job);
                self.await_job(begun);
            }
            Effect::Record(event) => self.record(event),
        }
    }

    #[inline]
    fn post(&mut self, from: NodeId, to: NodeId, delivery: Delivery) {
        self.post_at(self.world.now, from, to, delivery);
    }

    #[inline(always)]
    fn post_at(&mut self, at: Timestamp, from: NodeId, to: NodeId, delivery: Delivery) {
        let incarnation = self.incarnation(to);
        self.queue.schedule(at, SimEvent::Deliver { from, to, incarnation, delivery });
    }

    /// Returns the present incarnation of a node's host.
    #[inline]
    fn incarnation(&self, of: NodeId) -> u32 {
        self.faults.as_ref().map_or(0, |faults| faults.incarnation(self.hosts[of.0 as usize]))
    }

    fn finish_job(&mut self, slot: Slot, version: u32) {
        let now = self.world.now;
        let (host, present) = self.devices.version(slot);
        if present != version {
            return;
        }
        let (node, computed, begun) = self.devices.finish(now, slot);
        for begun in begun {
            self.await_job(begun);
        }
        let way = self.devices.way_back(slot, &computed);
        let delivery = Delivery::Computed(computed);
        match way {
            Duration::ZERO => {
                let incarnation = self.faults.as_ref().map_or(0, |faults| faults.incarnation(host));
                self.deliver(node, node, incarnation, delivery);
            }
            way => {
                let at = self.overheads.held_up(now, node, now, now + way);
                self.post_at(at, node, node, delivery);
            }
        }
    }

    fn await_job(&mut self, begun: Option<Begun>) {
        let Some(Begun { slot, host, until, version }) = begun else { return };
        match &self.faults {
            None => self.queue.schedule(until, SimEvent::JobDone(slot, version)),
            Some(faults) => {
                let now = self.world.now;
                let by = faults.slow_device(now, host).max(1.0);
                let took = Duration::from_secs_f64(until.since(now).as_secs_f64() * by);
                let until = now + took + faults.still(now, host);
                self.devices.ends(slot, until);
                self.queue.schedule(until, SimEvent::JobDone(slot, version));
            }
        }
    }

    fn record(&mut self, event: Event) {
        if let Err(invariant) = self.checker.check(&event) {
            self.end.get_or_insert(Outcome::Broken { invariant, event: Box::new(event.clone()) });
        }
        match &event {
            Event::Released { .. } => self.schedule_faults(true),
            Event::Drained(drained) => self.end = self.end.take().or(Some(Outcome::Done((**drained).clone()))),
            Event::Aborted { why, .. } => self.end = self.end.take().or(Some(Outcome::Aborted(why.clone()))),
            _ => {}
        }
        self.events.push(event);
    }
}

/// Whether a delivery is upkeep of the swarm: a DHT message, a ping, a pong or a recurring timer. Upkeep never ends, so
/// it does not count as progress.
#[inline]
fn is_upkeep(delivery: &Delivery) -> bool {
    match delivery {
        Delivery::Message(message) => message.is_upkeep(),
        Delivery::Woken(woken) => woken.0.is_upkeep(),
        Delivery::Computed(_) | Delivery::Leave(_) => false,
    }
}

/// Simulates `plan` twice, side by side. The first run's events go to the recorder. Returns the first run, and whether
/// both runs had equal traces, outcomes and events.
pub fn is_deterministic(plan: &Plan, horizon: u64, recorder: &mut dyn Recorder) -> (Run, bool) {
    let (mut once, mut again) = (Simulation::of(plan), Simulation::of(plan));
    let mut until = horizon.min(PASSED_ON_AFTER);
    let mut outcomes = (once.run(until), again.run(until));
    let mut same = true;
    loop {
        same &= once.events == again.events;
        again.events.clear();
        once.events.drain(..).for_each(|event| recorder.record(event));
        let (first, second) = outcomes;
        let at_horizon = matches!((&first, &second), (Outcome::Horizon { .. }, Outcome::Horizon { .. }));
        if !at_horizon || until >= horizon || !recorder.is_open() {
            let open = recorder.is_open();
            let ended = |outcome| if at_horizon && !open { Outcome::Interrupted } else { outcome };
            let (once, again) = (once.over(ended(first)), again.over(ended(second)));
            return (once.clone(), same && once.trace == again.trace && once.outcome == again.outcome);
        }
        until = horizon.min(until + PASSED_ON_AFTER);
        outcomes = (once.resume(until), again.resume(until));
    }
}

const _: () = assert!(size_of::<SimEvent>() <= 80, "the slab of the queue is touched by every event");

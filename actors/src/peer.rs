//! The peer: a server that holds a range of blocks, admits sessions, queues and computes their steps, and forwards the
//! results to the next hop.
//!
//! The peer does not handle tensors or devices itself. It sends steps to its device in a job, and gets their outputs
//! back in a `Computed` message. At most one job with steps is in progress at a time.
mod admission;
mod meter;
mod next_hop_probe;
pub mod presence;
mod queue;
mod self_benchmark;
mod sessions;

use crate::announce::Load;
use crate::canary::{Canary, planted};
use crate::id::{NodeId, SessionId};
use crate::limits;
use crate::message::{
    Activation, Close, Computed, Gone, Job, Leave, Message, Output, Piece, Ping, Pong, Present, Refusal, Refused,
    Reroute, Rpc, Step, Ticket, Timer, Woken, Work,
};
use crate::policy::{Policies, Speeds};
use crate::record::{Event, Served};
use crate::time::{Duration, Timestamp};
use crate::world::Effect;
use meter::Meter;
use presence::{Presence, PresenceAction};
use queue::{Queue, Queued};
use self_benchmark::SelfBenchmark;
use sessions::Sessions;
use std::collections::VecDeque;

/// The part of the plan that configures one peer.
#[derive(Clone, Debug)]
pub struct Config {
    pub me: NodeId,
    pub orchestrator: NodeId,
    /// The configuration of the peer's DHT node, of its blocks and of its speed.
    pub place: presence::Config,
    /// The budget of the KV cache, in bytes.
    pub cache_bytes: u64,
    /// The bytes that one token of one row takes in the KV cache of one block.
    pub cache_bytes_per_token_block: u64,
    pub policies: Policies,
}

/// The resources that a peer holds for its sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// The number of open sessions.
    pub sessions: usize,
    /// The number of sessions that wait for room in the KV cache.
    pub waiting: usize,
    /// The number of steps in the queue, without the steps of the job that the device is computing.
    pub steps: usize,
    /// The bytes of KV cache that are reserved for open sessions.
    pub cache_bytes: u64,
    /// The bytes of hidden states that are kept for a replay after a failure.
    pub kept_bytes: u64,
}

/// The state machine of a peer.
pub struct Core {
    config: Config,
    sessions: Sessions,
    queue: Queue,
    /// The steps of the job that the device is computing; empty if the device is idle.
    running: Vec<Queued>,
    /// The number of jobs with steps that the device has been given so far.
    jobs: u64,
    meter: Meter,
    /// Whether the timer of the batching delay is running.
    batch_waits: bool,
    /// Whether the timer for sessions that wait for room is running.
    armed: bool,
    /// Whether the timer for sessions that exceed their lifetime is running.
    timing: bool,
    presence: Presence,
    /// The self-benchmark in progress, if any.
    self_benchmark: Option<SelfBenchmark>,
    /// Whether the self-benchmark has ended, with or without a result.
    benchmarked: bool,
    /// Whether the peer has told the orchestrator that lookups can find it.
    present: bool,
}

impl Core {
    /// Creates a peer that has not started yet.
    ///
    /// # Panics
    ///
    /// If `config.place.blocks` is empty.
    pub fn new(config: Config) -> Core {
        let Config { cache_bytes, cache_bytes_per_token_block, ref policies, ref place, .. } = config;
        let blocks = place.blocks;
        Core {
            presence: Presence::new(place.clone()),
            self_benchmark: None,
            benchmarked: false,
            present: false,
            sessions: Sessions::new(policies.admission, blocks, cache_bytes, cache_bytes_per_token_block),
            queue: Queue::new(policies.scheduling),
            running: Vec::new(),
            jobs: 0,
            meter: Meter::default(),
            batch_waits: false,
            armed: false,
            timing: false,
            config,
        }
    }

    /// Returns the node id of the peer.
    pub fn me(&self) -> NodeId {
        self.config.me
    }

    /// Returns the bytes of KV cache that are reserved now; 0 once every session is closed.
    pub fn cache_used(&self) -> u64 {
        self.sessions.used()
    }

    /// Returns the resources that the peer holds for its sessions now; all are zero once every session is closed.
    pub fn holdings(&self) -> Holdings {
        Holdings {
            sessions: self.sessions.len(),
            waiting: self.sessions.waiting(),
            steps: self.queue.len(),
            cache_bytes: self.sessions.used(),
            kept_bytes: self.sessions.kept_bytes(),
        }
    }

    /// Returns the load that the peer reports in announcements, pongs and `Opened` messages.
    fn load(&mut self, now: Timestamp) -> Load {
        Load {
            cache_tokens: u32::try_from(self.sessions.tokens_left()).unwrap_or(u32::MAX),
            sessions: self.sessions.len() as u32,
            step: self.meter.step(),
            busy: self.meter.busy(now),
        }
    }

    /// Starts the peer: it joins the DHT, and loads its blocks unless it chooses them later.
    pub fn on_start(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let actions = self.presence.start(now, out);
        self.follow(now, actions, out);
    }

    /// Carries out the actions that [`Presence`] requests, and the actions that follow from them.
    fn follow(&mut self, now: Timestamp, actions: Vec<PresenceAction>, out: &mut Vec<Effect>) {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            match action {
                PresenceAction::Serve(blocks) => {
                    self.give_up(now, out);
                    self.sessions.serve(blocks);
                    out.push(Effect::Compute(Job { ticket: Ticket::Load, work: Work::Load { blocks: Some(blocks) } }));
                    actions.push_back(PresenceAction::Announce);
                }
                PresenceAction::Announce => actions.extend(self.presence.prepare(now, out)),
                PresenceAction::AnnounceNow => {
                    let load = self.load(now);
                    actions.extend(self.presence.announce(now, load, out));
                }
                // The peer reports itself present only once lookups find it. Otherwise a warm-up could begin before its
                // route exists.
                PresenceAction::Found if !self.present => {
                    self.present = true;
                    send(out, self.config.orchestrator, Message::Present(Present));
                }
                PresenceAction::Found => {}
            }
        }
    }

    /// Queues a step from the client or the previous peer, or refuses it. A step whose tokens were all accepted before
    /// is ignored.
    pub fn on_step(&mut self, now: Timestamp, from: NodeId, step: Step, out: &mut Vec<Effect>) {
        let accepted = match self.queue.len() {
            len if len >= limits::QUEUED_STEPS_PER_PEER && !planted(Canary::QueueUnbounded) => {
                Err((step.session, Refusal::Busy))
            }
            _ => self.sessions.accept(now, step),
        };
        match accepted {
            Ok(None) => {}
            Ok(Some(queued)) => {
                // A client sends its steps singly. A pushed step may be one of several that the previous peer computed
                // in one job.
                let pushed = from != queued.step.session.client();
                self.queue.push(queued);
                self.batch_wait(pushed, out);
            }
            Err((session, why)) => {
                // The sender of a pushed step is the previous peer, but the client has to act on the refusal. The
                // client is therefore always told, and the sender as well if the session is not open here.
                let client = session.client();
                let to = if self.sessions.get(session).is_some() { client } else { from };
                refuse(out, to, session, why);
                if to != client {
                    refuse(out, client, session, why);
                }
            }
        }
    }

    /// Gives an idle device its next job: at once, or after the batching delay if the step was pushed by another peer.
    /// During this delay, the other steps that the previous peer computed in the same job can arrive.
    #[inline]
    fn batch_wait(&mut self, pushed: bool, out: &mut Vec<Effect>) {
        let after = self.config.policies.batch_wait;
        if after == Duration::ZERO || !pushed {
            return self.compute_next(out);
        }
        if self.running.is_empty() && !self.batch_waits {
            self.batch_waits = true;
            out.push(Effect::Wake { after, timer: Timer::BatchWait });
        }
    }

    /// Gives the device its next job if it is idle and a step waits.
    fn compute_next(&mut self, out: &mut Vec<Effect>) {
        if !self.running.is_empty() {
            return;
        }
        self.queue.take(&mut self.running);
        let (sessions, scheduling) = (&self.sessions, self.config.policies.scheduling);
        let piece = |queued: &mut Queued| {
            let hollow = Activation { data: None, ..queued.step.activation };
            Piece {
                session: queued.step.session,
                blocks: queued.part(scheduling),
                held: queued.blocks,
                position: queued.step.position,
                max_length: sessions.get(queued.step.session).map_or(0, |session| session.open.max_length),
                input: std::mem::replace(&mut queued.step.activation, hollow),
            }
        };
        let work = match self.running.as_mut_slice() {
            [] => return,
            [only] => Work::Blocks(piece(only)),
            several => Work::Batch(several.iter_mut().map(piece).collect()),
        };
        self.jobs += 1;
        out.push(Effect::Compute(Job { ticket: Ticket::Steps(self.jobs), work }));
    }

    /// Handles the result of a job: forwards or refuses its steps, and gives the device the next job.
    ///
    /// # Panics
    ///
    /// If the result is not that of the job in progress, or its outputs do not match the steps of that job.
    pub fn on_computed(&mut self, now: Timestamp, _from: NodeId, done: Computed, out: &mut Vec<Effect>) {
        match done.ticket {
            Ticket::Load => return self.on_loaded(now, done, out),
            Ticket::Benchmark => return self.on_benchmarked(now, done, out),
            ticket => assert_eq!(ticket, Ticket::Steps(self.jobs), "one job at a time"),
        }
        let mut running = std::mem::take(&mut self.running);
        let (started, finished) = (done.started, done.finished);
        let took = finished.since(started);
        let decode = running.first().is_some_and(|queued| queued.step.activation.tokens == 1);
        self.meter.worked(now, took, running.len() as u32, decode);
        let first = out.len();
        match done.output {
            Ok(Output::Hidden(activation)) => {
                let queued = running.pop().expect("a job was running");
                self.finish(now, queued, activation, (started, finished), out);
            }
            Ok(Output::Batch(activations)) => {
                assert_eq!(running.len(), activations.len(), "an output for each piece");
                for (queued, activation) in running.drain(..).zip(activations) {
                    self.finish(now, queued, activation, (started, finished), out);
                }
            }
            Ok(Output::Loaded | Output::Benchmarked | Output::Tokens(_)) => {
                unreachable!("a job through blocks gives hidden states")
            }
            Err(why) => {
                // The device does not tell which of several steps was not finite. DeviceFailed lets every client retry
                // its step, which may then be computed alone.
                let several = running.len() > 1 && matches!(why, Refusal::NotFinite(_));
                let why = if several { Refusal::DeviceFailed } else { why };
                for Queued { step, .. } in running.drain(..) {
                    refuse(out, step.session.client(), step.session, why);
                }
            }
        }
        // The vector keeps its capacity, so that no job allocates a new one.
        self.running = running;
        let results = out.len();
        self.compute_next(out);
        // The effect that gives the device its next job is moved before the effects that send results, because a live
        // host needs tens of microseconds to send a result.
        out[first..].rotate_left(results - first);
    }

    /// Handles the output of a step, or of one part of it: queues the next part, or forwards the finished step to the
    /// next hop.
    fn finish(
        &mut self,
        now: Timestamp,
        mut queued: Queued,
        output: Activation,
        (started, finished): (Timestamp, Timestamp),
        out: &mut Vec<Effect>,
    ) {
        let end = queued.part(self.config.policies.scheduling).end;
        // The session was closed while the device computed the step: the output is dropped.
        let Some(session) = self.sessions.get_mut(queued.step.session) else { return };
        let (tokens, batch) = (output.tokens, output.batch);
        queued.step.activation = output;
        if end < queued.blocks.end {
            queued.next_block = end;
            queued.worked += finished.since(started);
            self.queue.put_back(queued);
            return;
        }
        session.steps -= 1;
        session.active = now;
        let (hop, cached, blocks) = (session.open.hop, session.open.cached, session.open.blocks);
        let Queued { step, received, worked, .. } = queued;
        out.push(Effect::Record(Event::Served(Served {
            session: step.session,
            request: step.session.request(),
            position: step.position,
            tokens,
            batch,
            hop,
            peer: self.config.me,
            blocks,
            cached,
            received,
            // A step that was computed in parts is recorded as if its parts had been computed back to back, ending when
            // the last one ended.
            started: Timestamp(started.0 - worked.0),
            finished,
            sent: now,
            queued: self.queue.len() as u32,
        })));
        if !cached && !planted(Canary::StepCacheKept) {
            out.push(Effect::Compute(Job { ticket: Ticket::Release, work: Work::Release { session: step.session } }));
        }
        self.sessions.keep(step.session, &step.activation);
        if let Some(session) = self.sessions.get(step.session) {
            let unwanted = session.open.wanted.saturating_sub(step.position);
            session.forward(step, unwanted, out);
        }
    }

    fn on_loaded(&mut self, now: Timestamp, done: Computed, out: &mut Vec<Effect>) {
        // A peer whose device could not load its blocks stays absent. The orchestrator names that peer in its error
        // when `ready_within` is over.
        if done.output.is_err() {
            return;
        }
        if let (Speeds::Measured { decode, forward }, false) = (self.config.policies.speeds, self.benchmarked) {
            self.self_benchmark = Some(SelfBenchmark::new(decode, forward));
            return self.benchmark_next(now, out);
        }
        let actions = self.presence.on_loaded(now, out);
        self.follow(now, actions, out);
    }

    /// Starts the next step of the self-benchmark. After the last one, records the measured speed and lets the peer go
    /// online.
    fn benchmark_next(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let Some(self_benchmark) = &mut self.self_benchmark else { return };
        let block = self.presence.span().start;
        if let Some(benchmark) = self_benchmark.next() {
            return out
                .push(Effect::Compute(Job { ticket: Ticket::Benchmark, work: Work::Benchmark { block, benchmark } }));
        }
        self.presence.rate(now, self_benchmark.speed(self.config.place.speed), out);
        self.end_benchmark(now, out);
    }

    /// Ends the self-benchmark and lets the peer go online.
    fn end_benchmark(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        (self.self_benchmark, self.benchmarked) = (None, true);
        let actions = self.presence.on_loaded(now, out);
        self.follow(now, actions, out);
    }

    fn on_benchmarked(&mut self, now: Timestamp, done: Computed, out: &mut Vec<Effect>) {
        let Some(self_benchmark) = &mut self.self_benchmark else { return };
        if done.output.is_err() {
            // A device that fails at a benchmark step of many tokens may still compute shorter steps. The peer keeps
            // the speed from its configuration.
            return self.end_benchmark(now, out);
        }
        self_benchmark.took(done.started, done.finished);
        self.benchmark_next(now, out);
    }

    /// Passes a DHT message to the peer's DHT node.
    pub fn on_rpc(&mut self, now: Timestamp, from: NodeId, rpc: Rpc, out: &mut Vec<Effect>) {
        let done = self.presence.node.on_rpc(now, from, rpc, out);
        let actions = self.presence.take(now, done, out);
        self.follow(now, actions, out);
    }

    /// Handles the answer to a ping of the DHT node or of the next-hop probe.
    pub fn on_pong(&mut self, now: Timestamp, from: NodeId, pong: Pong, out: &mut Vec<Effect>) {
        let actions = self.presence.on_pong(now, from, pong.nonce, out);
        self.follow(now, actions, out);
    }

    /// Handles a timer of the peer that has fired.
    pub fn on_woken(&mut self, now: Timestamp, _from: NodeId, woken: Woken, out: &mut Vec<Effect>) {
        let actions = match woken.0 {
            Timer::Dht => {
                let done = self.presence.node.on_woken(now, out);
                self.presence.take(now, done, out)
            }
            Timer::Announce => {
                out.push(Effect::Wake { after: self.presence.node.rules().announce, timer: Timer::Announce });
                vec![PresenceAction::Announce]
            }
            Timer::AnnounceAgain => vec![PresenceAction::Announce],
            Timer::NextHopProbe => self.presence.on_pings_over(),
            Timer::Place => self.presence.on_place(now, out),
            Timer::Admission => return self.on_admission(now, out),
            Timer::Lifetime => return self.on_lifetime(now, out),
            Timer::BatchWait => {
                self.batch_waits = false;
                return self.compute_next(out);
            }
            _ => return,
        };
        self.follow(now, actions, out);
    }

    /// Changes the next hop of one of this peer's sessions. The new next hop gets the kept outputs from position
    /// `reroute.from` on, and every later output. Only the session's client may ask for the change. If the outputs were
    /// not kept, the next hop changes all the same, and the client gets the refusal `NotKept`.
    pub fn on_reroute(&mut self, _now: Timestamp, from: NodeId, reroute: Reroute, out: &mut Vec<Effect>) {
        let is_its_client = from == reroute.session.client() || planted(Canary::StrangerReroutes);
        let Some(session) = self.sessions.get_mut(reroute.session).filter(|_| is_its_client) else {
            return refuse(out, from, reroute.session, Refusal::UnknownSession);
        };
        session.open.next = Some(reroute.next);
        session.open.wanted = 0;
        let Some(kept) = &mut session.kept else {
            return refuse(out, from, reroute.session, Refusal::NotKept);
        };
        if let Some(activation) = kept.since(reroute.from) {
            let step = Step { session: reroute.session, position: reroute.from, activation };
            session.forward(step, 0, out);
        }
    }

    /// Answers a ping with a pong that carries the peer's load.
    pub fn on_ping(&mut self, now: Timestamp, from: NodeId, ping: Ping, out: &mut Vec<Effect>) {
        let load = self.load(now);
        send(out, from, Message::Pong(Pong { nonce: ping.nonce, load }));
    }

    /// Makes the peer leave the swarm: it announces itself as OFFLINE. Its open sessions continue.
    pub fn on_leave(&mut self, now: Timestamp, _from: NodeId, _: Leave, out: &mut Vec<Effect>) {
        self.presence.leave(now, out);
    }

    /// Handles a node that is gone: closes its sessions, because a client that is gone does not close them.
    pub fn on_gone(&mut self, now: Timestamp, from: NodeId, _: Gone, out: &mut Vec<Effect>) {
        for session in self.sessions.of_client(from).into_iter().filter(|_| !planted(Canary::GoneClientKept)) {
            self.on_close(now, from, Close { session }, out);
        }
        let actions = self.presence.on_gone(now, from, out);
        self.follow(now, actions, out);
    }
}

fn send(out: &mut Vec<Effect>, to: NodeId, message: Message) {
    out.push(Effect::Send { to, message });
}

fn refuse(out: &mut Vec<Effect>, to: NodeId, session: SessionId, why: Refusal) {
    send(out, to, Message::Refused(Refused { session: Some(session), why }));
}

crate::actor_impls::actor_impls!(Peer around Core {
    Rpc => on_rpc,
    Open => on_open,
    Step => on_step,
    Reroute => on_reroute,
    Close => on_close,
    Ping => on_ping,
    Pong => on_pong,
    Gone => on_gone,
    Leave => on_leave,
    Computed => on_computed,
    Woken => on_woken,
});

//! The orchestrator: it waits until all nodes are up, warms the clients up, releases the barrier, and collects the
//! latencies.
use crate::canary::{Canary, planted};
use crate::id::{NodeId, RequestId};
use crate::limits;
use crate::message::{Failure, Finished, Go, Gone, Latency, Message, Ping, Present, Ready, Timer, Warm, Woken};
use crate::record::{Abort, Drained, Event};
use crate::time::{Duration, Timestamp};
use crate::world::Effect;
use std::collections::{BTreeMap, BTreeSet};

/// The configuration of the orchestrator.
#[derive(Clone, Debug)]
pub struct Config {
    pub me: NodeId,
    pub peers: Vec<NodeId>,
    pub clients: Vec<NodeId>,
    /// The timeout of the readiness phase, within which all nodes must be up.
    pub ready_within: Duration,
    /// Whether each client warms up before the timed run.
    pub warm_up: bool,
}

/// The state machine of the orchestrator.
pub struct Core {
    config: Config,
    phase: Phase,
    /// The nodes that the orchestrator still waits for in its current phase.
    awaited: BTreeSet<NodeId>,
    released: Timestamp,
    last_end: Timestamp,
    /// The first reported latency of each timed request. The latencies are summed up when every client has finished.
    latencies: BTreeMap<RequestId, Latency>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    ReadyTimeout,
    Warmup,
    Timed,
    Over,
}

impl Core {
    /// Creates the state machine.
    ///
    /// # Panics
    ///
    /// If `config` has no client or no peer.
    pub fn new(config: Config) -> Core {
        assert!(!config.clients.is_empty() && !config.peers.is_empty(), "the plan has a client and a peer");
        let awaited = config.peers.iter().chain(&config.clients).copied().collect();
        let (released, last_end) = (Timestamp::default(), Timestamp::default());
        Core { config, phase: Phase::ReadyTimeout, awaited, released, last_end, latencies: BTreeMap::new() }
    }

    pub fn me(&self) -> NodeId {
        self.config.me
    }

    /// Returns the nodes that the orchestrator waits for. The error about a run that makes no progress names them.
    pub fn waits_for(&self) -> impl Iterator<Item = NodeId> {
        self.awaited.iter().copied()
    }

    pub fn on_start(&mut self, _now: Timestamp, out: &mut Vec<Effect>) {
        out.push(Effect::Wake { after: self.config.ready_within, timer: Timer::ReadyTimeout });
    }

    pub fn on_present(&mut self, now: Timestamp, from: NodeId, _: Present, out: &mut Vec<Effect>) {
        if self.phase != Phase::ReadyTimeout || !self.awaited.remove(&from) {
            return;
        }
        out.push(Effect::Record(Event::Present { node: from, at: now }));
        if self.awaited.is_empty() {
            if self.config.warm_up { self.turn_to(Phase::Warmup, out) } else { self.release(now, out) }
        }
    }

    pub fn on_ready(&mut self, now: Timestamp, from: NodeId, ready: Ready, out: &mut Vec<Effect>) {
        if self.phase != Phase::Warmup || !self.awaited.remove(&from) {
            return;
        }
        if let Err(why) = ready.warmed {
            self.abort(now, Abort::WarmupFailed { client: from, why }, out);
            return;
        }
        out.push(Effect::Record(Event::Ready { client: from, at: now }));
        if self.awaited.len() <= usize::from(planted(Canary::BarrierOffByOne)) {
            self.release(now, out);
        }
    }

    /// Releases the barrier: the timed run begins.
    fn release(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.released = now;
        self.last_end = now;
        out.push(Effect::Record(Event::Released { at: now }));
        self.turn_to(Phase::Timed, out);
    }

    pub fn on_latency(&mut self, _now: Timestamp, from: NodeId, latency: Latency, _out: &mut Vec<Effect>) {
        let request = latency.request;
        let timed = !request.is_warmup() && request.index <= limits::REQUESTS_PER_CLIENT;
        let uncounted = planted(Canary::FailureUncounted) && latency.took.is_err();
        if self.phase == Phase::Timed && request.client == from && timed && !uncounted {
            self.latencies.entry(request).or_insert(latency);
        }
    }

    pub fn on_finished(&mut self, now: Timestamp, from: NodeId, finished: Finished, out: &mut Vec<Effect>) {
        if self.phase != Phase::Timed || !self.awaited.remove(&from) {
            return;
        }
        self.last_end = self.last_end.max(finished.at);
        out.push(Effect::Record(Event::Finished { client: from, at: finished.at }));
        self.drain_if_over(now, out);
    }

    /// Notes that a node is unreachable. Before the barrier's release this aborts the run. In the timed run a lost
    /// client counts as finished at the present time, and a lost peer is ignored, since its clients recover from the
    /// loss.
    pub fn on_gone(&mut self, now: Timestamp, from: NodeId, _: Gone, out: &mut Vec<Effect>) {
        match self.phase {
            Phase::ReadyTimeout | Phase::Warmup => self.abort(now, Abort::LostEarly(from), out),
            Phase::Timed if self.awaited.remove(&from) => {
                self.last_end = self.last_end.max(now);
                self.drain_if_over(now, out);
            }
            Phase::Timed | Phase::Over => {}
        }
    }

    pub fn on_ping(&mut self, _now: Timestamp, from: NodeId, ping: Ping, out: &mut Vec<Effect>) {
        out.push(Effect::pong(from, ping));
    }

    pub fn on_woken(&mut self, now: Timestamp, _from: NodeId, woken: Woken, out: &mut Vec<Effect>) {
        if woken.0 == Timer::ReadyTimeout && self.phase == Phase::ReadyTimeout {
            let expected = self.config.peers.len() + self.config.clients.len();
            let (missing, expected) = (self.awaited.len() as u32, expected as u32);
            let such_as = self.awaited.first().copied().unwrap_or(self.config.me);
            self.abort(now, Abort::NotPresent { missing, expected, such_as }, out);
        }
    }

    /// Begins the warm-up or the timed run: sends the command to every client, and waits for all of them.
    fn turn_to(&mut self, phase: Phase, out: &mut Vec<Effect>) {
        self.phase = phase;
        self.awaited = self.config.clients.iter().copied().collect();
        out.extend(self.config.clients.iter().map(|&to| {
            let message = if phase == Phase::Warmup { Message::Warm(Warm) } else { Message::Go(Go) };
            Effect::Send { to, message }
        }));
    }

    fn drain_if_over(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if !self.awaited.is_empty() {
            return;
        }
        self.phase = Phase::Over;
        let mut drained = Drained {
            at: now,
            wall: self.last_end.since(self.released),
            requests: 0,
            failed: 0,
            shed: 0,
            total_tokens: 0,
            latency_sum: Duration::ZERO,
        };
        for latency in std::mem::take(&mut self.latencies).into_values() {
            drained.requests += 1;
            drained.total_tokens += u64::from(latency.tokens);
            match latency.took {
                Ok(took) => drained.latency_sum += took,
                Err(Failure::Shed) => drained.shed += 1,
                Err(_) => drained.failed += 1,
            }
        }
        out.push(Effect::Record(Event::Drained(Box::new(drained))));
    }

    fn abort(&mut self, at: Timestamp, why: Abort, out: &mut Vec<Effect>) {
        self.phase = Phase::Over;
        out.push(Effect::Record(Event::Aborted { at, why }));
    }
}

crate::actor_impls::actor_impls!(Orchestrator around Core {
    Present => on_present,
    Ready => on_ready,
    Latency => on_latency,
    Finished => on_finished,
    Ping => on_ping,
    Gone => on_gone,
    Woken => on_woken,
});

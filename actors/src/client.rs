//! A client: it finds peers, opens sessions along a route, generates tokens, and measures each request. Several
//! requests may be in flight at once.
//!
//! The client gives the embedding and the LM head to its own device as jobs. It starts no timed request before the
//! orchestrator releases the barrier (sends `Go`).
mod arrivals;
mod context;
mod failure_detector;
mod hop_session;
mod peer_trouble;
mod prompts;
mod recovery;
mod request;
mod strategy;
mod times;

pub use arrivals::{Arrivals, Due};
pub use prompts::Prompts;
pub use request::Asked;

use crate::canary::{Canary, planted};
use crate::dht::node::{self, Node};
use crate::dht::{Done, Key, Record, State};
use crate::id::{BlockRange, NodeId, RequestId};
use crate::limits;
use crate::message::{
    Close, Computed, Failure, Finished, Go, Gone, Job, Latency, Message, Opened, Ping, PingPurpose, Pong, Present,
    Ready, Refused, Returned, Rpc, Ticket, Timer, Warm, Woken, Work,
};
use crate::policy::{Detection, Policies};
use crate::record::{Event, Pinged};
use crate::route::View;
use crate::seed::Seed;
use crate::time::{Duration, Timestamp};
use crate::world::Effect;
use context::RequestContext;
use failure_detector::FailureDetector;
use request::{Progress, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The settings that the plan gives to one client.
#[derive(Clone, Debug)]
pub struct Config {
    /// The client's own node.
    pub me: NodeId,
    /// The node of the orchestrator, which releases the barrier (sends `Go`) and receives the client's reports.
    pub orchestrator: NodeId,
    /// The settings of the client's DHT node.
    pub dht: node::Config,
    /// The block range of the whole model.
    pub blocks: BlockRange,
    /// The size of the warm-up request.
    pub warm_up: Asked,
    /// The timed requests.
    pub workload: Workload,
    /// The policies of the swarm.
    pub policies: Policies,
    /// The timeout of a request, counted from the time at which the client begins the request.
    pub timeout: Duration,
    /// The seed of the run. The client's random streams are derived from it.
    pub seed: Seed,
    /// The source of the prompts' token ids; `None` in a run that computes only sizes and times, but no values.
    pub prompts: Option<Prompts>,
    /// The ids of the stop tokens. A request ends early once its first row has generated a stop token.
    pub stops: Vec<u32>,
}

/// The timed requests of one client.
#[derive(Clone, Debug)]
pub enum Workload {
    /// A closed loop: `requests` requests of the size `asked`. Each begins when the one before has ended.
    Closed { requests: u32, asked: Asked },
    /// An open loop: each request begins at its own time, whether or not earlier requests have ended.
    Open(Arrivals),
}

impl Workload {
    /// Returns the number of timed requests.
    fn requests(&self) -> u32 {
        match self {
            Workload::Closed { requests, .. } => *requests,
            Workload::Open(arrivals) => arrivals.due.len() as u32,
        }
    }
}

/// The state machine of a client.
pub struct Core {
    config: Config,
    /// The peers that the client knows, from its lookups and pings.
    view: View,
    /// The client's DHT node.
    dht: Node,
    /// For each block of the model, in order, the DHT key under which peers announce that they serve the block.
    keys: Vec<Key>,
    /// Whether a DHT lookup of all blocks is in progress.
    finding: bool,
    /// The requests in flight.
    requests: BTreeMap<RequestId, Request>,
    /// The number of timed requests begun so far, including requests that were due but shed.
    timed: u32,
    /// The number of random values used so far, for routes and for waits before retries.
    draws: u32,
    /// The failure detector for the peers that requests wait for.
    detector: FailureDetector,
    /// The number of rounds of latency pings that the client has begun so far.
    rounds: u32,
    /// The unanswered pings of the latest round of latency pings: for each pinged peer, the nonce and the send time of
    /// its ping.
    pinged: BTreeMap<NodeId, (u64, Timestamp)>,
    /// Whether the deadline timer is running. One deadline timer serves all requests.
    armed: bool,
    /// Whether the heartbeat timer is running. One heartbeat timer serves all requests.
    beating: bool,
    /// The time at which the client received the barrier's release.
    released: Timestamp,
    /// Whether the client has told the orchestrator that all its timed requests are over.
    finished: bool,
}

/// The index of the warm-up request. Timed requests are numbered from 1.
const WARMUP: u32 = 0;

impl Core {
    /// Returns a client that has not started yet.
    ///
    /// # Panics
    ///
    /// Panics if the warm-up request has no rows or no prompt tokens, or if there are [`limits::REQUESTS_PER_CLIENT`]
    /// or more timed requests.
    pub fn new(config: Config) -> Core {
        assert!(config.warm_up.batch > 0 && config.warm_up.prompt > 0, "the warm-up needs a row and a prompt token");
        assert!(
            config.workload.requests() < limits::REQUESTS_PER_CLIENT,
            "the client has more requests than a session id can number"
        );
        let (dht, keys) = (Node::new(config.dht.clone()), Key::of_blocks(config.blocks.end));
        Core {
            config,
            view: View::default(),
            dht,
            keys,
            finding: false,
            requests: BTreeMap::new(),
            timed: 0,
            draws: 0,
            detector: FailureDetector::default(),
            rounds: 0,
            pinged: BTreeMap::new(),
            armed: false,
            beating: false,
            released: Timestamp::default(),
            finished: false,
        }
    }

    /// Returns the client's own node.
    pub fn me(&self) -> NodeId {
        self.config.me
    }

    /// Starts the job that loads the embedding and the LM head.
    pub fn on_start(&mut self, _now: Timestamp, out: &mut Vec<Effect>) {
        out.push(Effect::Compute(Job { ticket: Ticket::Load, work: Work::Load { blocks: None } }));
    }

    /// Begins the warm-up request when the orchestrator asks for it, unless a request is in flight or the timed
    /// requests have begun.
    pub fn on_warm(&mut self, now: Timestamp, from: NodeId, _: Warm, out: &mut Vec<Effect>) {
        if from == self.config.orchestrator && self.requests.is_empty() && self.timed == 0 {
            self.begin(now, WARMUP, now, self.config.warm_up, out);
        }
    }

    /// Begins the timed requests when the orchestrator releases the barrier, unless a request is in flight or the timed
    /// requests have begun already.
    pub fn on_go(&mut self, now: Timestamp, from: NodeId, _: Go, out: &mut Vec<Effect>) {
        if from == self.config.orchestrator && self.requests.is_empty() && self.timed == 0 {
            self.released = now;
            self.begin_next(now, out);
        }
    }

    /// In a closed loop, begins the next request. In an open loop, the first call starts the schedule, and later calls
    /// begin nothing. Then reports the end if all timed requests are over.
    fn begin_next(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        match self.config.workload {
            Workload::Closed { requests, asked } if self.timed < requests => {
                self.timed += 1;
                self.begin(now, self.timed, now, asked, out);
            }
            Workload::Open(_) if self.timed == 0 => self.take_due(now, out),
            Workload::Closed { .. } | Workload::Open(_) => {}
        }
        self.finish_if_over(now, out);
    }

    /// Reports to the orchestrator, once, that all timed requests are over.
    fn finish_if_over(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if !self.finished && self.timed == self.config.workload.requests() && self.requests.is_empty() {
            self.finished = true;
            send(out, self.config.orchestrator, Message::Finished(Finished { at: now }));
        }
    }

    /// Begins a request that was due at `intended`. If the client has a view of the peers, the request chooses its
    /// route from the view at once. If the client has no view, or one older than the DHT's `refresh` interval, the
    /// client starts a lookup of the peers.
    fn begin(&mut self, now: Timestamp, index: u32, intended: Timestamp, asked: Asked, out: &mut Vec<Effect>) {
        let id = RequestId { client: self.config.me, index };
        let late = if planted(Canary::DeadlineDoubled) { self.config.timeout } else { Duration::ZERO };
        self.requests.insert(id, Request::new(id, asked, intended, now, now + self.config.timeout + late));
        if !self.armed {
            self.armed = true;
            out.push(Effect::Wake { after: self.config.timeout, timer: Timer::Deadline });
        }
        let has_view = self.view.age(now).is_some();
        if self.view.is_older_than(self.config.policies.dht.refresh, now) {
            self.find(now, out);
        }
        if has_view {
            self.advance(now, id, out, Request::take_route);
        }
        self.keep_beating(now, out);
    }

    /// Starts one DHT lookup of all blocks, unless one is in progress.
    fn find(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if !self.finding {
            self.finding = true;
            let done = self.dht.find(now, &self.keys, out);
            self.on_done(now, done, out);
        }
    }

    /// Passes a message of the DHT to the client's DHT node.
    pub fn on_rpc(&mut self, now: Timestamp, from: NodeId, rpc: Rpc, out: &mut Vec<Effect>) {
        let done = self.dht.on_rpc(now, from, rpc, out);
        self.on_done(now, done, out);
    }

    /// Handles finished DHT operations. Only the records of online peers enter the view: a peer that still loads its
    /// blocks cannot be a hop of a route.
    fn on_done(&mut self, now: Timestamp, done: Vec<Done>, out: &mut Vec<Effect>) {
        for done in done {
            let Done::Found(records) = done else { continue };
            self.finding = false;
            let mut online = records;
            online.retain(|record| record.state == State::Online);
            online.shrink_to_fit();
            self.on_found(now, online, out);
        }
    }

    fn on_found(&mut self, now: Timestamp, peers: Vec<Arc<Record>>, out: &mut Vec<Effect>) {
        let first = self.view.age(now).is_none();
        self.view.refresh(now, peers);
        self.ping_around(now, out);
        let every = self.config.policies.pings.every;
        if first && every > Duration::ZERO {
            out.push(Effect::Wake { after: every, timer: Timer::Pings });
        }
        for id in self.those(|request| request.is_finding() && !request.is_stuck()) {
            self.advance(now, id, out, Request::on_found);
        }
        // Requests that wait for a route try again at once if the peers that the lookup has found cover all blocks.
        let unrouted = self.those(Request::is_unrouted);
        if !unrouted.is_empty() && self.view.covers(self.config.blocks, now) {
            for id in unrouted {
                self.advance(now, id, out, Request::try_again);
            }
        }
    }

    /// Pings a few peers that a route could use, to measure their round-trip times and to learn their loads.
    fn ping_around(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.rounds += 1;
        let (me, pings) = (u64::from(self.config.me.0), &self.config.policies.pings);
        let mut draw = self.config.seed.small_stream("pings", me, u64::from(self.rounds));
        self.pinged.clear();
        for peer in self.view.to_ping(self.config.blocks, pings, &mut draw) {
            // A pong is matched by peer and by round, so that a late pong of an earlier round is not counted.
            let nonce = PingPurpose::RoundTrip(self.rounds.into()).nonce();
            self.pinged.insert(peer, (nonce, now));
            send(out, peer, Message::Ping(Ping { nonce }));
        }
    }

    /// Calls `act` on a request in flight, and starts a lookup if the request asks for one. If the request is over,
    /// ends it, reports to the orchestrator, and begins the next one. Does nothing if the request has ended already.
    fn advance(
        &mut self,
        now: Timestamp,
        id: RequestId,
        out: &mut Vec<Effect>,
        act: impl FnOnce(&mut Request, &mut RequestContext<'_>) -> Progress,
    ) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let Core { config, view, draws, .. } = self;
        let mut context = RequestContext { config, view, draws, now, out, look: false };
        let progress = act(request, &mut context);
        let look = context.look;
        if look {
            self.find(now, out);
        }
        if let Progress::Over(outcome) = progress {
            self.settle(now, id, outcome, out);
        }
    }

    /// Ends a request and reports its outcome to the orchestrator. After a timed request, begins the next one. After a
    /// success, lifts the bans of the peers on the request's route.
    fn settle(&mut self, now: Timestamp, id: RequestId, outcome: Result<(), Failure>, out: &mut Vec<Effect>) {
        let Some(request) = self.requests.remove(&id) else { return };
        if outcome.is_ok() {
            request.peers().for_each(|peer| self.view.pardon(peer));
        }
        let (took, tokens) = request.end(now, outcome, out);
        if id.is_warmup() {
            send(out, self.config.orchestrator, Message::Ready(Ready { warmed: outcome }));
        } else {
            let latency = Latency { request: id, took: outcome.map(|()| took), tokens };
            send(out, self.config.orchestrator, Message::Latency(latency));
            self.begin_next(now, out);
        }
    }

    /// Handles an opened session, and closes it if no request waits for it.
    pub fn on_opened(&mut self, now: Timestamp, from: NodeId, opened: Opened, out: &mut Vec<Effect>) {
        self.view.heard(now, from, opened.load);
        let request = self.requests.get(&opened.session.request());
        if !request.is_some_and(|request| request.awaits(from, opened.session)) {
            // The client gave this session up before it opened, perhaps because an earlier incarnation of the peer was
            // lost. No other node would close the session.
            return send(out, from, Message::Close(Close { session: opened.session }));
        }
        self.advance(now, opened.session.request(), out, |request, context| {
            request.on_opened(context, opened.session);
            Progress::Going
        });
    }

    /// Handles a finished job of the client's device. Once the embedding and the LM head are loaded, the client sends
    /// [`Present`].
    pub fn on_computed(&mut self, now: Timestamp, _from: NodeId, done: Computed, out: &mut Vec<Effect>) {
        match done.ticket {
            Ticket::Load if done.output.is_ok() => send(out, self.config.orchestrator, Message::Present(Present)),
            Ticket::Request { index, .. } => {
                // `advance` drops the result if the request has ended while the device computed the job.
                let id = RequestId { client: self.config.me, index };
                self.advance(now, id, out, |request, context| request.on_computed(context, done));
            }
            Ticket::Load | Ticket::Release | Ticket::Benchmark | Ticket::Steps(_) => {}
        }
    }

    /// Passes a step that a peer has returned to the step's request.
    pub fn on_returned(&mut self, now: Timestamp, from: NodeId, returned: Returned, out: &mut Vec<Effect>) {
        let id = returned.0.session.request();
        self.advance(now, id, out, |request, context| request.on_returned(context, from, returned));
    }

    /// Passes a refusal to the request whose session was refused. A refusal without a session is ignored.
    pub fn on_refused(&mut self, now: Timestamp, from: NodeId, refused: Refused, out: &mut Vec<Effect>) {
        let Some(session) = refused.session else { return };
        self.advance(now, session.request(), out, |request, context| {
            request.on_refused(context, from, session, refused.why)
        });
    }

    /// Handles the notice that a peer is unreachable. Bans the peer, removes it from the view until a lookup finds it
    /// again, and lets the requests whose routes contain the peer recover.
    pub fn on_gone(&mut self, now: Timestamp, from: NodeId, _: Gone, out: &mut Vec<Effect>) {
        self.view.lose(from);
        self.view.ban(now, from, &self.config.policies.bans);
        let done = self.dht.on_gone(now, from, out);
        self.on_done(now, done, out);
        for id in self.those(|request| request.peers().any(|peer| peer == from)) {
            self.advance(now, id, out, |request, context| request.on_gone(context, from));
        }
    }

    /// Handles an expired timer of the client.
    pub fn on_woken(&mut self, now: Timestamp, _from: NodeId, woken: Woken, out: &mut Vec<Effect>) {
        match woken.0 {
            Timer::Deadline => self.look_at_deadlines(now, out),
            Timer::Heartbeat => self.beat(now, out),
            Timer::Retry => {
                for id in self.those(Request::is_stuck) {
                    self.advance(now, id, out, Request::on_retry);
                }
            }
            Timer::Arrival => self.take_due(now, out),
            Timer::Pings => {
                self.ping_around(now, out);
                let every = self.config.policies.pings.every;
                out.push(Effect::Wake { after: every, timer: Timer::Pings });
            }
            Timer::Dht => {
                let done = self.dht.on_woken(now, out);
                self.on_done(now, done, out);
            }
            Timer::ReadyTimeout
            | Timer::Admission
            | Timer::Lifetime
            | Timer::BatchWait
            | Timer::Announce
            | Timer::AnnounceAgain
            | Timer::NextHopProbe
            | Timer::Place => {}
        }
    }

    /// Ends the requests whose deadline has passed, and sets the timer for the next deadline.
    fn look_at_deadlines(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.armed = false;
        for id in self.those(|request| now >= request.spec.deadline) {
            self.settle(now, id, Err(Failure::Timeout), out);
        }
        // The end of a request may have begun the next request, which has then started the deadline timer already.
        let next = self.requests.values().map(|request| request.spec.deadline).min();
        if let (false, Some(next)) = (self.armed, next) {
            self.armed = true;
            out.push(Effect::Wake { after: next.since(now), timer: Timer::Deadline });
        }
    }

    /// Handles the heartbeat timer. Pings each peer that requests wait for, at most once, and declares failed the peers
    /// that have not answered in time.
    fn beat(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.beating = false;
        let mut pings = BTreeSet::new();
        let mut detector = std::mem::take(&mut self.detector);
        for id in self.those(|_| true) {
            self.advance(now, id, out, |request, context| request.beat(context, &mut detector, &mut pings));
        }
        self.detector = detector;
        let ping = Message::Ping(Ping { nonce: PingPurpose::Heartbeat(now).nonce() });
        out.extend(pings.into_iter().map(|to| Effect::Send { to, message: ping.clone() }));
        self.keep_beating(now, out);
    }

    /// Starts the heartbeat timer if a request is in flight and the timer is not running.
    fn keep_beating(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if self.beating || self.requests.is_empty() {
            return;
        }
        let policies = &self.config.policies;
        let Detection { heartbeat, missed, step_timeout, open_timeout } = policies.detection;
        let after = if missed > 0 {
            heartbeat
        } else {
            // If the failure detector sends no pings, nothing has to be checked before the earliest timeout.
            let due = self.requests.values().filter_map(|request| request.overdue(policies)).min();
            due.map_or(Duration(u64::MAX), |due| due.since(now)).min(step_timeout).min(open_timeout)
        };
        self.beating = true;
        out.push(Effect::Wake { after, timer: Timer::Heartbeat });
    }

    /// Returns the ids of the requests in flight for which `holds` is true.
    fn those(&self, holds: impl Fn(&Request) -> bool) -> Vec<RequestId> {
        self.requests.iter().filter(|(_, request)| holds(request)).map(|(id, _)| *id).collect()
    }

    /// Answers a ping.
    pub fn on_ping(&mut self, _now: Timestamp, from: NodeId, ping: Ping, out: &mut Vec<Effect>) {
        out.push(Effect::pong(from, ping));
    }

    /// Handles a pong. Every pong updates the failure detector. A pong of the latest round of latency pings also
    /// updates the view.
    pub fn on_pong(&mut self, now: Timestamp, from: NodeId, pong: Pong, out: &mut Vec<Effect>) {
        self.dht.on_pong(now, from, pong.nonce, out);
        self.detector.hear(now, from);
        let expected = self.pinged.get(&from).filter(|(nonce, _)| *nonce == pong.nonce);
        if let (None, PingPurpose::Heartbeat(sent)) = (expected, PingPurpose::of(pong.nonce)) {
            let took = now.since(sent);
            self.detector.measured(now, from, took, &self.config.policies.pings);
        }
        if let Some((_, sent)) = expected {
            let took = now.since(*sent);
            out.push(Effect::Record(Event::Pinged(Pinged { client: self.config.me, peer: from, at: now, took })));
            self.detector.measured(now, from, took, &self.config.policies.pings);
            self.view.measured(now, from, took, &self.config.policies.pings);
            self.view.heard(now, from, pong.load);
            self.pinged.remove(&from);
        }
        for id in self.those(|request| request.peers().any(|peer| peer == from)) {
            self.advance(now, id, out, |request, context| {
                request.hear(context, from);
                Progress::Going
            });
        }
    }
}

fn send(out: &mut Vec<Effect>, to: NodeId, message: Message) {
    out.push(Effect::Send { to, message });
}

crate::actor_impls::actor_impls!(Client around Core {
    Warm => on_warm,
    Go => on_go,
    Rpc => on_rpc,
    Opened => on_opened,
    Returned => on_returned,
    Refused => on_refused,
    Ping => on_ping,
    Pong => on_pong,
    Gone => on_gone,
    Computed => on_computed,
    Woken => on_woken,
});

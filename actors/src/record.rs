//! The events of a run. All reports are made from these events, both for simulations and for live runs.
//!
//! An event carries timestamps of the clock of the host that observed it. The durations inside one event come from one
//! clock and are therefore exact. The time that passed between hosts is the remainder of an interval that one host
//! measured as a whole.
use crate::dht::State;
use crate::id::{BlockRange, NodeId, RequestId, SessionId};
use crate::message::{Failure, Hop};
use crate::placement::Speed;
use crate::time::{Duration, Timestamp};
use serde::{Deserialize, Serialize};

/// A sink for the events of a run, which takes them as they happen.
pub trait Recorder {
    fn record(&mut self, event: Event);

    /// Whether the recorder still takes events. A simulation ends as interrupted soon after this becomes false.
    fn is_open(&self) -> bool {
        true
    }
}

/// A recorder that drops every event, for runs of which only the outcome counts.
impl Recorder for () {
    fn record(&mut self, _: Event) {}
}

/// A recorder that keeps every event in memory.
impl Recorder for Vec<Event> {
    fn record(&mut self, event: Event) {
        self.push(event);
    }
}

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A node is up, and the orchestrator knows it.
    Present { node: NodeId, at: Timestamp },
    /// A client's warm-up is over.
    Ready { client: NodeId, at: Timestamp },
    /// The orchestrator has released the barrier: the timed run begins.
    Released { at: Timestamp },
    /// A client has completed a step.
    Stepped(Stepped),
    /// A peer has computed a step.
    Served(Served),
    /// A peer has reserved or freed the KV cache of a session.
    Reserved(Reserved),
    /// A client has chosen peers for a request.
    Routed(Box<Routed>),
    /// The world has carried an activation over a link.
    Carried(Carried),
    /// A client has chosen an output token.
    Scored(Box<Scored>),
    /// A request is over.
    Ended(Box<Ended>),
    /// A request has recovered from the failure of peers.
    Failover(Box<Failover>),
    /// A lookup in the DHT is over.
    Looked(Box<Looked>),
    /// A client has received the pong of a peer.
    Pinged(Pinged),
    /// The state of a peer with respect to its block range has changed.
    Serving(Box<Serving>),
    /// A peer has measured its own speed.
    Rated(Box<Rated>),
    /// A fault of the plan has occurred.
    FaultEvent(Box<FaultEvent>),
    /// A client has finished its timed requests.
    Finished { client: NodeId, at: Timestamp },
    /// The run is over: the figures that the orchestrator made from the latencies of the clients.
    Drained(Box<Drained>),
    /// The run was aborted.
    Aborted { at: Timestamp, why: Abort },
}

/// A client has completed one step of a request: the prefill, or one decode step.
///
/// `seen - began` is the whole time of the step. `setup`, `client_queue`, `client`, `recovery` and the durations of its
/// hops in [`Served`] are parts of it; the remainder is the time of the network.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stepped {
    pub session: SessionId,
    pub request: RequestId,
    /// The number of tokens before this step's own.
    pub position: u32,
    /// The number of new tokens in each row: the prompt's length in a prefill, 1 in a decode step.
    pub tokens: u32,
    pub batch: u16,
    /// The index of the output token that the step produced, counted from 1; 0 for a prefill of a request that
    /// generates no token.
    pub output: u32,
    /// The start of the step: the arrival of the last token, or the time at which the request was sent.
    pub began: Timestamp,
    /// The time at which the client had the output token; if the step produced no token, the time at which the last
    /// activation returned.
    pub seen: Timestamp,
    /// The duration of discovery, routing and session set-up before the first step.
    pub setup: Duration,
    /// The waiting time for the client's own device.
    pub client_queue: Duration,
    /// The compute time of embedding, LM head and sampling on the client's device.
    pub client: Duration,
    /// The part of `client` that the embedding took.
    pub embedding: Duration,
    /// The time from when the client noticed that peers had failed until the step, or its replay, was sent again.
    pub recovery: Duration,
}

/// A peer has computed one step of a session.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Served {
    pub session: SessionId,
    pub request: RequestId,
    pub position: u32,
    pub tokens: u32,
    pub batch: u16,
    pub hop: u16,
    pub peer: NodeId,
    pub blocks: BlockRange,
    /// Whether the session has a KV cache. Without a cache every step begins at position 0.
    pub cached: bool,
    /// The time at which the peer received the step.
    pub received: Timestamp,
    /// The time at which the device started the step. A step that was computed in parts is recorded as if its parts had
    /// been computed back to back, ending when the last one ended.
    pub started: Timestamp,
    /// The time at which the device finished the step.
    pub finished: Timestamp,
    /// The time at which the result was handed to the link.
    pub sent: Timestamp,
    /// The number of steps that wait at the peer at the time `sent`.
    pub queued: u32,
}

/// A peer has reserved the KV cache of a session, or has freed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    pub session: SessionId,
    pub peer: NodeId,
    pub at: Timestamp,
    /// The bytes that the session holds from now on; `None` if the session is closed.
    pub bytes: Option<u64>,
    /// The bytes that all sessions of the peer together hold from now on.
    pub used: u64,
    /// The bytes that all sessions of the peer together may hold.
    pub budget: u64,
    /// The number of sessions that are open from now on.
    pub open: u32,
    /// The number of sessions that wait for room in the cache from now on.
    pub waiting: u32,
}

/// A client has chosen peers for blocks of a request: for all blocks, or as replacements of peers that have failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Routed {
    pub request: RequestId,
    pub at: Timestamp,
    pub blocks: BlockRange,
    pub hops: Vec<Hop>,
    /// A banned peer that the route uses although other peers serve some of its blocks; `None` in a correct run.
    pub needless: Option<NodeId>,
}

/// The world has carried the activation of one step over one link. Only a world that knows the parts of the transfer
/// time records this event.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    pub session: SessionId,
    pub position: u32,
    pub tokens: u32,
    pub from: NodeId,
    pub to: NodeId,
    pub bytes: u64,
    /// The waiting time for the NICs and the link.
    pub queue: Duration,
    /// The transmission time: bytes divided by bandwidth.
    pub transmit: Duration,
    /// The propagation delay, connection set-up included.
    pub propagation: Duration,
}

/// A client has received the pong of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinged {
    pub client: NodeId,
    pub peer: NodeId,
    /// The time at which the pong arrived.
    pub at: Timestamp,
    /// The round-trip time.
    pub took: Duration,
}

/// A client has chosen an output token. Recorded only in a world that computes values and that was asked to keep the
/// scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    pub request: RequestId,
    /// The index of the output token, counted from 1.
    pub output: u32,
    /// The token that was chosen for the first row.
    pub token: Option<u32>,
    /// The highest-scoring tokens of the first row, with their scores (logits), in descending order of score.
    pub best: Vec<(u32, f32)>,
}

/// The transcript of a request with a given prompt: the first row of its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    pub request: RequestId,
    /// The ids of the prompt as sent: truncated to the workload's prompt length.
    pub prompt: Vec<u32>,
    /// The ids of the generated tokens; if the request failed, those that were generated before the failure.
    pub ids: Vec<u32>,
    /// The prompt and the generated tokens as text, without special tokens; `None` if there is no tokenizer.
    pub texts: Option<(String, String)>,
}

/// A request has recovered from the failure of peers on its route: the step that the failure delayed has returned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failover {
    pub request: RequestId,
    /// The lost peers, in the order in which the client noticed their loss.
    pub lost: Vec<NodeId>,
    /// The last time before the failure at which the client received something from the first lost peer, or sent work
    /// to it.
    pub heard: Timestamp,
    /// The time at which the client noticed the failure.
    pub noticed: Timestamp,
    /// The time at which replacement peers were ready to take over.
    pub mended: Timestamp,
    /// The time at which the delayed step returned.
    pub resumed: Timestamp,
    /// The number of attempts to recover.
    pub tries: u32,
    /// The number of tokens of each row that had to be computed again.
    pub replayed: u32,
}

/// A request is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    pub request: RequestId,
    pub session: SessionId,
    /// The time at which the request was due.
    pub intended: Timestamp,
    /// The time at which the client began the request.
    pub sent: Timestamp,
    /// The end of the request: the arrival of the last token; the return of the last activation if the request
    /// generates no token; or the failure.
    pub at: Timestamp,
    pub batch: u32,
    /// The number of prompt tokens of each row.
    pub prompt: u32,
    /// The number of tokens of each row that the request was to generate.
    pub generate: u32,
    /// The number of tokens of each row that the request did generate.
    pub generated: u32,
    /// The part of `at - sent` in which the client looked up peers in the DHT.
    pub discovery: Duration,
    /// The part of `at - sent` in which the client opened the sessions of the route.
    pub sessions: Duration,
    /// The peers of the request's last route, in the order of their hops.
    pub route: Vec<NodeId>,
    pub outcome: Result<(), Failure>,
    /// The generated ids of row 0, in a world that computes values; otherwise empty.
    pub output: Vec<u32>,
}

/// The purpose of a lookup in the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// A node looks up its own id, to become known to its neighbours.
    Join,
    /// A node looks for contacts for the buckets that have room.
    Fill,
    /// A node looks up which peers serve blocks.
    Find,
    /// A peer looks for the nodes that are to store its record.
    Announce,
    /// A peer looks up which peers may follow it on a route.
    NextHopProbe,
}

/// A lookup in the DHT is over. Several keys that were looked up together count as one lookup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Looked {
    pub node: NodeId,
    pub purpose: Purpose,
    pub at: Timestamp,
    pub took: Duration,
    /// The number of keys that were looked up.
    pub keys: u32,
    /// The number of successive queries that led to the node nearest to a key; the maximum over all keys.
    pub hops: u16,
    /// The total number of queries.
    pub asked: u32,
    /// The number of queries that were not answered.
    pub silent: u32,
    /// The number of peers whose records were found.
    pub found: u32,
}

/// A peer has measured its own speed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rated {
    pub peer: NodeId,
    pub at: Timestamp,
    pub speed: Speed,
    /// The tokens per second through the peer's blocks, as the peer announces them.
    pub throughput: f64,
}

/// The state of a peer with respect to its block range has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Serving {
    pub peer: NodeId,
    pub at: Timestamp,
    pub blocks: BlockRange,
    pub state: State,
}

/// The kinds of faults that a plan can inject into a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FaultKind {
    /// The process of a host is killed, and its connections break.
    Crash,
    /// A host that has crashed or left restarts with empty state.
    Restart,
    /// The peer of a host leaves and announces that it leaves.
    Leave,
    /// A host that was not present at the start joins.
    Join,
    /// A host does nothing for a time and loses nothing. No node is notified.
    Stall,
    /// The device of a host becomes slower for a time.
    SlowDevice,
    /// The paths between hosts become slower for a time, NICs included.
    SlowLink,
    /// Messages between groups of hosts wait until the partition ends.
    Partition,
}

impl FaultKind {
    /// Returns the name of the fault in texts for people.
    pub fn label(self) -> &'static str {
        match self {
            FaultKind::Crash => "crash",
            FaultKind::Restart => "restart",
            FaultKind::Leave => "leave",
            FaultKind::Join => "join",
            FaultKind::Stall => "stall",
            FaultKind::SlowDevice => "slow device",
            FaultKind::SlowLink => "slow link",
            FaultKind::Partition => "partition",
        }
    }
}

/// A fault of the plan has occurred. The world that injects the fault records this event, since a node that crashes
/// cannot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultEvent {
    pub at: Timestamp,
    pub fault: FaultKind,
    /// The nodes that the fault affects.
    pub nodes: Vec<NodeId>,
    /// The duration of the fault; `None` if the fault does not end on its own.
    pub lasts: Option<Duration>,
}

/// The orchestrator's own figures, made from the latencies of the clients. The benchmark reports these figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drained {
    pub at: Timestamp,
    /// The time from the barrier's release, on the orchestrator's clock, until the last client finished, on that
    /// client's clock.
    pub wall: Duration,
    pub requests: u32,
    pub failed: u32,
    /// The number of requests that were not sent because their clients already had the maximum number of requests in
    /// flight.
    pub shed: u32,
    /// The number of generated tokens of all timed requests, summed over the rows of each request's batch.
    pub total_tokens: u64,
    /// The sum of the latencies of the requests that succeeded.
    pub latency_sum: Duration,
}

impl Drained {
    /// Returns `total_tokens` divided by `wall`, in tokens per second; 0 for an empty run.
    pub fn throughput(&self) -> f64 {
        if self.wall == Duration::ZERO { 0.0 } else { self.total_tokens as f64 / self.wall.as_secs_f64() }
    }

    /// Returns the mean latency of the successful requests, in seconds; `None` if none succeeded.
    pub fn mean_latency_s(&self) -> Option<f64> {
        let served = self.requests - self.failed - self.shed;
        (served > 0).then(|| self.latency_sum.as_secs_f64() / f64::from(served))
    }
}

/// The reason why a run was aborted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Abort {
    /// Some nodes were not up before the timeout of the readiness phase.
    #[error("{missing} of {expected} nodes were not ready before the timeout `ready_within`, among them {such_as}")]
    NotPresent { missing: u32, expected: u32, such_as: NodeId },
    /// The warm-up of a client failed.
    #[error("the warm-up of {client} failed: {why}")]
    WarmupFailed { client: NodeId, why: Failure },
    /// A node was lost before the barrier's release.
    #[error("{0} became unreachable before the timed run began")]
    LostEarly(NodeId),
}

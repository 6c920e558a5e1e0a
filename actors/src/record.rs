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
    /// An activation was carried over a link.
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
    /// The state of a peer as a server of its blocks (joining, online or offline) has changed.
    Serving(Box<Serving>),
    /// A peer has measured its own speed.
    Rated(Box<Rated>),
    /// A fault of the plan has occurred.
    FaultEvent(Box<FaultEvent>),
    /// A client has finished its timed requests.
    Finished { client: NodeId, at: Timestamp },
    /// The run is over. The event has the totals that the orchestrator computed from the latencies that clients
    /// reported.
    Drained(Box<Drained>),
    /// The run was aborted.
    Aborted { at: Timestamp, why: Abort },
}

/// A client has completed one step of a request: the prefill, or one decode step.
///
/// `seen - began` is the whole time of the step. Its parts are `setup`, `client_queue`, `client`, `recovery` and the
/// durations of the step's hops (see [`Served`]). The remainder is network time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stepped {
    pub session: SessionId,
    pub request: RequestId,
    /// The number of tokens in each row before the new tokens of this step.
    pub position: u32,
    /// The number of new tokens in each row: the prompt's length in a prefill, 1 in a decode step.
    pub tokens: u32,
    pub batch: u16,
    /// The index of the output token that the step produced, counted from 1; 0 for a prefill of a request that
    /// generates no token.
    pub output: u32,
    /// The start of the step: the arrival of the previous token or, in the first step, the time at which the request
    /// was sent.
    pub began: Timestamp,
    /// The time at which the client had the output token; if the step produced no token, the time at which the last
    /// activation returned.
    pub seen: Timestamp,
    /// The duration of discovery, routing and session set-up, in a step that had to wait for them.
    pub setup: Duration,
    /// The time for which the step waited for the client's own device.
    pub client_queue: Duration,
    /// The compute time of embedding, LM head and sampling on the client's device.
    pub client: Duration,
    /// The part of `client` that the embedding took.
    pub embedding: Duration,
    /// The time from the moment when the client noticed that peers had failed until it sent the step, or its replay,
    /// again.
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
    /// The number of steps in the peer's queue at the time `sent`.
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
    /// The number of sessions that are open at the peer from now on.
    pub open: u32,
    /// The number of sessions that wait for room in the peer's KV cache from now on.
    pub waiting: u32,
}

/// A client has chosen peers for blocks of a request: for all blocks, or as replacements of peers that have failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Routed {
    pub request: RequestId,
    pub at: Timestamp,
    pub blocks: BlockRange,
    pub hops: Vec<Hop>,
    /// A banned peer that the route uses although some of its blocks are also served by unbanned peers. In a correct
    /// run this is always `None`.
    pub needless: Option<NodeId>,
}

/// The activation of one step was carried over one link. Recorded only by simulations and by live runs that shape their
/// traffic, because only these know the parts of the transfer time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    pub session: SessionId,
    pub position: u32,
    pub tokens: u32,
    pub from: NodeId,
    pub to: NodeId,
    pub bytes: u64,
    /// The time for which the message waited for the NICs, for the link and for earlier messages of its connection.
    pub queue: Duration,
    /// The transmission time: the message's bytes divided by the bandwidth.
    pub transmit: Duration,
    /// The propagation delay, including the connection set-up.
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

/// A client has chosen an output token. Recorded only if the run computes values and was asked to keep the scores of
/// tokens.
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

/// The prompt and the output of a request's first row. Only requests with given, not random, prompts have a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    pub request: RequestId,
    /// The token ids of the prompt as it was sent: truncated to the workload's prompt length.
    pub prompt: Vec<u32>,
    /// The ids of the generated tokens. If the request failed, the tokens that were generated before the failure.
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
    /// The number of the client's attempts to recover from this failure.
    pub tries: u32,
    /// The number of tokens of each row that peers computed a second time because of the failure.
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
    /// The end of the request: the arrival of its last token, the return of its last activation if it generates no
    /// token, or its failure.
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
    /// The ids of the tokens that were generated for the first row; empty in a run that computes no values.
    pub output: Vec<u32>,
}

/// The purpose of a lookup in the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// A node looks up its own id, to become known to its neighbours.
    Join,
    /// A node looks for contacts with which to fill those buckets of its routing table that have room.
    Fill,
    /// A node looks up which peers serve which blocks.
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
    /// The number of queries that the lookup sent in total.
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

/// The state of a peer as a server of its blocks (joining, online or offline) has changed.
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
    /// A host stops for a time, but loses no state and no message. No node is notified.
    Stall,
    /// The device of a host becomes slower for a time.
    SlowDevice,
    /// The paths between hosts become slower for a time, NICs included.
    SlowLink,
    /// Messages between groups of hosts wait until the partition ends.
    Partition,
}

impl FaultKind {
    /// Returns the fault's name, as it is shown to people.
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

/// A fault of the plan has occurred. The simulation or the live run that injects the fault records this event, since a
/// node that crashes cannot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultEvent {
    pub at: Timestamp,
    pub fault: FaultKind,
    /// The nodes that the fault affects.
    pub nodes: Vec<NodeId>,
    /// The duration of the fault; `None` if the fault does not end on its own.
    pub lasts: Option<Duration>,
}

/// The totals that the orchestrator computes from the latencies that clients report. The benchmark reports these
/// totals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drained {
    pub at: Timestamp,
    /// The time from the barrier's release, by the orchestrator's clock, until the last client finished, by that
    /// client's clock.
    pub wall: Duration,
    pub requests: u32,
    pub failed: u32,
    /// The number of requests that were not sent because their client already had the maximum number of requests in
    /// flight.
    pub shed: u32,
    /// The number of generated tokens of all timed requests, summed over the rows of each request's batch.
    pub total_tokens: u64,
    /// The sum of the latencies of the successful requests.
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

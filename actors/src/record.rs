//! The events a run leaves behind. They are all that reports are made of, in both worlds.
//!
//! An event is stamped on the clock of the host that saw it. Durations inside one event come from one clock, so they are
//! exact; what happened between hosts is the rest of an interval that one host measured whole.
use crate::dht::State;
use crate::id::{BlockRange, NodeId, RequestId, SessionId};
use crate::message::{Failure, Hop};
use crate::placement::Speed;
use crate::time::{Duration, Timestamp};
use serde::{Deserialize, Serialize};

/// Where the events of a run go.
pub trait Recorder {
    fn record(&mut self, event: Event);
}

impl Recorder for Vec<Event> {
    fn record(&mut self, event: Event) {
        self.push(event);
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A node is up and known to the orchestrator.
    Present {
        node: NodeId,
        at: Timestamp,
    },
    /// A client's warm-up is over.
    Ready {
        client: NodeId,
        at: Timestamp,
    },
    /// The orchestrator has released the barrier: the timed run begins.
    Released {
        at: Timestamp,
    },
    Stepped(Stepped),
    Served(Served),
    Reserved(Reserved),
    Routed(Box<Routed>),
    Carried(Carried),
    Scored(Box<Scored>),
    Ended(Box<Ended>),
    Failover(Box<Failover>),
    Looked(Box<Looked>),
    Pinged(Pinged),
    Serving(Box<Serving>),
    Rated(Box<Rated>),
    FaultEvent(Box<FaultEvent>),
    /// A client is through with its timed requests.
    Finished {
        client: NodeId,
        at: Timestamp,
    },
    /// The run is over and the latencies are drained: the orchestrator's own figures.
    Drained(Box<Drained>),
    /// The run ended before its time.
    Aborted {
        at: Timestamp,
        why: Abort,
    },
}

/// A client has seen one step of a request through: the prefill, or one decode step.
///
/// `seen - began` is the step's whole time; `setup`, `client_queue`, `client` and what [`Served`] says of its hops are
/// parts of it, and the rest is the network's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stepped {
    pub session: SessionId,
    pub request: RequestId,
    /// Tokens before this step's own.
    pub position: u32,
    /// New tokens in each row: the prompt's length in a prefill, 1 in a decode step.
    pub tokens: u32,
    pub batch: u16,
    /// Which output token it gave, counted from 1; 0 for a prefill that was asked for no token.
    pub output: u32,
    /// When the client turned to it: the last token's arrival, or the request's sending.
    pub began: Timestamp,
    /// When its token was there; without one, when the last activation returned.
    pub seen: Timestamp,
    /// Discovery, routing and session set-up before the first step.
    pub setup: Duration,
    /// Waiting for the client's own device.
    pub client_queue: Duration,
    /// Embedding, head and sampling.
    pub client: Duration,
    /// Of it, the embedding.
    pub embedding: Duration,
    /// From when the client noticed that peers had failed until the step, or its replay, was on its way again.
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
    /// The session keeps a cache; without one every step begins at 0.
    pub cached: bool,
    pub received: Timestamp,
    pub started: Timestamp,
    pub finished: Timestamp,
    /// When the result was handed to the link.
    pub sent: Timestamp,
    /// Steps that wait at the peer meanwhile.
    pub queued: u32,
}

/// A peer has reserved a session's KV cache, or has given it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    pub session: SessionId,
    pub peer: NodeId,
    pub at: Timestamp,
    /// What the session holds from now on; nothing: its session is over.
    pub bytes: Option<u64>,
    /// What all sessions of the peer hold from now on, and what they may.
    pub used: u64,
    pub budget: u64,
    /// Sessions that are open from now on, and those that wait for room.
    pub open: u32,
    pub waiting: u32,
}

/// A client has chosen peers for blocks of a request: for all of them, or in place of peers that have failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Routed {
    pub request: RequestId,
    pub at: Timestamp,
    pub blocks: BlockRange,
    pub hops: Vec<Hop>,
    /// A peer among them that is banned, although others hold some of its blocks.
    pub needless: Option<NodeId>,
}

/// The world has carried one step's activation over one link. Only a world that knows the parts records it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    pub session: SessionId,
    pub position: u32,
    pub tokens: u32,
    pub from: NodeId,
    pub to: NodeId,
    pub bytes: u64,
    /// Waiting for the NICs and the link.
    pub queue: Duration,
    /// Bytes over bandwidth.
    pub transmit: Duration,
    /// Propagation, connection set-up included.
    pub propagation: Duration,
}

/// A ping of a client has come back from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinged {
    pub client: NodeId,
    pub peer: NodeId,
    /// When it was back.
    pub at: Timestamp,
    pub took: Duration,
}

/// A client has chosen an output token, in a world that computes values and was asked to keep the scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    pub request: RequestId,
    /// Counted from 1.
    pub output: u32,
    /// The first row's token that was chosen.
    pub token: Option<u32>,
    /// The best of the first row's tokens and their scores (logits), the best first.
    pub best: Vec<(u32, f32)>,
}

/// What a request of a given prompt said: the first row of its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    pub request: RequestId,
    /// As it was sent: cut to the workload's length.
    pub prompt: Vec<u32>,
    /// What was generated, all of it or until the request failed.
    pub ids: Vec<u32>,
    /// Both as text, without special tokens; nothing, where there is no tokenizer.
    pub texts: Option<(String, String)>,
}

/// A request has got over the failure of peers of its route: a step that they had kept from returning has returned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failover {
    pub request: RequestId,
    /// Whom it has lost, in the order in which it noticed.
    pub lost: Vec<NodeId>,
    /// When the client last heard of the first of them, or gave it something to do.
    pub heard: Timestamp,
    pub noticed: Timestamp,
    /// When other peers were there to take over.
    pub mended: Timestamp,
    /// When the step returned.
    pub resumed: Timestamp,
    /// Tries it took.
    pub tries: u32,
    /// Tokens of each row that had to be computed again.
    pub replayed: u32,
}

/// A request is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    pub request: RequestId,
    pub session: SessionId,
    pub intended: Timestamp,
    pub sent: Timestamp,
    /// The last token's arrival, or the last activation's return when no token was asked for, or the failure.
    pub at: Timestamp,
    pub batch: u32,
    pub prompt: u32,
    pub generate: u32,
    /// Tokens of each row it did generate.
    pub generated: u32,
    /// Of `at - sent`: looking up the peers in the DHT.
    pub discovery: Duration,
    /// Of `at - sent`: opening the sessions along the route.
    pub sessions: Duration,
    pub route: Vec<NodeId>,
    pub outcome: Result<(), Failure>,
    /// The ids of row 0, where a world computes values.
    pub output: Vec<u32>,
}

/// What a node looks for in the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// Its own id, to become known.
    Join,
    /// Contacts for the buckets that have room.
    Fill,
    /// Who serves blocks.
    Find,
    /// Where to store what it announces.
    Announce,
    /// To whom a route goes on from a peer.
    NextHopProbe,
}

/// A lookup in the DHT is over: of several keys, where they were looked up together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Looked {
    pub node: NodeId,
    pub purpose: Purpose,
    pub at: Timestamp,
    pub took: Duration,
    pub keys: u32,
    /// Questions, one after another, that led to the node nearest to a key: the most of all keys.
    pub hops: u16,
    /// Questions in all.
    pub asked: u32,
    /// Of them, those that nobody answered.
    pub silent: u32,
    /// Peers whose records it found.
    pub found: u32,
}

/// A peer has measured how fast it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rated {
    pub peer: NodeId,
    pub at: Timestamp,
    pub speed: Speed,
    /// Tokens per second through its blocks, by what it announces.
    pub throughput: f64,
}

/// A peer has come or gone as the server of its blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Serving {
    pub peer: NodeId,
    pub at: Timestamp,
    pub blocks: BlockRange,
    pub state: State,
}

/// What may go wrong in a run because its plan wants it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FaultKind {
    Crash,
    Restart,
    Leave,
    Join,
    Stall,
    SlowDevice,
    SlowLink,
    Partition,
}

impl FaultKind {
    /// What a person calls it.
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

/// A fault of the plan has fault_events. The world that carries it out records it: who crashes cannot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultEvent {
    pub at: Timestamp,
    pub fault: FaultKind,
    /// Whom it befalls.
    pub nodes: Vec<NodeId>,
    /// How long it lasts, if it ends by itself.
    pub lasts: Option<Duration>,
}

/// The orchestrator's figures, made from the latencies it drained: the contract of the benchmark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drained {
    pub at: Timestamp,
    /// From the barrier's release to the last client's own end stamp.
    pub wall: Duration,
    pub requests: u32,
    pub failed: u32,
    /// Not sent, since their clients had as many under way as they may.
    pub shed: u32,
    /// P x M x B x T, where nothing failed.
    pub total_tokens: u64,
    /// Over the requests that succeeded.
    pub latency_sum: Duration,
}

impl Drained {
    /// Tokens per second by wall clock; 0 for an empty run.
    pub fn throughput(&self) -> f64 {
        if self.wall == Duration::ZERO { 0.0 } else { self.total_tokens as f64 / self.wall.as_secs_f64() }
    }

    /// Mean seconds of a request; absent if none succeeded.
    pub fn mean_latency_s(&self) -> Option<f64> {
        let served = self.requests - self.failed - self.shed;
        (served > 0).then(|| self.latency_sum.as_secs_f64() / f64::from(served))
    }
}

/// Why a run was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Abort {
    #[error("{missing} of {expected} nodes did not come up in time, {such_as} among them")]
    NotPresent { missing: u32, expected: u32, such_as: NodeId },
    #[error("the warm-up of {client} failed: {why}")]
    WarmupFailed { client: NodeId, why: Failure },
    #[error("{0} was lost before the timed run began")]
    LostEarly(NodeId),
}

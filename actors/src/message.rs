//! The typed messages of the swarm, and the jobs of its devices.
//!
//! A message is small (a test holds it to 48 bytes): large or rare variants are boxed. An activation says its size and
//! carries its data only where there is any: nothing in a simulation of costs, bytes in the live world.
mod activation;
mod node_role;

pub use activation::{Activation, Buffer, Payload, WireType};
pub use node_role::NodeRole;

pub use crate::dht::rpc::Rpc;
use crate::id::{BlockRange, NodeId, RequestId, SessionId};
pub use crate::peer::Benchmark;
use crate::time::{Duration, Timestamp};
use crate::world::Effect;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Everything that travels between nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    // -- the measured protocol: orchestrator and clients --
    /// To the orchestrator: this node is up, its weights are loaded, it has announced itself.
    Present(Present),
    /// To a client: generate one token with the cell's own prompt and batch, then say Ready.
    Warm(Warm),
    /// To the orchestrator: the warm-up is over.
    Ready(Ready),
    /// To a client: the barrier is released, start the timed requests.
    Go(Go),
    /// To the orchestrator: one timed request took this long.
    Latency(Latency),
    /// To the orchestrator: all timed requests of this client are over.
    Finished(Finished),
    // -- discovery --
    /// Between the nodes of the DHT.
    Rpc(Box<Rpc>),
    // -- sessions --
    Open(Box<Open>),
    Opened(Opened),
    /// A step of a session on its way to the peer of its hop.
    Step(Step),
    /// A step on its way back to the client, after its hop.
    Returned(Returned),
    Reroute(Box<Reroute>),
    Close(Close),
    Refused(Refused),
    // -- is anybody there --
    Ping(Ping),
    Pong(Pong),
    // -- said by the world, never by a node --
    /// The node this comes from cannot be reached any more. From itself: it is to leave.
    Gone(Gone),
}

/// A message as it reaches the `Handler` of its type.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct TypedMessage<M: 'static> {
    pub from: NodeId,
    pub body: M,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warm;

/// How the warm-up of a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    pub warmed: Result<(), Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Go;

/// One timed request's duration, the whole generate(), prompt included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    pub request: RequestId,
    pub took: Result<Duration, Failure>,
    /// Tokens it generated, over all rows of the batch.
    pub tokens: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// On the client's clock.
    pub at: Timestamp,
}

/// What a peer tells the swarm about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Announce {
    pub peer: NodeId,
    pub blocks: BlockRange,
    /// Blocks per second of one-token steps (Petals' `inference_rps`), for the router.
    pub inference_rps: f64,
    /// When it was announced; what it sends later says it anew.
    pub load: Load,
    /// Round trips to peers that may come after it, where it has measured them (Petals' `next_pings`).
    pub next: Vec<(NodeId, Duration)>,
}

/// How busy a peer is: it says so with its announcements, when it opens a session, and when it is pinged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Tokens of one row that its KV caches still have room for, over all of its blocks (Petals' `cache_tokens_left`).
    pub cache_tokens: u32,
    /// Open ones.
    pub sessions: u32,
    /// Microseconds of a one-token step, its share where several are computed together; 0: none was yet.
    pub step: u32,
    /// Thousandths of the last second or two in which its device worked for it.
    pub busy: u16,
}

/// Nothing is known: an idle peer with room for all.
impl Default for Load {
    fn default() -> Load {
        Load { cache_tokens: u32::MAX, sessions: 0, step: 0, busy: 0 }
    }
}

/// One peer of a route and the blocks it computes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    pub peer: NodeId,
    pub blocks: BlockRange,
}

/// Who sends a step from one peer to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Forwarding {
    /// Each peer returns the step to the client, which sends it to the next peer.
    #[default]
    Relay,
    /// Each peer sends the step directly to the next; the last returns it to the client.
    Push,
}

/// Asks a peer to hold a session: its part of the route and a KV cache of `max_length` tokens a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    pub session: SessionId,
    /// What the receiver is to compute, and which hop of the route that is.
    pub blocks: BlockRange,
    pub hop: u16,
    /// Who gets what it has computed; without one, the client.
    pub next: Option<Next>,
    pub batch: u32,
    pub max_length: u32,
    /// Whether the session has a cache. Without one every step carries the whole prefix, and none is kept.
    pub cached: bool,
    /// Keep what is sent to `next`, for whoever may have to take its place.
    pub keep: bool,
    /// What is computed of the tokens before this position is of use to nobody further on.
    pub wanted: u32,
}

/// The session that follows on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    pub peer: NodeId,
    pub session: SessionId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    pub session: SessionId,
    /// With this session.
    pub load: Load,
}

/// To a peer: another session follows on yours. What you have sent, or would have sent, from position `from` on goes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reroute {
    pub session: SessionId,
    pub next: Next,
    pub from: u32,
}

/// New tokens on their way through the route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// That is to compute it, or (in a [`Returned`]) has.
    pub session: SessionId,
    /// Tokens that came before these; the KV cache must hold exactly as many.
    pub position: u32,
    pub activation: Activation,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Returned(pub Step);

/// The session is over: forget its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    pub session: SessionId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The session it is about, where it is about one.
    pub session: Option<SessionId>,
    pub why: Refusal,
}

/// Asks for a [`Pong`], which every node answers at once, whatever its device is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    pub nonce: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The ping's.
    pub nonce: u64,
    /// Of a peer; of other nodes nothing.
    pub load: Load,
}

impl Ping {
    /// The answer to whoever asked.
    pub fn answer(self, from: NodeId) -> Effect {
        Effect::Send { to: from, message: Message::Pong(Pong { nonce: self.nonce, load: Load::default() }) }
    }
}

/// Why a node does not do what it was asked; always typed, so that the asker can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    #[error("its queue is full")]
    Busy,
    #[error("its KV cache has no room")]
    CacheFull,
    #[error("it does not serve these blocks")]
    NotServing,
    #[error("it knows no such session")]
    UnknownSession,
    #[error("the step does not follow the last one")]
    OutOfOrder,
    #[error("the step is larger than its session allows")]
    TooLong,
    #[error("its device failed to execute the step")]
    DeviceFailed,
    /// Every peer with the same weights would fail in the same way: not tried again.
    #[error("{0}")]
    NotFinite(NotFinite),
    #[error("it has not kept what it is to send again")]
    NotKept,
    #[error("the session has lasted as long as it may")]
    Expired,
    #[error("it does not handle such messages")]
    NotUnderstood,
}

/// Which values of a model overflowed, so that no token can be chosen by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum NotFinite {
    #[error("hidden states of the embedding are not finite")]
    Embedding,
    #[error("hidden states that came to block {0} are not finite")]
    Before(u32),
    #[error("hidden states after block {0} are not finite")]
    After(u32),
    #[error("scores are not finite")]
    Scores,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone;

/// Why a request ended without its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    #[error("no route covers every block")]
    NoRoute,
    #[error("{0} refused: {1}")]
    Refused(NodeId, Refusal),
    #[error("{0} was lost")]
    PeerLost(NodeId),
    #[error("the client's own device failed")]
    ClientDevice,
    #[error("on the client's own device, {0}")]
    ClientNotFinite(NotFinite),
    #[error("timed out")]
    Timeout,
    #[error("its client had as many under way as it may")]
    Shed,
}

impl Failure {
    /// One word for tables and columns.
    pub fn label(self) -> &'static str {
        match self {
            Failure::NoRoute => "no_route",
            Failure::Refused(_, Refusal::Busy) => "busy",
            Failure::Refused(_, Refusal::CacheFull) => "cache_full",
            Failure::Refused(_, Refusal::NotFinite(_)) | Failure::ClientNotFinite(_) => "not_finite",
            Failure::Refused(..) => "refused",
            Failure::PeerLost(_) => "peer_lost",
            Failure::ClientDevice => "client_device",
            Failure::Timeout => "timeout",
            Failure::Shed => "shed",
        }
    }
}

/// Token ids, `[batch, tokens]` row-major, where a world computes values.
pub type Ids = Option<Arc<Vec<u32>>>;

/// Identifies a job among those its node has given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// Work for the device of a node's host. Its end comes back as [`Computed`].
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub ticket: Ticket,
    pub work: Work,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Load these blocks, in place of those it has; without any, the embedding and the head.
    Load { blocks: Option<BlockRange> },
    /// Token ids `[batch, tokens]` at `position` to hidden states.
    Embed { batch: u16, tokens: u32, position: u32, ids: Ids },
    /// One step.
    Blocks(Piece),
    /// Steps of several sessions through the same blocks at once.
    Batch(Vec<Piece>),
    /// Final norm, head and sampling on the last position of each row: output token `output` of `request`, counted from 1.
    Head { request: RequestId, output: u32, input: Activation },
    /// A step of made-up values through one block, into a cache of the peer's own, to see how long it takes.
    Benchmark { block: u32, benchmark: Benchmark },
    /// Drop the KV cache of a session. No [`Computed`] answers it.
    Release { session: SessionId },
}

/// A step, or a part of one: hidden states through `blocks`, appending to the session's KV cache at `position`.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub session: SessionId,
    /// What is computed now: all of `held`, or some of it in order.
    pub blocks: BlockRange,
    /// What the session's cache is for.
    pub held: BlockRange,
    pub position: u32,
    pub max_length: u32,
    pub input: Activation,
}

/// A job is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Computed {
    pub ticket: Ticket,
    /// When the device (and the core lease, where hosts share a machine) was the job's.
    pub started: Timestamp,
    pub finished: Timestamp,
    pub output: Result<Output, Refusal>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Loaded,
    /// Of a [`Work::Benchmark`].
    Tried,
    Hidden(Activation),
    /// Of each piece of a batch, in order.
    Batch(Vec<Activation>),
    /// One id for each row, where a world computes values.
    Tokens(Ids),
}

/// A timer of one's own has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Woken(pub Timer);

/// What a node asked to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timer {
    /// A client looks whether a request has run out of time.
    Deadline,
    /// A client looks whether the peers it waits for are still there.
    Heartbeat,
    /// A client tries again what has failed.
    Retry,
    /// A client turns to the request that is due.
    Arrival,
    /// The orchestrator looks whether the swarm has come up.
    ReadyTimeout,
    /// A client pings a few peers again.
    Pings,
    /// A peer looks who has waited too long for room in its cache.
    Admission,
    /// A peer looks which sessions have lasted too long.
    Lifetime,
    /// A peer waits no longer for more steps, and computes those that have come.
    Gather,
    /// A node of the DHT looks who has not answered.
    Dht,
    /// A peer announces itself again, as it does from time to time.
    Announce,
    /// A peer announces itself once more, for nobody has kept what it said.
    AnnounceAgain,
    /// A peer waits no longer for those that it has pinged, and announces itself.
    NextHopProbe,
    /// A peer that chooses its blocks looks whether others need it more.
    Place,
}

impl Timer {
    /// Runs out again and again, whether or not anybody asks for a token.
    #[inline]
    pub fn is_upkeep(self) -> bool {
        matches!(self, Timer::Dht | Timer::Announce | Timer::AnnounceAgain | Timer::NextHopProbe | Timer::Place)
    }
}

macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        impl Message {
            /// The kind's name, for traces and errors.
            pub fn kind(&self) -> &'static str {
                match self { $(Message::$kind(_) => stringify!($kind)),* }
            }
        }
    };
}
kinds!(
    Present, Warm, Ready, Go, Latency, Finished, Rpc, Open, Opened, Step, Returned, Reroute, Close, Refused, Ping,
    Pong, Gone
);

impl Message {
    /// Bytes on the wire: the frame's header, a control part of typical size, and the values of an activation.
    ///
    /// Links are charged by this in both worlds, so that a prediction does not hang on an encoder's details.
    #[inline]
    pub fn wire_bytes(&self) -> u64 {
        const FRAME: u64 = 64;
        match self {
            Message::Step(step) | Message::Returned(Returned(step)) => FRAME + step.activation.bytes(),
            Message::Rpc(rpc) => FRAME + rpc.wire_bytes(),
            _ => FRAME,
        }
    }

    /// What nodes say to keep the swarm together, whether or not anybody asks for a token.
    #[inline]
    pub fn is_upkeep(&self) -> bool {
        matches!(self, Message::Rpc(_) | Message::Ping(_) | Message::Pong(_))
    }

    /// Part of the measured work, as against orchestration: only this is shaped, and only this costs time in a simulation.
    #[inline]
    pub fn is_swarm_traffic(&self) -> bool {
        !matches!(
            self,
            Message::Present(_)
                | Message::Warm(_)
                | Message::Ready(_)
                | Message::Go(_)
                | Message::Latency(_)
                | Message::Finished(_)
                | Message::Gone(_)
        )
    }
}

const _: () = assert!(size_of::<Message>() <= 48, "a wide message makes every queue slower");

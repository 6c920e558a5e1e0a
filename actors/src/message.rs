//! The typed messages between the nodes of the swarm, and the jobs that nodes give to devices.
//!
//! [`Message`] occupies at most 48 bytes (an assertion at compile time checks this): large or rare variants are boxed.
//! An activation always states its size. It carries values only in a run that computes values, not in a simulation of
//! sizes and times only.
mod activation;
mod node_role;
mod ping_purpose;

pub use activation::{Activation, Buffer, Payload, WireType};
pub use node_role::NodeRole;
pub use ping_purpose::PingPurpose;

use crate::announce::Load;
pub use crate::dht::rpc::Rpc;
use crate::id::{BlockRange, NodeId, RequestId, SessionId};
use crate::time::{Duration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A message between two nodes, or a notice to a node from the runtime that carries messages ([`Message::Gone`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    // -- between the orchestrator and the other nodes: readiness, barrier and results --
    /// From a client or a peer to the orchestrator: the sender is up and has loaded its weights. A peer has also
    /// announced itself.
    Present(Present),
    /// From the orchestrator to a client: run the warm-up request, then send [`Ready`]. The warm-up has the batch size
    /// and the prompt length of a timed request, and generates one token.
    Warm(Warm),
    /// From a client to the orchestrator: the client's warm-up is over.
    Ready(Ready),
    /// From the orchestrator to a client: the barrier is released; start the timed requests.
    Go(Go),
    /// From a client to the orchestrator: the latency of one timed request, or the reason of its failure.
    Latency(Latency),
    /// From a client to the orchestrator: all timed requests of the client are over.
    Finished(Finished),
    // -- discovery of peers --
    /// A request or a response of the DHT.
    Rpc(Box<Rpc>),
    // -- sessions of a client at a peer --
    /// From a client to a peer: open a session.
    Open(Box<Open>),
    /// From a peer to a client: the session is open.
    Opened(Opened),
    /// A step of a session, on its way to the peer that computes the step.
    Step(Step),
    /// A computed step, on its way back to the client.
    Returned(Returned),
    /// From a client to a peer: send the outputs of a session to a new next hop.
    Reroute(Box<Reroute>),
    /// From a client to a peer: close a session.
    Close(Close),
    /// The reply to a request that its receiver refuses.
    Refused(Refused),
    // -- checks whether a node is reachable --
    /// To any node: answer with a [`Pong`].
    Ping(Ping),
    /// The answer to a [`Ping`].
    Pong(Pong),
    // -- sent by the runtime that carries messages, never by a node --
    /// The node that is named as the sender of this message has become unreachable.
    Gone(Gone),
}

/// A message of type `M` and its sender, as the actix `Handler` for `M` receives them.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub struct Inbound<M: 'static> {
    pub from: NodeId,
    pub body: M,
}

/// The body of [`Message::Present`]: the sending client or peer is up and has loaded its weights. A peer has also
/// announced itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present;

/// The body of [`Message::Warm`]: the receiving client must run its warm-up request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warm;

/// The body of [`Message::Ready`]: the result of the client's warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    pub warmed: Result<(), Failure>,
}

/// The body of [`Message::Go`]: the barrier is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Go;

/// The body of [`Message::Latency`]: the result of one timed request. The latency covers the whole `generate()` call,
/// prefill included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    pub request: RequestId,
    pub took: Result<Duration, Failure>,
    /// The number of generated tokens, summed over all rows of the batch.
    pub tokens: u32,
}

/// The body of [`Message::Finished`]: all timed requests of the sending client are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// The time at which the client's last request ended, on the client's clock.
    pub at: Timestamp,
}

/// One hop of a route: a peer, and the block range that it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    pub peer: NodeId,
    pub blocks: BlockRange,
}

/// How a step gets from one peer to the next: through the client, or directly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Forwarding {
    /// Each peer returns the step to the client, which sends it to the next peer.
    #[default]
    Relay,
    /// Each peer sends the step directly to the next peer; the last peer returns it to the client.
    Push,
}

/// A request to a peer to open a session, in which the peer computes one hop of a route. The session's KV cache holds
/// up to `max_length` tokens for each row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    pub session: SessionId,
    /// The block range that the receiver has to compute.
    pub blocks: BlockRange,
    /// The index of the hop in the route.
    pub hop: u16,
    /// The session of the next hop, which receives the outputs. With `None`, the peer sends the outputs to the client.
    pub next: Option<Next>,
    pub batch: u32,
    pub max_length: u32,
    /// Whether the session has a KV cache. Without a cache, every step carries the whole prefix, and the peer keeps
    /// nothing after the step.
    pub cached: bool,
    /// Whether the peer keeps the hidden states that it sends to `next`, so that it can send them again to a
    /// replacement of `next`.
    pub keep: bool,
    /// The first position whose output the next hop needs. The peer does not forward the output of earlier positions.
    pub wanted: u32,
}

/// The next session on a route, and the peer that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    pub peer: NodeId,
    pub session: SessionId,
}

/// The answer to [`Open`]: the session is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    pub session: SessionId,
    /// The peer's load, including the opened session.
    pub load: Load,
}

/// Asks a peer to send the outputs of `session` to a new next hop. `next` is the session at that hop; it replaces the
/// session at the former one. The peer first sends its kept outputs from position `from` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reroute {
    pub session: SessionId,
    pub next: Next,
    pub from: u32,
}

/// One step of a session: the hidden states of new tokens, on their way through the route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The session that computes the step, or, in a [`Returned`], the session that has computed it.
    pub session: SessionId,
    /// The number of tokens in each row before the step's tokens. The session must have accepted at least as many.
    /// Tokens of the step that the session has accepted already are skipped.
    pub position: u32,
    pub activation: Activation,
}

/// A computed step that goes back to the client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Returned(pub Step);

/// A request to a peer to close a session and to free its KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    pub session: SessionId,
}

/// The answer of a node that refuses a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The session that the refused message was about, if any.
    pub session: Option<SessionId>,
    pub why: Refusal,
}

/// A request for a [`Pong`]. Every node answers at once, even while its device computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// A number that the pong repeats. Only the sender of the ping interprets it (see [`PingPurpose`]).
    pub nonce: u64,
}

/// The answer to a [`Ping`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The nonce of the ping.
    pub nonce: u64,
    /// The sender's load if the sender is a peer; all other nodes send [`Load::default`].
    pub load: Load,
}

/// The reason why a node refuses a message. The sender of the message acts on the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The peer's queue of steps is full, too many sessions are open, or the session is open or waiting already.
    #[error("the peer has too many steps or sessions, or has this session already")]
    Busy,
    /// The KV cache has no room for the session, or too many sessions wait for room already.
    #[error("the KV cache of the peer has no room for the session")]
    CacheFull,
    /// The peer does not serve the requested blocks.
    #[error("the peer does not serve the requested blocks")]
    NotServing,
    /// The peer has no session with the id in the message.
    #[error("the peer has no session with this id")]
    UnknownSession,
    /// The step has no tokens, has the wrong batch size, or leaves a gap after the tokens that its session has
    /// accepted.
    #[error("the step is empty, has the wrong batch size, or leaves a gap after the tokens of its session")]
    OutOfOrder,
    /// The step exceeds the maximum length of its session, or the session to open exceeds the limit of its batch or
    /// length.
    #[error("the step or the session is larger than the peer allows")]
    TooLong,
    /// The device failed to execute the step.
    #[error("the device of the peer failed to execute the step")]
    DeviceFailed,
    /// Values of the step were not finite. Every peer with the same weights would fail in the same way, so the request
    /// is not tried again.
    #[error("{0}")]
    NotFinite(NotFinite),
    /// The peer has not kept the hidden states that it is asked to send again.
    #[error("the peer has not kept the outputs that it was asked to send again")]
    NotKept,
    /// The session has exceeded its maximum total time or its maximum idle time.
    #[error("the session has exceeded its maximum total time or its maximum idle time")]
    Expired,
    /// The node does not handle messages of this kind.
    #[error("the node does not handle messages of this kind")]
    NotUnderstood,
}

/// The place in the model where values were not finite, so that no token can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum NotFinite {
    #[error("the hidden states after the embedding are not finite")]
    Embedding,
    #[error("the hidden states that entered block {0} are not finite")]
    Before(u32),
    #[error("the hidden states after block {0} are not finite")]
    After(u32),
    #[error("the scores of the next token are not finite")]
    Scores,
}

/// The body of [`Message::Gone`]: the node that is named as the sender has become unreachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone;

/// The reason why a request ended before it had generated all of its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// No route of known peers covers every block.
    #[error("no route of known peers covers every block")]
    NoRoute,
    /// A peer refused a message of the request.
    #[error("{0} refused the request: {1}")]
    Refused(NodeId, Refusal),
    /// A peer became unreachable, or did not answer in time.
    #[error("{0} became unreachable or did not answer in time")]
    PeerLost(NodeId),
    /// The client's own device failed.
    #[error("the device of the client failed")]
    ClientDevice,
    /// Values on the client's own device were not finite.
    #[error("on the device of the client, {0}")]
    ClientNotFinite(NotFinite),
    /// The request exceeded its timeout.
    #[error("the request exceeded its timeout")]
    Timeout,
    /// The request was not sent, because its client already had the maximum number of requests in flight.
    #[error("the request was not sent, because its client already had the maximum number of requests in flight")]
    Shed,
}

impl Failure {
    /// Returns the name of the failure for tables and columns, such as `no_route`.
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

/// Token ids, `[batch, tokens]`, row-major; `None` in a run that computes no values.
pub type Ids = Option<Arc<Vec<u32>>>;

/// The purpose of a job. A node tells the results of its jobs apart by their tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ticket {
    /// A job that loads the node's part of the model.
    Load,
    /// A job that frees the KV cache of a session.
    Release,
    /// A job of a peer's self-benchmark.
    Benchmark,
    /// A peer's job that computes steps, with the job's number.
    Steps(u64),
    /// A job for a client's request: the request's index, and the number of the job among the request's jobs.
    Request { index: u32, job: u32 },
}

/// Work for the device of a node's host. Its end is reported by [`Computed`], except for [`Work::Release`].
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub ticket: Ticket,
    pub work: Work,
}

/// The work of one job of a device.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Load the weights of these blocks in place of those that are loaded; `None` loads the embedding and the LM head.
    Load { blocks: Option<BlockRange> },
    /// Turn token ids into hidden states. `ids` is `[batch, tokens]`, and the first token of each row is at `position`.
    Embed { batch: u16, tokens: u32, position: u32, ids: Ids },
    /// Compute one step, or one step through some of its blocks.
    Blocks(Piece),
    /// Compute steps of several sessions together, all through the same blocks.
    Batch(Vec<Piece>),
    /// Compute the final norm, the LM head and the sampling for the last position of each row. The result is output
    /// token `output` of `request`, counted from 1.
    Head { request: RequestId, output: u32, input: Activation },
    /// Measure one step of a peer's self-benchmark: compute made-up values through one block, with a KV cache that
    /// belongs to no session.
    Benchmark { block: u32, benchmark: Benchmark },
    /// Free the KV cache of a session. This job is not answered by [`Computed`].
    Release { session: SessionId },
}

/// A step, or a step through some of its blocks: the hidden states `input` go through `blocks`, and extend the
/// session's KV cache from `position` on.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    pub session: SessionId,
    /// The block range that this job computes: all or some of the blocks `held`. The jobs of one step compute their
    /// blocks in order.
    pub blocks: BlockRange,
    /// The block range of the session's KV cache.
    pub held: BlockRange,
    pub position: u32,
    pub max_length: u32,
    pub input: Activation,
}

/// One step of a peer's self-benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Benchmark {
    /// The number of tokens in the step.
    pub tokens: u32,
    /// The number of tokens that the KV cache holds before the step. At 0, the step begins a new KV cache.
    pub position: u32,
    /// The number of tokens for which the KV cache must have room.
    pub max_length: u32,
}

/// The report that a job of a device has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Computed {
    pub ticket: Ticket,
    /// The time at which the job got the device (and a core lease, if the machine limits how many jobs compute at
    /// once).
    pub started: Timestamp,
    pub finished: Timestamp,
    pub output: Result<Output, Refusal>,
}

/// The result of a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// The weights of a [`Work::Load`] are loaded.
    Loaded,
    /// A [`Work::Benchmark`] has been measured.
    Benchmarked,
    /// The hidden states after a [`Work::Embed`] or a [`Work::Blocks`].
    Hidden(Activation),
    /// The hidden states of each piece of a [`Work::Batch`], in order.
    Batch(Vec<Activation>),
    /// The id of the next token of each row; `None` in a run that computes no values.
    Tokens(Ids),
}

/// The runtime's command to a node to leave the swarm, because the node's process is about to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave;

/// A timer of the receiving node has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Woken(pub Timer);

/// The purpose of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timer {
    /// On expiry, a client checks whether a request has exceeded its timeout.
    Deadline,
    /// On expiry, a client checks whether the peers that it waits for are still reachable.
    Heartbeat,
    /// On expiry, a client retries after a failure.
    Retry,
    /// On expiry, a client starts the requests of its open-loop schedule that are due.
    Arrival,
    /// On expiry, the orchestrator checks whether all nodes of the swarm are up.
    ReadyTimeout,
    /// On expiry, a client pings some peers again, to measure round-trip times.
    Pings,
    /// On expiry, a peer checks which sessions have waited too long for room in its KV cache.
    Admission,
    /// On expiry, a peer checks which sessions have exceeded their lifetime.
    Lifetime,
    /// On expiry, a peer's batching delay is over: the peer computes the steps that have arrived.
    BatchWait,
    /// On expiry, a node of the DHT checks which of its requests were not answered in time.
    Dht,
    /// On expiry, a peer repeats its periodic announcement.
    Announce,
    /// On expiry, a peer announces itself again, because no node stored its last announcement.
    AnnounceAgain,
    /// On expiry, a peer stops waiting for the pongs of its next-hop probe, and announces itself.
    NextHopProbe,
    /// On expiry, a peer that chooses its own blocks checks whether other blocks need it more.
    Place,
}

impl Timer {
    /// Whether the timer belongs to the upkeep of the swarm: such timers recur even while no request is in flight.
    #[inline]
    pub fn is_upkeep(self) -> bool {
        matches!(self, Timer::Dht | Timer::Announce | Timer::AnnounceAgain | Timer::NextHopProbe | Timer::Place)
    }
}

macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        impl Message {
            /// Returns the name of the message's kind, for traces and errors.
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
    /// Returns the size of the message on the wire, in bytes: a frame header and a control part of typical size (64
    /// bytes together), plus the values of an activation or the body of a DHT message.
    ///
    /// Live runs and simulations both charge links with this size, so that predictions do not depend on details of the
    /// encoding.
    #[inline]
    pub fn wire_bytes(&self) -> u64 {
        const FRAME: u64 = 64;
        match self {
            Message::Step(step) | Message::Returned(Returned(step)) => FRAME + step.activation.bytes(),
            Message::Rpc(rpc) => FRAME + rpc.wire_bytes(),
            _ => FRAME,
        }
    }

    /// Whether the message belongs to the upkeep of the swarm: nodes send such messages even while no request is in
    /// flight.
    #[inline]
    pub fn is_upkeep(&self) -> bool {
        matches!(self, Message::Rpc(_) | Message::Ping(_) | Message::Pong(_))
    }

    /// Whether the message belongs to the measured work of the swarm, not to the orchestration. Only messages of the
    /// measured work are shaped in a live run and take time in a simulation.
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

const _: () = assert!(size_of::<Message>() <= 48, "a wider `Message` makes every queue slower");

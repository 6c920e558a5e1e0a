//! The outcome of a run, with the node, host or session that caused its end if there is one.
use actors::id::{BlockRange, HostId, NodeId, SessionId};
use actors::invariants::{Invariant, MessageAccount};
use actors::record::{Abort, Drained, Event};
use actors::time::Timestamp;

/// The way in which a run, simulated or live, has ended.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Outcome {
    #[error("the run has ended")]
    Done(Drained),
    #[error("the simulation stalled at {} s: no events are pending, but the orchestrator has not finished the run", at.0 as f64 / 1e9)]
    Deadlock { at: Timestamp },
    #[error("{node} panicked: {what}")]
    Panicked { node: NodeId, what: String },
    #[error("the simulation did not end within {events} events")]
    Horizon { events: u64 },
    #[error("the run violated the invariant `{invariant}` at the event {event:?}")]
    Broken { invariant: Invariant, event: Box<Event> },
    #[error(
        "the run violated the invariant `{}`{}: {} messages were sent, {} delivered, {} lost, and {in_flight} are in \
         flight",
        Invariant::MessagesBalanced, between(way), account.sent, account.delivered, account.lost
    )]
    Unbalanced {
        /// The names of the sending and the receiving host if `account` covers only the messages from that sender to
        /// that receiver.
        way: Option<(String, String)>,
        account: MessageAccount,
        in_flight: u64,
    },
    #[error(
        "the run violated the invariant `{}`: the device of {node} still holds the KV cache of {session:?}, which is \
         closed",
        Invariant::CacheFreed
    )]
    CacheKept { node: NodeId, session: SessionId },
    #[error("{0}")]
    Aborted(Abort),
    #[error("the process of host `{name}` was lost: {why}")]
    HostLost { host: HostId, name: String, why: String },
    #[error("the run cannot continue, because no peer serves {} any more: {}", ranges(blocks), departed(hosts))]
    BlocksLost {
        blocks: Vec<BlockRange>,
        /// The hosts that held the lost blocks and are gone for good, each with the reason.
        hosts: Vec<(String, String)>,
    },
    #[error("the run was interrupted")]
    Interrupted,
}

impl Outcome {
    /// Returns the one-word name of the outcome for tables and columns.
    pub fn label(&self) -> &'static str {
        match self {
            Outcome::Done(drained) if drained.failed > 0 => "requests_failed",
            Outcome::Done(_) => "ok",
            Outcome::Deadlock { .. } => "deadlock",
            Outcome::Panicked { .. } => "panicked",
            Outcome::Horizon { .. } => "horizon",
            Outcome::Broken { .. } | Outcome::Unbalanced { .. } | Outcome::CacheKept { .. } => "broken",
            Outcome::Aborted(Abort::NotPresent { .. } | Abort::LostEarly(_)) => "not_ready",
            Outcome::Aborted(Abort::WarmupFailed { .. }) => "warmup_failed",
            Outcome::HostLost { .. } => "host_lost",
            Outcome::BlocksLost { .. } => "blocks_lost",
            Outcome::Interrupted => "interrupted",
        }
    }

    /// Whether the run ended normally and no request failed.
    pub fn is_ok(&self) -> bool {
        self.label() == "ok"
    }
}

/// Formats block ranges as a scenario writes them.
pub fn ranges(blocks: &[BlockRange]) -> String {
    let ranges: Vec<String> = blocks.iter().map(|range| format!("Blocks({}, {})", range.start, range.end)).collect();
    ranges.join(", ")
}

fn departed(hosts: &[(String, String)]) -> String {
    let hosts: Vec<String> =
        hosts.iter().map(|(name, why)| format!("host `{name}` does not come back ({why})")).collect();
    hosts.join(", ")
}

fn between(way: &Option<(String, String)>) -> String {
    way.as_ref().map_or(String::new(), |(from, to)| format!(" from host `{from}` to host `{to}`"))
}

/// The result of a run: its outcome and every event up to its end.
#[derive(Clone, Debug)]
pub struct Run {
    pub outcome: Outcome,
    pub events: Vec<Event>,
    /// A hash of the time, the order and the content of every delivery; `None` for a live run.
    pub trace: Option<u64>,
    /// The number of deliveries by the simulation's event loop.
    pub delivered: u64,
    /// The counts of all messages between nodes, if the run ended normally and its messages were counted.
    pub account: Option<MessageAccount>,
}

//! How a run ended, naming the culprit where there is one.
use actors::id::{BlockRange, HostId, NodeId, SessionId};
use actors::invariants::{Invariant, MessageAccount};
use actors::record::{Abort, Drained, Event};
use actors::time::Timestamp;

/// The end of a run, in either world.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Outcome {
    #[error("done")]
    Done(Drained),
    #[error("nothing was left to happen after {} s, and the orchestrator has not drained the run", at.0 as f64 / 1e9)]
    Deadlock { at: Timestamp },
    #[error("{node} panicked: {what}")]
    Panicked { node: NodeId, what: String },
    #[error("the run did not end within {events} events")]
    Horizon { events: u64 },
    #[error("the run broke the invariant `{invariant}` at {event:?}")]
    Broken { invariant: Invariant, event: Box<Event> },
    #[error(
        "the run broke the invariant `{}`{}: {} were sent, {} delivered, {} lost, {in_flight} in flight",
        Invariant::MailBalanced, between(way), account.sent, account.delivered, account.lost
    )]
    Unbalanced {
        /// From which host to which, where only the messages of one way are counted.
        way: Option<(String, String)>,
        account: MessageAccount,
        in_flight: u64,
    },
    #[error(
        "the run broke the invariant `{}`: the device of {node} holds the cache of {session:?}, which is closed",
        Invariant::CacheFreed
    )]
    CacheKept { node: NodeId, session: SessionId },
    #[error("{0}")]
    Aborted(Abort),
    #[error("the process of host `{name}` was lost: {why}")]
    HostLost { host: HostId, name: String, why: String },
    #[error("no peer holds {} any more, and none will: {}", ranges(blocks), departed(hosts))]
    BlocksLost {
        blocks: Vec<BlockRange>,
        /// Those that held them and are gone for good, each with the reason.
        hosts: Vec<(String, String)>,
    },
    #[error("interrupted")]
    Interrupted,
}

impl Outcome {
    /// One word for tables and columns.
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

    /// Every request was served.
    pub fn is_ok(&self) -> bool {
        self.label() == "ok"
    }
}

fn ranges(blocks: &[BlockRange]) -> String {
    let ranges: Vec<String> = blocks.iter().map(|range| format!("Blocks({}, {})", range.start, range.end)).collect();
    ranges.join(", ")
}

fn departed(hosts: &[(String, String)]) -> String {
    let hosts: Vec<String> =
        hosts.iter().map(|(name, why)| format!("host `{name}` is gone for good ({why})")).collect();
    hosts.join(", ")
}

fn between(way: &Option<(String, String)>) -> String {
    way.as_ref().map_or(String::new(), |(from, to)| format!(" from host `{from}` to host `{to}`"))
}

/// What a run leaves: its end, and every event up to it.
#[derive(Clone, Debug)]
pub struct Run {
    pub outcome: Outcome,
    pub events: Vec<Event>,
    /// A hash of everything that was delivered, when, in which order; only a simulation can have it.
    pub trace: Option<u64>,
    /// Events that a simulation's kernel delivered.
    pub delivered: u64,
    /// The messages between nodes, where the run was drained and they are accounted for.
    pub account: Option<MessageAccount>,
}

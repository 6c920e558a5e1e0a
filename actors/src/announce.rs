//! The description and the load that a peer publishes of itself.
use crate::id::{BlockRange, NodeId};
use crate::time::Duration;
use serde::{Deserialize, Serialize};

/// The description that a peer publishes of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Announce {
    pub peer: NodeId,
    pub blocks: BlockRange,
    /// The blocks per second of one-token steps (Petals' `inference_rps`), for the router.
    pub inference_rps: f64,
    /// The peer's load at the time of the announcement. Later answers of the peer carry newer loads.
    pub load: Load,
    /// The measured round-trip times to peers that may follow on a route (Petals' `next_pings`); empty if none was
    /// measured.
    pub next: Vec<(NodeId, Duration)>,
}

/// The load of a peer. A peer sends its load with its announcements, when it opens a session, and when it is pinged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The number of tokens of one row for which the peer's KV caches still have room, over all of its blocks (Petals'
    /// `cache_tokens_left`).
    pub cache_tokens: u32,
    /// The number of open sessions.
    pub sessions: u32,
    /// The moving average of the duration of a one-token step, in microseconds; where several steps are computed
    /// together, each counts with its share. 0 before the first step.
    pub step: u32,
    /// The share of the last one to two seconds in which the peer's device worked for it, in thousandths.
    pub busy: u16,
}

/// The load that is assumed before any is known: an idle peer with unlimited room.
impl Default for Load {
    fn default() -> Load {
        Load { cache_tokens: u32::MAX, sessions: 0, step: 0, busy: 0 }
    }
}

//! The announcement that a peer publishes in the DHT, and the load of a peer.
use crate::id::{BlockRange, NodeId};
use crate::time::Duration;
use serde::{Deserialize, Serialize};

/// A peer's description of itself, which the peer publishes in the DHT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Announce {
    pub peer: NodeId,
    pub blocks: BlockRange,
    /// The peer's speed in one-token steps, in blocks per second (Petals' `inference_rps`). The router uses it.
    pub inference_rps: f64,
    /// The peer's load at the time of the announcement. The peer's pongs and `Opened` messages carry newer loads.
    pub load: Load,
    /// The measured round-trip times to peers that may be the next hop after this peer on a route (Petals'
    /// `next_pings`). Empty if no round-trip time was measured.
    pub next: Vec<(NodeId, Duration)>,
}

/// The load of a peer. A peer sends its load with its announcements, when it opens a session, and when it is pinged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// The number of further tokens that fit into the peer's KV cache, if each of them passes all of the peer's blocks
    /// (Petals' `cache_tokens_left`). A token in each of two rows counts as two.
    pub cache_tokens: u32,
    /// The number of the peer's open sessions.
    pub sessions: u32,
    /// The exponential moving average of the device time of a one-token step, in microseconds; 0 before the first one.
    /// If a job computes several steps together, each counts with an equal share of the job's time.
    pub step: u32,
    /// The fraction of the last one to two seconds in which the device computed jobs of this peer, in thousandths (0 to
    /// 1000).
    pub busy: u16,
}

/// The load that is assumed for a peer whose load is not known yet: idle, with unlimited room in its KV cache.
impl Default for Load {
    fn default() -> Load {
        Load { cache_tokens: u32::MAX, sessions: 0, step: 0, busy: 0 }
    }
}

//! A failure of a request's peers that the request has not recovered from yet.
use crate::id::NodeId;
use crate::message::Failure;
use crate::time::Timestamp;

/// A failure that a request has not recovered from yet.
///
/// The failure begins with the first lost peer, or with a route that could not be found. It ends when a step returns
/// after the lost peers were replaced, or, after a restart, once all earlier tokens are generated again.
pub(super) struct PeerTrouble {
    /// The reason of the latest loss. The request ends with this reason once no retries are left.
    pub why: Failure,
    /// The lost peers, in the order in which the request noticed their loss.
    pub lost: Vec<NodeId>,
    /// The peers that the next try must not use, because they have refused the request.
    pub avoid: Vec<NodeId>,
    /// The time at which the client last heard from the first lost peer, or last sent it a step or an `Open`.
    pub heard: Timestamp,
    /// The time at which the request noticed the failure.
    pub noticed: Timestamp,
    /// The lost time from this time on is not counted in a step's recovery time yet.
    pub since: Timestamp,
    pub stage: Stage,
    /// Whether the last try found no peers for some blocks.
    pub unrouted: bool,
    /// The number of tries to recover so far.
    pub tries: u32,
    /// The number of tokens of each row that have to be computed again, summed over all tries.
    pub replayed: u32,
}

/// The stage of a recovery, named after what the request waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The request waits until this time before its next try.
    Waiting(Timestamp),
    /// The request waits for its new sessions to open.
    Opening,
    /// The new sessions have been open since this time, and the request waits for the step to return.
    Replaced(Timestamp),
}

impl PeerTrouble {
    /// Returns a failure that the request has noticed at `now`, before its first try to recover. The client last heard
    /// from the lost peer at `heard`.
    pub fn new(why: Failure, heard: Timestamp, now: Timestamp) -> PeerTrouble {
        let (lost, avoid) = (Vec::new(), Vec::new());
        PeerTrouble {
            why,
            lost,
            avoid,
            heard,
            noticed: now,
            since: now,
            stage: Stage::Opening,
            unrouted: false,
            tries: 0,
            replayed: 0,
        }
    }
}

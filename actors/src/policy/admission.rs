//! The policy of a peer for sessions that find no room in its KV cache.
use crate::time::Duration;
use serde::{Deserialize, Serialize};

/// The policy for a session for which there is no room in the KV cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admission {
    /// The peer refuses the session at once.
    #[default]
    Refuse,
    /// The session waits at most this long for other sessions to close; then the peer refuses it. A session that waits
    /// at one peer of its route keeps its reservations at the peers before it. Two sessions that wait for each other's
    /// reservations are therefore stuck until this time is over.
    Wait(Duration),
}

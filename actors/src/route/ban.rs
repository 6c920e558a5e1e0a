//! Bans: a peer that has failed is avoided for a while, which grows with every failure in a row.
use crate::time::{Duration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long peers are avoided (Petals: `ban_timeout` 15 s, doubled with each failure that no success has lifted).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bans {
    pub first: Duration,
    /// The second ban is so many times as long as the first, and so on.
    pub growth: f64,
}

impl Default for Bans {
    fn default() -> Bans {
        Bans { first: Duration::from_secs(15), growth: 2.0 }
    }
}

/// Bans in a row beyond which they grow no more: 15 s x 2^16 is eleven days.
const GROWING: u32 = 16;

/// The last ban of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    until: Timestamp,
    /// How many there were in a row, this one among them.
    count: u32,
}

impl Ban {
    pub fn holds(self, now: Timestamp) -> bool {
        now < self.until
    }
}

impl Bans {
    /// The ban that follows `last`.
    pub fn next(&self, now: Timestamp, last: Option<Ban>) -> Ban {
        let before = last.map_or(0, |ban| ban.count).min(GROWING);
        let length = Duration::from_secs_f64(self.first.as_secs_f64() * self.growth.powi(before as i32));
        Ban { until: now + length, count: before + 1 }
    }
}

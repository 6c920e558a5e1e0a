//! Bans: a peer that has failed is avoided for a time that grows with every consecutive failure.
use crate::time::{Duration, Timestamp};
use serde::{Deserialize, Serialize};

/// The durations for which failed peers are avoided. The defaults are those of Petals: `ban_timeout` of 15 s, doubled
/// with each further failure until a success resets it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bans {
    /// The length of the first ban.
    pub first: Duration,
    /// The factor by which each further ban is longer than the one before.
    pub growth: f64,
}

impl Default for Bans {
    fn default() -> Bans {
        Bans { first: Duration::from_secs(15), growth: 2.0 }
    }
}

/// The number of consecutive bans after which their length no longer grows: 15 s x 2^16 is eleven days.
const GROWING: u32 = 16;

/// The latest ban of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    until: Timestamp,
    /// The number of consecutive bans, including this one.
    count: u32,
}

impl Ban {
    /// Whether the ban is still in force.
    pub fn holds(self, now: Timestamp) -> bool {
        now < self.until
    }
}

impl Bans {
    /// The ban that starts now, after the ban `last`.
    pub fn next(&self, now: Timestamp, last: Option<Ban>) -> Ban {
        let before = last.map_or(0, |ban| ban.count).min(GROWING);
        let length = Duration::from_secs_f64(self.first.as_secs_f64() * self.growth.powi(before as i32));
        Ban { until: now + length, count: before + 1 }
    }
}

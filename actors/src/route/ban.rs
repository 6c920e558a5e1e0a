//! Bans: a peer that has failed is avoided for a time that grows with every consecutive failure.
use crate::time::{Duration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long a client avoids a peer that has failed it. The defaults are those of Petals (`ban_timeout`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(bound = "T: JsonSchema + Serialize + From<Duration>")]
pub struct Bans<T = Duration> {
    /// The time of the first ban.
    pub first: T,
    /// The factor by which each ban in a row is longer than the one before. A success ends the row.
    pub growth: f64,
}

impl<T: From<Duration>> Default for Bans<T> {
    fn default() -> Bans<T> {
        Bans { first: Duration::from_secs(15).into(), growth: 2.0 }
    }
}

impl<T> Bans<T> {
    /// Returns the same settings with the time converted by `to`.
    pub fn map<U>(self, to: impl Fn(T) -> U) -> Bans<U> {
        Bans { first: to(self.first), growth: self.growth }
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

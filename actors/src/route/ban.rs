//! Bans: a peer that has failed is avoided for a time that grows with every consecutive failure.
use crate::time::{Duration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings by which a client avoids a peer that has failed it. The defaults are those of Petals (`ban_timeout`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(bound = "T: JsonSchema + Serialize + From<Duration>")]
pub struct Bans<T = Duration> {
    /// The duration of a peer's first ban.
    pub first: T,
    /// The factor by which each consecutive ban of a peer is longer than the one before. After a success, the next ban
    /// has the duration `first` again.
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

/// After this number of consecutive bans, the length of the bans no longer grows: 15 s x 2^16 is eleven days.
const GROWING: u32 = 16;

/// The latest ban of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    until: Timestamp,
    /// The number of consecutive bans, including this one.
    count: u32,
}

impl Ban {
    /// Whether the ban is still in force at `now`.
    pub fn holds(self, now: Timestamp) -> bool {
        now < self.until
    }
}

impl Bans {
    /// Returns the ban of a peer that fails at `now`. `last` is the peer's previous ban, if it has not succeeded since.
    pub fn next(&self, now: Timestamp, last: Option<Ban>) -> Ban {
        let before = last.map_or(0, |ban| ban.count).min(GROWING);
        let length = Duration::from_secs_f64(self.first.as_secs_f64() * self.growth.powi(before as i32));
        Ban { until: now + length, count: before + 1 }
    }
}

//! Round-trip times: they are measured by pings, averaged, and ignored once they are old.
use crate::time::{Duration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The settings by which nodes measure round-trip times. The defaults are those of Petals (`ping.py`,
/// `sequence_manager.py`, `server.py`), except for `middle`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(bound = "T: JsonSchema + Serialize + From<Duration>")]
pub struct Pings<T = Duration> {
    /// The number of peers that a client pings after a lookup for each of three blocks of the route: the first, a
    /// random one and the last; 0: none.
    pub fanout: u32,
    /// The interval at which a client pings peers between lookups; zero: never.
    pub every: T,
    /// The number of peers that a peer pings at each announcement, among the peers that serve the block after its own
    /// last block; 0: none.
    pub next: u32,
    /// The number of peers that a peer pings at each announcement, among the peers that serve blocks inside its own
    /// block range. Petals: 5, because its routes may leave a peer before the end of that range.
    pub middle: u32,
    /// The weight of the newest round-trip time in the exponential moving average, from 0 to 1.
    pub smoothing: f64,
    /// The age at which a measured round-trip time is no longer used.
    pub expiry: T,
}

impl<T: From<Duration>> Default for Pings<T> {
    fn default() -> Pings<T> {
        Pings {
            fanout: 3,
            every: Duration::ZERO.into(),
            next: 5,
            middle: 0,
            smoothing: 0.2,
            expiry: Duration::from_secs(300).into(),
        }
    }
}

impl<T> Pings<T> {
    /// Returns the same settings with each time converted by `to`.
    pub fn map<U>(self, to: impl Fn(T) -> U) -> Pings<U> {
        let Pings { fanout, every, next, middle, smoothing, expiry } = self;
        Pings { fanout, every: to(every), next, middle, smoothing, expiry: to(expiry) }
    }
}

/// The average round-trip time to a peer, and its mean deviation (as in RFC 6298).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundTrip {
    average: Duration,
    varies: Duration,
    at: Timestamp,
}

impl RoundTrip {
    /// Returns the average round-trip time after a new measurement of `took`. If `last`, the average so far, is missing
    /// or has expired, the average starts anew with `took` and the deviation with half of it.
    pub fn after(last: Option<RoundTrip>, now: Timestamp, took: Duration, pings: &Pings) -> RoundTrip {
        let Some(RoundTrip { average, varies, .. }) = last.filter(|trip| trip.within(now, pings.expiry).is_some())
        else {
            return RoundTrip { average: took, varies: Duration(took.0 / 2), at: now };
        };
        let mixed = |old: Duration, new: Duration, weight: f64| {
            Duration::from_secs_f64(new.as_secs_f64() * weight + old.as_secs_f64() * (1.0 - weight))
        };
        let off = Duration(average.0.abs_diff(took.0));
        RoundTrip { average: mixed(average, took, pings.smoothing), varies: mixed(varies, off, 0.25), at: now }
    }

    /// Returns the time after which an answer is late: the average plus four times the mean deviation (RFC 6298, 2.3).
    pub fn longest(self) -> Duration {
        Duration(self.average.0.saturating_add(self.varies.0.saturating_mul(4)))
    }

    /// Returns the time of the last measurement.
    pub fn at(self) -> Timestamp {
        self.at
    }

    /// Returns the average, or `None` if the last measurement is older than `expiry`.
    pub fn within(self, now: Timestamp, expiry: Duration) -> Option<Duration> {
        (now.since(self.at) <= expiry).then_some(self.average)
    }
}

#[cfg(test)]
mod tests {
    use super::{Pings, RoundTrip};
    use crate::time::{Duration, Timestamp};

    #[test]
    fn a_round_trip_is_averaged_and_expires() {
        let pings = Pings::default();
        let at = |seconds| Timestamp::default() + Duration::from_secs(seconds);
        let first = RoundTrip::after(None, at(0), Duration::from_millis(100), &pings);
        let second = RoundTrip::after(Some(first), at(10), Duration::from_millis(200), &pings);
        assert_eq!(second.within(at(310), pings.expiry), Some(Duration::from_millis(120)));
        assert_eq!(second.within(at(311), pings.expiry), None);
        let anew = RoundTrip::after(Some(second), at(400), Duration::from_millis(30), &pings);
        assert_eq!(anew.within(at(400), pings.expiry), Some(Duration::from_millis(30)));
    }
}

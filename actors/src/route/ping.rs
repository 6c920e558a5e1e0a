//! Round trips: measured by pings, averaged, and forgotten when they are old.
use crate::time::{Duration, Timestamp};
use serde::{Deserialize, Serialize};

/// Who pings whom, and what becomes of it. The values are Petals' but for one (`ping.py`, `sequence_manager.py`, `server.py`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pings {
    /// Peers that a client pings after a lookup, of those that may come first, in the middle and last, each; 0: none.
    pub fanout: u32,
    /// How often a client pings between its lookups; zero: never.
    pub every: Duration,
    /// Peers that a peer pings at each announcement, of those that a route may go on to from the end of its blocks; 0: none.
    pub next: u32,
    /// Likewise, of those that hold blocks in the midst of its own: 5 in Petals, where a route may leave a peer before its
    /// end. Here it follows a peer to its end unless that is avoided.
    pub middle: u32,
    /// The weight of the newest round trip in the exponential average.
    pub smoothing: f64,
    /// How long a round trip is believed.
    pub expiry: Duration,
}

impl Default for Pings {
    fn default() -> Pings {
        Pings { fanout: 3, every: Duration::ZERO, next: 5, middle: 0, smoothing: 0.2, expiry: Duration::from_secs(300) }
    }
}

/// The averaged round trip to a peer, and how much it varies (RFC 6298's mean deviation).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundTrip {
    average: Duration,
    varies: Duration,
    at: Timestamp,
}

impl RoundTrip {
    /// The average once `took` is in it; an expired one counts no more.
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

    /// After which an answer is late (RFC 6298, 2.3).
    pub fn longest(self) -> Duration {
        Duration(self.average.0.saturating_add(self.varies.0.saturating_mul(4)))
    }

    /// When it was last measured.
    pub fn at(self) -> Timestamp {
        self.at
    }

    /// The average, unless it is older than `expiry`.
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

//! The policies of a client for failed peers: how it detects them, how it recovers, and how often it tries.
use crate::time::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a client notices that a peer has failed. A connection that breaks is noticed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(bound = "T: JsonSchema + Serialize + From<Duration>")]
pub struct Detection<T = Duration> {
    /// The interval at which a client pings the peers for which it waits. A node answers at once, however busy its
    /// device is.
    pub heartbeat: T,
    /// The number of unanswered heartbeats after which a peer counts as failed; 0: no pings, as in Petals. A client
    /// waits longer for a peer whose answers are known to be slow.
    pub missed: u32,
    /// The time after which a step, or the opening of a session, counts as failed even if the peers answer pings.
    /// Petals: 180 s, its only detection of a dead server.
    pub step_timeout: T,
    /// A session counts as failed if it is not open after this time plus the wait of `admission`. Petals: 5 s.
    pub open_timeout: T,
}

impl<T: From<Duration>> Default for Detection<T> {
    fn default() -> Detection<T> {
        Detection {
            heartbeat: Duration::from_secs(1).into(),
            missed: 5,
            step_timeout: Duration::from_secs(600).into(),
            open_timeout: Duration::from_secs(600).into(),
        }
    }
}

impl<T> Detection<T> {
    /// Returns the same settings with each time converted by `to`.
    pub fn map<U>(self, to: impl Fn(T) -> U) -> Detection<U> {
        let Detection { heartbeat, missed, step_timeout, open_timeout } = self;
        Detection { heartbeat: to(heartbeat), missed, step_timeout: to(step_timeout), open_timeout: to(open_timeout) }
    }
}

/// How a client continues a request after a peer has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Recovery {
    /// Other peers replace the failed one, and the client sends them the session's earlier inputs again. The remaining
    /// peers of the route keep their caches.
    #[default]
    Replay,
    /// The request starts anew on another route and generates its tokens again.
    Restart,
    /// No peer keeps a KV cache. Each step carries the whole prefix, so a failure costs one step.
    Cacheless,
    /// The request fails.
    Off,
}

/// The retries of a client. The first try after a peer has failed begins at once. The client waits before each further
/// try, and before every try if it knows no route.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// The number of tries for one token after which the request fails. With `u32::MAX` there is no limit.
    pub limit: u32,
    /// The first wait between two tries for a token. Each further wait is twice as long.
    pub first: Duration,
    /// The limit of a wait before the jitter is applied. With jitter, a wait may be longer than this limit.
    pub most: Duration,
    /// The largest fraction by which a wait is made longer or shorter, from 0 to 1. The client draws the fraction
    /// uniformly for each wait.
    pub jitter: f64,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { limit: 12, first: Duration::from_millis(250), most: Duration::from_secs(5), jitter: 0.5 }
    }
}

impl Retry {
    /// Returns the `count`-th wait, counted from 1. `draw` is a uniform random number, and selects the wait within the
    /// jitter.
    pub fn wait(&self, count: u32, draw: u64) -> Duration {
        let doubled = self.first.0.saturating_mul(1 << count.saturating_sub(1).min(32)).min(self.most.0);
        let (least, width) = (doubled as f64 * (1.0 - self.jitter), doubled as f64 * 2.0 * self.jitter);
        Duration(least as u64 + ((u128::from(width as u64) * u128::from(draw)) >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::Retry;
    use crate::time::Duration;

    #[test]
    fn waits_double_up_to_a_bound_and_are_spread() {
        let retry = Retry::default();
        assert_eq!((retry.wait(1, 0), retry.wait(1, u64::MAX).0 + 1), (Duration::from_millis(125), 375_000_000));
        assert_eq!(retry.wait(3, 1 << 63), Duration::from_millis(1000));
        assert_eq!(retry.wait(4_000, 1 << 63), Duration::from_secs(5));
        let sure = Retry { jitter: 0.0, first: Duration::from_secs(1), most: Duration::from_secs(60), ..retry };
        let waits: Vec<u64> = (1..=8).map(|count| sure.wait(count, u64::MAX).0 / 1_000_000_000).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60], "Petals'");
    }
}

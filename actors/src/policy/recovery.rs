//! What a client does about peers that fail: how it notices, what it does then, and how often.
use crate::time::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a client notices that a peer has failed which it waits for. A connection that breaks is noticed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detection {
    /// How often a client pings the peers that it waits for. A node answers at once, however busy its device is.
    pub heartbeat: Duration,
    /// A peer that is silent for so many heartbeats after a ping has failed; 0: no pings, as in Petals.
    pub missed: u32,
    /// A step that is away for longer has failed, whoever answers pings. Petals: 180 s for a request of its transport, and
    /// nothing else notices a dead server.
    pub step_timeout: Duration,
    /// A session that nobody has opened within this, and the wait that admission allows, has failed. Petals: 5 s
    /// (`connect_timeout`).
    pub open_timeout: Duration,
}

impl Default for Detection {
    fn default() -> Detection {
        Detection {
            heartbeat: Duration::from_secs(1),
            missed: 5,
            step_timeout: Duration::from_secs(600),
            open_timeout: Duration::from_secs(600),
        }
    }
}

/// How a client continues a request after a peer has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Recovery {
    /// Other peers replace the failed one, and the client sends them the session's earlier inputs again. The other peers of
    /// the route keep their caches.
    #[default]
    Replay,
    /// The request starts anew on another route and generates its tokens again.
    Restart,
    /// No peer keeps a KV cache. Each step carries the whole prefix, so a failure costs one step.
    Cacheless,
    /// The request fails.
    Off,
}

/// How often a client tries again. The first try comes at once; before each further one it waits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Tries for one token before the request has failed; `u32::MAX`: it never has.
    pub limit: u32,
    /// The first wait; each further one is twice as long.
    pub first: Duration,
    /// No wait is longer than this before the draw.
    pub most: Duration,
    /// By which part of itself a wait is longer or shorter, by the client's own draw: from 0 to 1.
    pub jitter: f64,
}

impl Default for Retry {
    fn default() -> Retry {
        Retry { limit: 12, first: Duration::from_millis(250), most: Duration::from_secs(5), jitter: 0.5 }
    }
}

impl Retry {
    /// The wait before the `count`-th further try, counted from 1; `draw` spreads it by `jitter`.
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

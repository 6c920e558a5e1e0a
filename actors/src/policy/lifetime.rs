//! The limits on a session's lifetime.
use crate::time::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The limits on how long a session may be open at a peer. Without a limit, a session that its client never closes
/// holds its KV cache for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(bound = "T: JsonSchema + Serialize + Default")]
pub struct Lifetime<T = Duration> {
    /// The longest time for which an open session may have no step; zero: no limit. Petals: 300 s (`step_timeout` of
    /// its servers).
    pub idle: T,
    /// The longest time for which a session may be open in total; zero: no limit. Petals: 1800 s (`session_timeout`).
    pub longest: T,
}

impl<T> Lifetime<T> {
    /// Returns the same limits with each time converted by `to`.
    pub fn map<U>(self, to: impl Fn(T) -> U) -> Lifetime<U> {
        Lifetime { idle: to(self.idle), longest: to(self.longest) }
    }
}

impl Lifetime {
    /// Returns the time that a session may still last; zero if it has exceeded a limit, and `None` if no limit applies.
    /// The session has been open for `open`, and its last step ended `idle` ago. If `idle` is `None`, a step of the
    /// session is in progress, and only the limit on its total time applies.
    pub fn left(self, open: Duration, idle: Option<Duration>) -> Option<Duration> {
        let left = |may: Duration, has: Duration| (may > Duration::ZERO).then(|| may - has);
        let whole = left(self.longest, open);
        let resting = idle.and_then(|idle| left(self.idle, idle));
        whole.into_iter().chain(resting).min()
    }
}

#[cfg(test)]
mod tests {
    use super::Lifetime;
    use crate::time::Duration;

    #[test]
    fn what_is_nearer_ends_a_session() {
        let seconds = Duration::from_secs;
        let petals = Lifetime { idle: seconds(300), longest: seconds(1800) };
        assert_eq!(petals.left(seconds(100), Some(seconds(100))), Some(seconds(200)));
        assert_eq!(petals.left(seconds(1700), Some(seconds(10))), Some(seconds(100)));
        assert_eq!(petals.left(seconds(1000), None), Some(seconds(800)), "it is computed");
        assert_eq!(petals.left(seconds(2000), None), Some(Duration::ZERO));
        assert_eq!(Lifetime::default().left(seconds(1 << 30), Some(seconds(1 << 30))), None);
    }
}

//! The policy of a peer for sessions that find no room in its KV cache.
use crate::time::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a peer treats a new session that finds no room in its KV cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Admission<T = Duration> {
    /// The session is refused at once.
    #[default]
    Refuse,
    /// The session waits up to this time for other sessions to close, and is then refused. While it waits, it keeps its
    /// reservations at the peers before it on the route. Two sessions that wait for each other's reservations are
    /// therefore stuck until this time is over.
    Wait(T),
}

impl<T> Admission<T> {
    /// Returns the same policy with its time converted by `to`.
    pub fn map<U>(self, to: impl Fn(T) -> U) -> Admission<U> {
        match self {
            Admission::Refuse => Admission::Refuse,
            Admission::Wait(longest) => Admission::Wait(to(longest)),
        }
    }
}

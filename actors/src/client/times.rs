//! The times of a request that its client measures.
use crate::time::{Duration, Timestamp};

/// The times of a request that the client measures.
pub(super) struct Times {
    /// The time from the beginning of the request until the first lookup's answer; zero if the client had a view
    /// already.
    pub discovery: Duration,
    /// The time from the beginning of the request until all sessions of a route were open for the first time, minus
    /// `discovery`; `None` before that.
    pub sessions: Option<Duration>,
    pub step: StepCost,
}

impl Times {
    /// Returns the times of a request that begins at `now`.
    pub fn begin(now: Timestamp) -> Times {
        Times { discovery: Duration::ZERO, sessions: None, step: StepCost::begin(now) }
    }
}

/// The parts of a step's time that the client itself measures.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StepCost {
    /// The time at which the step began.
    pub began: Timestamp,
    /// The number of tokens of each row that the step sends; in a chunked prefill, the number in the current chunk.
    pub tokens: u32,
    /// The time from the step's start until all sessions were open, or until the first failure before that.
    pub setup: Duration,
    /// The time for which the step's jobs waited in the queue of the client's device.
    pub queue: Duration,
    /// The time for which the client's device computed the step's jobs.
    pub compute: Duration,
    /// The part of `compute` that the embedding took.
    pub embedding: Duration,
    /// The time that the step lost through failures.
    pub recovery: Duration,
    /// The time at which the current job was given to the device.
    pub submitted: Timestamp,
    /// The time at which the client last sent the step to the first hop. Tokens that are generated again after a
    /// restart do not change this time.
    pub left: Timestamp,
}

impl StepCost {
    /// Returns the times of a step that begins at `now`.
    pub fn begin(now: Timestamp) -> StepCost {
        StepCost { began: now, left: now, ..StepCost::default() }
    }
}

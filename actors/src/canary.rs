//! Canaries: bugs that are planted on purpose, so that the tests can prove that they find such bugs.
//!
//! A build with debug assertions contains the canaries. None acts before a test plants it with `plant`, and then it acts
//! only on the thread of that test. A release build contains none: [`planted`] is constant there and `plant` is missing.

macro_rules! canaries {
    ($($(#[$says:meta])* $canary:ident),* $(,)?) => {
        /// A planted bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Canary { $($(#[$says])* $canary),* }

        impl Canary {
            /// All canaries.
            pub const ALL: &[Canary] = &[$(Canary::$canary),*];
        }
    };
}

canaries! {
    // -- peer --
    /// The device keeps the KV cache of a session that is closed.
    DeviceCacheKept,
    /// The device keeps the temporary KV cache that one step of a session without a KV cache needed.
    StepCacheKept,
    /// The queue of steps has no bound.
    QueueUnbounded,
    /// The queue keeps the steps of a session that is closed.
    ClosedStepsKept,
    /// A session opens although its KV cache exceeds the budget.
    BudgetSkipped,
    /// The number of sessions of a peer is not limited.
    SessionsUnbounded,
    /// The number of sessions that wait for room in the KV cache is not limited.
    WaitingUnbounded,
    /// The session that began to wait last is admitted first.
    LastWaitingFirst,
    /// A session waits for room without a timeout.
    WaitingNeverEnds,
    /// The bytes that a closed session kept for a replay are still counted.
    ClosedHistoryCounted,
    /// When a waiting session is closed, the sessions behind it keep waiting although there is room.
    RoomUnused,
    /// The peer checks whether a session has been idle for too long only when another limit would end a session.
    IdleLookedAtLate,
    /// A session never expires.
    SessionNeverExpires,
    /// A node closes the session of another node.
    StrangerCloses,
    /// A node reroutes the session of another node.
    StrangerReroutes,
    /// A peer keeps the sessions of a client that is gone.
    GoneClientKept,
    /// A step that was computed already is computed again.
    StepComputedTwice,
    /// A step that is computed block by block is put behind later steps of its session.
    PartsOvertaken,
    /// A peer that has left opens sessions.
    OpensAfterLeaving,
    // -- client --
    /// A replay leaves out the first token.
    ReplayOffByOne,
    /// A token that was generated before a restart is recorded again.
    TokenDoubledAfterRestart,
    /// A client takes the answer to an earlier step for the answer to the current step.
    LateAnswerAccepted,
    /// A client does not close its session at a peer that it has replaced.
    ReplacedSessionKept,
    /// A client exceeds its maximum number of requests in flight.
    InFlightUnbounded,
    /// A request may take twice its timeout.
    DeadlineDoubled,
    /// A client retries after a failure without waiting.
    RetriesWithoutWait,
    // -- routes --
    /// A route leaves out a block.
    RouteGap,
    /// A banned peer is part of a route although other peers serve its blocks.
    BannedPeerTaken,
    // -- DHT --
    /// A record is served after it has expired.
    ExpiredRecordServed,
    /// An older record takes the place of a newer one of the same peer.
    OlderRecordWins,
    // -- orchestrator --
    /// The barrier is released while one client still warms up.
    BarrierOffByOne,
    /// The latency of a failed request is not counted.
    FailureUncounted,
}

#[cfg(debug_assertions)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Canary>> = const { std::cell::Cell::new(None) };
}

/// Whether `canary` is planted on this thread.
#[cfg(debug_assertions)]
#[inline]
pub fn planted(canary: Canary) -> bool {
    PLANTED.get() == Some(canary)
}

/// Whether `canary` is planted: never, in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn planted(_: Canary) -> bool {
    false
}

/// Keeps a canary planted on the thread of a test until it is dropped.
#[cfg(debug_assertions)]
#[must_use = "the canary is removed when this is dropped"]
pub struct Plant(std::marker::PhantomData<*const ()>);

/// Plants `canary` on this thread, in place of any other.
#[cfg(debug_assertions)]
pub fn plant(canary: Canary) -> Plant {
    PLANTED.set(Some(canary));
    Plant(std::marker::PhantomData)
}

#[cfg(debug_assertions)]
impl Drop for Plant {
    fn drop(&mut self) {
        PLANTED.set(None);
    }
}

//! Canaries: deliberate bugs. Tests switch them on to prove that the soak tests find such bugs.
//!
//! A build with debug assertions contains the canaries. A canary has no effect until a test switches it on with
//! `plant`, and then only on the thread of that test. A build without debug assertions contains no canary: there,
//! [`planted`] always returns false, and `plant` does not exist.

macro_rules! canaries {
    ($($(#[$says:meta])* $canary:ident),* $(,)?) => {
        /// A deliberate bug that a test can switch on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Canary { $($(#[$says])* $canary),* }

        impl Canary {
            /// All canaries, in the order of their declaration.
            pub const ALL: &[Canary] = &[$(Canary::$canary),*];
        }
    };
}

canaries! {
    // -- bugs of a peer --
    /// Deliberate bug: the device keeps a session's KV cache after the session is closed.
    DeviceCacheKept,
    /// Deliberate bug: in a session without a KV cache, the device keeps a step's temporary KV cache after the step.
    StepCacheKept,
    /// Deliberate bug: a peer's queue of steps has no limit.
    QueueUnbounded,
    /// Deliberate bug: a peer's queue keeps the steps of a session that has been closed.
    ClosedStepsKept,
    /// Deliberate bug: a peer opens a session although its KV cache budget has no room for the session.
    BudgetSkipped,
    /// Deliberate bug: a peer does not limit the number of its open sessions.
    SessionsUnbounded,
    /// Deliberate bug: a peer does not limit the number of sessions that wait for room in its KV cache.
    WaitingUnbounded,
    /// Deliberate bug: a peer first admits the session that began to wait last for room in its KV cache.
    LastWaitingFirst,
    /// Deliberate bug: a session waits for room in the KV cache without a timeout.
    WaitingNeverEnds,
    /// Deliberate bug: the bytes that a session kept for a replay still count toward the peer's limit after the session
    /// is closed.
    ClosedHistoryCounted,
    /// Deliberate bug: after a waiting session is closed, the sessions behind it keep waiting although there is room
    /// for them.
    RoomUnused,
    /// Deliberate bug: a peer sets its lifetime timer without regard to sessions that may become idle, so an idle
    /// session may expire too late.
    IdleLookedAtLate,
    /// Deliberate bug: a session never expires, however old or idle it is.
    SessionNeverExpires,
    /// Deliberate bug: a peer lets a node close another node's session.
    StrangerCloses,
    /// Deliberate bug: a peer lets a node reroute another node's session.
    StrangerReroutes,
    /// Deliberate bug: a peer keeps the sessions of a client that has become unreachable.
    GoneClientKept,
    /// Deliberate bug: a peer computes a repeated step again instead of ignoring it.
    StepComputedTwice,
    /// Deliberate bug: a step that is computed block by block goes back into the queue behind later steps of its
    /// session.
    PartsOvertaken,
    /// Deliberate bug: a peer that has left the swarm still opens sessions.
    OpensAfterLeaving,
    // -- bugs of a client --
    /// Deliberate bug: a replay omits the first token.
    ReplayOffByOne,
    /// Deliberate bug: after a restart, a client records a token again that it recorded before the restart.
    TokenDoubledAfterRestart,
    /// Deliberate bug: a client accepts the answer to an earlier step as the answer to the current step.
    LateAnswerAccepted,
    /// Deliberate bug: a client does not close its session at a peer that it has replaced.
    ReplacedSessionKept,
    /// Deliberate bug: a client exceeds its maximum number of requests in flight.
    InFlightUnbounded,
    /// Deliberate bug: a client ends a request only after twice its timeout.
    DeadlineDoubled,
    /// Deliberate bug: a client retries after a failure without waiting.
    RetriesWithoutWait,
    // -- bugs of the choice of routes --
    /// Deliberate bug: a route omits a block.
    RouteGap,
    /// Deliberate bug: a route contains a banned peer although other peers serve its blocks.
    BannedPeerTaken,
    // -- bugs of a DHT node --
    /// Deliberate bug: a DHT node returns a record that has expired.
    ExpiredRecordServed,
    /// Deliberate bug: in a DHT node, an older record of a peer replaces a newer record of the same peer.
    OlderRecordWins,
    // -- bugs of the orchestrator --
    /// Deliberate bug: the orchestrator releases the barrier while one client still runs its warm-up.
    BarrierOffByOne,
    /// Deliberate bug: the orchestrator does not count failed requests.
    FailureUncounted,
}

#[cfg(debug_assertions)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Canary>> = const { std::cell::Cell::new(None) };
}

/// Whether a test has switched on the deliberate bug `canary` on this thread.
#[cfg(debug_assertions)]
#[inline]
pub fn planted(canary: Canary) -> bool {
    PLANTED.get() == Some(canary)
}

/// Returns false: a build without debug assertions contains no canary.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn planted(_: Canary) -> bool {
    false
}

/// A guard that keeps a canary switched on, on the current thread. Dropping the guard switches the canary off.
#[cfg(debug_assertions)]
#[must_use = "the canary is switched off when this guard is dropped"]
pub struct Plant(std::marker::PhantomData<*const ()>);

/// Switches `canary` on, on this thread and in place of any other canary, until the returned guard is dropped.
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

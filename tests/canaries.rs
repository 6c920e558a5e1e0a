//! Tests that the soak tests find each canary (a deliberate bug that a test switches on), and find nothing with the
//! same seeds without the canary. A release build contains no canaries, so there is nothing to test.
#![cfg(debug_assertions)]
use actors::canary::{Canary, plant};
use simulator::soak::{self, Wrong};
use std::collections::BTreeSet;
use std::ops::Range;

fn storm(seed: u64) -> Result<(), Wrong> {
    soak::storm(seed)
}

fn records(seed: u64) -> Result<(), Wrong> {
    soak::records(seed)
}

fn swarm(seed: u64) -> Result<(), Wrong> {
    soak::swarm(seed, false).map(drop)
}

/// Runs the soak test with one seed after another until it finds the canary, and then the same seeds without the
/// canary.
fn finds(canary: Canary, soak: fn(u64) -> Result<(), Wrong>, seeds: Range<u64>) {
    let planted = plant(canary);
    let found = seeds.clone().find(|seed| soak(*seed).is_err());
    drop(planted);
    let Some(found) = found else { panic!("no seed of {seeds:?} finds {canary:?}") };
    for seed in seeds.start..=found {
        if let Err(wrong) = soak(seed) {
            panic!("seed {seed} is wrong without any canary: {wrong}");
        }
    }
}

/// Defines one test for each canary: the test's name, the canary, the soak test that finds it, and the seeds to try.
macro_rules! canaries {
    ($($name:ident: $canary:ident, $soak:ident $seeds:expr;)*) => {
        $(#[test]
        fn $name() {
            finds(Canary::$canary, $soak, $seeds);
        })*

        const FOUND: &[Canary] = &[$(Canary::$canary),*];
    };
}

canaries! {
    device_cache_kept: DeviceCacheKept, storm 0..400;
    step_cache_kept: StepCacheKept, storm 0..400;
    queue_unbounded: QueueUnbounded, storm 0..400;
    closed_steps_kept: ClosedStepsKept, storm 0..400;
    budget_skipped: BudgetSkipped, storm 0..400;
    sessions_unbounded: SessionsUnbounded, storm 0..400;
    waiting_unbounded: WaitingUnbounded, storm 0..400;
    last_waiting_first: LastWaitingFirst, storm 0..400;
    waiting_never_ends: WaitingNeverEnds, storm 0..400;
    room_unused: RoomUnused, storm 0..400;
    closed_history_counted: ClosedHistoryCounted, storm 0..400;
    idle_looked_at_late: IdleLookedAtLate, storm 0..400;
    session_never_expires: SessionNeverExpires, storm 0..400;
    stranger_closes: StrangerCloses, storm 0..400;
    stranger_reroutes: StrangerReroutes, storm 0..400;
    gone_client_kept: GoneClientKept, storm 0..400;
    step_computed_twice: StepComputedTwice, storm 0..400;
    parts_overtaken: PartsOvertaken, storm 0..400;
    opens_after_leaving: OpensAfterLeaving, storm 0..400;
    device_cache_kept_in_a_swarm: DeviceCacheKept, swarm 0..40;
    closed_steps_kept_in_a_swarm: ClosedStepsKept, swarm 0..100;
    replay_off_by_one: ReplayOffByOne, swarm 10..60;
    token_doubled_after_restart: TokenDoubledAfterRestart, swarm 10..60;
    late_answer_accepted: LateAnswerAccepted, swarm 50..120;
    replaced_session_kept: ReplacedSessionKept, swarm 0..60;
    in_flight_unbounded: InFlightUnbounded, swarm 0..60;
    deadline_doubled: DeadlineDoubled, swarm 60..120;
    retries_without_wait: RetriesWithoutWait, swarm 0..60;
    route_gap: RouteGap, swarm 0..60;
    banned_peer_taken: BannedPeerTaken, swarm 0..60;
    barrier_off_by_one: BarrierOffByOne, swarm 0..60;
    failure_uncounted: FailureUncounted, swarm 0..60;
    expired_record_served: ExpiredRecordServed, records 0..60;
    older_record_wins: OlderRecordWins, records 0..60;
}

#[test]
fn every_canary_has_a_test() {
    let found: BTreeSet<Canary> = FOUND.iter().copied().collect();
    assert_eq!(found, Canary::ALL.iter().copied().collect());
}

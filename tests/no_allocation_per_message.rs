//! Tests that a message of a simulation allocates nothing: queues and slots have grown to the size that the run needs,
//! and are reused. A decode step of the real client and peers does not allocate either. Their allocations are per
//! request, not per step.
#[path = "support/nano.rs"]
mod nano;
#[path = "support/ring.rs"]
mod ring;

use actors::message::Forwarding;
use scenarios::plan::Workload;
use simulator::{HORIZON, run};
use topology::outcome::Outcome;

#[test]
fn a_turning_ring_allocates_next_to_nothing() {
    const MESSAGES: u64 = 200_000;
    let plan = ring::plan(1_000);
    let mut simulation = ring::turning(&plan);
    let until = simulation.delivered() + MESSAGES;
    let counted = allocation_counter::measure(|| {
        simulation.resume(until);
    });
    // A few allocations are allowed: a slot of the timing wheel doubles if more events fall into it than ever before.
    assert!(counted.count_total < MESSAGES / 100, "{} allocations for {MESSAGES} messages", counted.count_total);
}

/// Returns the numbers of allocations and of deliveries of a whole run, in which two clients request `generate` tokens
/// from three peers.
fn counted(forwarding: Forwarding, generate: u32) -> (u64, u64) {
    let plan = nano::plan(3, 2, forwarding, Workload { micro_batches: 2, batch: 1, prompt: 8, generate });
    let mut delivered = 0;
    let counted = allocation_counter::measure(|| {
        let run = run(&plan, HORIZON);
        assert!(matches!(run.outcome, Outcome::Done(_)), "{}", run.outcome);
        delivered = run.delivered;
    });
    (counted.count_total, delivered)
}

#[test]
fn a_decode_step_allocates_next_to_nothing() {
    for forwarding in [Forwarding::Relay, Forwarding::Push] {
        let (short, long) = (counted(forwarding, 100), counted(forwarding, 1_500));
        let (allocations, deliveries) = (long.0 - short.0, long.1 - short.1);
        assert!(deliveries > 4 * 1_400 * 4, "{deliveries}");
        // The list of events doubles occasionally, which allocates.
        assert!(
            allocations < deliveries / 500,
            "{forwarding:?}: {allocations} allocations for {deliveries} deliveries"
        );
    }
}

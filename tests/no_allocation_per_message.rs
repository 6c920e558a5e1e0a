//! A message through the simulation allocates nothing: its queues and slots have grown to the run's size and are reused.
#[path = "support/ring.rs"]
mod ring;

#[test]
fn a_turning_ring_allocates_next_to_nothing() {
    const MESSAGES: u64 = 200_000;
    let plan = ring::plan(1_000);
    let mut simulation = ring::turning(&plan);
    let until = simulation.delivered() + MESSAGES;
    let counted = allocation_counter::measure(|| {
        simulation.resume(until);
    });
    // A slot of the timing wheel may still double when more fall into it than ever before.
    assert!(counted.count_total < MESSAGES / 100, "{} allocations for {MESSAGES} messages", counted.count_total);
}

//! Tests that the text of a request does not depend on how peers schedule and batch steps, or on waits for KV cache.
#[path = "support/nano.rs"]
mod nano;

use actors::id::RequestId;
use actors::message::Forwarding;
use actors::policy::{Admission, Scheduling};
use actors::record::{Ended, Event, Served};
use actors::time::Duration;
use scenarios::plan::{Plan, Role, Weights, Workload};
use simulator::{HORIZON, run};
use std::collections::BTreeMap;
use topology::outcome::Outcome;

const WORK: Workload = Workload { micro_batches: 3, batch: 1, prompt: 40, generate: 6 };

fn plan(scheduling: Scheduling, admission: Admission) -> Plan {
    let mut plan = nano::plan(2, 5, Forwarding::Push, WORK);
    plan.model.weights = Weights::Echo;
    (plan.policies.scheduling, plan.policies.admission) = (scheduling, admission);
    // Slow peers on machines of their own make steps wait for each other.
    for host in &mut plan.hosts {
        host.device.cost.roofline.per_block = Duration::from_millis(5);
    }
    plan.machines[0].leases = None;
    plan
}

/// Returns the end of each timed request, and all steps that peers served.
fn outcome(plan: &Plan) -> (BTreeMap<RequestId, Ended>, Vec<Served>) {
    let run = run(plan, HORIZON);
    let Outcome::Done(_) = &run.outcome else { panic!("{}", run.outcome) };
    let (mut ends, mut served) = (BTreeMap::new(), Vec::new());
    for event in run.events {
        match event {
            Event::Ended(ended) if !ended.request.is_warmup() => _ = ends.insert(ended.request, *ended),
            Event::Served(hop) if !hop.request.is_warmup() => served.push(hop),
            _ => {}
        }
    }
    (ends, served)
}

fn texts(ends: &BTreeMap<RequestId, Ended>) -> Vec<&[u32]> {
    ends.values().map(|ended| ended.output.as_slice()).collect()
}

#[test]
fn in_every_order_and_every_batch() {
    let (expected, _) = outcome(&plan(Scheduling::Fifo, Admission::Refuse));
    assert!(expected.values().all(|ended| ended.outcome.is_ok() && ended.output.len() == 6));
    for scheduling in [
        Scheduling::DecodeFirst,
        Scheduling::Split { whole: 8 },
        Scheduling::Continuous { tokens: 64, steps: 8 },
        Scheduling::PrefillThenDecode { tokens: 4096 },
    ] {
        let (ends, served) = outcome(&plan(scheduling, Admission::Refuse));
        assert_eq!(texts(&expected), texts(&ends), "{scheduling:?}");
        let mut jobs: BTreeMap<_, u32> = BTreeMap::new();
        served.iter().for_each(|hop| *jobs.entry((hop.peer, hop.finished)).or_default() += 1);
        let batches = matches!(scheduling, Scheduling::Continuous { .. } | Scheduling::PrefillThenDecode { .. });
        assert_eq!(batches, jobs.values().any(|steps| *steps > 1), "{scheduling:?} computes steps together or not");
    }
}

#[test]
fn what_was_computed_together_stays_together_where_peers_gather() {
    let scheduling = Scheduling::PrefillThenDecode { tokens: 4096 };
    let (expected, _) = outcome(&plan(scheduling, Admission::Refuse));
    // Counts the first peer's jobs of several steps that the second peer also computed in one job.
    let kept = |batch_wait: Duration| {
        let mut plan = plan(scheduling, Admission::Refuse);
        plan.policies.batch_wait = batch_wait;
        // With this bandwidth each message arrives 10 us later than the one before it.
        plan.network.default.bandwidth = Some(1e8);
        let (ends, served) = outcome(&plan);
        assert_eq!(texts(&expected), texts(&ends), "gathering for {batch_wait}");
        let job = |hop: &Served| served.iter().filter(|at| (at.hop, at.finished) == (hop.hop, hop.finished)).count();
        let second = |hop: &Served| {
            let of = |at: &&Served| at.hop == 1 && (at.request, at.position) == (hop.request, hop.position);
            served.iter().find(of).expect("it went on").started
        };
        let mut ends_of: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for hop in served.iter().filter(|hop| hop.hop == 0 && job(hop) > 1) {
            ends_of.entry(hop.finished).or_default().push(second(hop));
        }
        assert!(ends_of.len() > 3, "the first peer computes together: {ends_of:?}");
        let together = ends_of.values().filter(|starts| starts.iter().all(|start| *start == starts[0])).count();
        (together, ends_of.len())
    };
    let (together, all) = kept(Duration::from_millis(1));
    assert_eq!(together, all, "none is torn apart");
    let (together, all) = kept(Duration::ZERO);
    assert!(together < all, "{together} of {all} stay together by themselves");
}

#[test]
fn who_waits_for_room_gets_it() {
    let narrow = |admission| {
        let mut plan = plan(Scheduling::Fifo, admission);
        let room = 2 * 2 * 46 * plan.cache_bytes_per_token_block();
        for node in &mut plan.nodes {
            if let Role::Peer { cache_bytes, .. } = &mut node.role {
                *cache_bytes = room + room / 2;
            }
        }
        plan
    };
    let (expected, _) = outcome(&plan(Scheduling::Fifo, Admission::Refuse));
    let (waited, _) = outcome(&narrow(Admission::Wait(Duration::from_secs(60))));
    assert_eq!(texts(&expected), texts(&waited));
    assert!(waited.values().all(|ended| ended.outcome.is_ok()));
    // All clients warm up at the same time. A wait of one millisecond is too short for the third client, so its session
    // is refused and the client tries again.
    let mut hasty = narrow(Admission::Wait(Duration::from_millis(1)));
    let (retried, _) = outcome(&hasty);
    assert_eq!(texts(&expected), texts(&retried));
    hasty.policies.recovery = actors::policy::Recovery::Off;
    let run = run(&hasty, HORIZON);
    assert!(
        run.outcome.to_string().contains("the KV cache of the peer has no room for the session"),
        "{}",
        run.outcome
    );
}

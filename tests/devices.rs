//! Tests that a simulation models the properties of devices that the roofline lacks: stragglers, jitter, overheads, and
//! job times that were observed in a live run.
use actors::policy::Scheduling;
use actors::record::Event;
use actors::seed::Seed;
use actors::time::Duration;
use scenarios::Overrides;
use scenarios::plan::{Cost, Jitter, Plan};
use simulator::observed::Observed;
use simulator::{HORIZON, run, run_observed};
use std::collections::BTreeMap;
use topology::outcome::Outcome;

fn quickstart(clients: u32, change: impl Fn(&mut Cost)) -> Plan {
    let set = |path: &str, value: String| (path.to_owned(), value);
    let set = vec![
        set("workload.clients", clients.to_string()),
        set("workload.prompt", "16".to_owned()),
        set("workload.generate", "8".to_owned()),
        set("network", "Network()".to_owned()),
    ];
    let cells = scenarios::load("quickstart").expect("it is there").cells(&Overrides { set, ..Overrides::default() });
    let mut plan = cells.expect("a cell")[0].plan(Seed(3), 0).expect("a plan");
    plan.hosts.iter_mut().for_each(|host| change(&mut host.device.cost));
    plan
}

/// Returns the mean latency of a request in seconds.
fn latency(plan: &Plan) -> f64 {
    match run(plan, HORIZON).outcome {
        Outcome::Done(drained) => drained.mean_latency_s().expect("requests were served"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_straggler_is_slower_by_its_factor() {
    let (fast, slow) = (latency(&quickstart(1, |_| {})), latency(&quickstart(1, |cost| cost.slow = 1.5)));
    assert!((slow / fast - 1.5).abs() < 1e-3, "{slow} against {fast}");
}

#[test]
fn jitter_changes_each_job_and_hardly_their_sum() {
    let steady = latency(&quickstart(1, |_| {}));
    let plan = quickstart(1, |cost| cost.jitter = Jitter::LogNormal { sigma: 0.2 });
    let jittery = latency(&plan);
    assert_ne!(jittery, steady);
    assert!((jittery / steady - 1.0).abs() < 0.05, "{jittery} against {steady}");
    assert_eq!(latency(&plan), jittery, "the same seed draws the same");
}

#[test]
fn overheads_are_paid_where_they_arise() {
    let plain = latency(&quickstart(1, |_| {}));
    let with = |change: fn(&mut Cost)| (latency(&quickstart(1, change)) - plain) * 1e6;
    // A request of one row and 8 tokens over two peers has 8 steps of 4 jobs each: embedding, two block ranges, LM
    // head.
    let jobs = 8.0 * 4.0;
    assert!((with(|cost| cost.overhead.to_device = Duration::from_micros(10)) - 10.0 * jobs).abs() < 0.5);
    assert!((with(|cost| cost.overhead.from_device = Duration::from_micros(7)) - 7.0 * jobs).abs() < 0.5);
    // With relay, a step has 4 frames, and opening a session has 2 frames for each peer. Each frame has a send overhead
    // and a receive overhead. A request begins after its client has sent a message to each of the two peers that closes
    // the previous session, which adds 2 send overheads.
    let ends = 2.0 * (8.0 * 4.0 + 4.0) + 2.0;
    let frame = with(|cost| cost.overhead.frame = Duration::from_micros(5));
    assert!((frame - 5.0 * ends).abs() < 0.5, "{frame} us for {ends} ends of 5 us");
    // A single client never waits for a core lease, so the hand-over of leases takes no time.
    assert!(with(|cost| cost.overhead.hand_over = Duration::from_micros(50)).abs() < 1e-6);
    let two = |change: fn(&mut Cost)| latency(&quickstart(2, change));
    assert!(two(|cost| cost.overhead.hand_over = Duration::from_micros(50)) > two(|_| {}));
}

#[test]
fn observed_times_give_the_run_that_they_were_observed_in() {
    let jittery = quickstart(1, |cost| cost.jitter = Jitter::LogNormal { sigma: 0.4 });
    let seen = run(&jittery, HORIZON);
    // The plan that replays the times has no jitter, and its devices are ten times as fast.
    let plan = quickstart(1, |cost| cost.slow = 0.1);
    let replayed = run_observed(&plan, HORIZON, Observed::of(&seen.events));
    let (Outcome::Done(seen), Outcome::Done(replayed)) = (&seen.outcome, &replayed.outcome) else {
        panic!("{} and {}", seen.outcome, replayed.outcome)
    };
    let off = replayed.latency_sum.as_secs_f64() / seen.latency_sum.as_secs_f64() - 1.0;
    assert!(off.abs() < 1e-6, "off by {off}");
}

/// Simulates devices with jitter, and then devices without jitter that take the job times observed in the first
/// simulation. Both simulations must take equally long, batched steps included.
#[test]
fn batches_and_parts_of_steps_are_observed_as_they_were_computed() {
    let of = |slow: f64, jitter: Jitter, scheduling: Scheduling| {
        let mut plan = quickstart(6, |cost| (cost.slow, cost.jitter) = (slow, jitter));
        plan.policies.scheduling = scheduling;
        plan
    };
    for scheduling in [
        Scheduling::Continuous { tokens: 256, steps: 8 },
        Scheduling::PrefillThenDecode { tokens: 512 },
        Scheduling::Split { whole: 4 },
        Scheduling::DecodeFirst,
    ] {
        let seen = run(&of(1.0, Jitter::LogNormal { sigma: 0.3 }, scheduling), HORIZON);
        let most = |events: &[Event]| {
            let mut jobs: BTreeMap<_, u32> = BTreeMap::new();
            for event in events {
                if let Event::Served(hop) = event {
                    *jobs.entry((hop.peer, hop.started, hop.finished)).or_default() += 1;
                }
            }
            jobs.into_values().max().unwrap_or(0)
        };
        let batched = matches!(scheduling, Scheduling::Continuous { .. } | Scheduling::PrefillThenDecode { .. });
        assert_eq!(most(&seen.events) > 2, batched, "{scheduling:?}");
        // The plan that replays the times has devices twenty times as slow, so hardly any job may take its time from
        // the plan.
        let replayed = run_observed(&of(20.0, Jitter::Off, scheduling), HORIZON, Observed::of(&seen.events));
        let (Outcome::Done(seen), Outcome::Done(replayed)) = (&seen.outcome, &replayed.outcome) else {
            panic!("{} and {}", seen.outcome, replayed.outcome)
        };
        let off = replayed.latency_sum.as_secs_f64() / seen.latency_sum.as_secs_f64() - 1.0;
        println!("{scheduling:?}: off by {off}");
        assert!(off.abs() < 0.02, "{scheduling:?}: off by {off}");
    }
}

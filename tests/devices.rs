//! What a device of a plan is beside its roofline shows in a simulation: stragglers, jitter, overheads, observed times.
use actors::peer::Scheduling;
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

/// Mean seconds of a request.
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
    let factors: Vec<f64> = vec![0.8, 0.9, 1.0, 1.1, 1.2];
    for jitter in [Jitter::LogNormal { sigma: 0.2 }, Jitter::Quantiles(factors)] {
        let plan = quickstart(1, |cost| cost.jitter = jitter.clone());
        let jittery = latency(&plan);
        assert_ne!(jittery, steady);
        assert!((jittery / steady - 1.0).abs() < 0.05, "{jitter:?}: {jittery} against {steady}");
        assert_eq!(latency(&plan), jittery, "the same seed draws the same");
    }
}

#[test]
fn overheads_are_paid_where_they_arise() {
    let base = quickstart(1, |_| {});
    let plain = latency(&base);
    let with = |change: fn(&mut Cost)| (latency(&quickstart(1, change)) - plain) * 1e6;
    // A request of one row, 8 tokens and two peers has 8 steps of 4 jobs: embedding, two spans, head.
    let jobs = 8.0 * 4.0;
    assert!((with(|cost| cost.overhead.to_device = Duration::from_micros(10)) - 10.0 * jobs).abs() < 0.5);
    assert!((with(|cost| cost.overhead.from_device = Duration::from_micros(7)) - 7.0 * jobs).abs() < 0.5);
    // Relayed, a step is 4 frames and opening a session is 2 a peer; each has two ends. A request begins when its client has
    // sent each of the two peers the close of the one before.
    let ends = 2.0 * (8.0 * 4.0 + 4.0) + 2.0;
    let frame = with(|cost| cost.overhead.frame = Duration::from_micros(5));
    assert!((frame - 5.0 * ends).abs() < 0.5, "{frame} us for {ends} ends of 5 us");
    // A session with each of two peers.
    assert!((with(|cost| cost.overhead.opening = Duration::from_micros(9)) - 2.0 * 9.0).abs() < 0.5);
    // Hidden states go to both peers and come from them, come from the embedding and go to the head: 6 copies of each row.
    let width = f64::from(base.model.shape.hidden) * 4.0;
    let rows = f64::from(base.workload.prompt) + 7.0;
    let copied = with(|cost| cost.overhead.per_copied = 1e-9);
    assert!((copied - 6.0 * rows * width * 1e-3).abs() < 0.5, "{copied} us");
    // One client never waits for a lease.
    assert!(with(|cost| cost.overhead.hand_over = Duration::from_micros(50)).abs() < 1e-6);
    let two = |change: fn(&mut Cost)| latency(&quickstart(2, change));
    assert!(two(|cost| cost.overhead.hand_over = Duration::from_micros(50)) > two(|_| {}));
}

#[test]
fn observed_times_give_the_run_that_they_were_observed_in() {
    let jittery = quickstart(1, |cost| cost.jitter = Jitter::LogNormal { sigma: 0.4 });
    let seen = run(&jittery, HORIZON);
    // The plan itself knows nothing of the jitter, and takes devices to be ten times as fast.
    let plan = quickstart(1, |cost| cost.slow = 0.1);
    let replayed = run_observed(&plan, HORIZON, Observed::of(&seen.events));
    let (Outcome::Done(seen), Outcome::Done(replayed)) = (&seen.outcome, &replayed.outcome) else {
        panic!("{} and {}", seen.outcome, replayed.outcome)
    };
    let off = replayed.latency_sum.as_secs_f64() / seen.latency_sum.as_secs_f64() - 1.0;
    assert!(off.abs() < 1e-6, "off by {off}");
}

/// What is observed in a simulation whose devices jitter is what a simulation of steady ones takes, batched steps too.
#[test]
fn batches_and_parts_of_steps_are_observed_as_they_were_computed() {
    let of = |slow: f64, jitter: Jitter, scheduling: Scheduling| {
        let mut plan = quickstart(6, |cost| (cost.slow, cost.jitter) = (slow, jitter.clone()));
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
        // The plan itself takes devices to be twenty times as slow: hardly a job may be left to it.
        let replayed = run_observed(&of(20.0, Jitter::Off, scheduling), HORIZON, Observed::of(&seen.events));
        let (Outcome::Done(seen), Outcome::Done(replayed)) = (&seen.outcome, &replayed.outcome) else {
            panic!("{} and {}", seen.outcome, replayed.outcome)
        };
        let off = replayed.latency_sum.as_secs_f64() / seen.latency_sum.as_secs_f64() - 1.0;
        println!("{scheduling:?}: off by {off}");
        assert!(off.abs() < 0.02, "{scheduling:?}: off by {off}");
    }
}

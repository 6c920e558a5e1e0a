//! Tests that a profile that is fitted to a live run states the run's network conditions, and that a simulation with
//! this profile has the same conditions.
#[path = "support/command.rs"]
mod command;

use command::expect_code;
use scenarios::plan::{Distribution, Plan};
use scenarios::profile::Profile;
use std::fs;
use std::path::Path;

/// A scenario with one client that alternates between a near and a far peer.
const TWO_WAYS: &str = r#"#![enable(implicit_some, unwrap_newtypes)]
Scenario(
    version: 1,
    name: "two-ways",
    model: Model(shape: Custom(arch: Opt, layers: 4, hidden: 256, heads: 8, vocab: 2048, max_positions: 512)),
    machines: [Machine(name: "here", leases: 1)],
    hosts: [
        Host(name: "near", machine: "here", device: Cpu(threads: 1)),
        Host(name: "far", machine: "here", device: Cpu(threads: 1)),
        Host(name: "client", machine: "here", device: Cpu(threads: 1)),
    ],
    peers: [Peers(on: "near", span: Blocks(0, 4)), Peers(on: "far", span: Blocks(0, 4))],
    swarm: Swarm(cache: "64 MiB", routing: RoundRobin(Span), pings: Pings(every: "5 ms")),
    network: Network(
        links: [
            Between(from: "client", to: "near", both: true, delay: "2 ms", bandwidth: "400 Mbit/s"),
            Between(from: "client", to: "far", both: true, delay: Uniform(low: "10 ms", high: "14 ms"), bandwidth: "100 Mbit/s"),
        ],
        tcp: Tcp(slow_start: false, header: "0 B"),
        shape: true,
    ),
    workload: Closed(on: "client", clients: 1, micro_batches: 6, batch: 1, prompt: 128, generate: 8),
)
"#;

fn profile(path: &Path) -> Profile {
    let text = fs::read_to_string(path).expect("the profile was written");
    Profile::read("here.ron", &text).unwrap_or_else(|why| panic!("{why}"))
}

fn ms(time: scenarios::units::Time) -> f64 {
    time.0 as f64 / 1e6
}

/// Asserts that `found` differs from `expected` by less than `share` of it.
fn near(found: f64, expected: f64, share: f64) {
    assert!((found / expected - 1.0).abs() < share, "{found} is not {expected}");
}

fn plans(dir: &Path, run: &str) -> Vec<Plan> {
    let text = fs::read_to_string(dir.join("runs").join(run).join("plan.ron")).expect("a plan");
    scenarios::plan::from_ron(&text).expect("plans")
}

fn figure(dir: &Path, run: &str, name: &str) -> f64 {
    let mut cells = csv::Reader::from_path(dir.join("runs").join(run).join("cells.csv")).expect("cells.csv");
    let at = cells.headers().expect("a heading").iter().position(|column| column == name).expect("the measure");
    let values: Vec<f64> = cells.records().map(|row| row.expect("a row")[at].parse().expect("a number")).collect();
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn links_are_found_again_in_a_run_over_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path();
    fs::write(at.join("two-ways.ron"), TWO_WAYS).expect("it is written");
    expect_code(at, &["live", "two-ways.ron", "--repeat", "2"], 0);
    expect_code(at, &["calibrate", "--from", "runs/two-ways-live-001", "--out", "here.ron"], 0);
    let here = profile(&at.join("here.ron"));
    assert!(here.source.starts_with("fitted to 2 runs of two-ways-live-001"), "{}", here.source);
    assert_eq!(here.spread.expect("two repetitions have one").repetitions, 2);
    let [far, near_by] = &here.links[..] else { panic!("{:?}", here.links) };
    assert_eq!((far.from.as_str(), far.to.as_str(), near_by.to.as_str()), ("client", "far", "near"));
    near(ms(near_by.rtt[10]), 4.0, 0.15);
    near(ms(far.rtt[10]), 24.0, 0.05);
    // The sum of two uniform delays ranges from 20 to 28 ms.
    assert!(ms(far.rtt[1]) > 20.0 && ms(far.rtt[1]) < 23.0 && ms(far.rtt[18]) > 25.0, "{:?}", far.rtt);
    let mbit = |way: &scenarios::profile::Way| way.bandwidth.expect("two sizes").bytes_per_second() * 8e-6;
    near(mbit(near_by), 400.0, 0.3);
    near(mbit(far), 100.0, 0.15);

    let declared = ["sim", "two-ways.ron", "--repeat", "8"];
    expect_code(at, &declared, 0);
    expect_code(at, &[&declared[..], &["--set", "network.links=[]", "--set", "network.profile=here.ron"]].concat(), 0);
    let measured = &plans(at, "two-ways-sim-002")[0].network;
    assert!(measured.between.iter().any(|way| matches!(way.link.delay, Distribution::Empirical(_))));
    let latency = |run: &str| figure(at, run, "mean_latency_ms");
    near(latency("two-ways-sim-002"), latency("two-ways-sim-001"), 0.15);
}

#[test]
fn a_machine_is_measured_with_its_links_and_a_scenario_is_simulated_by_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path();
    let small = ["--set", "workload.generate=2", "--only", "workload.prompt=16"];
    expect_code(at, &[&["calibrate", "quickstart", "--rounds", "1", "--out", "here.ron"][..], &small].concat(), 0);
    let [loopback] = &profile(&at.join("here.ron")).links[..] else { panic!("one pair of groups") };
    assert_eq!((loopback.from.as_str(), loopback.to.as_str()), ("client", "peer"));
    let median = ms(loopback.rtt[10]);
    assert!(median > 0.01 && median < 20.0 && loopback.rtt.len() == 20, "{median} ms over loopback");
    let by_profile = ["sim", "quickstart", "--set", "network.profile=here.ron"];
    expect_code(at, &[&by_profile[..], &small].concat(), 0);
    let plan = &plans(at, "quickstart-sim-001")[0];
    let groups = ["orchestrator", "peer", "client"].len();
    assert_eq!(plan.network.between.len(), groups * groups, "the only way is that between any two");

    let wrong = expect_code(at, &["sim", "quickstart", "--set", "network.profile=helix-t4"], 3);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("has no links"));
    let simulated = ["calibrate", "--from", "runs/quickstart-sim-001", "--out", "it.ron"];
    let refused = expect_code(at, &simulated, 1);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("a profile can be fitted only to live runs"));
}

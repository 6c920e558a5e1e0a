//! Tests that a scenario that names no machines runs live, with all of its hosts on this machine.
#[path = "support/command.rs"]
mod command;

use command::expect_code;
use std::fs;

const SCENARIO: &str = r#"Scenario(
    version: 1,
    name: "free",
    model: Model(
        shape: Custom(arch: Opt, layers: 4, hidden: 64, heads: 4, vocab: 256, max_positions: 128),
        weights: Random(seed: 1),
    ),
    hosts: [
        Host(name: "peer", count: 2, device: Cpu(threads: 1)),
        Host(name: "client", device: Cpu(threads: 1)),
    ],
    peers: [Peers(on: "peer", span: Even)],
    workload: Closed(on: "client", clients: 2, micro_batches: 2, batch: 1, prompt: 8, generate: 4),
)"#;

#[test]
fn hosts_without_machines_share_the_cores_of_this_one() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("free.ron"), SCENARIO).expect("written");
    let said = expect_code(dir.path(), &["live", "free.ron"], 0);
    let note = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(note.contains("the scenario names no machines"), "{note}");
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
    let plan = reports::read::plans(&dir.path().join("runs/free-live-001")).expect("the plans of the run").remove(0);
    assert_eq!((plan.machines.len(), plan.machines[0].leases), (1, Some(cores)));
    assert!(plan.hosts.iter().all(|host| host.machine == 0));
    // A simulation keeps the machines of the scenario: one for each host.
    let said = expect_code(dir.path(), &["sim", "free.ron"], 0);
    assert!(!String::from_utf8_lossy(&said.stderr).contains("machines"));
}

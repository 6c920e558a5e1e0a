//! Tests that tables of other programs are read unchanged, or are refused with file, line, column and exit code 3.
#[path = "support/command.rs"]
mod command;

use command::expect_code;
use std::fs;
use std::path::Path;

/// Runs the program on a scenario that replays `trace.csv` in the format `columns`. Returns its stderr without line
/// breaks.
fn said(dir: &Path, command: &str, columns: &str, code: i32) -> String {
    let text = format!(
        r#"#![enable(implicit_some, unwrap_newtypes)]
Scenario(
    version: 1,
    name: "traced",
    model: Model(shape: Llama("7b")),
    hosts: [
        Host(name: "peer", site: "a", device: Preset("a100")),
        Host(name: "client", site: "b", device: Preset("cpu-8")),
    ],
    peers: [Peers(on: "peer", span: Even)],
    swarm: Swarm(cache: "40 GiB"),
    network: Network(rtt: Csv("rtt.csv")),
    workload: Trace(on: "client", clients: 1, file: "trace.csv", columns: {columns}, limit: 2),
)"#
    );
    fs::write(dir.join("traced.ron"), text).expect("a file");
    let output = expect_code(dir, &[command, "traced.ron"], code);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).replace("│", " ");
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

const ROUND_TRIPS: &str = "from,to,rtt_ms\na,b,10\nb,a,12\n";

const REQUESTS: &str = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\r\n\
    5,ChatGPT,47,0,47,API log\r\n6,ChatGPT,10,2,12,API log\r\n6.5,GPT-4,20,3,23,API log\r\n9,GPT-4,20,3,23,API log\r\n";

#[test]
fn requests_that_were_left_out_are_counted_by_check_and_sim() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("rtt.csv"), ROUND_TRIPS).expect("a file");
    fs::write(dir.path().join("trace.csv"), REQUESTS).expect("a file");
    for command in ["check", "sim"] {
        let said = said(dir.path(), command, "BurstGpt", 0);
        assert!(said.contains("note: trace.csv: 1 of 4 rows were left out: they are requests that failed"), "{said}");
        assert!(said.contains("note: trace.csv was read only up to line 5, where `limit` is reached"), "{said}");
    }
}

#[test]
fn the_scenario_of_a_run_directory_finds_its_files_from_anywhere() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("rtt.csv"), ROUND_TRIPS).expect("a file");
    fs::write(dir.path().join("trace.csv"), REQUESTS).expect("a file");
    said(dir.path(), "sim", "BurstGpt", 0);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("runs/traced-sim-001/scenario.ron");
    expect_code(elsewhere.path(), &["sim", copy.to_str().expect("a plain path")], 0);
    let cells = |runs: &Path| fs::read(runs.join("runs/traced-sim-001/cells.csv")).expect("a table");
    assert_eq!(cells(dir.path()), cells(elsewhere.path()));
    // A copy of the copied scenario finds the tables too.
    let copy = elsewhere.path().join("runs/traced-sim-001/scenario.ron");
    expect_code(elsewhere.path(), &["check", copy.to_str().expect("a plain path")], 0);
}

#[test]
fn a_pair_that_is_given_twice_names_both_lines() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("trace.csv"), REQUESTS).expect("a file");
    for (first, second) in [(1331, 5741), (5741, 1331)] {
        let table = format!("from,to,rtt_ms\na,b,{first}\nb,a,1\na,b,{second}\n");
        fs::write(dir.path().join("rtt.csv"), table).expect("a file");
        let said = said(dir.path(), "sim", "BurstGpt", 3);
        assert!(said.contains("traced.ron:12:") && said.contains("rtt.csv:4:"), "{said}");
        assert!(said.contains("from `a` to `b` is given twice") && said.contains("in line 2"), "{said}");
    }
}

#[test]
fn a_pipe_is_not_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("rtt.csv"), ROUND_TRIPS).expect("a file");
    let made = std::process::Command::new("mkfifo").arg(dir.path().join("trace.csv")).status().expect("mkfifo runs");
    assert!(made.success());
    let said = said(dir.path(), "check", "Ours", 3);
    assert!(said.contains("trace.csv: the path is a pipe, a socket or a device"), "{said}");
}

#[test]
fn a_field_that_is_no_number_is_shown() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("rtt.csv"), ROUND_TRIPS).expect("a file");
    fs::write(dir.path().join("trace.csv"), REQUESTS.replace("6,ChatGPT,10", "6,ChatGPT,NaN")).expect("a file");
    let said = said(dir.path(), "check", "BurstGpt", 3);
    assert!(said.contains("trace.csv:3:11: `NaN` is not a number of tokens"), "{said}");
}

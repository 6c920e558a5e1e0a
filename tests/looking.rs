//! Tests that `check` and `plan` describe a sweep in the requested format, and warn of valid but doubtful input.
#[path = "support/command.rs"]
mod command;

use command::expect_code;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn said(dir: &Path, arguments: &[&str]) -> String {
    String::from_utf8(expect_code(dir, arguments, 0).stdout).expect("text")
}

/// Returns stderr without line breaks and without the frame of an error report.
fn refused(dir: &Path, arguments: &[&str], code: i32) -> String {
    let output = expect_code(dir, arguments, code);
    String::from_utf8_lossy(&output.stderr).replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn warnings(dir: &Path, arguments: &[&str]) -> Vec<String> {
    let text = said(dir, &[&["check"], arguments, &["--format", "json"]].concat());
    let found: Value = serde_json::from_str(&text).expect("JSON");
    let list = found["warnings"].as_array().expect("a list");
    list.iter().map(|warning| warning.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn plan_and_check_print_the_format_that_was_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let axis = ["--axis", "workload.prompt=8,16"];
    let plan = said(dir.path(), &[&["plan", "nano", "--format", "json"], &axis[..]].concat());
    let cells: Value = serde_json::from_str(&plan).expect("JSON");
    assert_eq!((&cells[0]["cell"], &cells[1]["values"]["workload.prompt"]), (&0.into(), &"16".into()), "{plan}");
    let plan = said(dir.path(), &[&["plan", "nano", "--format", "csv"], &axis[..]].concat());
    let mut rows = csv::Reader::from_reader(plan.as_bytes());
    assert_eq!(rows.headers().expect("headings"), vec!["cell", "hosts", "peers", "clients", "workload.prompt"]);
    assert_eq!(rows.records().filter_map(Result::ok).map(|row| row[4].to_owned()).collect::<Vec<_>>(), ["8", "16"]);
    let plan = said(dir.path(), &[&["plan", "nano", "--format", "md"], &axis[..]].concat());
    assert!(plan.starts_with("| cell | hosts | peers | clients | workload.prompt |\n| --- |"), "{plan}");
    let check = said(dir.path(), &[&["check", "nano", "--format", "json"], &axis[..]].concat());
    let found: Value = serde_json::from_str(&check).expect("JSON");
    assert_eq!((&found["cells"], &found["live"], &found["scenario"]), (&2.into(), &true.into(), &"nano".into()));
    let check = said(dir.path(), &[&["check", "nano", "--format", "csv"], &axis[..]].concat());
    let mut rows = csv::Reader::from_reader(check.as_bytes());
    assert!(rows.records().all(|row| row.is_ok_and(|row| row.len() == 2)), "{check}");
    assert!(check.contains("\ncells,2\n"), "{check}");
}

#[test]
fn no_more_sessions_are_expected_than_requests_come() {
    let dir = tempfile::tempdir().expect("a directory");
    let open = "workload=Open(on: \"client\", clients: 8, rate: \"4 /s\", process: Constant, duration: \"10 s\", \
                prompt: 16, generate: 4)";
    let cache = |size: &str| format!("swarm.cache={size}");
    let found = warnings(dir.path(), &["clients", "--set", open, "--set", &cache("1 MiB")]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("40 may be open at once"), "{found:?}");
    assert!(warnings(dir.path(), &["clients", "--set", open, "--set", &cache("1 GiB")]).is_empty());
}

#[test]
fn what_is_the_same_in_many_cells_is_said_once_with_their_names() {
    let dir = tempfile::tempdir().expect("a directory");
    let axes = ["--axis", "workload.clients=1,20,40", "--set", "swarm.cache=1 MiB"];
    let found = warnings(dir.path(), &[&["clients"], &axes[..]].concat());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("cells 1, 2, worst in cell 2 (workload.clients=40): peer"), "{found:?}");
}

#[test]
fn a_scenario_that_asks_for_no_charts_gets_those_that_suit_its_axes() {
    let dir = tempfile::tempdir().expect("a directory");
    let text = scenarios::library::find("nano").expect("it is in the library");
    let without: String =
        text.lines().filter(|line| !line.trim_start().starts_with("report:")).map(|l| format!("{l}\n")).collect();
    assert_ne!(text.trim(), without.trim());
    std::fs::write(dir.path().join("bare.ron"), without).expect("a file");
    expect_code(dir.path(), &["sim", "bare.ron", "--axis", "workload.prompt=8,16,32", "--repeat", "2"], 0);
    let drawn = std::fs::read_dir(dir.path().join("runs/nano-sim-001/charts")).expect("charts");
    let drawn: Vec<String> = drawn.flatten().map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    for chart in ["throughput", "latency", "breakdown"] {
        assert!(drawn.iter().any(|file| file.contains(chart) && file.ends_with(".png")), "{chart}: {drawn:?}");
    }
}

#[test]
fn a_model_that_is_not_known_is_compared_with_the_models() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = refused(dir.path(), &["model", "write", "qwen2.5", "--out", "x"], 2);
    assert!(said.contains("opt-125m") && said.contains("llama-"), "{said}");
    let said = refused(dir.path(), &["model", "write", "opt125m", "--out", "x"], 2);
    assert!(said.contains("did you mean `opt-125m`"), "{said}");
}

#[test]
fn a_file_that_cannot_be_used_is_named_once_with_the_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let once = |said: &str, what: &str| assert_eq!(said.matches(what).count(), 1, "{said}");
    once(&refused(dir.path(), &["report", "nowhere"], 1), "the directory has no manifest.json");
    std::fs::write(dir.path().join("file"), "x").expect("a file");
    let said = refused(dir.path(), &["sim", "nano", "--out", "file"], 1);
    once(&said, "file is not a directory");
    std::fs::create_dir(dir.path().join("folder")).expect("a folder");
    let said = refused(dir.path(), &["check", "folder"], 3);
    assert!(said.contains("folder") && said.contains("directory"), "{said}");
}

#[test]
fn one_path_is_not_both_set_and_varied() {
    let dir = tempfile::tempdir().expect("a directory");
    let flags = ["--set", "workload.prompt=4", "--axis", "workload.prompt=8,16"];
    for command in ["plan", "check", "sim"] {
        let said = refused(dir.path(), &[&[command, "nano"], &flags[..]].concat(), 3);
        assert!(said.contains("--set workload.prompt=4") && said.contains("--axis workload.prompt=8,16"), "{said}");
    }
    assert!(!dir.path().join("runs").exists());
}

#[test]
fn a_file_that_does_not_exist_is_compared_with_the_scenarios_and_not_with_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = refused(dir.path(), &["check", "nofile.ron"], 3);
    assert!(said.contains("nofile.ron") && !said.contains("helix"), "{said}");
    let said = refused(dir.path(), &["check", "quickstrat.ron"], 3);
    assert!(said.contains("did you mean `quickstart`"), "{said}");
    for path in ["nano/x.ron", "helix", "elsewhere/helix-a10.json"] {
        let said = refused(dir.path(), &["twin", path], 3);
        assert_eq!(said.contains("helix-a100"), path.starts_with("else"), "{said}");
    }
}

#[test]
fn an_event_that_did_not_happen_is_told_and_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let late = ["--set", "events=[Crash(on: \"peer[0]\", at: \"30 s\", back: \"1 s\")]"];
    let output = expect_code(dir.path(), &[&["sim", "nano"], &late[..]].concat(), 0);
    let told = "1 of 1 events did not happen, because the run ended at ";
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(&format!("note: {told}")), "{stderr}");
    let run = dir.path().join("runs/nano-sim-001");
    for file in ["report.md", "manifest.json"] {
        assert!(std::fs::read_to_string(run.join(file)).expect("it is there").contains(told), "{file}");
    }
    // The results are the same as those of a run without the event.
    expect_code(dir.path(), &["sim", "nano"], 0);
    let cells = |run: &str| std::fs::read(dir.path().join(run).join("cells.csv")).expect("cells");
    assert_eq!(cells("runs/nano-sim-001"), cells("runs/nano-sim-002"));
}

#[test]
fn requests_of_a_failed_run_are_left_out_and_said_to_be() {
    let dir = tempfile::tempdir().expect("a directory");
    let crash = ["--set", "events=[Crash(on: \"peer[0]\", at: \"150 ms\")]", "--set", "report=[Breakdown]"];
    let output = expect_code(dir.path(), &[&["sim", "nano"], &crash[..]].concat(), 4);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("INVALID: the run failed, so ") && stdout.contains("left out"), "{stdout}");
    assert!(!stdout.contains("too few samples"), "{stdout}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("no run ended without a failure") && !stderr.contains("succeeded"), "{stderr}");
}

#[test]
fn a_person_reads_names_and_not_numbers() {
    let dir = tempfile::tempdir().expect("a directory");
    let slow = ["sim", "nano", "--set", "network.default.bandwidth=100 bps"];
    let output = expect_code(dir.path(), &slow, 4);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the warm-up of client"), "{said}");
    let cells = std::fs::read_to_string(dir.path().join("runs/nano-sim-001/cells.csv")).expect("cells");
    assert!(!said.contains("node ") && !cells.contains("node "), "{said}\n{cells}");
}

#[test]
fn a_long_argument_is_not_repeated_as_a_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let long = "9".repeat(100_000);
    for arguments in [["sim", "nano", "--set", &format!("workload.prompt={long}")], ["sim", "nano", "--seed", &long]] {
        let output = Command::new(env!("CARGO_BIN_EXE_swarmbench")).args(arguments).current_dir(dir.path()).output();
        let said = output.expect("it runs").stderr;
        assert!(!said.is_empty() && said.len() < 2_000, "{} bytes", said.len());
    }
}

#[test]
fn a_name_of_other_letters_stays_in_the_directorys_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = expect_code(dir.path(), &["sim", "nano", "--set", "name=\"é☃\""], 0);
    assert!(dir.path().join("runs/é_-sim-001/report.md").exists());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("usvg") && !stderr.contains("WARN"), "{stderr}");
}

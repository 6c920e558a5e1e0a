//! Tests that `twin` reports its progress, and at the end whether its prediction error was larger than the noise of
//! live runs.
#[path = "support/command.rs"]
mod command;

use command::expect_code;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn manifest(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("manifest.json")).expect("a manifest")).expect("JSON")
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().expect("a line")
}

#[test]
fn a_twin_repeats_its_cells_and_ends_with_a_verdict() {
    let dir = tempfile::tempdir().expect("a directory");
    let only = "workload.prompt=16 && workload.generate=8";
    let output = expect_code(dir.path(), &["twin", "quickstart", "--only", only, "--rounds", "2"], 0);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let runs = dir.path().join("runs");
    let (live, twin) = (runs.join("quickstart-live-001"), runs.join("quickstart-twin-001"));

    // The scenario asks for one repetition, which cannot show noise. Therefore `twin` makes several live runs.
    let said = manifest(&live);
    assert_eq!(said["runs_done"], 3, "{said}");
    let json: Value = serde_json::from_slice(&fs::read(twin.join("twin.json")).expect("twin.json")).expect("JSON");
    for error in json["errors"].as_array().expect("errors") {
        assert!(error["noise_floor"].is_number() && error["confidence"].is_number(), "{error}");
    }

    let verdict = json["verdict"]["text"].as_str().expect("a verdict");
    assert!(verdict.contains("noise") && verdict.contains("4 measures"), "{verdict}");
    assert_eq!(last_line(&stdout), verdict);
    for file in ["twin.md", "report.md"] {
        assert_eq!(last_line(&fs::read_to_string(twin.join(file)).expect(file)), verdict, "{file}");
    }

    // The manifest records the machine's load in figures.
    let load = &said["load"];
    let share = |when: &str, of: &str| load[when][of].as_f64().unwrap_or_else(|| panic!("{when} {of} in {load}"));
    for when in ["before", "during"] {
        let all: f64 = ["ours", "others", "stolen"].map(|of| share(when, of)).iter().sum();
        assert!((0.0..=1.001).contains(&all), "{load}");
    }
    assert!(share("during", "ours") > 0.0, "the hosts' time counts as the run's own: {load}");
    assert!(load["average_at_start"][2].is_number() && load["average_at_end"][2].is_number(), "{load}");
    let busy = share("during", "others") + share("during", "stolen") >= 0.05;
    assert_eq!(verdict.starts_with("this machine was busy: "), busy, "{verdict}, {load}");
    assert!(said["build"]["features"].is_array(), "{said}");
    assert!(manifest(&runs.join("quickstart-sim-001"))["load"]["before"].is_null(), "no load changes a simulation");

    // If stderr is a pipe, the program prints each phase when the phase begins, and then its progress.
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(lines[0].starts_with("calibrate: measuring this machine with "), "{stderr}");
    let measured = lines.iter().filter(|line| line.starts_with("calibrate ")).count();
    assert!((2..=11).contains(&measured), "{stderr}");
    for begun in ["live: 3 live runs of 1 cell", "sim: 15 simulations of 1 cell"] {
        assert!(lines.contains(&begun), "{stderr}");
    }
    assert!(lines.iter().any(|line| line.starts_with("live 3/3 ")), "{stderr}");
}

#[test]
fn the_command_line_says_how_often_a_twin_repeats() {
    let dir = tempfile::tempdir().expect("a directory");
    let only = "workload.prompt=16 && workload.generate=1";
    let once = ["twin", "quickstart", "--only", only, "--rounds", "1"];
    for flags in [&["--repeat", "1", "--format", "csv"][..], &["--set", "sweep.repeat=1", "--format", "csv"]] {
        let output = expect_code(dir.path(), &[&once, flags].concat(), 0);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            stderr.contains("live: 1 live run of 1 cell") && stderr.contains("cannot be told from noise"),
            "{stderr}"
        );
    }
}

#[test]
fn a_profile_is_a_regular_file() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("folder.ron")).expect("created");
    let output = expect_code(dir.path(), &["twin", "quickstart", "--profile", "folder.ron"], 3);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("folder.ron: the path is a directory, but only regular files are read"), "{stderr}");
    let marked = "\u{feff}Profile(version: 2, name: \"other\", source: \"\", models: [])";
    fs::write(dir.path().join("marked.ron"), marked).expect("written");
    let output = expect_code(dir.path(), &["twin", "quickstart", "--profile", "marked.ron"], 3);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("has version 2"), "a byte order mark is no part of it: {stderr}");
}

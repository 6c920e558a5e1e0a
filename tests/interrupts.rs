//! Tests that completed runs stay readable and state their share of the plan, however the program is ended.
#[path = "support/command.rs"]
mod command;

use command::expect_code;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// A command with more runs than can finish before a signal arrives.
const LONG: [&str; 6] = ["sim", "quickstart", "--repeat", "3000", "--jobs", "1"];

fn start(dir: &Path, arguments: &[&str]) -> Child {
    // The parent process may ignore these signals, as a shell does for its background jobs, and children inherit that.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT,TERM,HUP", env!("CARGO_BIN_EXE_swarmbench")]).args(arguments);
    command.current_dir(dir).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32).expect("a process id")
}

fn send(child: &Child, signal: Signal) {
    kill_process(pid(child), signal).expect("it runs");
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("{what}: not within a minute");
}

/// Waits until the process has a handler for INT.
fn wait_for_handler(child: &Child) {
    wait_until("a signal handler", || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
        mask.is_some_and(|mask| mask >> (Signal::INT.as_raw() - 1) & 1 == 1)
    });
}

/// Waits until some runs are in the partial directory.
fn wait_for_runs(dir: &Path) {
    let cells = dir.join("runs/.partial-quickstart-sim-001/cells.csv");
    wait_until("some runs", || fs::read_to_string(&cells).is_ok_and(|text| text.lines().count() > 5));
}

fn ended(child: Child, code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert_eq!(status.code(), Some(code), "{stderr}");
    (stdout, stderr)
}

fn manifest(run: &Path) -> Value {
    serde_json::from_slice(&fs::read(run.join("manifest.json")).expect("a manifest")).expect("JSON")
}

#[test]
fn a_sweep_that_is_interrupted_says_how_much_of_it_was_run() {
    for signals in [&[Signal::INT][..], &[Signal::TERM], &[Signal::HUP], &[Signal::INT, Signal::INT]] {
        let dir = tempfile::tempdir().expect("a directory");
        let child = start(dir.path(), &LONG);
        wait_for_runs(dir.path());
        signals.iter().for_each(|signal| send(&child, *signal));
        let (stdout, stderr) = ended(child, 130);
        assert_eq!(stderr.matches("interrupted: what runs is given up").count(), 1, "{stderr}");
        let run = dir.path().join("runs/quickstart-sim-001");
        let manifest = manifest(&run);
        let count = |name: &str| manifest[name].as_u64().expect("a count");
        assert_eq!((&manifest["complete"], &manifest["interrupted"]), (&false.into(), &true.into()));
        assert_eq!(manifest["verdict"]["verdict"], "SUSPECT");
        assert_eq!(count("runs_planned"), count("cells_planned") * 3000);
        assert!(count("runs_done") > 4 && count("runs_done") < count("runs_planned"), "{manifest}");
        let said = format!("interrupted: {} of {} runs done, 0 failed", count("runs_done"), count("runs_planned"));
        let report = fs::read_to_string(run.join("report.md")).expect("a report");
        assert!(report.contains(&said) && stdout.contains(&said), "{said}\n{report}\n{stdout}");
    }
}

#[test]
fn what_a_killed_sweep_leaves_is_drawn_and_said_to_be_partial() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = start(dir.path(), &LONG);
    wait_for_runs(dir.path());
    send(&child, Signal::KILL);
    child.wait().expect("it ends");
    let partial = "runs/.partial-quickstart-sim-001";
    let output = expect_code(dir.path(), &["report", partial], 0);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("unfinished: ") && stdout.contains("SUSPECT"), "{stdout}");
    assert!(!stderr.contains("note: "), "every chart is drawn: {stderr}");
    assert!(dir.path().join(partial).join("charts/latency-cdf.png").exists());
    expect_code(dir.path(), &["sim", "quickstart", "--only", "workload.prompt=16 && workload.generate=8"], 0);
    assert!(dir.path().join("runs/quickstart-sim-002").exists(), "the next number");
}

#[test]
fn every_command_ends_with_a_word() {
    for arguments in [
        &["soak", "--seeds", "100000000"][..],
        &["sensitivity", "quickstart", "--repeat", "3000"],
        &["model", "write", "opt-125m", "--out", "model"],
        &["calibrate", "--out", "here.ron", "--rounds", "1000"],
        &["plan", "quickstart", "--repeat", "10000"],
        &["twin", "quickstart", "--rounds", "1000"],
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let child = start(dir.path(), arguments);
        wait_for_handler(&child);
        // Two signals more than 0.2 s apart count as two: if the command handles the first by saving its results, the
        // second ends it at once.
        send(&child, Signal::TERM);
        sleep(Duration::from_millis(500));
        if child.id() > 0 {
            let _ = kill_process(pid(&child), Signal::TERM);
        }
        let (_, stderr) = ended(child, 130);
        assert!(stderr.contains("interrupted"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let dir = tempfile::tempdir().expect("a directory");
    let program = env!("CARGO_BIN_EXE_swarmbench");
    let script = format!("trap '' HUP; exec {program} {}", LONG.join(" "));
    let child = Command::new("sh").args(["-c", &script]).current_dir(dir.path()).stderr(Stdio::piped()).spawn();
    let child = child.expect("a shell");
    wait_for_runs(dir.path());
    send(&child, Signal::HUP);
    let cells = dir.path().join("runs/.partial-quickstart-sim-001/cells.csv");
    let lines = || fs::read_to_string(&cells).expect("it goes on").lines().count();
    let before = lines();
    wait_until("further runs", || lines() > before + 5);
    send(&child, Signal::TERM);
    ended(child, 130);
}

#[test]
fn places_are_looked_at_before_anything_else() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("taken"), "a file").expect("written");
    for arguments in [
        &["calibrate", "no-scenario", "--out", "missing/here.ron"][..],
        &["calibrate", "no-scenario", "--out", "."],
        &["twin", "no-scenario", "--out", "taken"],
        &["twin", "no-scenario", "--out", "taken/runs"],
        &["sim", "no-scenario", "--out", "/proc/runs"],
        &["live", "no-scenario", "--out", "taken"],
        &["sensitivity", "no-scenario", "--out", "taken"],
    ] {
        let output = expect_code(dir.path(), arguments, 1);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(arguments[3]) && stderr.contains("cannot be written"), "{stderr}");
    }
    assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 1, "nothing was made");
}

#[test]
fn runs_that_begin_at_the_same_instant_get_numbers_of_their_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let one = ["sim", "quickstart", "--only", "workload.prompt=16 && workload.generate=8"];
    let children: Vec<Child> = (0..6).map(|_| start(dir.path(), &one)).collect();
    children.into_iter().for_each(|child| drop(ended(child, 0)));
    for n in 1..=6 {
        assert!(dir.path().join(format!("runs/quickstart-sim-{n:03}/report.md")).exists(), "{n}");
    }
}

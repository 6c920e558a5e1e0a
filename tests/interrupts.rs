//! Tests that an interrupted program keeps its completed runs readable and says how many of the planned runs they are.
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

#[test]
fn a_model_that_is_interrupted_leaves_nothing_of_it() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("mine")).expect("a folder");
    fs::write(dir.path().join("mine/notes.txt"), "mine").expect("a file");
    for out in ["made/by/it", "mine"] {
        let child = start(dir.path(), &["model", "write", "opt-1.3b", "--out", out]);
        let growing = dir.path().join(out).join(".partial-model/model.safetensors");
        wait_until("a file that grows", || fs::metadata(&growing).is_ok_and(|file| file.len() > 0));
        // A second program that writes to the same folder is refused, and removes none of its files.
        let output = expect_code(dir.path(), &["model", "write", "nano", "--out", out], 1);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("another program is writing a") && growing.exists(), "{stderr}");
        send(&child, Signal::INT);
        let (_, stderr) = ended(child, 130);
        assert!(stderr.contains("no model was written"), "{stderr}");
    }
    let left: Vec<_> =
        fs::read_dir(dir.path()).expect("there").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(left, ["mine"]);
    assert_eq!(fs::read_dir(dir.path().join("mine")).expect("there").count(), 1, "the user's own file");
}

#[test]
fn models_that_are_written_at_the_same_instant_do_not_replace_each_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let children: Vec<Child> = (1..=4)
        .map(|seed| start(dir.path(), &["model", "write", "nano", "--out", "m", "--seed", &seed.to_string()]))
        .collect();
    let codes = children.into_iter().map(|child| child.wait_with_output().expect("it ends").status.code());
    let written = codes.filter(|code| *code == Some(0)).count();
    assert_eq!(written, 1);
    expect_code(dir.path(), &["model", "inspect", "m"], 0);
}

#[test]
fn cells_that_were_not_run_are_in_the_results_that_programs_read() {
    for format in ["json", "csv"] {
        let dir = tempfile::tempdir().expect("a directory");
        let child = start(dir.path(), &[&LONG[..], &["--format", format]].concat());
        wait_for_runs(dir.path());
        send(&child, Signal::INT);
        let (stdout, _) = ended(child, 130);
        if format == "csv" {
            let mut lines = stdout.lines();
            let heading: Vec<&str> = lines.next().expect("a heading").split(',').collect();
            let runs = heading.iter().position(|name| *name == "runs").expect("a column");
            let runs: Vec<&str> = lines.map(|line| line.split(',').nth(runs).expect("a value")).collect();
            assert_eq!((runs.len(), runs[5]), (6, "0"), "{stdout}");
            continue;
        }
        let rows: Value = serde_json::from_str(&stdout).expect("JSON");
        let rows = rows.as_array().expect("rows");
        assert_eq!(rows.len(), 6, "{stdout}");
        assert_eq!((&rows[5]["runs"], &rows[5]["planned"]), (&0.into(), &3000.into()));
        assert_eq!(rows[5]["axes"]["workload.prompt"], "64");
        for row in rows {
            let sweep = &row["sweep"];
            assert_eq!((&sweep["planned"], &sweep["interrupted"]), (&18_000.into(), &true.into()), "{sweep}");
            assert!(sweep["done"].as_u64().is_some_and(|done| done > 4 && done < 18_000), "{sweep}");
        }
    }
    let dir = tempfile::tempdir().expect("a directory");
    let output = expect_code(dir.path(), &["sim", "nano", "--format", "json"], 0);
    let rows: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let whole = serde_json::json!({ "planned": 1, "done": 1, "failed": 0, "interrupted": false });
    assert_eq!(rows[0]["sweep"], whole);
}

#[test]
fn tokens_that_were_generated_before_a_signal_are_printed() {
    let dir = tempfile::tempdir().expect("a directory");
    let model = ["model", "write", "opt-125m", "--scale", "0.5", "--vocab", "300", "--out", "w"];
    expect_code(dir.path(), &model, 0);
    // The signal must arrive after the first token and before the last. On a busy machine this takes several attempts.
    for seconds in [1, 2, 4, 8, 16] {
        let child = start(dir.path(), &["generate", "w", "--ids", "5,7", "--new", "2000", "--ignore-eos"]);
        sleep(Duration::from_secs(seconds));
        send(&child, Signal::INT);
        let (stdout, stderr) = ended(child, 130);
        let ids = stdout.lines().find_map(|line| line.strip_prefix("ids     ")).expect("a line of ids");
        let count = ids.split(',').filter(|id| id.parse::<u32>().is_ok_and(|id| id < 300)).count();
        assert!(stderr.contains(&format!("{count} of 2000 tokens were generated")), "{stdout}{stderr}");
        if count > 0 {
            return;
        }
    }
    panic!("no token came within 16 s");
}

#[test]
fn a_directory_for_temporary_files_that_cannot_be_used_is_named_before_anything_is_made() {
    let dir = tempfile::tempdir().expect("a directory");
    expect_code(dir.path(), &["model", "write", "nano", "--out", "w"], 0);
    for arguments in [
        &["live", "nano"][..],
        &["twin", "nano"],
        &["calibrate", "nano", "--out", "here.ron"],
        &["generate", "w", "--ids", "1", "--new", "1"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swarmbench"));
        command.args(arguments).current_dir(dir.path()).env("TMPDIR", "/nonexistent");
        let output = command.output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains("/nonexistent, the directory that TMPDIR names"), "{stderr}");
    }
    assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 1, "only the model");
}

/// Waits until the process has installed a handler for SIGINT.
fn wait_for_handler(child: &Child) {
    wait_until("a signal handler", || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok());
        mask.is_some_and(|mask| mask >> (Signal::INT.as_raw() - 1) & 1 == 1)
    });
}

/// Waits until the run directory, which is not complete yet, contains some runs.
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
        assert_eq!(stderr.matches("interrupted: the current run is abandoned").count(), 1, "{stderr}");
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
fn a_long_run_that_is_interrupted_keeps_the_rows_that_it_had_come_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let child = start(dir.path(), &["sim", "nano", "--set", "workload.micro_batches=1000000"]);
    let growing = dir.path().join("runs/.partial-nano-sim-001/parts/tokens-000000-000000.new");
    wait_until("rows of a run under way", || fs::metadata(&growing).is_ok_and(|file| file.len() > 0));
    send(&child, Signal::INT);
    ended(child, 130);
    let run = dir.path().join("runs/nano-sim-001");
    let manifest = manifest(&run);
    assert_eq!((&manifest["interrupted"], &manifest["runs_done"]), (&true.into(), &0.into()));
    assert!(manifest["tokens"]["rows"].as_u64().is_some_and(|rows| rows >= 65_536), "{manifest}");
    assert!(run.join("tokens.parquet").exists() && !run.join("parts").exists());
    expect_code(dir.path(), &["report", "runs/nano-sim-001"], 0);
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
        // Two signals count as two if they are more than 0.2 s apart. The command handles the first by saving its
        // results, and the second ends it at once.
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
        &["calibrate", "no-scenario", "--out", "new/"],
        &["calibrate", "no-scenario", "--out", "/dev/full"],
        &["report", "no-run", "--out", "taken"],
        &["model", "write", "--out", "taken", "no-model"],
        &["model", "write", "--out", "/proc/model", "no-model"],
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

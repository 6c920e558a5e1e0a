//! Tests that a closed or full output stream never causes a panic. Results are still saved, and it is an error if they
//! could not be printed.
use std::fs::{self, File, OpenOptions};
use std::io::{PipeWriter, pipe};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

/// Commands that print on stdout and stderr, except for commands that measure for minutes.
const COMMANDS: [&[&str]; 14] = [
    &["--help"],
    &["--version"],
    &["no-such-command"],
    &["library"],
    &["plan", "nano"],
    &["check", "nano"],
    &["check", "no-such-scenario"],
    &["sim", "nano", "--check-determinism"],
    &["live", "nano"],
    &["sensitivity", "nano"],
    &["soak", "--seeds", "1"],
    &["model", "write", "nano", "--out", "weights"],
    &["model", "inspect", "weights"],
    &["generate", "weights", "--ids", "1,2", "--new", "2"],
];

/// Returns the writing end of a pipe whose reading end is closed.
fn closed() -> PipeWriter {
    pipe().expect("a pipe").1
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("a device that is always full")
}

fn run(dir: &Path, arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_swarmbench"));
    command.args(arguments).current_dir(dir).env("RUST_LOG", "debug").stdout(stdout).stderr(stderr);
    command.spawn().and_then(|child| child.wait_with_output()).expect("the program starts")
}

/// The exit code of each command of `COMMANDS` when its output streams work.
static CODES: LazyLock<Vec<i32>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    let code = |arguments: &&[&str]| {
        let output = run(dir.path(), arguments, Stdio::piped(), Stdio::piped());
        output.status.code().expect("no signal")
    };
    COMMANDS.iter().map(code).collect()
});

#[test]
fn a_reader_that_has_gone_changes_nothing_but_what_it_reads() {
    for on_stdout in [true, false] {
        let dir = tempfile::tempdir().expect("a directory");
        for (arguments, code) in COMMANDS.iter().zip(CODES.iter().copied()) {
            let (stdout, stderr) = match on_stdout {
                true => (closed().into(), Stdio::piped()),
                false => (Stdio::piped(), closed().into()),
            };
            let output = run(dir.path(), arguments, stdout, stderr);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{arguments:?} without stdout ({on_stdout}): {said}");
        }
        let manifest = fs::read_to_string(dir.path().join("runs/nano-sim-001/manifest.json")).expect("it is saved");
        assert!(manifest.contains("\"complete\": true"), "{manifest}");
    }
}

#[test]
fn results_that_find_no_room_on_stdout_are_an_error_and_are_saved() {
    let dir = tempfile::tempdir().expect("a directory");
    for (arguments, code) in COMMANDS.iter().zip(CODES.iter().copied()) {
        let output = run(dir.path(), arguments, full().into(), Stdio::piped());
        let said = String::from_utf8_lossy(&output.stderr);
        // A command that fails anyway prints no result, so its exit code stays the same.
        let wanted = if code == 0 { 1 } else { code };
        assert_eq!(output.status.code(), Some(wanted), "{arguments:?}: {said}");
        assert_eq!(said.contains("results could not be written to stdout: No space left"), code == 0, "{said}");
    }
    let manifest = fs::read_to_string(dir.path().join("runs/nano-sim-001/manifest.json")).expect("it is saved");
    assert!(manifest.contains("\"complete\": true"), "{manifest}");
}

#[test]
fn messages_that_find_no_room_on_stderr_leave_the_results_as_they_are() {
    let dir = tempfile::tempdir().expect("a directory");
    for (arguments, code) in COMMANDS.iter().zip(CODES.iter().copied()) {
        let output = run(dir.path(), arguments, Stdio::piped(), full().into());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert_eq!(output.stdout.is_empty(), code != 0, "{arguments:?} prints its results");
    }
}

#[test]
fn arguments_that_are_no_text_are_taken_as_paths_or_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let strange = std::ffi::OsStr::from_bytes(b"runs-\xff\xfe");
    let run = |arguments: &[&str], last: &std::ffi::OsStr| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swarmbench"));
        command.args(arguments).arg(last).current_dir(dir.path()).output().expect("the program starts")
    };
    for (arguments, code) in [
        (&["sim", "nano", "--out"][..], 0),
        (&["sensitivity", "nano", "--out"], 0),
        (&["report", "runs/nowhere", "--out"], 1),
        (&["model", "write", "nano", "--out"], 0),
        (&["model", "inspect"], 0),
        (&["generate", "--ids", "1", "--new", "1"], 3),
        (&["sim"], 2),
        (&["sim", "nano", "--set"], 2),
        (&[], 2),
    ] {
        let output = run(arguments, strange);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    }
    assert!(dir.path().join(strange).join("nano-sim-001/cells.csv").is_file());
}

#[test]
fn jobs_are_within_bounds() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swarmbench"));
        let output = command.args(arguments).current_dir(dir.path()).output().expect("the program starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for command in [&["sim", "nano"][..], &["soak", "--seeds", "2"]] {
        for jobs in ["0", "100000"] {
            let (code, said) = run(&[command, &["--jobs", jobs]].concat());
            assert_eq!(code, Some(2), "{said}");
            assert!(said.contains(jobs) && said.contains("1..=4096"), "{said}");
        }
        assert_eq!(run(&[command, &["--jobs", "4096"]].concat()).0, Some(0));
    }
}

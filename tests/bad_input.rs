//! Tests that bad input causes a clear error with the documented exit code and the place in the file, and that no files
//! are left behind.
#[path = "support/command.rs"]
mod command;

use command::expect_code;
use std::fs;
use std::path::Path;

/// Runs `check` on `quickstart` with `from` replaced by `to`, and returns stderr without line breaks.
fn check(dir: &Path, from: &str, to: &str) -> String {
    let text = scenarios::library::find("quickstart").expect("it is in the library");
    assert!(text.contains(from), "quickstart has no `{from}` any more");
    fs::write(dir.join("bad.ron"), text.replacen(from, to, 1)).expect("a file");
    let output = expect_code(dir, &["check", "bad.ron"], 3);
    let said = String::from_utf8_lossy(&output.stderr).replace("│", " ");
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the line and column of `needle` in `quickstart`, as an editor shows them.
fn place(needle: &str) -> String {
    let text = scenarios::library::find("quickstart").expect("it is in the library");
    let at = text.find(needle).expect("quickstart holds it");
    let line = text[..at].matches('\n').count() + 1;
    let column = text[..at].rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("bad.ron:{line}:{column}")
}

#[test]
fn a_typo_is_pointed_at_and_the_right_name_suggested() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = check(dir.path(), "micro_batches:", "micro_batchs:");
    assert!(said.contains(&place("micro_batches:")), "{said}");
    assert!(said.contains("did you mean `micro_batches`?"), "{said}");
}

#[test]
fn a_missing_unit_says_what_to_write() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = check(dir.path(), "\"20 us\"", "\"20\"");
    assert!(said.contains("bad.ron:") && said.contains("unit"), "{said}");
}

#[test]
fn a_swarm_without_peers_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = check(dir.path(), "peers: [Peers(on: \"peer\", span: Even)]", "peers: []");
    assert!(said.contains("bad.ron:") && said.contains("peer"), "{said}");
}

#[test]
fn blocks_that_nobody_serves_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = check(dir.path(), "span: Even", "span: Blocks(0, 3)");
    assert!(said.contains("bad.ron:") && said.contains("served by no peer"), "{said}");
}

#[test]
fn a_swarm_that_is_too_large_is_refused_by_its_counts() {
    let dir = tempfile::tempdir().expect("a directory");
    for (set, words) in [
        ("hosts.0.count=200000", "200000 peers cannot share 4 blocks evenly, because 199996 of them would have none"),
        ("hosts.0.count=262145", "count is 262145, but must be at most 262144"),
        ("workload.clients=1000000", "clients is 1000000, but must be at most 262144"),
        ("workload.clients=262144", "a swarm of 262146 hosts and 262146 peers and clients is too large"),
    ] {
        let output = expect_code(dir.path(), &["check", "quickstart", "--set", set], 3);
        let said = String::from_utf8_lossy(&output.stderr).replace("│", " ");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(words), "{set}: {said}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_as_such_wherever_a_file_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = std::process::Command::new("mkfifo").arg(dir.path().join("pipe.ron")).status().expect("mkfifo runs");
    assert!(made.success());
    std::os::unix::fs::symlink("loop.ron", dir.path().join("loop.ron")).expect("a link");
    let set = |profile: &str| format!("hosts.0.device=Profile({profile:?})");
    let (pipe, looped, device) = (set("pipe.ron"), set("loop.ron"), set("/dev/zero"));
    for (arguments, words) in [
        (vec!["check", "pipe.ron"], "the path is a pipe, a socket or a device, but only regular files are read"),
        (vec!["check", "loop.ron"], "symbolic links"),
        (
            vec!["check", "quickstart", "--set", &pipe],
            "the path is a pipe, a socket or a device, but only regular files are read",
        ),
        (
            vec!["check", "quickstart", "--set", &device],
            "the path is a pipe, a socket or a device, but only regular files are read",
        ),
        (vec!["check", "quickstart", "--set", &looped], "symbolic links"),
    ] {
        let output = expect_code(dir.path(), &arguments, 3);
        let said = String::from_utf8_lossy(&output.stderr).replace("│", " ");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[test]
fn a_scenario_that_is_not_there_and_a_wrong_flag_have_their_own_codes() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = expect_code(dir.path(), &["sim", "quickstrat"], 3);
    assert!(String::from_utf8_lossy(&output.stderr).contains("quickstart"));
    expect_code(dir.path(), &["sim", "quickstart", "--no-such-flag"], 2);
    expect_code(dir.path(), &["sim", "quickstart", "--set", "workload.promt=3"], 3);
    expect_code(dir.path(), &["report", "nowhere"], 1);
    assert!(!dir.path().join("runs").exists(), "nothing was run, so nothing is written");
}

#[test]
fn a_device_that_is_not_here_is_said_before_anything_is_started() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = expect_code(dir.path(), &["live", "flexgen-petals-opt30b"], 3);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("t4") && said.contains("--set"), "{said}");
}

#[test]
fn requests_that_run_out_of_time_fail_and_their_cell_keeps_its_figures() {
    let dir = tempfile::tempdir().expect("a directory");
    // With these settings the warm-up finishes within the timeout, but the long answers of the timed requests do not.
    let set = ["--set", "measure.timeout=20 ms", "--set", "workload.generate=400", "--set", "workload.prompt=8"];
    expect_code(dir.path(), &[&["sim", "quickstart"], &set[..]].concat(), 4);
    let cells = fs::read_to_string(dir.path().join("runs/quickstart-sim-001/cells.csv")).expect("the cells");
    assert!(cells.contains(",done,") && cells.contains("SUSPECT,timeout:"), "they are figures, to be doubted: {cells}");
    assert!(!cells.contains("INVALID"), "{cells}");
    assert!(dir.path().join("runs/quickstart-sim-001/requests.parquet").exists());
}

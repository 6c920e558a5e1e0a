//! Tests that a simulation depends only on its scenario and its seed: the same seed gives the same bytes, and another
//! seed gives other bytes.
#[path = "support/command.rs"]
mod command;

use command::expect_code;
use std::fs;
use std::path::Path;

/// The files of a run directory that contain only results, and no data about the machine or the time of the run.
const RESULTS: [&str; 6] =
    ["cells.csv", "summary.json", "plan.ron", "requests.parquet", "tokens.parquet", "hops.parquet"];

fn results(dir: &Path, arguments: &[&str]) -> Vec<Vec<u8>> {
    let out = tempfile::tempdir_in(dir).expect("a directory of its own");
    let out = out.path().to_str().expect("a path in UTF-8");
    expect_code(dir, &[&["sim", "quickstart", "--out", out], arguments].concat(), 0);
    let file = |name: &&str| fs::read(Path::new(out).join("quickstart-sim-001").join(name)).expect(name);
    RESULTS.iter().map(file).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_however_many_threads_work() {
    let dir = tempfile::tempdir().expect("a directory");
    let once = results(dir.path(), &["--seed", "7", "--jobs", "1"]);
    assert!(once.iter().all(|file| !file.is_empty()));
    assert_eq!(once, results(dir.path(), &["--seed", "7", "--jobs", "3"]));
}

#[test]
fn another_seed_gives_other_figures() {
    let dir = tempfile::tempdir().expect("a directory");
    let (seven, eight) = (results(dir.path(), &["--seed", "7"]), results(dir.path(), &["--seed", "8"]));
    assert_ne!(seven[0], eight[0], "quickstart's links have jitter");
}

#[test]
fn figures_name_no_path_and_no_moment() {
    let dir = tempfile::tempdir().expect("a directory");
    let cells = results(dir.path(), &["--seed", "7"]).swap_remove(0);
    let text = String::from_utf8(cells).expect("a text file");
    assert!(!text.contains(dir.path().to_str().expect("UTF-8")) && !text.contains('/'), "{text}");
}

#[test]
fn running_twice_and_comparing_finds_no_difference() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = expect_code(dir.path(), &["sim", "quickstart", "--check-determinism"], 0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("deterministic"));
}

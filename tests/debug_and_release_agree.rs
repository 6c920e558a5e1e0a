//! Optimisation changes how long a simulation takes, never what it says: a debug and a release build on one machine give
//! the same bytes.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds the release binary of this very tree, in the folder where `cargo build --release` puts it.
fn release_binary() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--bin", "swarmbench", "--message-format=json", "--quiet"]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let built = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_ours = message["target"]["name"] == "swarmbench";
        is_ours.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    };
    said.lines().filter_map(built).next().expect("cargo names the binary")
}

fn cells(binary: &Path, dir: &Path) -> Vec<u8> {
    let out = tempfile::tempdir_in(dir).expect("a directory of its own");
    let status = Command::new(binary)
        .args(["sim", "flexgen-petals-opt6.7b", "--repeat", "1", "--seed", "3", "--only", "workload.batch=2", "--out"])
        .arg(out.path())
        .output()
        .expect("the program starts");
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    fs::read(out.path().join("flexgen-petals-opt6.7b-sim-001/cells.csv")).expect("the cells")
}

#[test]
fn a_debug_build_and_a_release_build_give_the_same_bytes() {
    let dir = tempfile::tempdir().expect("a directory");
    let debug = cells(Path::new(env!("CARGO_BIN_EXE_swarmbench")), dir.path());
    let release = cells(&release_binary(), dir.path());
    assert!(debug.len() > 1000, "there are cells to compare");
    assert_eq!(debug, release);
}

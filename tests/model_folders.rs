//! `model write` and `model inspect`: a random checkpoint of any published shape, in one file or several, and what a
//! folder holds.
#[path = "support/command.rs"]
mod command;

use command::expect_code;
use scenarios::presets::models;
use scenarios::shape::Arch;
use serde_json::Value;
use std::path::Path;

fn write(dir: &Path, what: &str, more: &[&str]) {
    expect_code(dir, &[&["model", "write", what, "--out", "x"], more].concat(), 0);
}

fn inspect(dir: &Path, folder: &str) -> Value {
    let said = expect_code(dir, &["model", "inspect", folder, "--format", "json"], 0);
    serde_json::from_slice(&said.stdout).expect("JSON on stdout")
}

#[test]
fn every_published_shape_can_be_written_small_and_in_shards() {
    for (family, arch) in [("opt", Arch::Opt), ("bloom", Arch::Bloom), ("llama", Arch::Llama)] {
        for name in models::names(arch) {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let what = format!("{family}-{name}");
            write(dir.path(), &what, &["--scale", "0.01", "--vocab", "300", "--shard-size", "100 kB"]);
            let held = inspect(dir.path(), "x");
            let (files, blocks) =
                (held["files"].as_array().expect("files"), held["blocks"].as_array().expect("blocks"));
            assert!(files.len() > 1, "{what}: {held}");
            assert_eq!(blocks.len() as u64, held["shape"]["layers"].as_u64().expect("a number"), "{what}");
            assert_eq!((&held["missing"], &held["unused"]), (&Value::Array(vec![]), &Value::Array(vec![])), "{what}");
        }
    }
}

#[test]
fn the_same_seed_writes_the_same_bytes() {
    let bytes = |seed: &str| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write(dir.path(), "opt-350m", &["--scale", "0.1", "--vocab", "300", "--seed", seed]);
        std::fs::read(dir.path().join("x/model.safetensors")).expect("it was written")
    };
    let first = bytes("3");
    assert_eq!(first, bytes("3"));
    assert_ne!(first, bytes("4"));
}

#[test]
fn what_cannot_be_written_is_said() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write(dir.path(), "opt-125m", &["--scale", "0.1", "--vocab", "300"]);
    for (code, arguments, why) in [
        (1, vec!["opt-125m", "--out", "x"], "holds a model already"),
        (2, vec!["opt-1t", "--out", "y"], "there is no opt-1t; of this family there are opt-125m,"),
        (2, vec!["opt-125m", "--out", "y", "--scale", "0"], "--scale of 0"),
        (2, vec!["opt-125m", "--out", "y", "--scale", "1e9"], "layers is"),
        (2, vec!["opt-125m", "--out", "y", "--layers", "0"], "layers is 0"),
        (2, vec!["opt-125m", "--out", "y", "--set", "model.dtype=F16"], "--set is for scenarios"),
        (2, vec!["nano", "--out", "y", "--layers", "3"], "--layers and --vocab are for published models"),
        (2, vec!["opt-125m", "--out", "y", "--shard-size", "3"], "missing unit"),
        (3, vec!["nobody", "--out", "y"], "nobody"),
    ] {
        let said = expect_code(dir.path(), &[&["model", "write"], arguments.as_slice()].concat(), code);
        let said = String::from_utf8_lossy(&said.stderr).replace('│', " ");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(why), "{arguments:?} said:\n{said}");
    }
    assert!(!dir.path().join("y").exists());
}

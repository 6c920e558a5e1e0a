//! Tests which package may import which, by `cargo metadata` and the sources.
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the direct, ordinary dependencies of each package of the workspace.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(root());
    let output = cargo.output().expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    let packages = metadata["packages"].as_array().expect("packages");
    let needs = |package: &Value| {
        let all = package["dependencies"].as_array().expect("dependencies").iter();
        all.filter(|needed| needed["kind"].is_null()).map(|needed| text(&needed["name"])).collect()
    };
    packages.iter().map(|package| (text(&package["name"]), needs(package))).collect()
}

/// Returns every Rust file under `dir`, with its text without tests and comments.
fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(dir)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the project") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a text file");
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                found.push((path, lines.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    found
}

#[track_caller]
fn absent(dir: &str, except: &[&str], words: &[&str]) {
    let files = sources(dir);
    assert!(!files.is_empty(), "{dir} holds code");
    for (path, code) in files {
        if except.iter().any(|except| path.ends_with(except)) {
            continue;
        }
        for word in words {
            assert!(!code.contains(word), "{} holds `{word}`", path.display());
        }
    }
}

/// Each package of the workspace, with the workspace packages that it may import.
const ALLOWED: [(&str, &[&str]); 11] = [
    ("actors", &[]),
    ("scenarios", &["actors"]),
    ("links", &["actors", "scenarios"]),
    ("topology", &["actors", "scenarios"]),
    ("simulator", &["actors", "scenarios", "links", "topology"]),
    ("models", &["actors", "scenarios"]),
    ("live", &["actors", "scenarios", "links", "topology", "models"]),
    ("rows", &["actors", "scenarios"]),
    ("calibration", &["actors", "scenarios", "rows", "simulator"]),
    ("reports", &["actors", "scenarios", "rows"]),
    (
        "swarmbench",
        &["actors", "scenarios", "topology", "simulator", "models", "live", "rows", "calibration", "reports"],
    ),
];

/// The folders of the library packages.
const LIBRARIES: [&str; 10] = [
    "actors/src",
    "scenarios/src",
    "reports/src",
    "engine/links/src",
    "engine/topology/src",
    "engine/simulator/src",
    "engine/models/src",
    "engine/live/src",
    "engine/rows/src",
    "engine/calibration/src",
];

#[test]
fn crates_import_downwards_only() {
    let dependencies = dependencies();
    let allowed = BTreeMap::from(ALLOWED);
    assert_eq!(dependencies.keys().map(String::as_str).collect::<BTreeSet<_>>(), allowed.keys().copied().collect());
    for (package, needs) in &dependencies {
        for needed in needs.iter().filter(|needed| allowed.contains_key(needed.as_str())) {
            assert!(allowed[package.as_str()].contains(&needed.as_str()), "{package} must not import {needed}");
        }
    }
}

#[test]
fn each_library_has_its_room() {
    let dependencies = dependencies();
    let rooms: [(&str, &[&str]); 5] = [
        ("candle-core", &["live", "models"]),
        ("candle-nn", &["models"]),
        ("tokenizers", &["models"]),
        ("plotters", &["reports"]),
        ("ron", &["scenarios"]),
    ];
    for (library, rooms) in rooms {
        let users: Vec<&String> =
            dependencies.iter().filter(|(_, needs)| needs.contains(library)).map(|(n, _)| n).collect();
        assert_eq!(users, rooms, "{library} stays inside {rooms:?}");
    }
}

/// Tests that a build without the feature `live` contains neither candle nor tokenizers.
#[test]
fn a_build_that_only_simulates_executes_no_model() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--no-default-features", "--edges", "normal", "--prefix", "none", "--offline"]);
    let output = cargo.current_dir(root()).output().expect("cargo runs");
    let tree = String::from_utf8(output.stdout).expect("names of packages");
    assert!(tree.contains("simulator v"), "{tree}{}", String::from_utf8_lossy(&output.stderr));
    for package in ["candle", "tokenizers", "models v", "live v"] {
        assert!(!tree.lines().any(|line| line.starts_with(package)), "{package} is in {tree}");
    }
}

/// Only the actor implementations, the contexts of `world`, and `message`, which derives actix's trait, use actix. No
/// core does.
#[test]
fn cores_know_no_actix_and_no_tokio() {
    absent("actors/src", &["actor_impls.rs", "world.rs", "message.rs"], &["actix", "tokio"]);
}

#[test]
fn cores_and_simulation_have_no_hidden_clock_chance_or_order() {
    let hidden =
        ["Instant::now", "SystemTime", "thread_rng", "rand::rng()", "HashMap", "HashSet", "run_later", "tokio::spawn"];
    absent("actors/src", &[], &hidden);
    for dir in ["engine/simulator/src", "engine/links/src", "engine/topology/src"] {
        absent(dir, &[], &hidden);
    }
    absent("engine", &[], &["thread_rng", "rand::rng()"]);
}

/// `println!` and similar macros panic if a stream is closed or full.
#[test]
fn printing_has_one_place() {
    let printing = ["println!", "print!", "dbg!", "io::stdout", "io::stderr"];
    for crate_ in LIBRARIES {
        absent(crate_, &[], &printing);
    }
    absent("cli", &["print.rs"], &printing);
}

/// An error's text contains its cause. A cause that is chained too would be printed twice by an error report.
#[test]
fn errors_say_their_causes_once() {
    for crate_ in LIBRARIES.into_iter().chain(["cli"]) {
        absent(crate_, &[], &["#[source]"]);
        for (path, code) in sources(crate_) {
            for (line, before) in code.lines().skip(1).zip(code.lines()) {
                let twice = before.contains("#[error(") && before.contains("{source}");
                let chained = twice || line.contains("#[from]") && !before.contains("#[error(transparent)]");
                assert!(!chained, "{}: {line}", path.display());
            }
        }
    }
}

/// Only the CPU kernels have unsafe code.
#[test]
fn unsafe_code_stays_in_the_models() {
    let ours = ["links", "topology", "simulator", "live", "rows", "calibration"].map(|name| format!("engine/{name}"));
    for package in ["actors", "scenarios", "reports"].map(str::to_owned).into_iter().chain(ours) {
        let lib = format!("{package}/src/lib.rs");
        let text = fs::read_to_string(root().join(&lib)).expect("the root of a library");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{lib}");
    }
}

/// Canaries are bugs: only tests plant them, and no release build contains them.
#[test]
fn canaries_act_in_tests_only() {
    for dir in LIBRARIES.into_iter().chain(["cli"]) {
        absent(dir, &["actors/src/canary.rs"], &["plant(", "canary::plant;"]);
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest");
    assert!(!manifest.contains("debug-assertions"), "a profile turns on what canaries are compiled by");
}

//! Tests that each package imports only the packages that it may import, according to `cargo metadata` and the sources.
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
                let text = text.replace("#[cfg(test)]\nmod tests;", "");
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
    ("calibration", &["actors", "scenarios", "rows"]),
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

/// A graph of modules: the modules that each module imports. The name of the crate's root is empty.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Returns the modules of the crate in `dir`, each with the modules that its `crate::` and `super::` paths name. A name
/// that a module re-exports counts as that module.
fn imports(dir: &str) -> Imports {
    let module = |path: &Path| {
        let path = path.strip_prefix(root().join(dir)).expect("a file of the crate").with_extension("");
        let name = path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("::");
        if name == "lib" || name == "main" { String::new() } else { name }
    };
    let files = sources(dir).into_iter().map(|(path, code)| (module(&path), code));
    let codes: BTreeMap<String, String> = files.filter(|(module, _)| !module.ends_with("tests")).collect();
    let named = |path: &[String]| {
        let names = (1..=path.len()).rev().map(|len| path[..len].join("::"));
        names.into_iter().find(|name| codes.contains_key(name)).unwrap_or_default()
    };
    let needs = |(module, code): (&String, &String)| {
        let needed = paths(module, code).iter().map(|path| named(path)).filter(|needed| needed != module).collect();
        (module.clone(), needed)
    };
    codes.iter().map(needs).collect()
}

/// Returns the paths in `code` that begin with `crate::` or `super::`, as segments from the root of the crate. A group
/// in braces gives one path for each of its members.
fn paths(module: &str, code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, start) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let (mut prefix, mut rest) = (Vec::new(), &code[at + start.len()..]);
        if start == "super::" {
            prefix = module.split("::").map(str::to_owned).collect();
            prefix.pop();
            while let Some(upper) = rest.strip_prefix("super::") {
                prefix.pop();
                rest = upper;
            }
        }
        path(&prefix, rest, &mut found);
    }
    found
}

/// Reads the path at the start of `rest`, appends it with its groups to `found`, and returns the code behind it.
fn path<'a>(prefix: &[String], rest: &'a str, found: &mut Vec<Vec<String>>) -> &'a str {
    let (mut path, mut rest) = (prefix.to_vec(), rest.trim_start());
    while !rest.starts_with('{') {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        path.push(rest[..end].to_owned());
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(more) => rest = more,
            None => {
                found.push(path);
                return rest;
            }
        }
    }
    while !rest.is_empty() && !rest.starts_with('}') {
        rest = self::path(&path, &rest[1..], found);
        rest = &rest[rest.find([',', '}']).unwrap_or(rest.len())..];
    }
    rest.strip_prefix('}').unwrap_or(rest)
}

/// Returns the shortest chain of imports from `module` back to itself, or `None` if there is none.
fn circle(imports: &Imports, module: &str) -> Option<Vec<String>> {
    let (mut seen, mut chains) = (BTreeSet::new(), VecDeque::from([vec![module.to_owned()]]));
    while let Some(chain) = chains.pop_front() {
        for needed in imports.get(chain.last()?).into_iter().flatten() {
            let longer = [&chain[..], std::slice::from_ref(needed)].concat();
            if needed == module {
                return Some(longer);
            }
            if seen.insert(needed) {
                chains.push_back(longer);
            }
        }
    }
    None
}

#[test]
fn modules_of_a_crate_import_in_no_circle() {
    let mut found = 0;
    for crate_ in LIBRARIES.into_iter().chain(["cli"]) {
        let imports = imports(crate_);
        found += imports.values().map(BTreeSet::len).sum::<usize>();
        let circles = imports.keys().filter_map(|module| circle(&imports, module));
        let shortest = circles.min_by_key(Vec::len).map(|circle| circle.join(" -> "));
        assert_eq!(shortest, None, "modules of {crate_} import each other");
    }
    assert!(found > 500, "{found} imports: the paths of modules are not found");
}

#[test]
fn import_circles_are_found() {
    let code =
        "use crate::{one::A, two::{B, three}};\nuse super::super::four as five; super_::six; $crate::seven::$kind";
    let paths: Vec<String> = paths("m::n::o", code).iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["one::A", "two::B", "two::three", "seven::", "m::four"]);
    let imports = [("a", "b"), ("b", "c"), ("c", "b")];
    let imports = imports.map(|(module, needed)| (module.to_owned(), BTreeSet::from([needed.to_owned()]))).into();
    assert_eq!(circle(&imports, "a"), None);
    assert_eq!(circle(&imports, "b").expect("a circle").join(" -> "), "b -> c -> b");
}

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

/// Only three kinds of code may use actix: the actor implementations, the contexts in `world`, and `message`, which
/// derives actix's trait. No state machine may.
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

/// Only one place may use `println!` and similar macros, because they panic if a stream is closed or full.
#[test]
fn printing_has_one_place() {
    let printing = ["println!", "print!", "dbg!", "io::stdout", "io::stderr"];
    for crate_ in LIBRARIES {
        absent(crate_, &[], &printing);
    }
    absent("cli", &["print.rs"], &printing);
}

/// The text of an error contains its cause. If the cause were chained too, an error report would print it twice.
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

/// Tests that only the CPU kernels have unsafe code.
#[test]
fn unsafe_code_stays_in_the_models() {
    let ours = ["links", "topology", "simulator", "live", "rows", "calibration"].map(|name| format!("engine/{name}"));
    for package in ["actors", "scenarios", "reports"].map(str::to_owned).into_iter().chain(ours) {
        let lib = format!("{package}/src/lib.rs");
        let text = fs::read_to_string(root().join(&lib)).expect("the root of a library");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{lib}");
    }
}

/// Tests that only tests plant canaries, which are bugs, and that no release build contains them.
#[test]
fn canaries_act_in_tests_only() {
    for dir in LIBRARIES.into_iter().chain(["cli"]) {
        absent(dir, &["actors/src/canary.rs"], &["plant(", "canary::plant;"]);
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest");
    assert!(!manifest.contains("debug-assertions"), "a profile turns on what canaries are compiled by");
}

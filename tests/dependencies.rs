//! Tests the dependencies in Cargo.lock: all are from one registry, and none needs a newer Rust version than Cargo.toml
//! states.
use serde_json::Value;
use std::process::Command;

/// Returns the packages that cargo resolved for this platform. Fails if Cargo.lock would have to change.
fn packages() -> Vec<Value> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("-vV").output().expect("rustc runs");
    let version = String::from_utf8(version.stdout).expect("UTF-8");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its platform");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

fn version(text: &str) -> Vec<u32> {
    text.split('.').map(|part| part.parse().expect("a number of a Rust version")).collect()
}

#[test]
fn no_dependency_needs_a_newer_rust_than_we_promise() {
    let packages = packages();
    let ours = |package: &&Value| package["name"] == "swarmbench";
    let promised = packages.iter().find(ours).expect("our package")["rust_version"].as_str().expect("a version");
    assert!(packages.len() > 100, "the dependencies of dependencies are among them");
    for package in &packages {
        if let Some(needed) = package["rust_version"].as_str() {
            let name = format!("{} {}", package["name"], package["version"]);
            assert!(version(needed) <= version(promised), "{name} needs Rust {needed}, we promise {promised}");
        }
    }
}

#[test]
fn dependencies_come_from_one_registry_and_have_a_licence() {
    for package in packages() {
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        assert!(package["source"].is_null() || package["source"] == registry, "{} is from elsewhere", package["name"]);
        let licensed = package["license"].is_string() || package["license_file"].is_string();
        assert!(licensed, "{} has no licence", package["name"]);
    }
}

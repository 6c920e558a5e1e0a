//! Tells the program which commit it is built from, where there is a repository: the run directories' manifests hold it.
use std::path::Path;
use std::process::Command;

/// What the program is made from, in the repository's root.
const SOURCES: [&str; 8] = ["cli", "build.rs", "Cargo.toml", "Cargo.lock", "actors", "engine", "reports", "scenarios"];

fn main() {
    // Sources are watched as well, so that a commit is never called unmodified after an edit. A watched file that is not
    // there would make cargo build anew each time.
    SOURCES.iter().filter(|source| Path::new(source).exists()).for_each(|source| rerun_if_changed(source));
    // A package unpacked inside another repository is not of that repository.
    if git(&["rev-parse", "--show-prefix"]).as_deref() != Some("") {
        return;
    }
    let Some(commit) = git(&["rev-parse", "--verify", "HEAD"]) else { return };
    for part in ["HEAD", "logs/HEAD", "packed-refs"] {
        if let Some(path) = git(&["rev-parse", "--git-path", part]).filter(|path| Path::new(path).exists()) {
            rerun_if_changed(&path);
        }
    }
    println!("cargo::rustc-env=SWARMBENCH_COMMIT={commit}");
    let status = [&["--no-optional-locks", "status", "--porcelain", "--"][..], &SOURCES].concat();
    if let Some(changes) = git(&status) {
        println!("cargo::rustc-env=SWARMBENCH_MODIFIED={}", !changes.is_empty());
    }
}

fn rerun_if_changed(path: &str) {
    println!("cargo::rerun-if-changed={path}");
}

/// What git prints, or nothing where there is no git or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

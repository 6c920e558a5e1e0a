//! Passes the git commit of the sources to the compiler, if the sources are in a repository. The program writes this
//! commit into the manifest of each run directory.
use std::path::Path;
use std::process::Command;

/// The files and folders in the root of the repository that the program is built of.
const SOURCES: [&str; 8] = ["cli", "build.rs", "Cargo.toml", "Cargo.lock", "actors", "engine", "reports", "scenarios"];

fn main() {
    // Cargo runs this script again after an edit of the sources, so that edited sources are never recorded as an
    // unmodified commit. Paths that do not exist are left out, because cargo would run the script at every build.
    SOURCES.iter().filter(|source| Path::new(source).exists()).for_each(|source| rerun_if_changed(source));
    // If the package was unpacked inside another repository, the commit of that repository is not the commit of the
    // package.
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

/// Returns what git prints, or `None` if git is missing or fails, as it does outside of a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

//! Tests the docs: links lead to existing files, every page is in the book's summary, and every command is documented.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the pages of the book and the documents at the root.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.to_owned(), root.join("docs/src")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("a folder").flatten());
    files.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

/// Returns the targets of `[text](target)` and of `![text](target)` that are files of the repository.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    local.map(|target| target.split('#').next().unwrap_or(target).to_owned()).collect()
}

#[test]
fn every_link_has_its_target() {
    let mut seen = 0;
    for page in pages() {
        for link in links(&fs::read_to_string(&page).expect("text")) {
            let target = page.parent().expect("a folder").join(&link);
            assert!(target.exists(), "{}: there is no {link}", page.display());
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} links were found");
}

#[test]
fn every_page_is_in_the_summary() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src");
    let listed = links(&fs::read_to_string(book.join("SUMMARY.md")).expect("a summary"));
    for page in pages().iter().filter(|page| page.starts_with(&book)) {
        let name = page.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(name == "SUMMARY.md" || listed.contains(&name), "{name} is not in the summary");
    }
}

#[test]
fn every_command_has_examples_a_completion_and_a_manual_page() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_swarmbench")).args(arguments).output().expect("it starts");
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let script = run(&["completions", "bash"]);
    let dir = tempfile::tempdir().expect("a directory");
    let man = dir.path().join("man");
    run(&["man", "--out", man.to_str().expect("a plain path")]);
    for command in
        ["live", "sim", "twin", "check", "plan", "calibrate", "sensitivity", "published", "report", "generate"]
    {
        assert!(
            run(&[command, "--help"]).contains(&format!("swarmbench {command}")),
            "{command} --help has no example"
        );
        assert!(script.contains(&format!("swarmbench__subcmd__{command}")), "no completion of {command}");
        assert!(man.join(format!("swarmbench-{command}.1")).exists(), "no page of {command}");
    }
}

/// If this fails, the command `swarmbench schema --markdown > docs/src/reference.md` updates the page.
#[test]
fn the_scenario_reference_is_that_of_the_program() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/src/reference.md")).expect("a page");
    let written = scenarios::reference::markdown();
    for (line, (page, written)) in page.lines().zip(written.lines()).enumerate() {
        assert_eq!(page, written, "line {}", line + 1);
    }
    assert_eq!(page.len(), written.len());
}

/// Tests that every field that a scenario's canonical text can have is in the schema.
#[test]
fn the_schema_knows_every_field_of_the_library() {
    let schema = scenarios::reference::schema().to_value().to_string();
    for name in ["open-loop", "churn", "placement", "shared-gpu", "helix-a100"] {
        let loaded = scenarios::load(name).expect("a scenario of the library");
        let text = loaded.scenario().to_ron().expect("RON");
        for field in text.lines().filter_map(|line| line.trim_start().split_once(": ").map(|(field, _)| field)) {
            let is_field = !field.is_empty() && field.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            assert!(!is_field || schema.contains(&format!("\"{field}\":")), "{name}: {field}");
        }
    }
}

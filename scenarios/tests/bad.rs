//! Tests that an error in a scenario is reported with its place in the file, in plain words, and with a hint.
//!
//! Each file of `bad/` contains one mistake, and begins with the expected error (line:column: message) and its help
//! text.
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use proptest::prelude::{ProptestConfig, Strategy, any, proptest};
use scenarios::library::LIBRARY;
use scenarios::{Loaded, Overrides, ScenarioError};
use std::path::Path;

fn rejected(name: &str, text: &str) -> ScenarioError {
    let checked = Loaded::read(name, text.to_owned()).and_then(|loaded| loaded.check(&Overrides::default()));
    match checked {
        Ok(_) => panic!("{name} is accepted"),
        Err(error) => error,
    }
}

#[test]
fn every_mistake_is_shown_where_it_is_and_what_to_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of mistakes") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
        let text = std::fs::read_to_string(&path).expect("a scenario");
        let mut lines = text.lines();
        let expected = lines.next().and_then(|line| line.strip_prefix("// ")).expect("the error");
        let help = lines.next().and_then(|line| line.strip_prefix("// help: ")).expect("its help");
        let error = rejected(name, &text);
        assert_eq!(error.to_string(), format!("{name}:{expected}"));
        assert_eq!(error.help().map_or("none".to_owned(), |help| help.to_string()), help, "{name}");
        let line: usize = expected.split(':').next().and_then(|line| line.parse().ok()).expect("a line");
        let mut shown = String::new();
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(400);
        handler.render_report(&mut shown, &error).expect("it is shown");
        let source = text.lines().nth(line - 1).expect("the line is in the file");
        assert!(shown.contains(source), "{name} does not show its line:\n{shown}");
        files += 1;
    }
    assert!(files > 40, "the mistakes are gone: {files}");
}

#[test]
fn what_is_neither_a_file_nor_in_the_library_is_said() {
    let error = scenarios::load("quikstart").expect_err("a typo");
    assert_eq!(error.to_string(), "the scenario `quikstart` is neither a file nor in the library");
    assert_eq!(error.help().expect("a hint").to_string(), "did you mean `quickstart`, a scenario of the library?");
}

#[test]
fn a_file_is_named_by_its_path() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad/unknown_field.ron");
    let path = path.to_str().expect("a plain path");
    let error = scenarios::load(path).expect_err("a mistake");
    assert!(error.to_string().starts_with(&format!("{path}:14:48: unknown field `promt`")), "{error}");
}

/// A built-in scenario with a few bytes changed.
fn broken() -> impl Strategy<Value = String> {
    let edit = (any::<proptest::sample::Index>(), any::<char>(), 0..3u8);
    (0..LIBRARY.len(), proptest::collection::vec(edit, 1..4)).prop_map(|(scenario, edits)| {
        let mut chars: Vec<char> = LIBRARY[scenario].1.chars().collect();
        for (at, c, kind) in edits {
            let at = at.index(chars.len());
            match kind {
                0 => chars.insert(at, c),
                1 => chars[at] = c,
                _ => drop(chars.remove(at)),
            }
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_makes_it_panic(text in broken()) {
        let only = Overrides { repeat: Some(1), ..Overrides::default() };
        if let Err(error) = Loaded::read("broken.ron", text).and_then(|loaded| loaded.repeats(&only)) {
            let mut shown = String::new();
            GraphicalReportHandler::new_themed(GraphicalTheme::none()).render_report(&mut shown, &error).expect("it is shown");
        }
    }

    #[test]
    fn no_override_makes_it_panic(path in "[a-z0-9.]{0,24}", value in ".{0,24}") {
        let loaded = scenarios::load("nano").expect("of the library");
        let set = Overrides { set: vec![(path.clone(), value.clone())], ..Overrides::default() };
        let _ = loaded.check(&set);
        let set = Overrides { set: vec![("network.default.delay".to_owned(), value.clone())], ..Overrides::default() };
        let _ = loaded.check(&set);
        let axis = Overrides { axis: vec![("workload.on".to_owned(), value)], only: Some(path), ..Overrides::default() };
        let _ = loaded.check(&axis);
    }
}

//! Tests that every path in a scenario is relative to the scenario's folder, and that a byte order mark at the start of
//! a file is ignored.
use actors::seed::Seed;
use scenarios::plan::{Plan, Weights};
use scenarios::tokens::Prompts;
use scenarios::{Overrides, ScenarioError};
use std::path::Path;

const SCENARIO: &str = r#"Scenario(
    version: 1,
    name: "placed",
    model: Model(shape: Llama("30b"), dtype: F16, weights: Dir("weights")),
    hosts: [
        Host(name: "box", site: "eu", device: Preset("a100")),
        Host(name: "client", site: "us", device: Preset("cpu-8")),
    ],
    peers: [Peers(on: "box")],
    swarm: Swarm(cache: "40 GiB"),
    workload: Open(on: "client", clients: 2, rate: "1 /s", requests: 3, prompt: 8, generate: 4),
    prompts: Lines("prompts.txt"),
)"#;

const PROFILE: &str = include_str!("../profiles/helix-a100.ron");

/// Creates a folder, other than the working directory, with a scenario and the files that the scenario may name.
fn folder(mark: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in [
        ("placed.ron", SCENARIO),
        ("delays.csv", "rtt_ms\n10\n20\n"),
        ("lengths.csv", "tokens\n5\n6\n"),
        ("sites.csv", "from,to,rtt_ms\neu,us,80\nus,eu,80\n"),
        ("trace.csv", "at_s,prompt,generate\n0.5,10,4\n"),
        ("away.csv", "host,from,till\nbox,1 s,2 s\n"),
        ("profile.ron", PROFILE),
    ] {
        let mark = if name.ends_with(".ron") { mark } else { "" };
        std::fs::write(dir.path().join(name), format!("{mark}{text}")).expect("it is written");
    }
    dir
}

fn plan(dir: &Path, set: &[(&str, &str)]) -> Result<Plan, ScenarioError> {
    let set = set.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    let loaded = scenarios::load(dir.join("placed.ron").to_str().expect("a plain path"))?;
    loaded.cells(&Overrides { set, ..Overrides::default() })?[0].plan(Seed(1), 0)
}

const FILES: [(&str, &str); 7] = [
    ("network.default.delay", "Empirical(file: \"delays.csv\", column: \"rtt_ms\", round_trip: true)"),
    ("workload.prompt", "Empirical(file: \"lengths.csv\", column: \"tokens\")"),
    ("network.rtt", "Csv(\"sites.csv\")"),
    ("workload", "Trace(on: \"client\", clients: 2, file: \"trace.csv\")"),
    ("events", "[Churn(on: \"box\", lives: File(\"away.csv\"), until: \"5 s\")]"),
    ("hosts.0.device", "Profile(\"profile.ron\")"),
    ("hosts.1.device", "Cpu(threads: 1, profile: \"profile.ron\")"),
];

#[test]
fn each_kind_of_path_begins_at_the_scenarios_folder() {
    let dir = folder("");
    for (path, value) in FILES {
        plan(dir.path(), &[(path, value)]).unwrap_or_else(|error| panic!("{path}: {error}"));
        let gone = value.replace("\"delays", "\"x").replace(".csv", "-gone.csv").replace(".ron", "-gone.ron");
        let said = plan(dir.path(), &[(path, &gone)]).expect_err(path).to_string();
        assert!(said.contains("gone") && said.starts_with("--set"), "{said}");
    }
    let plan = plan(dir.path(), &[]).expect("a plan");
    let at = |name: &str| dir.path().join(name).to_str().expect("a plain path").to_owned();
    assert_eq!(plan.model.weights, Weights::Dir(at("weights")));
    assert_eq!(plan.tokens.prompts, Prompts::Lines(at("prompts.txt")));
    let set = [("model.weights", "Dir(\"other\")"), ("prompts", "Lines(\"/else/where.txt\")")];
    let set = self::plan(dir.path(), &set).expect("a plan");
    assert_eq!(set.model.weights, Weights::Dir(at("other")), "a flag's path begins where the file's does");
    assert_eq!(set.tokens.prompts, Prompts::Lines("/else/where.txt".to_owned()), "an absolute path stays");
}

#[test]
fn a_library_scenarios_paths_begin_at_the_working_directory() {
    let set = vec![("model.weights".to_owned(), "Dir(\"weights\")".to_owned())];
    let cells = scenarios::load("nano").expect("it reads").cells(&Overrides { set, ..Overrides::default() });
    let plan = cells.expect("a cell")[0].plan(Seed(1), 0).expect("a plan");
    assert_eq!(plan.model.weights, Weights::Dir("weights".to_owned()));
}

#[test]
fn a_byte_order_mark_changes_nothing() {
    let (plain, marked) = (folder(""), folder("\u{feff}"));
    let profiled = [("hosts.0.device", "Profile(\"profile.ron\")"), ("prompts", "Random")];
    let profiled = [&profiled[..], &[("model.weights", "Random(seed: 1)")]].concat();
    let both = [plain.path(), marked.path()].map(|dir| plan(dir, &profiled).expect("a plan"));
    assert_eq!(both[0], both[1]);
    for dir in [&plain, &marked] {
        let path = dir.path().join("placed.ron");
        let text = std::fs::read_to_string(&path).expect("it is there").replacen("Scenario(", "Scenario(wrong: 1,", 1);
        std::fs::write(&path, text).expect("it is written");
        let said = plan(dir.path(), &[]).expect_err("a field too many").to_string();
        assert!(said.contains("placed.ron:1:10: unknown field `wrong`"), "{said}");
    }
}

#[test]
fn what_is_no_file_is_said_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let said = |path: &str| {
        let error = scenarios::load(path).expect_err("no scenario");
        let help = miette::Diagnostic::help(&error).map(|help| help.to_string()).unwrap_or_default();
        (error.to_string(), help)
    };
    let (missing, help) = said("quickstart.ron");
    assert_eq!(missing, "the scenario `quickstart.ron` is neither a file nor in the library");
    assert_eq!(help, "did you mean `quickstart`, a scenario of the library?");
    let (_, help) = said("nofile.ron");
    assert_eq!(help, "give the path of a scenario file, or the name of one that `swarmbench library` lists");
    let (folder, _) = said(dir.path().to_str().expect("a plain path"));
    assert!(folder.ends_with("the path is a directory, but only regular files are read"), "{folder}");
}

#[test]
fn a_long_line_is_shown_near_the_mistake_alone() {
    let long = SCENARIO.replace(
        "Lines(\"prompts.txt\")",
        &format!("Ids([[{}], [-1], [{}]])", "1, ".repeat(30_000), "1, ".repeat(30_000)),
    );
    let error = scenarios::Loaded::read("long.ron", long).expect_err("a negative id");
    let mut shown = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor());
    handler.render_report(&mut shown, &error).expect("it is shown");
    assert!(shown.len() < 2_000 && shown.contains("[-1]") && shown.contains("12:90025"), "{shown}");
}

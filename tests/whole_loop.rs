//! Tests the main workflow of a user: one scenario, live and simulated runs, run directories of one format, and charts.
#[path = "support/command.rs"]
mod command;

use command::expect_code;
use std::fs;
use std::path::Path;

/// The files that every run directory has.
const FILES: [&str; 9] = [
    "manifest.json",
    "scenario.ron",
    "plan.ron",
    "cells.csv",
    "summary.json",
    "requests.parquet",
    "tokens.parquet",
    "hops.parquet",
    "report.md",
];

fn charts(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir.join("charts")).expect("charts");
    let mut names: Vec<String> =
        files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn columns(dir: &Path) -> Vec<String> {
    let mut cells = csv::Reader::from_path(dir.join("cells.csv")).expect("cells.csv");
    cells.headers().expect("a heading").iter().map(str::to_owned).collect()
}

#[test]
fn a_twin_leaves_two_run_directories_of_one_format_and_their_comparison() {
    let dir = tempfile::tempdir().expect("a directory");
    let arguments = ["twin", "quickstart", "--only", "workload.prompt=16", "--repeat", "2", "--format", "json"];
    let output = expect_code(dir.path(), &arguments, 0);
    let (live, sim) = (dir.path().join("runs/quickstart-live-001"), dir.path().join("runs/quickstart-sim-001"));
    for file in FILES {
        assert!(live.join(file).exists() && sim.join(file).exists(), "{file}");
    }
    let common = |name: &String| !name.contains("_network_") && !name.starts_with("part_");
    let shared = |dir: &Path| columns(dir).into_iter().filter(common).collect::<Vec<_>>();
    assert_eq!(shared(&live), shared(&sim));
    assert_eq!(charts(&live), charts(&sim));
    for chart in charts(&sim).iter().filter(|name| name.ends_with(".svg")) {
        let png = fs::read(sim.join("charts").join(chart.replace(".svg", ".png"))).expect("a PNG beside each SVG");
        assert!(png.starts_with(b"\x89PNG"));
        assert!(sim.join("charts").join(chart.replace(".svg", ".csv")).exists(), "and its data");
        let svg = fs::read_to_string(sim.join("charts").join(chart)).expect("a text file");
        assert!(!svg.contains("<text"), "text is outlines, so that no font is needed");
    }
    let twin: serde_json::Value = serde_json::from_slice(&output.stdout).expect("stdout is JSON and nothing else");
    let errors = twin["errors"].as_array().expect("errors");
    // There are three cells; a request for one token has no time per output token (TPOT).
    assert_eq!(errors.len(), 3 * 4 - 1);
    for error in errors {
        let figure = |name: &str| error[name].as_f64().unwrap_or_else(|| panic!("{name} in {error}"));
        assert!((figure("error") - (figure("sim") / figure("live") - 1.0)).abs() < 1e-9);
    }
    assert!(twin["median"].is_number() && twin["worst"].is_number());
    let both = dir.path().join("runs/quickstart-twin-001");
    assert!(both.join("charts/twin.png").exists());

    expect_code(dir.path(), &["report", "runs/quickstart-live-001", "runs/quickstart-sim-001", "--out", "both"], 0);
    assert!(charts(&dir.path().join("both")).iter().any(|name| name.ends_with(".png")));
}

#[test]
fn charts_that_are_set_are_the_charts_and_a_map_of_one_field_holds_its_scale() {
    let dir = tempfile::tempdir().expect("a directory");
    let set = "report=[Heatmap(\"workload.prompt\", \"workload.generate\")]";
    let one = "workload.prompt=16 && workload.generate=8";
    let output = expect_code(dir.path(), &["sim", "quickstart", "--only", one, "--set", set, "--set", "name=one"], 0);
    // If anything were drawn beyond a picture's edge, the chart library would print a warning.
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("WARN"), "{stderr}");
    let charts = charts(&dir.path().join("runs/one-sim-001"));
    let pictures: Vec<&String> = charts.iter().filter(|name| name.ends_with(".png")).collect();
    assert!(pictures.len() == 2 && pictures.iter().all(|name| name.contains("-over-")), "{pictures:?}");
}

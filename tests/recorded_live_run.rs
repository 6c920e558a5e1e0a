//! Tests that a recorded live run is predicted as well as when it was recorded, or at least within the noise of its
//! repetitions.
//!
//! The command `swarmbench twin twin-suite --only 'workload.prompt=64 && hosts.0.count=2 && workload.clients=2'
//! --rounds 3` recorded the run; `tests/fixtures/recorded` keeps the files that `replay` reads.
#[path = "support/command.rs"]
mod command;

use command::expect_code;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The largest increase of a prediction's error that other random numbers can cause, as a fraction of the live value.
const CHANCE: f64 = 0.02;

/// Returns the field `name` of each measure's prediction error.
fn figures(twin: &Value, name: &str) -> BTreeMap<(String, String), f64> {
    let gaps = twin["errors"].as_array().expect("errors").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    gaps.map(|gap| ((text(&gap["values"]), text(&gap["measure"])), gap[name].as_f64().unwrap_or(0.0))).collect()
}

#[test]
fn each_measure_is_predicted_as_well_as_when_it_was_recorded() {
    let twin = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded/twin-suite-twin-001");
    let recorded = fs::read_to_string(twin.join("twin.json")).expect("the recorded comparison");
    let recorded: Value = serde_json::from_str(&recorded).expect("JSON");
    let [noise_floor, interval] = ["noise_floor", "confidence"].map(|name| figures(&recorded, name));
    let recorded = figures(&recorded, "error");
    let output = expect_code(&twin, &["replay", ".", "--format", "json"], 0);
    let today = figures(&serde_json::from_slice(&output.stdout).expect("JSON"), "error");
    assert_eq!(today.keys().collect::<Vec<_>>(), recorded.keys().collect::<Vec<_>>());
    assert!(today.len() >= 30, "{} measures", today.len());
    for (measure, error) in &today {
        let (before, noise) = (recorded[measure], noise_floor[measure].max(interval[measure]));
        let most = before.abs().max(noise) + CHANCE;
        assert!(error.abs() <= most, "{measure:?}: an error of {error:+.3} in place of {before:+.3}, noise {noise:.3}");
    }
    let mut sizes: Vec<f64> = today.values().map(|error| error.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    assert!(sizes[sizes.len() / 2] < 0.01, "the median error is {}", sizes[sizes.len() / 2]);
}

#[test]
fn a_model_without_a_term_that_matters_predicts_worse() {
    let twin = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded/twin-suite-twin-001");
    let output = expect_code(&twin, &["replay", ".", "--without", "cold-cache"], 0);
    let text = String::from_utf8_lossy(&output.stdout);
    let median = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {text}"));
        line.split_whitespace().nth(1).and_then(|number| number.parse::<f64>().ok()).expect("a number of per cent")
    };
    assert!(median("cold-cache") > 2.0 * median("nothing"), "{text}");
}

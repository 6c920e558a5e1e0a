//! Tests that values beyond the model's context, and events after the end of the run, give warnings that name both the
//! value and its limit.
use scenarios::{Overrides, load};

fn warnings(name: &str, set: &[(&str, &str)]) -> Vec<String> {
    let set = set.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    let only = (name == "open-loop").then(|| "workload.rate=0.1 /s".to_owned());
    let summary = load(name).expect("it reads").check(&Overrides { set, only, ..Overrides::default() });
    let summary = summary.unwrap_or_else(|error| panic!("{error}"));
    summary.warnings.into_iter().map(|warning| warning.text).collect()
}

#[test]
fn an_event_after_the_last_request_is_told_with_both_times() {
    let crash = |at: &str| format!("[Crash(on: \"l4[0]\", at: {at}, back: \"10 s\")]");
    let said = |at: &str, timeout: &str| {
        let found = warnings("open-loop", &[("events", &crash(at)), ("measure.timeout", timeout)]);
        found.into_iter().filter(|warning| warning.contains("events.0")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        said("\"6000 s\"", "600 s"),
        "`events.0` begins at 6000 s, but requests arrive only until 300 s: the last request has ended by 900 s, so \
         the event cannot happen"
    );
    assert_eq!(
        said("\"350 s\"", "600 s"),
        "`events.0` begins at 350 s, but requests arrive only until 300 s: the event happens only if a request is \
         still in flight then"
    );
    assert_eq!(said("\"299 s\"", "600 s"), "");
    // An event at `Start` counts from the start of the run, which is before the barrier's release by at most
    // `ready_within`.
    assert_eq!(said("Start(\"350 s\")", "600 s"), "");
    assert!(said("Start(\"6000 s\")", "600 s").contains("cannot happen"));
    assert_eq!(said("Steps(9)", "600 s"), "");
}

#[test]
fn an_event_after_the_end_of_a_closed_workload_is_told_with_the_bound() {
    let said = |event: &str| {
        let set = [("events", event), ("measure.timeout", "60 s"), ("workload.micro_batches", "10")];
        warnings("nano", &set).into_iter().filter(|warning| warning.contains("events.0")).collect::<Vec<_>>().join("\n")
    };
    let crash = |at: &str| said(&format!("[Crash(on: \"peer[0]\", at: \"{at}\", back: \"1 s\")]"));
    assert_eq!(
        crash("6000 s"),
        "`events.0` cannot happen: it begins at 6000 s, but the run has ended by 600 s, since each client sends at \
         most 10 requests of 60 s"
    );
    assert_eq!(crash("600 s"), "");
    let slow = "[Degrade(what: Device(\"peer[0]\"), by: 2.0, at: \"601 s\", for: \"1 s\")]";
    assert!(said(slow).starts_with("`events.0` cannot happen"));
}

#[test]
fn a_request_beyond_the_models_context_is_told_or_refused() {
    let long = [("workload.longest", "100000"), ("workload.prompt", "9000"), ("swarm.cache", "900 GiB")];
    let found = warnings("open-loop", &long);
    assert!(
        found.iter().any(|warning| warning.contains("but the model's context ends at 8192: rotary positions")),
        "{found:?}"
    );
    assert!(warnings("open-loop", &[]).iter().all(|warning| !warning.contains("context")));
    let bloom = [("model.shape", "Bloom(\"560m\")"), ("workload.prompt", "2048"), ("swarm.cache", "9 GiB")];
    let found = warnings("nano", &bloom);
    assert!(found.iter().any(|warning| warning.contains("has 2176 tokens") && warning.contains("ALiBi")), "{found:?}");
    // A request beyond OPT's learned positions is an error and not a warning.
    let set = vec![("workload.prompt".to_owned(), "2048".to_owned())];
    let opt = load("nano").expect("it reads").check(&Overrides { set, ..Overrides::default() });
    let said = opt.expect_err("no position is left").to_string();
    assert_eq!(
        said,
        "--set workload.prompt=2048: `prompt` of 2048 and `generate` of 128 need 2176 positions, but the model has \
         only 512 learned positions"
    );
}

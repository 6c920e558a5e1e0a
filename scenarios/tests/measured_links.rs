//! Tests of the links of a profile: each pair of host groups has at most one link. Two links for the same hosts are
//! refused, and the error names both.
use actors::seed::Seed;
use scenarios::{Overrides, ScenarioError};
use std::path::Path;

/// Returns the number of links in the plan of three groups on two sites, with a profile that has the links `links`.
fn ways(dir: &Path, links: &[(&str, &str, &str)]) -> Result<usize, ScenarioError> {
    let link = |(from, to, rtt): &(&str, &str, &str)| format!("(from: {from:?}, to: {to:?}, rtt: [{rtt:?}])");
    let links = links.iter().map(link).collect::<Vec<_>>().join(", ");
    let profile = format!("(version: 1, name: \"links\", source: \"a test\", models: [], links: [{links}])");
    std::fs::write(dir.join("links.ron"), profile).expect("it is written");
    let text = r#"#![enable(implicit_some, unwrap_newtypes)]
Scenario(
    version: 1,
    name: "measured",
    model: Model(shape: Llama("7b")),
    hosts: [
        Host(name: "near", site: "a", device: Preset("a100")),
        Host(name: "far", site: "b", device: Preset("a100")),
        Host(name: "client", site: "a", device: Preset("cpu-8")),
    ],
    peers: [Peers(on: "near", span: Even), Peers(on: "far", span: Even)],
    swarm: Swarm(cache: "40 GiB"),
    network: Network(profile: "links.ron"),
    workload: Closed(on: "client", clients: 1, prompt: 32, generate: 8),
)"#;
    let path = dir.join("measured.ron");
    std::fs::write(&path, text).expect("it is written");
    let loaded = scenarios::load(path.to_str().expect("a plain path"))?;
    Ok(loaded.cells(&Overrides::default())?[0].plan(Seed(1), 0)?.network.between.len())
}

#[test]
fn links_between_different_groups_are_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let links = [("client", "near", "1 ms"), ("client", "far", "20 ms"), ("near", "far", "21 ms")];
    assert_eq!(ways(dir.path(), &links).expect("each pair once"), 6);
    assert!(ways(dir.path(), &[("a", "a", "1 ms"), ("a", "b", "20 ms")]).is_ok(), "within a site and to another");
}

#[test]
fn two_links_for_the_same_hosts_are_refused_with_both_named() {
    let dir = tempfile::tempdir().expect("a directory");
    for second in [("client", "far", "50 ms"), ("far", "client", "50 ms"), ("a", "b", "50 ms")] {
        let links = [("client", "far", "20 ms"), ("client", "near", "1 ms"), second];
        let refused = ways(dir.path(), &links).expect_err("nothing says which of two is meant").to_string();
        let (from, to, rtt) = second;
        let first = "link 1 (from `client` to `far`, 20 ms round trip)";
        let both = format!("{first} and link 3 (from `{from}` to `{to}`, {rtt} round trip) join the same hosts");
        assert!(refused.contains("links.ron") && refused.contains(&both), "{refused}");
    }
}

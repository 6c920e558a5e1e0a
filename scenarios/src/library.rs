//! The built-in scenarios.

/// The name and the text of each built-in scenario, in the order in which they are listed. The first scenario is meant
/// for beginners.
pub const LIBRARY: [(&str, &str); 28] = [
    ("quickstart", include_str!("../library/quickstart.ron")),
    ("clients", include_str!("../library/clients.ron")),
    ("heatmap", include_str!("../library/heatmap.ron")),
    ("twin-suite", include_str!("../library/twin-suite.ron")),
    ("twin-wide", include_str!("../library/twin-wide.ron")),
    ("relay-vs-push", include_str!("../library/relay-vs-push.ron")),
    ("push-crossing", include_str!("../library/push-crossing.ron")),
    ("herd", include_str!("../library/herd.ron")),
    ("churn", include_str!("../library/churn.ron")),
    ("detection", include_str!("../library/detection.ron")),
    ("placement", include_str!("../library/placement.ron")),
    ("more-peers", include_str!("../library/more-peers.ron")),
    ("shared-gpu", include_str!("../library/shared-gpu.ron")),
    ("batching", include_str!("../library/batching.ron")),
    ("nano", include_str!("../library/nano.ron")),
    ("open-loop", include_str!("../library/open-loop.ron")),
    ("wan-regions", include_str!("../library/wan-regions.ron")),
    ("internet-scale", include_str!("../library/internet-scale.ron")),
    ("discovery", include_str!("../library/discovery.ron")),
    ("slow-start", include_str!("../library/slow-start.ron")),
    ("flexgen-petals-opt6.7b", include_str!("../library/flexgen-petals-opt6.7b.ron")),
    ("flexgen-petals-opt30b", include_str!("../library/flexgen-petals-opt30b.ron")),
    ("flexgen-petals-opt175b", include_str!("../library/flexgen-petals-opt175b.ron")),
    ("petals-bloom-176b", include_str!("../library/petals-bloom-176b.ron")),
    ("petals-llama-2-70b", include_str!("../library/petals-llama-2-70b.ron")),
    ("helix-a100", include_str!("../library/helix-a100.ron")),
    ("helix-l4", include_str!("../library/helix-l4.ron")),
    ("helix-t4", include_str!("../library/helix-t4.ron")),
];

/// The path and the text of each table that built-in scenarios name. A built-in table is read only if there is no file
/// at its path.
pub(crate) const TABLES: [(&str, &str); 3] = [
    ("helix-a100.csv", include_str!("../published/helix-a100.csv")),
    ("helix-l4.csv", include_str!("../published/helix-l4.csv")),
    ("helix-t4.csv", include_str!("../published/helix-t4.csv")),
];

/// Returns the text of the built-in scenario called `name`, or `None`.
pub fn find(name: &str) -> Option<&'static str> {
    LIBRARY.iter().find(|entry| entry.0 == name).map(|entry| entry.1)
}

/// The names of all built-in scenarios.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    LIBRARY.iter().map(|entry| entry.0)
}

//! The scenarios that come with the program.

/// Name and text, in the order of a catalogue: the first is where to begin.
pub const LIBRARY: [(&str, &str); 16] = [
    ("quickstart", include_str!("../library/quickstart.ron")),
    ("clients", include_str!("../library/clients.ron")),
    ("heatmap", include_str!("../library/heatmap.ron")),
    ("twin-suite", include_str!("../library/twin-suite.ron")),
    ("relay-vs-push", include_str!("../library/relay-vs-push.ron")),
    ("push-crossing", include_str!("../library/push-crossing.ron")),
    ("herd", include_str!("../library/herd.ron")),
    ("batching", include_str!("../library/batching.ron")),
    ("nano", include_str!("../library/nano.ron")),
    ("open-loop", include_str!("../library/open-loop.ron")),
    ("wan-regions", include_str!("../library/wan-regions.ron")),
    ("discovery", include_str!("../library/discovery.ron")),
    ("slow-start", include_str!("../library/slow-start.ron")),
    ("flexgen-petals-opt6.7b", include_str!("../library/flexgen-petals-opt6.7b.ron")),
    ("flexgen-petals-opt30b", include_str!("../library/flexgen-petals-opt30b.ron")),
    ("flexgen-petals-opt175b", include_str!("../library/flexgen-petals-opt175b.ron")),
];

/// The text of a library scenario.
pub fn find(name: &str) -> Option<&'static str> {
    LIBRARY.iter().find(|entry| entry.0 == name).map(|entry| entry.1)
}

/// The names of all of them.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    LIBRARY.iter().map(|entry| entry.0)
}

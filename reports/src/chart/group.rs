//! Grouping of cells into series, and of series into panels, by the swept values that are not on an axis of the chart.
use super::{Labelled, Source, impossible};
use crate::error::Result;
use crate::summary::Cell;
use crate::table;
use crate::theme::SERIES;
use scenarios::units::{Dimension, magnitude};
use std::cmp::Reverse;

/// The key of a series: (name, value) of each swept field in which the series differ. With several runs, the run's
/// label comes first.
pub type Key = Vec<(String, String)>;

/// Returns the value of a swept path in a cell. If the path was swept as a structure, joins the values of its fields.
pub fn value(cell: &Cell, path: &str) -> Option<String> {
    if let Some(value) = cell.axis(path) {
        return Some(value.to_owned());
    }
    let inside = |axis: &str| axis.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    // The value `None` means an unlimited bandwidth. A reader could not guess that, so the chart says "no limit". Other
    // values are clear by their units.
    let word = |value: &str| if value == "None" { "no limit".to_owned() } else { value.to_owned() };
    let parts: Vec<String> = cell.axes.iter().filter(|(axis, _)| inside(axis)).map(|(_, value)| word(value)).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Checks that some cell has a value of the path.
///
/// # Errors
/// No cell has a value of the path; the error names the swept paths.
pub fn checked(source: &Source, chart: &str, path: &str) -> Result<()> {
    if source.cells().any(|(_, cell)| value(cell, path).is_some()) {
        return Ok(());
    }
    let axes = source.cells().next().map(|(_, cell)| cell.axes.as_slice()).unwrap_or_default();
    let swept = axes.iter().map(|(axis, _)| axis.as_str()).collect::<Vec<_>>().join(", ");
    let swept = if swept.is_empty() { "nothing".to_owned() } else { swept };
    Err(impossible(chart, format!("the sweep does not vary {path}; it varies {swept}")))
}

/// A cell of a run with its key: the values that differ between cells and are on no axis of the chart.
pub struct Keyed<'a> {
    pub key: Key,
    pub run: &'a Labelled,
    pub cell: &'a Cell,
}

/// Returns all cells of all runs with their keys. `on_axes` are the swept paths on the axes of the chart.
pub fn keyed<'a>(source: &'a Source, on_axes: &[&str]) -> Vec<Keyed<'a>> {
    let names = names(source, on_axes);
    let key = |run: &Labelled, cell: &Cell| {
        let several = (source.runs.len() > 1).then(|| ("run".to_owned(), run.label.clone()));
        let named = names.iter().filter_map(|name| Some((name.clone(), value(cell, name)?)));
        several.into_iter().chain(named).collect()
    };
    source.cells().map(|(run, cell)| Keyed { key: key(run, cell), run, cell }).collect()
}

/// Returns the paths that vary and are on no axis of the chart, in the order of the sweep. Fields of one structure that
/// carry units (a link's delay and bandwidth) are joined under its path, because they were swept as one. Redundant
/// paths are left out.
fn names(source: &Source, on_axes: &[&str]) -> Vec<String> {
    let inside =
        |axis: &str, path: &str| axis == path || axis.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    let mut axes: Vec<(&str, Vec<&str>)> = Vec::new();
    for (axis, value) in source.cells().flat_map(|(_, cell)| &cell.axes) {
        match axes.iter_mut().find(|(known, _)| known == axis) {
            Some((_, values)) => values.push(value),
            None => axes.push((axis, vec![value])),
        }
    }
    axes.retain(|(axis, values)| {
        values.iter().any(|value| *value != values[0]) && !on_axes.iter().any(|path| inside(axis, path))
    });
    let said: Vec<bool> = (0..axes.len()).map(|at| said_by_another(&axes, at)).collect();
    let mut said = said.into_iter();
    axes.retain(|_| !said.next().unwrap_or(false));
    let parent = |axis: &str| axis.rsplit_once('.').map_or(String::new(), |(parent, _)| parent.to_owned());
    let with_unit =
        |values: &[&str]| values.iter().any(|value| magnitude(value).is_some_and(|(_, of)| of != Dimension::Number));
    let mut names: Vec<String> = Vec::new();
    for (axis, values) in &axes {
        let holder = parent(axis);
        let beside = axes.iter().filter(|(other, values)| parent(other) == holder && with_unit(values)).count();
        let name = if with_unit(values) && beside > 1 { holder } else { (*axis).to_owned() };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Whether the path at index `at` is redundant. A field is redundant if an earlier field of the same name has the same
/// value in every cell. A switch is redundant if another path determines it, such as a delay that exists only for
/// shaped networks.
fn said_by_another(axes: &[(&str, Vec<&str>)], at: usize) -> bool {
    let (axis, values) = &axes[at];
    let name = |axis: &str| axis.rsplit('.').next().unwrap_or_default().to_owned();
    let tells = |others: &[&str]| {
        others.len() == values.len()
            && (0..values.len()).all(|a| (0..a).all(|b| others[a] != others[b] || values[a] == values[b]))
    };
    let switch = values.iter().all(|value| matches!(*value, "true" | "false"));
    axes.iter().enumerate().any(|(other, (path, others))| {
        let twice = other < at && name(path) == name(axis) && others == values;
        twice
            || (switch
                && other != at
                && others.iter().any(|value| !matches!(*value, "true" | "false"))
                && tells(others))
    })
}

/// Returns a label such as `Push · 100 Mbit/s · prompt 512 · heartbeat 1 s`. Words and bandwidths appear alone; other
/// numbers and switches appear with their names.
pub fn label(key: &[(String, String)]) -> String {
    let word = |(name, value): &(String, String)| match value.as_str() {
        _ if name == "run" => value.clone(),
        "None" => format!("{} None", table::short(name)),
        "true" => table::short(name),
        "false" => format!("no {}", table::short(name)),
        _ if magnitude(value).is_some_and(|(_, of)| of == Dimension::Rate) => value.clone(),
        _ if magnitude(value).is_some() || value.starts_with('[') => format!("{} {value}", table::short(name)),
        _ => value.clone(),
    };
    key.iter().map(word).collect::<Vec<_>>().join(" · ")
}

/// Returns the distinct keys in the order of their first appearance.
pub fn distinct(cells: &[Keyed<'_>]) -> Vec<Key> {
    let mut found: Vec<Key> = Vec::new();
    for Keyed { key, .. } in cells {
        if !found.contains(key) {
            found.push(key.clone());
        }
    }
    found
}

/// A panel: the values that its series share, and the keys of the series.
pub struct Facet {
    pub title: String,
    /// The names whose values distinguish this panel from others.
    by: Vec<String>,
    pub keys: Vec<Key>,
}

/// The number of panels up to which a chart is still clear at a glance.
const PANELS: usize = 6;

/// Splits the series into panels of at most seven series, with at most seven looks (colour, marker, dashes) in total.
/// Prefers a split by numeric values into at most `PANELS` panels, and among such splits the one with the fewest looks.
/// If no split has so few panels, takes the split with the fewest panels.
pub fn facets(keys: Vec<Key>) -> Vec<Facet> {
    if keys.len() <= SERIES {
        return vec![Facet { title: String::new(), by: Vec::new(), keys }];
    }
    let names: Vec<String> = keys[0].iter().map(|(name, _)| name.clone()).collect();
    // Readers compare words (policies) best within a panel, and numbers across panels.
    let numeric = |by: &[&str]| {
        keys.iter().flatten().all(|(name, value)| !by.contains(&name.as_str()) || magnitude(value).is_some())
    };
    let mut best: Option<((bool, usize, usize), Vec<Facet>)> = None;
    for by in choices(&names) {
        let split = split_by(&keys, &by);
        let looks = labels(&split).len();
        let rank = match numeric(&by) && split.len() <= PANELS {
            true => (false, looks, split.len()),
            false => (true, split.len(), looks),
        };
        if looks <= SERIES && best.as_ref().is_none_or(|(known, _)| rank < *known) {
            best = Some((rank, split));
        }
    }
    best.map(|(_, split)| split).unwrap_or_else(|| {
        keys.chunks(SERIES).map(|part| Facet { title: String::new(), by: Vec::new(), keys: part.to_vec() }).collect()
    })
}

/// Returns the distinct labels of the series. The labels of the panel with the most series come first.
pub fn labels(facets: &[Facet]) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    let mut fullest: Vec<&Facet> = facets.iter().collect();
    fullest.sort_by_key(|facet| Reverse(facet.keys.len()));
    for facet in fullest {
        for key in &facet.keys {
            let label = label(&within(facet, key));
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
    }
    labels
}

/// Returns the candidate sets of names to split by: one name, two names, or all but one, which is the last resort.
fn choices(names: &[String]) -> Vec<Vec<&str>> {
    let singles = names.iter().map(|name| vec![name.as_str()]);
    let pairs = names
        .iter()
        .enumerate()
        .flat_map(|(at, first)| names[at + 1..].iter().map(move |second| vec![first.as_str(), second.as_str()]));
    let all_but = names.iter().map(|left| names.iter().filter(|name| *name != left).map(String::as_str).collect());
    singles.chain(pairs).chain(all_but).filter(|by: &Vec<&str>| !by.is_empty()).collect()
}

/// Splits the keys by the values of `by`, in the order of the values.
fn split_by(keys: &[Key], by: &[&str]) -> Vec<Facet> {
    let mut facets: Vec<(Key, Facet)> = Vec::new();
    for key in keys {
        let shared: Key = key.iter().filter(|(name, _)| by.contains(&name.as_str())).cloned().collect();
        match facets.iter_mut().find(|(known, _)| *known == shared) {
            Some((_, facet)) => facet.keys.push(key.clone()),
            None => {
                let by = by.iter().map(|name| (*name).to_owned()).collect();
                let facet = Facet { title: label(&shared), by, keys: vec![key.clone()] };
                facets.push((shared, facet));
            }
        }
    }
    if let [name] = by {
        let value = |key: &Key| key.iter().find(|(of, _)| of == name).map(|(_, value)| value.clone());
        let order = ordered(facets.iter().filter_map(|(shared, _)| value(shared)));
        facets.sort_by_key(|(shared, _)| order.iter().position(|known| Some(known) == value(shared).as_ref()));
    }
    facets.into_iter().map(|(_, facet)| facet).collect()
}

/// Returns the part of a key that the panel's title does not contain.
pub fn within(facet: &Facet, key: &Key) -> Key {
    key.iter().filter(|(name, _)| !facet.by.contains(name)).cloned().collect()
}

/// Returns swept values as numbers in base units, or `None` if they do not all have one dimension.
pub fn numbers(values: &[String]) -> Option<Vec<f64>> {
    let parsed: Vec<(f64, Dimension)> = values.iter().map(|value| magnitude(value)).collect::<Option<_>>()?;
    let dimension = parsed.first()?.1;
    let sound = |(number, of): &(f64, Dimension)| number.is_finite() && *of == dimension;
    parsed.iter().all(sound).then(|| parsed.iter().map(|(number, _)| *number).collect())
}

/// Returns the distinct values of an axis: in ascending order if they are numbers, otherwise in the order of
/// appearance.
pub fn ordered(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for value in values {
        if !found.contains(&value) {
            found.push(value);
        }
    }
    if let Some(numbers) = numbers(&found) {
        let mut pairs: Vec<(f64, String)> = numbers.into_iter().zip(found).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        return pairs.into_iter().map(|(_, value)| value).collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{Key, facets, label, labels, said_by_another};

    fn key(pairs: &[(&str, &str)]) -> Key {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn words_stand_by_themselves_and_numbers_and_switches_with_their_names() {
        let of = key(&[("swarm.forwarding", "Push"), ("swarm.detection.heartbeat", "1 s"), ("hosts.0.count", "8")]);
        assert_eq!(label(&of), "Push · heartbeat 1 s · hosts 8");
        assert_eq!(label(&key(&[("network.links.0.bandwidth", "100 Mbit/s")])), "100 Mbit/s");
        let of =
            key(&[("network.tcp.slow_start", "false"), ("hosts.0.egress", "10 ms, 1 Gbit/s"), ("hosts.0.also", "[]")]);
        assert_eq!(label(&of), "no slow start · 10 ms, 1 Gbit/s · also []");
    }

    #[test]
    fn policies_are_compared_within_a_panel() {
        let mut keys = Vec::new();
        for prompt in ["1024", "64", "256", "16"] {
            for forwarding in ["Relay", "Push"] {
                keys.push(key(&[("swarm.forwarding", forwarding), ("workload.prompt", prompt)]));
            }
        }
        let split = facets(keys);
        assert_eq!(labels(&split), ["Relay", "Push"]);
        let titles: Vec<&str> = split.iter().map(|facet| facet.title.as_str()).collect();
        assert_eq!(titles, ["prompt 16", "prompt 64", "prompt 256", "prompt 1024"]);
    }

    #[test]
    fn what_another_value_says_is_not_said_twice() {
        let spans = vec!["Even", "Capacity(blocks: 4)", "Capacity(blocks: 8)"];
        let shape = ("network.shape", vec!["false", "true", "true"]);
        let delay = ("network.default.delay", vec!["0 s", "10 ms", "100 ms"]);
        let axes = [("peers.0.span", spans.clone()), ("peers.1.span", spans), shape, delay];
        let said: Vec<bool> = (0..axes.len()).map(|at| said_by_another(&axes, at)).collect();
        assert_eq!(said, [false, true, true, false]);
        let grid = [("a.on", vec!["false", "true", "false", "true"]), ("b", vec!["1", "1", "2", "2"])];
        assert!(!said_by_another(&grid, 0), "nothing else tells it");
    }
}

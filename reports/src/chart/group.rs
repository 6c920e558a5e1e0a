//! Cells to series and series to facets: what the other axes vary.
use super::{Labelled, Source, impossible};
use crate::error::Result;
use crate::summary::Cell;
use crate::table;
use crate::theme::SERIES;

/// What tells one series from another: (name, value), the run's label first where there are several runs.
pub type Key = Vec<(String, String)>;

/// The value of a swept path in a cell. A path that was swept as a structure is the values of its fields together.
pub fn value(cell: &Cell, path: &str) -> Option<String> {
    if let Some(value) = cell.axis(path) {
        return Some(value.to_owned());
    }
    let inside = |axis: &str| axis.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    let parts: Vec<&str> = cell.axes.iter().filter(|(axis, _)| inside(axis)).map(|(_, v)| v.as_str()).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// As `value`, or an error that names the swept paths.
pub fn checked(source: &Source, chart: &str, path: &str) -> Result<()> {
    if source.cells().any(|(_, cell)| value(cell, path).is_some()) {
        return Ok(());
    }
    let axes = source.cells().next().map(|(_, cell)| cell.axes.as_slice()).unwrap_or_default();
    let swept = axes.iter().map(|(axis, _)| axis.as_str()).collect::<Vec<_>>().join(", ");
    let swept = if swept.is_empty() { "nothing".to_owned() } else { swept };
    Err(impossible(chart, format!("the sweep does not vary {path}; it varies {swept}")))
}

/// A cell of a run under what of it is neither on an axis of the chart nor the same in all cells.
pub struct Keyed<'a> {
    pub key: Key,
    pub run: &'a Labelled,
    pub cell: &'a Cell,
}

/// All cells of all runs.
pub fn keyed<'a>(source: &'a Source, on_axes: &[&str]) -> Vec<Keyed<'a>> {
    let inside =
        |axis: &str, path: &&str| axis == *path || axis.strip_prefix(*path).is_some_and(|rest| rest.starts_with('.'));
    let mut seen: Vec<(&str, Option<&str>)> = Vec::new();
    for (axis, value) in source.cells().flat_map(|(_, cell)| &cell.axes) {
        match seen.iter_mut().find(|(known, _)| known == axis) {
            Some((_, only)) if only.is_some_and(|only| only != value) => *only = None,
            Some(_) => {}
            None => seen.push((axis, Some(value))),
        }
    }
    let varies = |axis: &str| seen.iter().any(|(known, only)| *known == axis && only.is_none());
    let key = |run: &Labelled, cell: &Cell| {
        let several = (source.runs.len() > 1).then(|| ("run".to_owned(), run.label.clone()));
        let axes = cell.axes.iter().filter(|(axis, _)| varies(axis) && !on_axes.iter().any(|path| inside(axis, path)));
        several.into_iter().chain(axes.cloned()).collect()
    };
    source.cells().map(|(run, cell)| Keyed { key: key(run, cell), run, cell }).collect()
}

/// `prompt 512 · egress delay 10 ms`, quantities by their values alone where the unit says enough.
pub fn label(key: &[(String, String)]) -> String {
    let word = |(name, value): &(String, String)| {
        let bare = name == "run" || value.chars().any(char::is_alphabetic);
        if bare { value.clone() } else { format!("{} {value}", table::short(name)) }
    };
    key.iter().map(word).collect::<Vec<_>>().join(" · ")
}

/// Distinct keys in the order of their first appearance.
pub fn distinct(cells: &[Keyed<'_>]) -> Vec<Key> {
    let mut found: Vec<Key> = Vec::new();
    for Keyed { key, .. } in cells {
        if !found.contains(key) {
            found.push(key.clone());
        }
    }
    found
}

/// A panel: what its series share, and the series by what is left of their keys.
pub struct Facet {
    pub title: String,
    pub keys: Vec<Key>,
}

/// At most seven series to a panel: spread over panels by the name that needs the fewest of them.
pub fn facets(keys: Vec<Key>) -> Vec<Facet> {
    if keys.len() <= SERIES {
        return vec![Facet { title: String::new(), keys }];
    }
    let names: Vec<String> = keys[0].iter().map(|(name, _)| name.clone()).collect();
    let mut best: Option<Vec<Facet>> = None;
    // One name, then two: a single series to a panel is a last resort.
    for by in choices(&names) {
        let split = split_by(&keys, &by);
        let fits = split.iter().all(|facet| facet.keys.len() <= SERIES);
        if fits && best.as_ref().is_none_or(|best| split.len() < best.len()) {
            best = Some(split);
        }
    }
    best.unwrap_or_else(|| {
        keys.chunks(SERIES).map(|part| Facet { title: String::new(), keys: part.to_vec() }).collect()
    })
}

fn choices(names: &[String]) -> Vec<Vec<&str>> {
    let singles = names.iter().map(|name| vec![name.as_str()]);
    let pairs = names
        .iter()
        .enumerate()
        .flat_map(|(at, first)| names[at + 1..].iter().map(move |second| vec![first.as_str(), second.as_str()]));
    singles.chain(pairs).collect()
}

fn split_by(keys: &[Key], by: &[&str]) -> Vec<Facet> {
    let mut facets: Vec<(Key, Facet)> = Vec::new();
    for key in keys {
        let shared: Key = key.iter().filter(|(name, _)| by.contains(&name.as_str())).cloned().collect();
        match facets.iter_mut().find(|(known, _)| *known == shared) {
            Some((_, facet)) => facet.keys.push(key.clone()),
            None => {
                let facet = Facet { title: label(&shared), keys: vec![key.clone()] };
                facets.push((shared, facet));
            }
        }
    }
    facets.into_iter().map(|(_, facet)| facet).collect()
}

/// What is left of a key in a panel: the names that vary over all its series.
pub fn within(facet: &Facet, key: &Key) -> Key {
    let varies = |(name, value): &&(String, String)| {
        facet.keys.iter().any(|other| other.iter().any(|(n, v)| n == name && v != value))
    };
    if facet.title.is_empty() { key.clone() } else { key.iter().filter(varies).cloned().collect() }
}

/// A swept value as a number, where all of an axis are numbers of one dimension.
pub fn numbers(values: &[String]) -> Option<Vec<f64>> {
    let parsed: Option<Vec<f64>> = values.iter().map(|value| value.trim().replace('_', "").parse().ok()).collect();
    parsed.filter(|numbers| numbers.iter().all(|number: &f64| number.is_finite()))
}

/// Distinct values of an axis: ascending where they are numbers, else as they came.
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

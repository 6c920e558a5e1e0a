//! Cells to series and series to facets: what the other axes vary.
use super::{Labelled, Source, impossible};
use crate::error::Result;
use crate::summary::Cell;
use crate::table;
use crate::theme::SERIES;
use scenarios::units::{Dimension, magnitude};

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
    let names = names(source, on_axes);
    let key = |run: &Labelled, cell: &Cell| {
        let several = (source.runs.len() > 1).then(|| ("run".to_owned(), run.label.clone()));
        let named = names.iter().filter_map(|name| Some((name.clone(), value(cell, name)?)));
        several.into_iter().chain(named).collect()
    };
    source.cells().map(|(run, cell)| Keyed { key: key(run, cell), run, cell }).collect()
}

/// The paths that vary and are on no axis of the chart, in the order of the sweep. Fields of one structure that carry units (a link's delay and bandwidth)
/// stand together under its path: they were swept as one.
fn names(source: &Source, on_axes: &[&str]) -> Vec<String> {
    let inside =
        |axis: &str, path: &str| axis == path || axis.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    let mut seen: Vec<(&str, &str, bool)> = Vec::new();
    for (axis, value) in source.cells().flat_map(|(_, cell)| &cell.axes) {
        match seen.iter_mut().find(|(known, ..)| known == axis) {
            Some((_, first, varies)) => *varies |= first != value,
            None => seen.push((axis, value, false)),
        }
    }
    let parent = |axis: &str| axis.rsplit_once('.').map_or(String::new(), |(parent, _)| parent.to_owned());
    let with_unit = |value: &str| magnitude(value).is_some_and(|(_, dimension)| dimension != Dimension::Number);
    let varying: Vec<&(&str, &str, bool)> =
        seen.iter().filter(|(axis, _, varies)| *varies && !on_axes.iter().any(|path| inside(axis, path))).collect();
    let mut names: Vec<String> = Vec::new();
    for (axis, value, _) in &varying {
        let holder = parent(axis);
        let beside = varying.iter().filter(|(other, value, _)| parent(other) == holder && with_unit(value)).count();
        let name = if with_unit(value) && beside > 1 { holder } else { (*axis).to_owned() };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
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
    /// The names it is one of.
    by: Vec<String>,
    pub keys: Vec<Key>,
}

/// At most seven series to a panel, and seven looks in all: spread over panels by the names that need the fewest of them.
pub fn facets(keys: Vec<Key>) -> Vec<Facet> {
    if keys.len() <= SERIES {
        return vec![Facet { title: String::new(), by: Vec::new(), keys }];
    }
    let names: Vec<String> = keys[0].iter().map(|(name, _)| name.clone()).collect();
    let mut best: Option<Vec<Facet>> = None;
    for by in choices(&names) {
        let split = split_by(&keys, &by);
        let fits = labels(&split).len() <= SERIES;
        if fits && best.as_ref().is_none_or(|best| split.len() < best.len()) {
            best = Some(split);
        }
    }
    best.unwrap_or_else(|| {
        keys.chunks(SERIES).map(|part| Facet { title: String::new(), by: Vec::new(), keys: part.to_vec() }).collect()
    })
}

/// Every label that a series bears in its panel, once.
pub fn labels(facets: &[Facet]) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for facet in facets {
        for key in &facet.keys {
            let label = label(&within(facet, key));
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
    }
    labels
}

/// One name, two, or all but one; a single series to a panel is a last resort.
fn choices(names: &[String]) -> Vec<Vec<&str>> {
    let singles = names.iter().map(|name| vec![name.as_str()]);
    let pairs = names
        .iter()
        .enumerate()
        .flat_map(|(at, first)| names[at + 1..].iter().map(move |second| vec![first.as_str(), second.as_str()]));
    let all_but = names.iter().map(|left| names.iter().filter(|name| *name != left).map(String::as_str).collect());
    singles.chain(pairs).chain(all_but).filter(|by: &Vec<&str>| !by.is_empty()).collect()
}

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
    facets.into_iter().map(|(_, facet)| facet).collect()
}

/// What is left of a key in a panel: what its title does not say.
pub fn within(facet: &Facet, key: &Key) -> Key {
    key.iter().filter(|(name, _)| !facet.by.contains(name)).cloned().collect()
}

/// Swept values as numbers in base units, where all of an axis are of one dimension.
pub fn numbers(values: &[String]) -> Option<Vec<f64>> {
    let parsed: Vec<(f64, Dimension)> = values.iter().map(|value| magnitude(value)).collect::<Option<_>>()?;
    let dimension = parsed.first()?.1;
    let sound = |(number, of): &(f64, Dimension)| number.is_finite() && *of == dimension;
    parsed.iter().all(sound).then(|| parsed.iter().map(|(number, _)| *number).collect())
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

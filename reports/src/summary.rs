//! Cells aggregated over their repetitions: mean, spread and 95 % t interval of every measure, and an overall verdict.
use crate::cells::{CellRow, CellStatus};
use crate::measures::{COLUMNS, Judgement, Measures, Verdict};
use crate::stats::{Sample, samples_needed};
use scenarios::cell::CellKey;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A cell of the sweep, aggregated over its repetitions.
#[derive(Clone, Debug)]
pub struct Cell {
    pub cell: u32,
    pub axes: Vec<(String, String)>,
    /// The number of planned repetitions.
    pub planned: u32,
    /// The number of repetitions that have ended, without those that a signal ended.
    pub runs: u32,
    /// The number of repetitions that have ended with a failure.
    pub failed: u32,
    pub judgement: Judgement,
    /// For each measure, its sample over the repetitions that are done and have the measure.
    pub samples: BTreeMap<String, Sample>,
}

impl Cell {
    pub fn get(&self, column: &str) -> Option<&Sample> {
        self.samples.get(column)
    }

    pub fn mean(&self, column: &str) -> Option<f64> {
        self.get(column).map(|sample| sample.mean)
    }

    /// A cell of which no run was begun.
    pub(crate) fn not_run(key: &CellKey, planned: u32) -> Cell {
        let mut judgement = Judgement::default();
        judgement.add(Verdict::Suspect, format!("0 of {planned} repetitions have ended"));
        let (axes, samples) = (key.values.clone(), BTreeMap::new());
        Cell { cell: key.index, axes, planned, runs: 0, failed: 0, judgement, samples }
    }

    pub fn axis(&self, path: &str) -> Option<&str> {
        self.axes.iter().find(|(axis, _)| axis == path).map(|(_, value)| value.as_str())
    }
}

/// Aggregates the cells, in the order of the sweep. Each cell was planned with `repeats` repetitions; 0 if that is
/// unknown.
pub fn cells(rows: &[CellRow], repeats: u32) -> Vec<Cell> {
    let mut by_cell: BTreeMap<u32, Vec<&CellRow>> = BTreeMap::new();
    rows.iter().for_each(|row| by_cell.entry(row.cell).or_default().push(row));
    by_cell.into_iter().map(|(cell, rows)| summarise(cell, &rows, repeats)).collect()
}

fn summarise(cell: u32, rows: &[&CellRow], repeats: u32) -> Cell {
    let done: Vec<&&CellRow> = rows.iter().filter(|row| row.done()).collect();
    let ended: Vec<&&CellRow> = rows.iter().filter(|row| !row.interrupted()).collect();
    let mut judgement = Judgement::default();
    ended.iter().for_each(|row| judgement.absorb(&row.judgement));
    let (runs, planned) = (ended.len() as u32, repeats.max(rows.len() as u32));
    if runs < planned {
        judgement.add(Verdict::Suspect, format!("{runs} of {planned} repetitions have ended"));
    }
    let completed: u64 = done.iter().filter_map(|row| row.get("completed")).map(|count| count as u64).sum();
    let needed = samples_needed(0.5);
    let left_out = left_out(&ended);
    if completed < needed as u64 && (completed > 0 || left_out == 0) {
        let reason = format!("there are too few samples: {completed} requests, but a median needs {needed}");
        judgement.add(Verdict::Suspect, reason);
    }
    if left_out > 0 {
        let (failed, are) = (runs - done.len() as u32, if left_out == 1 { "request is" } else { "requests are" });
        let which = if runs == 1 { "the run failed".to_owned() } else { format!("{failed} of {runs} runs failed") };
        judgement.add(Verdict::Invalid, format!("{which}, so {left_out} successful {are} left out"));
    }
    let sample = |name: &String| {
        let values: Vec<f64> = done.iter().filter_map(|row| row.get(name)).collect();
        Some((name.clone(), Sample::of(&values)?))
    };
    Cell {
        cell,
        axes: rows.first().map(|row| row.axes.clone()).unwrap_or_default(),
        planned,
        runs,
        failed: runs - done.len() as u32,
        judgement,
        samples: COLUMNS.iter().filter_map(|column| sample(&column.name)).collect(),
    }
}

/// Returns the number of requests that succeeded in failed runs. Such requests count in no figure.
fn left_out(ended: &[&&CellRow]) -> u64 {
    let failed = ended.iter().filter(|row| !row.done());
    failed.filter_map(|row| row.get("completed")).map(|count| count as u64).sum()
}

/// The data of one run in `summary.json` that are not in its row of `cells.csv`.
#[derive(Clone, Debug)]
pub struct Detail {
    cell: u32,
    repeat: u32,
    failure: Option<String>,
    withheld: Vec<(String, usize)>,
    peer_utilisation: BTreeMap<u32, f64>,
}

impl Detail {
    pub fn new(row: &CellRow, status: &CellStatus, measures: &Measures) -> Detail {
        let failure = match status {
            CellStatus::Done => None,
            CellStatus::Failed { detail, .. } => Some(detail.clone()),
            CellStatus::Interrupted => Some("interrupted".to_owned()),
        };
        Detail {
            cell: row.cell,
            repeat: row.repeat,
            failure,
            withheld: measures.withheld.clone(),
            peer_utilisation: measures.peer_utilisation.clone(),
        }
    }

    fn to_json(&self) -> Value {
        let needs: Map<String, Value> =
            self.withheld.iter().map(|(name, needs)| (name.clone(), json!(needs))).collect();
        json!({
            "repeat": self.repeat,
            "failure": self.failure,
            "withheld_needs_samples": needs,
            "peer_utilisation": self.peer_utilisation,
        })
    }
}

/// Returns `summary.json`: each cell's measures in the order of the catalogue, and their definitions.
pub fn to_json(cells: &[Cell], details: &mut [Detail]) -> Value {
    details.sort_by_key(|detail| (detail.cell, detail.repeat));
    let about: Map<String, Value> = COLUMNS.iter().map(|c| (c.name.clone(), json!(c.about))).collect();
    let cell = |cell: &Cell| {
        let axes: Map<String, Value> = cell.axes.iter().map(|(path, value)| (path.clone(), json!(value))).collect();
        let runs: Vec<Value> = details.iter().filter(|d| d.cell == cell.cell).map(Detail::to_json).collect();
        json!({
            "cell": cell.cell,
            "axes": axes,
            "planned": cell.planned,
            "runs": cell.runs,
            "failed": cell.failed,
            "verdict": cell.judgement,
            "measures": COLUMNS.iter().filter_map(|c| measure(cell, &c.name)).collect::<Vec<_>>(),
            "repetitions": runs,
        })
    };
    json!({ "cells": cells.iter().map(cell).collect::<Vec<_>>(), "about": about })
}

fn measure(cell: &Cell, name: &str) -> Option<Value> {
    let sample = cell.get(name)?;
    Some(json!({
        "name": name,
        "mean": sample.mean,
        "n": sample.count,
        "std": sample.std,
        "cv": sample.cv(),
        "stderr": sample.stderr,
        "ci95_half_width": sample.half_width,
    }))
}

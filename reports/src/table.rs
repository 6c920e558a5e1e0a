//! The cells of runs as a short table, and the same rows as JSON, CSV and Markdown.
//!
//! A figure is shown with half the width of its 95 % t interval if the cell has more than one repetition.
use crate::cells::number;
use crate::read::Run;
use crate::stats::Sample;
use crate::summary::Cell;
use scenarios::columns::Columns;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The width of a table in columns if the terminal's width is unknown.
pub const WIDTH: usize = 100;

/// The displayed measures, the most important first: (heading, column, unit).
const MEASURES: [(&str, &str, &str); 5] = [
    ("throughput", "throughput_tokens_per_s", "tok/s"),
    ("mean latency", "mean_latency_ms", "ms"),
    ("ttft p50", "ttft_p50_ms", "ms"),
    ("tpot p50", "tpot_p50_ms", "ms"),
    ("cold start", "cold_start_ms", "ms"),
];

#[derive(Clone, Debug)]
pub struct Table {
    /// Whether the table shows several runs. If so, the runs' labels have a column.
    pub several: bool,
    pub rows: Vec<Row>,
    /// For each run directory, how much of its sweep was run.
    pub sweeps: Vec<SweepCounts>,
    /// For each incomplete run directory, a note with the number of planned runs that it has.
    pub notes: Vec<String>,
}

/// A cell of a run.
#[derive(Clone, Debug)]
pub struct Row {
    /// The label of the cell's run.
    pub run: String,
    pub cell: Cell,
    /// Whether any run of the cell was begun. Tables for people leave out cells without a begun run.
    pub begun: bool,
}

/// How much of a sweep was run.
#[derive(Clone, Debug, Serialize)]
pub struct SweepCounts {
    #[serde(skip)]
    pub run: String,
    pub planned: u32,
    pub done: u32,
    pub failed: u32,
    pub interrupted: bool,
}

/// A column of text.
struct Strip {
    heading: String,
    right: bool,
    cells: Vec<String>,
    /// The rank by which columns are dropped in a narrow terminal: the highest is dropped first, and 0 never.
    rank: usize,
}

impl Table {
    pub fn of(runs: &[Run]) -> Table {
        let labels = labels(runs);
        let rows = runs.iter().zip(&labels).flat_map(|(run, label)| rows_of(run, label));
        let sweep = |(run, label): (&Run, &String)| {
            let m = &run.manifest;
            let (planned, done, failed) = (m.runs_planned.max(m.runs_done + m.runs_failed), m.runs_done, m.runs_failed);
            SweepCounts { run: label.clone(), planned, done, failed, interrupted: m.interrupted }
        };
        let sweeps = runs.iter().zip(&labels).map(sweep).collect();
        let partial = |(run, label): (&Run, &String)| run.manifest.partial().map(|why| format!("{label} {why}"));
        let notes = runs.iter().zip(&labels).filter_map(partial).collect();
        Table { several: runs.len() > 1, rows: rows.collect(), sweeps, notes }
    }

    /// Returns the table for a terminal of `width` columns. If it does not fit, the least important columns are
    /// dropped, but never the verdict.
    pub fn text(&self, width: Option<usize>) -> String {
        let width = width.unwrap_or(WIDTH).max(40);
        let mut strips = self.strips();
        let (rows, columns) = loop {
            let rows = rows(&strips);
            let right: Vec<bool> = strips.iter().map(|strip| strip.right).collect();
            let columns = Columns::of(&rows, &right);
            let last = strips.iter().enumerate().filter(|(_, s)| s.rank > 0).max_by_key(|(_, s)| s.rank);
            match last.filter(|_| columns.width() > width) {
                Some((at, _)) => drop(strips.remove(at)),
                None => break (rows, columns),
            }
        };
        let mut lines: Vec<String> = rows.iter().map(|row| columns.line(row) + "\n").collect();
        lines.insert(1, columns.rule() + "\n");
        let mut text = lines.concat();
        for (reason, count) in self.reasons() {
            text += &format!("  {reason}{}\n", if count > 1 { format!(" ({count} cells)") } else { String::new() });
        }
        self.notes.iter().for_each(|note| text += &format!("{note}\n"));
        text
    }

    pub fn markdown(&self) -> String {
        let strips = self.strips();
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rows = rows(&strips).into_iter().map(|row| line(row.iter().map(|cell| cell.replace('|', "\\|")).collect()));
        let mut lines: Vec<String> = rows.collect();
        lines.insert(1, line(strips.iter().map(|strip| if strip.right { "--:" } else { "---" }.to_owned()).collect()));
        self.notes.iter().for_each(|note| lines.push(format!("\n{note}\n")));
        lines.concat()
    }

    pub fn json(&self) -> String {
        let sweep = |row: &Row| self.sweeps.iter().find(|sweep| sweep.run == row.run);
        let rows: Vec<Value> = self.rows.iter().map(|row| row.to_json(sweep(row))).collect();
        serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n"
    }

    /// Returns the table as CSV in full precision, with the half width of each interval in a column of its own.
    pub fn csv(&self) -> String {
        let mut text = csv::Writer::from_writer(Vec::new());
        let axes = self.rows.first().map(|row| row.cell.axes.as_slice()).unwrap_or_default();
        let mut header = vec!["run".to_owned(), "cell".to_owned()];
        header.extend(axes.iter().map(|(path, _)| path.clone()));
        header.extend(MEASURES.iter().flat_map(|(_, column, _)| [(*column).to_owned(), format!("{column}_ci95")]));
        header.extend(["planned", "runs", "failed", "verdict"].map(str::to_owned));
        // Writing to memory cannot fail, and every record has as many fields as the header.
        let _ = text.write_record(&header);
        for row in &self.rows {
            let mut record = vec![row.run.clone(), row.cell.cell.to_string()];
            record.extend(axes.iter().map(|(path, _)| row.cell.axis(path).unwrap_or_default().to_owned()));
            for (_, column, _) in MEASURES {
                let sample = row.cell.get(column);
                record.push(sample.map(|s| number(s.mean)).unwrap_or_default());
                record.push(sample.and_then(|s| s.half_width).map(number).unwrap_or_default());
            }
            record.extend([row.cell.planned, row.cell.runs, row.cell.failed].map(|count| count.to_string()));
            record.push(row.cell.judgement.verdict.to_string());
            let _ = text.write_record(&record);
        }
        String::from_utf8(text.into_inner().unwrap_or_default()).unwrap_or_default()
    }

    /// Returns the distinct reasons of the verdicts, with the number of cells that have the reason.
    fn reasons(&self) -> Vec<(String, usize)> {
        let mut reasons: Vec<(String, usize)> = Vec::new();
        for row in self.begun() {
            for reason in &row.cell.judgement.reasons {
                let text = format!("{}: {reason}", row.cell.judgement.verdict);
                match reasons.iter_mut().find(|(known, _)| *known == text) {
                    Some((_, count)) => *count += 1,
                    None => reasons.push((text, 1)),
                }
            }
        }
        reasons
    }

    fn begun(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.begun)
    }

    fn strips(&self) -> Vec<Strip> {
        let mut strips = Vec::new();
        if self.several {
            strips.push(Strip::new("run", false, 0, self.begun().map(|row| row.run.clone())));
        }
        for (path, _) in self.begun().next().map(|row| row.cell.axes.as_slice()).unwrap_or_default() {
            let values = self.begun().map(|row| row.cell.axis(path).unwrap_or_default().to_owned());
            let strip = Strip::new(&short(path), true, 0, values);
            // Two fields with the same name and the same values need only one column.
            if !strips.iter().any(|known| known.heading == strip.heading && known.cells == strip.cells) {
                strips.push(strip);
            }
        }
        for (rank, (heading, column, unit)) in MEASURES.into_iter().enumerate() {
            let samples: Vec<Option<&Sample>> = self.begun().map(|row| row.cell.get(column)).collect();
            let (unit, scale) = unit_for(unit, samples.iter().flatten().map(|sample| sample.mean));
            let cells = samples.iter().map(|sample| sample.map_or("–".to_owned(), |s| figure(s, scale)));
            strips.push(Strip::new(&format!("{heading} {unit}"), true, rank.saturating_sub(1), cells));
        }
        let verdict = |row: &Row| {
            let Cell { planned, runs, failed, judgement, .. } = &row.cell;
            let run = (runs < planned).then(|| format!("{runs} of {planned} run"));
            let failed = (*failed > 0).then(|| format!("{failed} of {runs} failed"));
            let counts: Vec<String> = run.into_iter().chain(failed).collect();
            let counts = if counts.is_empty() { String::new() } else { format!(" ({})", counts.join(", ")) };
            format!("{}{counts}", judgement.verdict)
        };
        strips.push(Strip::new("verdict", false, 0, self.begun().map(verdict)));
        strips
    }
}

impl Row {
    fn to_json(&self, sweep: Option<&SweepCounts>) -> Value {
        let axes: Map<String, Value> = self.cell.axes.iter().map(|(path, v)| (path.clone(), json!(v))).collect();
        let mut row = json!({ "run": self.run, "cell": self.cell.cell, "axes": axes });
        for (_, column, _) in MEASURES {
            let sample = self.cell.get(column);
            row[column] = json!(sample.map(|s| s.mean));
            row[format!("{column}_ci95")] = json!(sample.and_then(|s| s.half_width));
        }
        row["planned"] = json!(self.cell.planned);
        row["runs"] = json!(self.cell.runs);
        row["failed"] = json!(self.cell.failed);
        row["verdict"] = json!(self.cell.judgement);
        row["sweep"] = json!(sweep);
        row
    }
}

impl Strip {
    fn new(heading: &str, right: bool, rank: usize, cells: impl Iterator<Item = String>) -> Strip {
        Strip { heading: heading.to_owned(), right, cells: cells.collect(), rank }
    }
}

/// Returns the cells of a run in the order of the sweep.
fn rows_of(run: &Run, label: &str) -> Vec<Row> {
    let row = |begun| move |cell: Cell| Row { run: label.to_owned(), cell, begun };
    let mut rows: Vec<Row> = run.cells().into_iter().map(row(true)).collect();
    rows.extend(run.cells_not_run().into_iter().map(row(false)));
    rows.sort_by_key(|row| row.cell.cell);
    rows
}

/// Returns the headings, followed by the rows of cells.
fn rows(strips: &[Strip]) -> Vec<Vec<String>> {
    let count = strips.iter().map(|strip| strip.cells.len()).max().unwrap_or(0);
    let row = |at: usize| strips.iter().map(|strip| strip.cells[at].clone()).collect();
    [strips.iter().map(|strip| strip.heading.clone()).collect()].into_iter().chain((0..count).map(row)).collect()
}

/// Returns a label for each run directory: `live` or `sim`, after the name of the scenario if the scenarios differ.
/// Equal labels get a number.
pub fn labels(runs: &[Run]) -> Vec<String> {
    let world = |run: &Run| run.manifest.world.to_string();
    let same_scenario = runs.windows(2).all(|pair| pair[0].manifest.scenario == pair[1].manifest.scenario);
    let plain: Vec<String> = runs
        .iter()
        .map(|run| if same_scenario { world(run) } else { format!("{} {}", run.manifest.scenario, world(run)) })
        .collect();
    let numbered = plain.iter().enumerate().map(|(at, label)| {
        let twice = plain.iter().filter(|other| *other == label).count() > 1;
        let before = plain[..at].iter().filter(|other| *other == label).count();
        if twice { format!("{label} {}", before + 1) } else { label.clone() }
    });
    numbered.collect()
}

/// Returns a short name for a swept path: its last field. A path that ends in `delay` or `bandwidth` also keeps the
/// field before, unless that is `default`. A path that ends in `count` gives the field before `count`.
pub fn short(path: &str) -> String {
    let names: Vec<&str> = path.split('.').filter(|name| name.parse::<u32>().is_err()).collect();
    match names.as_slice() {
        [.., holder, "count"] => (*holder).to_owned(),
        [.., "default", name] => (*name).replace('_', " "),
        [.., holder, name] if matches!(*name, "delay" | "bandwidth") => format!("{holder} {name}"),
        [.., name] => (*name).replace('_', " "),
        [] => path.to_owned(),
    }
}

/// Returns the unit in which values are shown, and the factor that converts to it. Milliseconds become seconds if the
/// largest value is 10 s or more.
pub fn unit_for(unit: &'static str, values: impl Iterator<Item = f64>) -> (&'static str, f64) {
    let largest = values.fold(0.0, f64::max);
    if unit == "ms" && largest >= 10_000.0 { ("s", 1e-3) } else { (unit, 1.0) }
}

fn figure(sample: &Sample, scale: f64) -> String {
    let mean = significant(sample.mean * scale);
    match sample.half_width {
        Some(half) => format!("{mean} ±{}", significant_like(half * scale, &mean)),
        None => mean,
    }
}

/// Formats a value with four significant digits: 1234, 123.4, 12.34, 1.234, 0.1234.
pub fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 1000.0 || v == 0.0 => 0,
        v if v >= 100.0 => 1,
        v if v >= 10.0 => 2,
        v if v >= 1.0 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

/// Formats a value with as many decimals as the text of its mean has.
fn significant_like(value: f64, mean: &str) -> String {
    let decimals = mean.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    format!("{value:.decimals$}")
}

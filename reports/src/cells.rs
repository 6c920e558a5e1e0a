//! `cells.csv`: one row per cell and repetition. The columns are the same in every file, except for the columns of the
//! swept fields.
//!
//! The file of a simulation holds no wall-clock time and no path, so two runs with the same seed give the same bytes.
use crate::error::{Error, Result};
use crate::measures::{COLUMNS, Judgement, Measures, Verdict};
use scenarios::cell::CellKey;
use scenarios::input::{TABLE_BYTES, read_text};
use std::collections::BTreeMap;
use std::path::Path;

/// How a run of a cell ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CellStatus {
    Done,
    /// The run failed. `label` is one word, and `detail` is a sentence.
    Failed {
        label: String,
        detail: String,
    },
    /// A signal ended the run early.
    Interrupted,
}

/// The status of a run that a signal ended.
const INTERRUPTED: &str = "interrupted";

/// One run of one cell.
#[derive(Clone, Debug, PartialEq)]
pub struct CellRow {
    pub cell: u32,
    pub repeat: u32,
    /// `done`, `interrupted`, or a failure's label.
    pub status: String,
    /// The swept values of the cell: (path, value).
    pub axes: Vec<(String, String)>,
    pub judgement: Judgement,
    /// The number of failed requests with each failure label, as in `timeout:2 busy:1`.
    pub failures: String,
    pub values: BTreeMap<String, f64>,
}

const BEFORE: [&str; 3] = ["cell", "repeat", "status"];
const AFTER: [&str; 3] = ["verdict", "failures", "reasons"];
const REASONS: &str = "; ";

impl CellRow {
    pub fn new(key: &CellKey, repeat: u32, status: &CellStatus, measures: &Measures) -> CellRow {
        let values = COLUMNS.iter().filter_map(|column| {
            let text = measures.get(&column.name).map(number)?;
            // The value is rounded as in the file, so that a report drawn from the file equals the report at the end of
            // the run.
            Some((column.name.clone(), text.parse().ok()?))
        });
        let failures = measures.failures.iter().map(|(label, count)| format!("{label}:{count}"));
        let mut judgement = measures.judgement.clone();
        let status = match status {
            CellStatus::Done => "done".to_owned(),
            CellStatus::Failed { label, .. } => {
                judgement.add(Verdict::Invalid, format!("the run failed: {label}"));
                label.clone()
            }
            CellStatus::Interrupted => {
                judgement.add(Verdict::Invalid, "the run was interrupted");
                INTERRUPTED.to_owned()
            }
        };
        CellRow {
            cell: key.index,
            repeat,
            status,
            axes: key.values.clone(),
            judgement,
            failures: failures.collect::<Vec<_>>().join(" "),
            values: values.collect(),
        }
    }

    pub fn done(&self) -> bool {
        self.status == "done"
    }

    /// Whether a signal ended the run. Such a run does not count as a failure of the cell.
    pub fn interrupted(&self) -> bool {
        self.status == INTERRUPTED
    }

    pub fn get(&self, column: &str) -> Option<f64> {
        self.values.get(column).copied()
    }

    fn record(&self) -> Vec<String> {
        let before = [self.cell.to_string(), self.repeat.to_string(), self.status.clone()];
        let values = COLUMNS.iter().map(|column| self.get(&column.name).map(number).unwrap_or_default());
        let after = [self.judgement.verdict.to_string(), self.failures.clone(), self.judgement.reasons.join(REASONS)];
        before.into_iter().chain(self.axes.iter().map(|(_, value)| value.clone())).chain(values).chain(after).collect()
    }
}

/// Returns the text of `cells.csv`, with rows in the order of the sweep.
///
/// # Errors
/// The rows cannot be encoded as CSV.
pub fn to_csv(rows: &[CellRow]) -> Result<String> {
    let mut sorted: Vec<&CellRow> = rows.iter().collect();
    sorted.sort_by_key(|row| (row.cell, row.repeat));
    let axes = sorted.first().map(|row| row.axes.as_slice()).unwrap_or_default();
    let header = BEFORE
        .into_iter()
        .chain(axes.iter().map(|(path, _)| path.as_str()))
        .chain(COLUMNS.iter().map(|column| column.name.as_str()))
        .chain(AFTER);
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(header).map_err(Error::encode("cells.csv"))?;
    for row in sorted {
        csv.write_record(row.record()).map_err(Error::encode("cells.csv"))?;
    }
    let bytes = csv.into_inner().map_err(Error::encode("cells.csv"))?;
    String::from_utf8(bytes).map_err(Error::encode("cells.csv"))
}

/// Reads `cells.csv`. An unknown column counts as a swept field only if it lies between the column `status` and the
/// first measure. A last line without a line end is ignored, because its process died while it wrote the line.
///
/// # Errors
/// The file cannot be read, or is damaged.
pub fn read_csv(path: &Path) -> Result<Vec<CellRow>> {
    let text = read_text(path, TABLE_BYTES).map_err(Error::Input)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    let mut csv = csv::Reader::from_reader(whole.as_bytes());
    let header = csv.headers().map_err(Error::damaged(path))?.clone();
    let damaged = |why: String| Error::Damaged { path: path.to_owned(), why };
    let find = |name: &str| {
        let missing = || damaged(format!("the file has no column {name}"));
        header.iter().position(|column| column == name).ok_or_else(missing)
    };
    let [cell, repeat, status] = [find("cell")?, find("repeat")?, find("status")?];
    let [verdict, failures, reasons] = [find("verdict")?, find("failures")?, find("reasons")?];
    let first_measure = find(&COLUMNS[0].name)?;
    let mut rows = Vec::new();
    for record in csv.records() {
        let record = record.map_err(Error::damaged(path))?;
        let line = record.position().map_or(0, csv::Position::line);
        let text = |at: usize| record.get(at).unwrap_or_default();
        let integer = |at: usize| {
            let name = header.get(at).unwrap_or_default();
            let wrong = |_| damaged(format!("line {line}, column {name}: {:?} is not a whole number", text(at)));
            text(at).parse::<u32>().map_err(wrong)
        };
        let axis = |at: usize| (header.get(at).unwrap_or_default().to_owned(), text(at).to_owned());
        let value = |at: usize| {
            let (name, found) = (header.get(at).unwrap_or_default(), text(at));
            match found.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok((name.to_owned(), value)),
                _ => Err(damaged(format!("line {line}, column {name}: {found:?} is not a finite number"))),
            }
        };
        let reasons = text(reasons).split(REASONS).filter(|reason| !reason.is_empty()).map(str::to_owned);
        rows.push(CellRow {
            cell: integer(cell)?,
            repeat: integer(repeat)?,
            status: text(status).to_owned(),
            axes: (status + 1..first_measure).map(axis).collect(),
            judgement: Judgement {
                verdict: parse_verdict(text(verdict)).ok_or_else(|| {
                    let found = text(verdict);
                    damaged(format!("line {line}, column verdict: {found:?} is not one of VALID, SUSPECT, INVALID"))
                })?,
                reasons: reasons.collect(),
            },
            failures: text(failures).to_owned(),
            values: (first_measure..verdict).filter(|at| !text(*at).is_empty()).map(value).collect::<Result<_>>()?,
        });
    }
    Ok(rows)
}

fn parse_verdict(text: &str) -> Option<Verdict> {
    [Verdict::Valid, Verdict::Suspect, Verdict::Invalid].into_iter().find(|verdict| verdict.to_string() == text)
}

/// Formats a number for a file, with up to six decimals and without trailing zeros. With six decimals, a time in ms is
/// exact to the nanosecond.
pub fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

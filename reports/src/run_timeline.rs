//! The timeline of a run: throughput in short intervals, served blocks, and faults. Its small tables begin at the
//! barrier's release. Charts over time are drawn from these tables, so such a chart is complete even if a long run's
//! rows were not all kept.
mod coverage;
mod timeline;

pub use coverage::{Coverage, Holes};

use crate::error::{Error, Result};
use crate::figures::RunFigures;
use rows::{RareEvents, RunRows};
use scenarios::input::{TABLE_BYTES, open_within};
use scenarios::plan::Plan;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::Path;

/// The maximum time in a run's tables: 36 years in ns, so that sums of several times do not overflow.
const LONGEST: i64 = 1 << 60;

/// The maximum value of `under_way` and of `peers_busy` that is accepted. No plan has so many requests or peers.
const MOST: f64 = 1e12;

/// The maximum utilisation of a peer in an interval that is accepted, in thousandths. It exceeds 1000, because
/// overlapping jobs count separately.
const MOST_THOUSANDTHS: u32 = 1_000_000;

/// The maximum number of intervals of a run. The writer makes fewer.
const MOST_BINS: usize = 4096;

/// A short interval of a run, one of many of equal width. Times are in ns since the barrier's release.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bin {
    pub cell: u32,
    pub repeat: u32,
    pub from_ns: i64,
    pub till_ns: i64,
    /// The output tokens of all rows that arrived in the interval, including those of failed requests.
    pub tokens: u64,
    /// The mean number of timed requests in flight.
    pub under_way: f64,
    /// The share of the interval during which peers computed, averaged over the peers of the plan.
    pub peers_busy: f64,
}

/// The utilisation of a peer in the consecutive intervals of a cell's first repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    pub cell: u32,
    /// The node's id.
    pub peer: u32,
    /// For each interval, the thousandths during which the peer computed.
    pub thousandths: Vec<u32>,
}

/// [`Busy`] as a row of `busy.csv`, with spaces between the thousandths.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BusyRow {
    cell: u32,
    peer: u32,
    thousandths: String,
}

impl Busy {
    fn row(&self) -> BusyRow {
        let thousandths = self.thousandths.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        BusyRow { cell: self.cell, peer: self.peer, thousandths }
    }

    fn from(row: BusyRow) -> std::result::Result<Busy, String> {
        let texts = row.thousandths.split(' ').filter(|text| !text.is_empty());
        let share = |text: &str| match text.parse::<u32>() {
            Ok(share) if share <= MOST_THOUSANDTHS => Ok(share),
            _ => Err(format!("{text:?} is not a number of thousandths from 0 to {MOST_THOUSANDTHS}")),
        };
        let thousandths: Vec<u32> = texts.map(share).collect::<std::result::Result<_, _>>()?;
        if thousandths.len() > MOST_BINS {
            return Err(format!("the row has {} time intervals, but a run has at most {MOST_BINS}", thousandths.len()));
        }
        Ok(Busy { cell: row.cell, peer: row.peer, thousandths })
    }
}

/// A time during which a constant number of the model's blocks was served. Times are in ns since the barrier's release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cover {
    pub cell: u32,
    pub repeat: u32,
    pub from_ns: i64,
    pub till_ns: i64,
    pub served: u32,
    pub blocks: u32,
}

/// A fault that occurred. Times are in ns since the barrier's release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimelineFault {
    pub cell: u32,
    pub repeat: u32,
    pub at_ns: i64,
    /// The duration; `None` if the fault does not end by itself.
    pub lasts_ns: Option<u64>,
    pub what: String,
    /// The names of the affected hosts or nodes.
    pub on: String,
}

/// The timeline tables of several runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunTimeline {
    pub bins: Vec<Bin>,
    pub busy: Vec<Busy>,
    pub covers: Vec<Cover>,
    pub faults: Vec<TimelineFault>,
}

impl RunTimeline {
    /// Returns the timeline of one complete run from its rows; empty if the barrier was never released.
    pub fn of(rows: &RunRows, plan: &Plan, cell: u32) -> RunTimeline {
        RunTimeline::of_figures(&RunFigures::of(rows, plan), &rows.rare, cell)
    }

    /// Returns the timeline of one run from its figures.
    pub(crate) fn of_figures(figures: &RunFigures<'_>, rare: &RareEvents, cell: u32) -> RunTimeline {
        let plan = figures.plan;
        let Some((released, till)) = rare.window() else { return RunTimeline::default() };
        let since = |at: u64| at as i64 - released.0 as i64;
        let run = (cell, plan.repeat);
        let coverage = Coverage::of(rare, plan.model.shape.layers);
        let covers = coverage.stretches(till).map(|(from, till, served)| Cover {
            cell,
            repeat: plan.repeat,
            from_ns: since(from.0),
            till_ns: since(till.0),
            served,
            blocks: coverage.blocks(),
        });
        let faults =
            rare.fault_events.iter().filter(|fault_events| fault_events.at <= till).map(|fault_events| TimelineFault {
                cell,
                repeat: plan.repeat,
                at_ns: since(fault_events.at.0),
                lasts_ns: fault_events.lasts.map(|lasts| lasts.0),
                what: fault_events.fault.label().to_owned(),
                on: fault_events.nodes.iter().map(|node| plan.called(*node)).collect::<Vec<_>>().join(" "),
            });
        let (bins, busy) = timeline::bins(figures, rare, run);
        RunTimeline { bins, busy, covers: covers.collect(), faults: faults.collect() }
    }

    /// Reads the timeline tables of a run directory. A missing file gives an empty table.
    ///
    /// # Errors
    /// A file cannot be read or is damaged.
    pub fn read(dir: &Path) -> Result<RunTimeline> {
        Ok(RunTimeline {
            bins: read(&dir.join("timeline.csv"), |bin: Bin| {
                instants([bin.from_ns, bin.till_ns])?;
                let shares = [bin.under_way, bin.peers_busy];
                match shares.iter().find(|share| !(share.is_finite() && (0.0..=MOST).contains(*share))) {
                    Some(share) => Err(format!("the mean {share} is not within 0 to {MOST}")),
                    None => Ok(bin),
                }
            })?,
            busy: read(&dir.join("busy.csv"), Busy::from)?,
            covers: read(&dir.join("coverage.csv"), |cover: Cover| {
                instants([cover.from_ns, cover.till_ns])?;
                if cover.served > cover.blocks {
                    return Err(format!(
                        "the row has {} served blocks, but the model has only {}",
                        cover.served, cover.blocks
                    ));
                }
                Ok(cover)
            })?,
            faults: read(&dir.join("faults.csv"), |fault: TimelineFault| {
                let lasts = fault.lasts_ns.map_or(Ok(0), i64::try_from).unwrap_or(i64::MAX);
                instants([fault.at_ns, fault.at_ns.saturating_add(lasts)]).map(|()| fault)
            })?,
        })
    }
}

/// The size in bytes of a table's write buffer. It exceeds the lines of a run, so a killed sweep leaves no partial
/// line.
const BUFFER: usize = 1 << 20;

/// The writers of the timeline tables of a new run directory.
pub struct TimelineWriter {
    bins: csv::Writer<File>,
    busy: csv::Writer<File>,
    covers: csv::Writer<File>,
    faults: csv::Writer<File>,
}

impl TimelineWriter {
    /// Creates the tables in `dir` with their headers.
    ///
    /// # Errors
    /// A file cannot be created.
    pub fn create(dir: &Path) -> Result<TimelineWriter> {
        let create = |name: &str, header: &[&str]| {
            let path = dir.join(name);
            let file = File::create(&path).map_err(Error::io(&path))?;
            let mut builder = csv::WriterBuilder::new();
            let mut writer = builder.has_headers(false).buffer_capacity(BUFFER).from_writer(file);
            writer.write_record(header).map_err(Error::encode("a CSV file"))?;
            Ok(writer)
        };
        let timeline = ["cell", "repeat", "from_ns", "till_ns", "tokens", "under_way", "peers_busy"];
        Ok(TimelineWriter {
            bins: create("timeline.csv", &timeline)?,
            busy: create("busy.csv", &["cell", "peer", "thousandths"])?,
            covers: create("coverage.csv", &["cell", "repeat", "from_ns", "till_ns", "served", "blocks"])?,
            faults: create("faults.csv", &["cell", "repeat", "at_ns", "lasts_ns", "what", "on"])?,
        })
    }

    /// Adds the timeline of one run and flushes the tables.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn add(&mut self, course: &RunTimeline) -> Result<()> {
        course.bins.iter().try_for_each(|row| self.bins.serialize(row)).map_err(Error::encode("a CSV file"))?;
        course.busy.iter().try_for_each(|peer| self.busy.serialize(peer.row())).map_err(Error::encode("a CSV file"))?;
        course.covers.iter().try_for_each(|row| self.covers.serialize(row)).map_err(Error::encode("a CSV file"))?;
        course.faults.iter().try_for_each(|row| self.faults.serialize(row)).map_err(Error::encode("a CSV file"))?;
        // A killed sweep keeps the tables of the runs that it completed.
        let files = [&mut self.bins, &mut self.busy, &mut self.covers, &mut self.faults];
        files.into_iter().try_for_each(csv::Writer::flush).map_err(Error::encode("a CSV file"))
    }

    /// Ends the tables and returns their files, so that the caller can sync them.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn close(self) -> Result<Vec<File>> {
        let files = [self.bins, self.busy, self.covers, self.faults].map(csv::Writer::into_inner);
        files.into_iter().map(|file| file.map_err(Error::encode("a CSV file"))).collect()
    }
}

/// Reads a table row by row, and checks each row.
fn read<R: DeserializeOwned, T>(path: &Path, check: impl Fn(R) -> std::result::Result<T, String>) -> Result<Vec<T>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut csv = csv::Reader::from_reader(open_within(path, TABLE_BYTES).map_err(Error::Input)?);
    let header = csv.headers().map_err(Error::damaged(path))?.clone();
    let mut rows = Vec::new();
    for record in csv.records() {
        let record = record.map_err(Error::damaged(path))?;
        let row = record.deserialize(Some(&header)).map_err(Error::damaged(path))?;
        let line = record.position().map_or(0, csv::Position::line);
        rows.push(
            check(row).map_err(|why| Error::Damaged { path: path.to_owned(), why: format!("line {line}: {why}") })?,
        );
    }
    Ok(rows)
}

/// Checks that a time interval is ordered and within [`LONGEST`].
fn instants([from, till]: [i64; 2]) -> std::result::Result<(), String> {
    if from <= till && from >= -LONGEST && till <= LONGEST {
        Ok(())
    } else {
        Err(format!("the interval from {from} to {till} ns is not valid in a run of at most {LONGEST} ns"))
    }
}

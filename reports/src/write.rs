//! Writing of a run directory, cell by cell during a run. The directory is either complete or marked as incomplete.
//!
//! All files go to `.partial-<name>` beside their final place, with `complete: false` in the manifest. The directory is
//! renamed once all files are written and synced. A run that stops before leaves the partial directory with the rows so
//! far. An interrupted sweep is also renamed, but stays marked as incomplete.
use crate::cells::{self, CellRow, CellStatus};
use crate::claim::Claim;
use crate::draw;
use crate::error::{Error, Result};
use crate::files::{write_json, write_synced};
use crate::load::CpuTime;
use crate::manifest::{Kept, Manifest, fnv1a, unix_now};
use crate::measures::{Judgement, Measures, Verdict};
use crate::read::Run;
use crate::run_timeline::{RunTimeline, TimelineWriter};
use crate::sheet::{self, Row, Sheet};
use crate::summary;
use crate::table::Table;
use actors::record::{Event, Looked, Pinged, Transcript};
use rows::{HopRow, RequestRow, RunRows, TokenRow};
use scenarios::cell::CellKey;
use scenarios::plan::{self, Plan};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The maximum number of token rows, and of hop rows, kept of one run of a cell. Above it only the rows of every n-th
/// request are kept, so that a long run does not fill the disk (a hop takes about 60 bytes there).
const ROWS_PER_RUN: usize = 200_000;

/// A finished run directory.
#[derive(Debug)]
pub struct RunDir {
    pub path: PathBuf,
    pub verdict: Judgement,
    /// The cells as the table shown at the end of a run.
    pub table: Table,
    /// The charts for which the run has no data, with the reason.
    pub notes: Vec<String>,
    /// The charts and the report that could not be written, with the reason. The data are complete nevertheless.
    pub unwritten: Vec<String>,
}

/// A run directory that is being written.
pub struct RunWriter {
    claim: Claim,
    dir: PathBuf,
    manifest: Manifest,
    /// The CPU time at the start of the first run.
    start: Option<CpuTime>,
    rows: Vec<CellRow>,
    details: Vec<summary::Detail>,
    sheets: Option<Sheets>,
    events: BufWriter<File>,
}

struct Sheets {
    requests: Sheet<RequestRow>,
    tokens: Sheet<TokenRow>,
    hops: Sheet<HopRow>,
    lookups: Sheet<Looked>,
    pings: Sheet<Pinged>,
    course: TimelineWriter,
}

impl RunWriter {
    /// Creates `<scenario>-<world>-<n>` under `parent`, with the smallest free `n`, for the runs of these plans.
    ///
    /// # Errors
    /// The directory or a file in it cannot be created.
    pub fn create(parent: &Path, manifest: Manifest, scenario_text: &str, plans: &[Plan]) -> Result<RunWriter> {
        let claim = Claim::new(parent, &format!("{}-{}", manifest.scenario, manifest.world))?;
        let dir = claim.partial();
        let created = RunWriter::begin(claim, manifest, scenario_text, plans);
        if created.is_err() {
            // The directory holds no results yet.
            let _ = fs::remove_dir_all(&dir);
        }
        created
    }

    fn begin(claim: Claim, mut manifest: Manifest, scenario_text: &str, plans: &[Plan]) -> Result<RunWriter> {
        let dir = claim.partial();
        let mut first: BTreeMap<u32, &Plan> = BTreeMap::new();
        for plan in plans {
            first.entry(plan.cell).or_insert(plan);
        }
        manifest.complete = false;
        manifest.cells_planned = first.len() as u32;
        manifest.runs_planned = plans.len() as u32;
        manifest.scenario_hash = format!("{:016x}", fnv1a(scenario_text));
        write_synced(&dir.join("scenario.ron"), scenario_text.as_bytes())?;
        let first: Vec<Plan> = first.into_values().cloned().collect();
        let text = plan::to_ron(&first).map_err(Error::encode("plan.ron"))?;
        write_synced(&dir.join("plan.ron"), text.as_bytes())?;
        let mut unfinished = manifest.clone();
        unfinished.verdict.add(Verdict::Suspect, "unfinished");
        write_json(&dir.join("manifest.json"), &unfinished)?;
        let sheets = Sheets {
            requests: Sheet::create(&dir, "requests")?,
            tokens: Sheet::create(&dir, "tokens")?,
            hops: Sheet::create(&dir, "hops")?,
            lookups: Sheet::create(&dir, "lookups")?,
            pings: Sheet::create(&dir, "pings")?,
            course: TimelineWriter::create(&dir)?,
        };
        let path = dir.join("events.jsonl");
        let events = BufWriter::new(File::create(&path).map_err(Error::io(&path))?);
        let (rows, details) = (Vec::new(), Vec::new());
        let start = CpuTime::now();
        Ok(RunWriter { claim, dir, manifest, start, rows, details, sheets: Some(sheets), events })
    }

    /// Returns the directory of the run's files until the run is finished.
    pub fn partial_dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the number of cells of the sweep.
    pub fn cells_planned(&self) -> u32 {
        self.manifest.cells_planned
    }

    /// Adds one run of a cell. A failed run is added too, with the rows that it produced. Returns its row of
    /// `cells.csv`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn cell(&mut self, key: &CellKey, plan: &Plan, status: CellStatus, events: &[Event]) -> Result<&CellRow> {
        let same = |row: &CellRow| row.axes.iter().map(|axis| &axis.0).eq(key.values.iter().map(|axis| &axis.0));
        if !self.rows.first().is_none_or(same) {
            return Err(Error::OtherAxes { cell: key.index });
        }
        let fold = RunRows::of(events);
        let measures = Measures::of(&fold, plan);
        let row = CellRow::new(key, plan.repeat, &status, &measures);
        self.details.push(summary::Detail::new(&row, &status, &measures));
        self.write_rare(key.index, plan.repeat, events)?;
        self.write_rows(key.index, plan, fold)?;
        self.rows.push(row);
        // A killed sweep keeps the rows of the runs that it completed. The row of `cells.csv` is written last.
        let path = self.dir.join("cells.csv");
        let new = &self.rows[self.rows.len() - 1..];
        append(&path, cells::to_csv(new)?.as_str(), self.rows.len() > 1)?;
        Ok(&self.rows[self.rows.len() - 1])
    }

    /// Adds the transcripts of a cell's run to `texts.jsonl`, which only runs with given prompts have.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn texts(&mut self, cell: u32, repeat: u32, texts: &[Transcript]) -> Result<()> {
        let path = self.dir.join("texts.jsonl");
        for said in texts {
            let line = serde_json::json!({
                "cell": cell,
                "repeat": repeat,
                "client": said.request.client.0,
                "request": said.request.index,
                "prompt": said.texts.as_ref().map(|texts| &texts.0),
                "text": said.texts.as_ref().map(|texts| &texts.1),
                "prompt_ids": said.prompt,
                "ids": said.ids,
            });
            append(&path, &format!("{line}\n"), false)?;
        }
        Ok(())
    }

    /// Adds the trace hash of a simulated run to the manifest.
    pub fn trace_hash(&mut self, plan: &Plan, hash: u64) {
        self.manifest.trace_hashes.push((plan.cell, plan.repeat, format!("{hash:016x}")));
    }

    fn write_rare(&mut self, cell: u32, repeat: u32, events: &[Event]) -> Result<()> {
        let filed = |event: &&Event| {
            let rows = matches!(event, Event::Stepped(_) | Event::Served(_) | Event::Carried(_));
            let looked = matches!(event, Event::Looked(_) | Event::Pinged(_));
            rows || looked || matches!(event, Event::Ended(_) | Event::Reserved(_) | Event::Routed(_))
        };
        for event in events.iter().filter(|event| !filed(event)) {
            let line = serde_json::json!({ "cell": cell, "repeat": repeat, "event": event });
            writeln!(self.events, "{line}").map_err(Error::io(&self.dir))?;
        }
        self.events.flush().map_err(Error::io(&self.dir))
    }

    fn write_rows(&mut self, cell: u32, plan: &Plan, fold: RunRows) -> Result<()> {
        let Some(sheets) = &mut self.sheets else { return Ok(()) };
        let repeat = plan.repeat;
        sheets.course.add(&RunTimeline::of(&fold, plan, cell))?;
        fold.lookups.into_iter().for_each(|row| sheets.lookups.push(cell, repeat, row));
        fold.pings.into_iter().for_each(|row| sheets.pings.push(cell, repeat, row));
        let order: BTreeMap<_, _> = fold.requests.iter().enumerate().map(|(at, row)| (row.request, at)).collect();
        let at = |request| order.get(&request).copied().unwrap_or(0);
        *self.manifest.requests.get_or_insert(0) += fold.requests.len() as u64;
        fold.requests.into_iter().for_each(|row| sheets.requests.push(cell, repeat, row));
        keep(&mut sheets.tokens, &mut self.manifest.tokens, (cell, repeat), fold.tokens, |row| at(row.request));
        keep(&mut sheets.hops, &mut self.manifest.hops, (cell, repeat), fold.hops, |row| at(row.request));
        sheets.requests.end_run(cell, repeat)?;
        sheets.tokens.end_run(cell, repeat)?;
        sheets.hops.end_run(cell, repeat)?;
        sheets.lookups.end_run(cell, repeat)?;
        sheets.pings.end_run(cell, repeat)
    }

    /// Adds a note about the runs to the manifest and the report.
    pub fn note(&mut self, note: String) {
        self.manifest.notes.push(note);
    }

    /// Marks the sweep as interrupted by the user, so that no further run follows although some are planned.
    pub fn interrupt(&mut self) {
        self.manifest.interrupted = true;
    }

    /// Writes the remaining files, draws the charts, and renames the directory.
    ///
    /// # Errors
    /// A file other than charts and report cannot be written, or the directory cannot be renamed.
    pub fn finish(mut self) -> Result<RunDir> {
        self.manifest.load.end(self.start);
        self.write_rest()?;
        self.manifest.ended_unix_s = Some(unix_now());
        self.write_manifest()?;
        // The report is made from the directory's own contents.
        let run = Run::open(&self.dir)?;
        let drawing = draw::into(&self.dir, std::slice::from_ref(&run), &self.manifest.charts);
        let mut unwritten = drawing.unwritten.clone();
        self.manifest.charts_missing = drawing.missing().cloned().collect();
        if !self.manifest.charts_missing.is_empty()
            && let Err(error) = write_json(&self.dir.join("manifest.json"), &self.manifest)
        {
            unwritten.push(format!("manifest.json does not say which charts are missing: {error}"));
        }
        let path = self.claim.settle()?;
        Ok(RunDir { path, verdict: self.manifest.verdict, table: drawing.table, notes: drawing.notes, unwritten })
    }

    /// Writes the manifest with the number of runs and the verdict.
    fn write_manifest(&mut self) -> Result<()> {
        self.manifest.count(&self.rows);
        self.manifest.partial().into_iter().for_each(|why| self.manifest.verdict.add(Verdict::Suspect, why));
        write_json(&self.dir.join("manifest.json"), &self.manifest)
    }

    /// Writes all files except manifest, charts and report, which are made from these files.
    fn write_rest(&mut self) -> Result<()> {
        if let Some(sheets) = self.sheets.take() {
            let Sheets { requests, tokens, hops, lookups, pings, course } = sheets;
            requests.close()?;
            tokens.close()?;
            hops.close()?;
            lookups.close()?;
            pings.close()?;
            for file in course.close()? {
                file.sync_all().map_err(Error::io(&self.dir))?;
            }
            sheet::remove_parts(&self.dir)?;
        }
        self.events.flush().and_then(|()| self.events.get_ref().sync_all()).map_err(Error::io(&self.dir))?;
        self.manifest.trace_hashes.sort();
        write_synced(&self.dir.join("cells.csv"), cells::to_csv(&self.rows)?.as_bytes())?;
        let cells = summary::cells(&self.rows, self.manifest.repeats());
        write_json(&self.dir.join("summary.json"), &summary::to_json(&cells, &mut self.details))
    }
}

/// Adds rows to a sheet, or those of every n-th request if there are too many.
fn keep<R: Row>(
    sheet: &mut Sheet<R>,
    kept: &mut Kept,
    (cell, repeat): (u32, u32),
    rows: Vec<R>,
    request: impl Fn(&R) -> usize,
) {
    let every = rows.len().div_ceil(ROWS_PER_RUN).max(1);
    kept.of += rows.len() as u64;
    for row in rows.into_iter().filter(|row| request(row).is_multiple_of(every)) {
        kept.rows += 1;
        sheet.push(cell, repeat, row);
    }
}

/// Appends to a file, entirely or not at all.
fn append(path: &Path, csv: &str, headless: bool) -> Result<()> {
    let text = if headless { csv.split_once('\n').map_or("", |(_, rest)| rest) } else { csv };
    let write = || {
        let mut file = File::options().create(true).append(true).open(path)?;
        let before = file.metadata()?.len();
        file.write_all(text.as_bytes()).inspect_err(|_| drop(file.set_len(before)))
    };
    write().map_err(Error::io(path))
}

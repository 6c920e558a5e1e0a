//! Writing of a run directory, cell by cell during a run. The directory is either complete or marked as incomplete.
//!
//! All files go to `.partial-<name>` beside their final place, with `complete: false` in the manifest. The directory is
//! renamed once all files are written and synced. If the program ends before, it leaves the partial directory with the
//! rows so far. An interrupted sweep is also renamed, but stays marked as incomplete.
mod recorder;

use crate::cells::{self, CellRow, CellStatus};
use crate::claim::Claim;
use crate::draw;
use crate::error::{Error, Result};
use crate::files::{write_json, write_synced};
use crate::load::CpuTime;
use crate::manifest::{Manifest, fnv1a, unix_now};
use crate::measures::{Judgement, Measures, Verdict};
use crate::read::Run;
use crate::run_timeline::{RunTimeline, TimelineWriter};
use crate::sheet::{self, CHUNK, Sheet};
use crate::summary;
use crate::table::Table;
use actors::record::{Event, Looked, Pinged, Transcript};
use recorder::Finished;
pub use recorder::{RecordedRun, Recorders, WrittenRun};
use rows::{HopRow, RequestRow, TokenRow};
use scenarios::cell::CellKey;
use scenarios::plan::{self, Plan};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A finished run directory.
#[derive(Debug)]
pub struct RunDir {
    pub path: PathBuf,
    pub verdict: Judgement,
    /// The table of the cells that is shown at the end of a sweep.
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
    recorders: Recorders,
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
    /// Creates `<scenario>-live-<n>` or `<scenario>-sim-<n>` under `parent`, with the smallest free `n`, for the runs
    /// of these plans.
    ///
    /// # Errors
    /// The directory or a file in it cannot be created.
    pub fn create(parent: &Path, manifest: Manifest, scenario_text: &str, plans: &[Plan]) -> Result<RunWriter> {
        RunWriter::create_in_chunks(parent, manifest, scenario_text, plans, CHUNK)
    }

    /// Creates a directory as [`RunWriter::create`] does. Its parquet files have row groups of at most `chunk` rows.
    ///
    /// # Errors
    /// The directory or a file in it cannot be created.
    pub fn create_in_chunks(
        parent: &Path,
        manifest: Manifest,
        scenario_text: &str,
        plans: &[Plan],
        chunk: usize,
    ) -> Result<RunWriter> {
        let claim = Claim::new(parent, &format!("{}-{}", manifest.scenario, manifest.world))?;
        let dir = claim.partial();
        let created = RunWriter::begin(claim, manifest, scenario_text, plans, chunk.clamp(1, CHUNK));
        if created.is_err() {
            // The directory holds no results yet.
            let _ = fs::remove_dir_all(&dir);
        }
        created
    }

    fn begin(
        claim: Claim,
        mut manifest: Manifest,
        scenario_text: &str,
        plans: &[Plan],
        chunk: usize,
    ) -> Result<RunWriter> {
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
            requests: Sheet::create(&dir, "requests", chunk)?,
            tokens: Sheet::create(&dir, "tokens", chunk)?,
            hops: Sheet::create(&dir, "hops", chunk)?,
            lookups: Sheet::create(&dir, "lookups", chunk)?,
            pings: Sheet::create(&dir, "pings", chunk)?,
            course: TimelineWriter::create(&dir)?,
        };
        let path = dir.join("events.jsonl");
        let events = BufWriter::new(File::create(&path).map_err(Error::io(&path))?);
        let (rows, details) = (Vec::new(), Vec::new());
        let start = CpuTime::now();
        let recorders = Recorders::new(dir.clone(), chunk);
        Ok(RunWriter { claim, dir, manifest, start, rows, details, sheets: Some(sheets), events, recorders })
    }

    /// Returns the directory in which the files lie until the sweep is finished.
    pub fn partial_dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the number of cells of the sweep.
    pub fn cells_planned(&self) -> u32 {
        self.manifest.cells_planned
    }

    /// Returns the factory of recorders. A recorder writes the rows of one run during the run.
    pub fn recorders(&self) -> Recorders {
        self.recorders.clone()
    }

    /// Adds one run of a cell with all of its events, in any order. A failed run is added too, with the rows that it
    /// produced. Returns its row of `cells.csv`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn cell(&mut self, key: &CellKey, plan: &Plan, status: CellStatus, events: &[Event]) -> Result<&CellRow> {
        let mut run = self.recorders.begin_in_any_order(key.index, plan);
        run.take_all(events);
        self.add(key, status, run)
    }

    /// Adds one run of a cell whose events were recorded as they happened. A failed run is added too, with the rows
    /// that it produced. Returns its row of `cells.csv`.
    ///
    /// # Errors
    /// A file cannot be written, or could not be written during the run.
    pub fn add<'p>(&mut self, key: &CellKey, status: CellStatus, run: impl Into<WrittenRun<'p>>) -> Result<&CellRow> {
        let same = |row: &CellRow| row.axes.iter().map(|axis| &axis.0).eq(key.values.iter().map(|axis| &axis.0));
        if !self.rows.first().is_none_or(same) {
            return Err(Error::OtherAxes { cell: key.index });
        }
        let Finished { plan, mut figures, rare, parts, lines, thinned } = run.into().0?;
        let course = RunTimeline::of_figures(&figures, &rare, key.index);
        let measures = Measures::of_figures(&mut figures, &rare);
        drop(figures);
        let row = CellRow::new(key, plan.repeat, &status, &measures);
        self.details.push(summary::Detail::new(&row, &status, &measures));
        lines.copy(&mut self.events).and_then(|()| self.events.flush()).map_err(Error::io(&self.dir))?;
        if let Some(sheets) = &mut self.sheets {
            sheets.course.add(&course)?;
            *self.manifest.requests.get_or_insert(0) += parts.count;
            sheets.requests.append(parts.requests)?;
            sheets.tokens.append(parts.tokens)?;
            sheets.hops.append(parts.hops)?;
            sheets.lookups.append(parts.lookups)?;
            sheets.pings.append(parts.pings)?;
        }
        for (kept, thinned) in [&mut self.manifest.tokens, &mut self.manifest.hops].into_iter().zip(thinned) {
            kept.rows += thinned.kept.rows;
            kept.of += thinned.kept.of;
            self.manifest.thinned.extend(thinned.said(key.index, plan.repeat));
        }
        self.rows.push(row);
        // The row of `cells.csv` is written last, so that a killed sweep has all rows of the runs in that file.
        let path = self.dir.join("cells.csv");
        let new = &self.rows[self.rows.len() - 1..];
        append(&path, cells::to_csv(new)?.as_str(), self.rows.len() > 1)?;
        Ok(&self.rows[self.rows.len() - 1])
    }

    /// Adds the transcripts of a cell's run to `texts.jsonl`. Only runs whose scenario gives their prompts have
    /// transcripts.
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

    /// Adds a note about the runs to the manifest and the report.
    pub fn note(&mut self, note: String) {
        self.manifest.notes.push(note);
    }

    /// Marks the sweep as interrupted by the user: no further run follows, although some are planned.
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
            unwritten.push(format!("the list of missing charts could not be written to manifest.json: {error}"));
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

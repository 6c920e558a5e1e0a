//! Writes a run directory: cell by cell as a run goes on, whole or saying that it is not.
//!
//! Everything goes to `.partial-<name>` beside its place, with `complete: false` in its manifest, and takes its name when all is
//! written and synced. A run that stops before leaves the partial directory with the rows it got so far.
use crate::cells::{self, CellRow, CellStatus};
use crate::course::{Course, CourseWriter};
use crate::draw;
use crate::error::{Error, Result};
use crate::fold::{Fold, HopRow, RequestRow, TokenRow};
use crate::manifest::{Kept, Manifest, fnv1a, unix_now};
use crate::measures::{Judgement, Measures};
use crate::read::Run;
use crate::sheet::{Row, Sheet};
use crate::summary;
use crate::table::Table;
use actors::record::{Event, Looked, Pinged, Said};
use scenarios::cell::CellKey;
use scenarios::plan::{self, Plan};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Rows of tokens, and of hops, of one run of a cell that are kept: beyond it those of every n-th request are, so that a long run
/// does not fill the disk (a hop is about 60 bytes there).
const ROWS_PER_RUN: usize = 200_000;

/// Begins the names of directories that are not whole.
pub const PARTIAL: &str = ".partial-";

/// A whole run directory.
#[derive(Debug)]
pub struct RunDir {
    pub path: PathBuf,
    pub verdict: Judgement,
    /// The cells as a person reads them at the end of a run.
    pub table: Table,
    /// Charts that could not be drawn, and why.
    pub notes: Vec<String>,
}

/// A run directory in the making.
pub struct RunWriter {
    parent: PathBuf,
    name: String,
    dir: PathBuf,
    manifest: Manifest,
    rows: Vec<CellRow>,
    plans: BTreeMap<u32, Plan>,
    details: Vec<summary::Detail>,
    sheets: Option<Sheets>,
    events: BufWriter<File>,
    whole: bool,
}

struct Sheets {
    requests: Sheet<RequestRow>,
    tokens: Sheet<TokenRow>,
    hops: Sheet<HopRow>,
    lookups: Sheet<Looked>,
    pings: Sheet<Pinged>,
    course: CourseWriter,
}

impl RunWriter {
    /// Makes `<scenario>-<world>-<n>` under `parent`, with the least `n` that is free.
    pub fn create(parent: &Path, mut manifest: Manifest, scenario_text: &str) -> Result<RunWriter> {
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
        let (name, dir) = claim(parent, &manifest)?;
        manifest.complete = false;
        manifest.scenario_hash = format!("{:016x}", fnv1a(scenario_text));
        write_synced(&dir.join("scenario.ron"), scenario_text.as_bytes())?;
        write_json(&dir.join("manifest.json"), &manifest)?;
        let sheets = Sheets {
            requests: Sheet::create(&dir.join("requests.parquet"))?,
            tokens: Sheet::create(&dir.join("tokens.parquet"))?,
            hops: Sheet::create(&dir.join("hops.parquet"))?,
            lookups: Sheet::create(&dir.join("lookups.parquet"))?,
            pings: Sheet::create(&dir.join("pings.parquet"))?,
            course: CourseWriter::create(&dir)?,
        };
        let path = dir.join("events.jsonl");
        let events = BufWriter::new(File::create(&path).map_err(Error::io(&path))?);
        Ok(RunWriter {
            parent: parent.to_owned(),
            name,
            dir,
            manifest,
            rows: Vec::new(),
            plans: BTreeMap::new(),
            details: Vec::new(),
            sheets: Some(sheets),
            events,
            whole: false,
        })
    }

    /// Where the run's files are until it is finished.
    pub fn partial_dir(&self) -> &Path {
        &self.dir
    }

    /// Adds one run of a cell, failed ones too: what they got done is kept. Returns its row of `cells.csv`.
    pub fn cell(&mut self, key: &CellKey, plan: &Plan, status: CellStatus, events: &[Event]) -> Result<&CellRow> {
        let same = |row: &CellRow| row.axes.iter().map(|axis| &axis.0).eq(key.values.iter().map(|axis| &axis.0));
        if !self.rows.first().is_none_or(same) {
            return Err(Error::OtherAxes { cell: key.index });
        }
        let fold = Fold::of(events);
        let measures = Measures::of(&fold, plan);
        let row = CellRow::new(key, plan.repeat, &status, &measures);
        match &status {
            CellStatus::Done => self.manifest.runs_done += 1,
            CellStatus::Failed { .. } => self.manifest.runs_failed += 1,
        }
        self.manifest.verdict.absorb(&row.judgement);
        self.details.push(summary::Detail::new(&row, &status, &measures));
        self.write_rare(key.index, plan.repeat, events)?;
        self.write_rows(key.index, plan, fold)?;
        self.plans.entry(key.index).or_insert_with(|| plan.clone());
        self.rows.push(row);
        // A run that is killed leaves the rows of the cells it got through.
        let path = self.dir.join("cells.csv");
        let new = &self.rows[self.rows.len() - 1..];
        append(&path, cells::to_csv(new)?.as_str(), self.rows.len() > 1)?;
        Ok(&self.rows[self.rows.len() - 1])
    }

    /// What requests of a cell's run said: the lines of `texts.jsonl`, which only runs of given prompts have.
    pub fn texts(&mut self, cell: u32, repeat: u32, texts: &[Said]) -> Result<()> {
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

    /// The trace hash of a simulated run, for the manifest.
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

    fn write_rows(&mut self, cell: u32, plan: &Plan, fold: Fold) -> Result<()> {
        let Some(sheets) = &mut self.sheets else { return Ok(()) };
        let repeat = plan.repeat;
        sheets.course.add(&Course::of(&fold, plan, cell))?;
        fold.lookups.into_iter().try_for_each(|row| sheets.lookups.push(cell, repeat, row))?;
        fold.pings.into_iter().try_for_each(|row| sheets.pings.push(cell, repeat, row))?;
        let order: BTreeMap<_, _> = fold.requests.iter().enumerate().map(|(at, row)| (row.request, at)).collect();
        let at = |request| order.get(&request).copied().unwrap_or(0);
        fold.requests.into_iter().try_for_each(|row| sheets.requests.push(cell, repeat, row))?;
        keep(&mut sheets.tokens, &mut self.manifest.tokens, (cell, repeat), fold.tokens, |row| at(row.request))?;
        keep(&mut sheets.hops, &mut self.manifest.hops, (cell, repeat), fold.hops, |row| at(row.request))
    }

    /// Writes what remains, draws the charts, and gives the directory its name.
    pub fn finish(mut self) -> Result<RunDir> {
        self.write_rest()?;
        // The report is made from what the directory says of itself.
        write_json(&self.dir.join("manifest.json"), &self.manifest)?;
        let run = Run::open_partial(&self.dir)?;
        let drawing = draw::into(&self.dir, std::slice::from_ref(&run), &self.manifest.charts)?;
        self.manifest.complete = true;
        self.manifest.ended_unix_s = Some(unix_now());
        write_json(&self.dir.join("manifest.json"), &self.manifest)?;
        sync_dir(&self.dir)?;
        let path = self.parent.join(&self.name);
        fs::rename(&self.dir, &path).map_err(Error::io(&path))?;
        sync_dir(&self.parent)?;
        self.whole = true;
        let verdict = self.manifest.verdict.clone();
        Ok(RunDir { path, verdict, table: drawing.table, notes: drawing.notes })
    }

    /// All files but charts and report, which are made from these.
    fn write_rest(&mut self) -> Result<()> {
        if let Some(sheets) = self.sheets.take() {
            let Sheets { requests, tokens, hops, lookups, pings, course } = sheets;
            let rows = [requests.close()?, tokens.close()?, hops.close()?, lookups.close()?, pings.close()?];
            for file in rows.into_iter().chain(course.close()?) {
                file.sync_all().map_err(Error::io(&self.dir))?;
            }
        }
        self.events.flush().and_then(|()| self.events.get_ref().sync_all()).map_err(Error::io(&self.dir))?;
        self.manifest.trace_hashes.sort();
        write_synced(&self.dir.join("cells.csv"), cells::to_csv(&self.rows)?.as_bytes())?;
        let plans: Vec<Plan> = self.plans.values().cloned().collect();
        let text = plan::to_ron(&plans).map_err(Error::encode("plan.ron"))?;
        write_synced(&self.dir.join("plan.ron"), text.as_bytes())?;
        let cells = summary::cells(&self.rows);
        write_json(&self.dir.join("summary.json"), &summary::to_json(&cells, &mut self.details))
    }
}

impl Drop for RunWriter {
    /// An interrupted run keeps its rows readable; its manifest goes on saying that it is not complete.
    fn drop(&mut self) {
        if !self.whole && self.sheets.is_some() {
            // Nobody is left to tell; whatever failed, the manifest says that the directory is not whole.
            let _ = self.write_rest();
            let _ = write_json(&self.dir.join("manifest.json"), &self.manifest);
        }
    }
}

/// The first free name, claimed by making its partial directory.
fn claim(parent: &Path, manifest: &Manifest) -> Result<(String, PathBuf)> {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let scenario: String = manifest.scenario.chars().map(safe).collect();
    let mut n = 1u32;
    loop {
        let name = format!("{scenario}-{}-{n:03}", manifest.world);
        let dir = parent.join(format!("{PARTIAL}{name}"));
        if !parent.join(&name).exists() {
            match fs::create_dir(&dir) {
                Ok(()) => return Ok((name, dir)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::Io { path: dir, source: error }),
            }
        }
        n += 1;
    }
}

/// Files rows, or those of every n-th request where they are too many.
fn keep<R: Row>(
    sheet: &mut Sheet<R>,
    kept: &mut Kept,
    (cell, repeat): (u32, u32),
    rows: Vec<R>,
    request: impl Fn(&R) -> usize,
) -> Result<()> {
    let every = rows.len().div_ceil(ROWS_PER_RUN).max(1);
    kept.of += rows.len() as u64;
    for row in rows.into_iter().filter(|row| request(row).is_multiple_of(every)) {
        kept.rows += 1;
        sheet.push(cell, repeat, row)?;
    }
    Ok(())
}

fn append(path: &Path, csv: &str, headless: bool) -> Result<()> {
    let text = if headless { csv.split_once('\n').map_or("", |(_, rest)| rest) } else { csv };
    let file = File::options().create(true).append(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(Error::io(path))
}

pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(Error::encode("JSON"))?;
    write_synced(path, (text + "\n").as_bytes())
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(Error::io(path))
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io(dir))
}

//! Reading of a run directory.
use crate::cells::{self, CellRow};
use crate::error::{Error, Result};
use crate::manifest::{FORMAT, Kept, Manifest};
use crate::measures::{Judgement, Verdict};
use crate::sheet;
use crate::summary::{self, Cell};
use scenarios::input::{self, MANIFEST_BYTES, PLAN_BYTES};
use scenarios::plan::{self, Node, Plan};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A run: its manifest and its cells.
#[derive(Debug)]
pub struct Run {
    pub dir: PathBuf,
    pub manifest: Manifest,
    /// The rows, in the order of cell and repetition.
    pub rows: Vec<CellRow>,
}

/// The latency of a timed request that succeeded, in ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    pub cell: u32,
    pub repeat: u32,
    pub e2el_ms: f64,
    pub ttft_ms: Option<f64>,
    pub tpot_ms: Option<f64>,
}

impl Run {
    /// Opens a run directory, complete or not; see `manifest.complete`. Of an incomplete directory, only the runs that
    /// have a row in its `cells.csv` are opened.
    ///
    /// # Errors
    /// A file is missing, damaged, or of another format.
    pub fn open(dir: &Path) -> Result<Run> {
        let path = dir.join("manifest.json");
        if !path.exists() {
            return Err(Error::NotARun { path: dir.to_owned(), why: "the directory has no manifest.json".to_owned() });
        }
        let text = input::read_text(&path, MANIFEST_BYTES).map_err(Error::Input)?;
        // The format is checked first, because another format may have other fields.
        let value: serde_json::Value = serde_json::from_str(&text).map_err(Error::damaged(&path))?;
        let found = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if found != u64::from(FORMAT) {
            return Err(Error::Format { path: dir.to_owned(), found, known: FORMAT });
        }
        let mut manifest: Manifest = serde_json::from_value(value).map_err(Error::damaged(&path))?;
        let csv = dir.join("cells.csv");
        let mut rows = if is_absent(&csv) && !manifest.complete { Vec::new() } else { cells::read_csv(&csv)? };
        rows.sort_by_key(|row| (row.cell, row.repeat));
        if manifest.complete {
            check_cells(&csv, &manifest, &rows)?;
            check_requests(dir, manifest.requests, &rows)?;
            check_rows(dir, "tokens.parquet", manifest.tokens)?;
            check_rows(dir, "hops.parquet", manifest.hops)?;
        } else {
            manifest.verdict = Judgement::default();
            manifest.count(&rows);
            // The process of this run ended before it could mark the run as complete.
            manifest.complete = false;
            manifest.partial().into_iter().for_each(|why| manifest.verdict.add(Verdict::Suspect, why));
        }
        Ok(Run { dir: dir.to_owned(), manifest, rows })
    }

    /// Returns the cells, aggregated over their repetitions.
    pub fn cells(&self) -> Vec<Cell> {
        summary::cells(&self.rows, self.manifest.repeats())
    }

    /// Returns the cells of an incomplete sweep that have no run in this directory. Empty if the manifest does not list
    /// the cells of the sweep.
    pub fn cells_not_run(&self) -> Vec<Cell> {
        let absent = self.manifest.cells.iter().filter(|key| !self.rows.iter().any(|row| row.cell == key.index));
        absent.map(|key| Cell::not_run(key, self.manifest.repeats())).collect()
    }

    /// Returns the latencies of timed requests that succeeded, from `requests.parquet`.
    ///
    /// # Errors
    /// The file cannot be read or is damaged.
    pub fn latencies(&self) -> Result<Vec<Latency>> {
        let path = self.dir.join("requests.parquet");
        let names = ["cell", "repeat", "warmup", "outcome", "e2el_ns", "ttft_ns", "tpot_ns"];
        let (mut latencies, mut before) = (Vec::new(), 0);
        sheet::scan(&path, &names, |columns| {
            let timed = columns.flags("warmup").iter().zip(columns.texts("outcome"));
            for (at, _) in timed.enumerate().filter(|(_, (warmup, outcome))| !**warmup && *outcome == "ok") {
                let ms = |name: &str| columns.int(name, at).map(|ns| ns as f64 / 1e6);
                let of = |name: &str| u32::try_from(columns.int(name, at).unwrap_or(-1)).ok();
                let Some((cell, repeat)) = of("cell").zip(of("repeat")) else {
                    return Err(format!("row {} has no valid cell and repetition", before + at));
                };
                if let Some(e2el_ms) = ms("e2el_ns") {
                    latencies.push(Latency { cell, repeat, e2el_ms, ttft_ms: ms("ttft_ns"), tpot_ms: ms("tpot_ns") });
                }
            }
            before += columns.flags("warmup").len();
            Ok(())
        })?;
        Ok(latencies)
    }
}

/// Checks that a raw file has as many rows as the manifest says were kept. A directory may lack the file.
fn check_rows(dir: &Path, name: &str, kept: Kept) -> Result<()> {
    let path = dir.join(name);
    if is_absent(&path) { Ok(()) } else { check_count(path, kept.rows) }
}

fn check_count(path: PathBuf, kept: u64) -> Result<()> {
    match sheet::rows(&path)? {
        rows if rows == kept => Ok(()),
        rows => {
            let why = format!("the file has {rows} rows, but the manifest says that {kept} were kept");
            Err(Error::Damaged { path, why })
        }
    }
}

/// Checks that `cells.csv` has a row for each run that the manifest counts.
fn check_cells(path: &Path, manifest: &Manifest, rows: &[CellRow]) -> Result<()> {
    let (found, ran) = (rows.iter().filter(|row| !row.interrupted()).count() as u32, manifest.ended());
    if found == ran {
        return Ok(());
    }
    let why = format!("the file has {found} rows of runs that ended, but the manifest counts {ran}");
    Err(Error::Damaged { path: path.to_owned(), why })
}

/// Checks that `requests.parquet` has as many rows as the manifest says, and only rows of runs in `cells.csv`.
fn check_requests(dir: &Path, kept: Option<u64>, rows: &[CellRow]) -> Result<()> {
    let path = dir.join("requests.parquet");
    if let Some(kept) = kept {
        check_count(path.clone(), kept)?;
    }
    if is_absent(&path) {
        return Ok(());
    }
    let known: BTreeSet<(i64, i64)> = rows.iter().map(|row| (row.cell.into(), row.repeat.into())).collect();
    let (mut before, mut last) = (0, None);
    sheet::scan(&path, &["cell", "repeat"], |columns| {
        let of = |name: &str| columns.ints(name).iter().map(|number| number.unwrap_or(-1));
        for (at, run) in of("cell").zip(of("repeat")).enumerate() {
            // The rows of one run are adjacent, so only the first of them is looked up.
            if last != Some(run) && !known.contains(&run) {
                let ((cell, repeat), at) = (run, before + at);
                return Err(format!(
                    "row {at} belongs to cell {cell}, repetition {repeat}, which cells.csv does not have"
                ));
            }
            last = Some(run);
        }
        before += columns.ints("cell").len();
        Ok(())
    })
}

/// Whether no file has this name. A broken symbolic link counts as a file, and reading it gives an error.
fn is_absent(path: &Path) -> bool {
    path.symlink_metadata().is_err()
}

/// Reads the plans of a run directory: for each cell, the plan of its first repetition.
///
/// # Errors
/// `plan.ron` cannot be read, or a plan has a node on a host or device that the plan lacks.
pub fn plans(dir: &Path) -> Result<Vec<Plan>> {
    let path = dir.join("plan.ron");
    let text = input::read_text(&path, PLAN_BYTES).map_err(Error::Input)?;
    let plans = plan::from_ron(&text).map_err(Error::damaged(&path))?;
    for plan in &plans {
        let device = |node: &Node| plan.hosts.get(node.host.0 as usize)?.devices().nth(node.device as usize);
        if let Some((id, node)) = plan.nodes().find(|(_, node)| device(node).is_none()) {
            let (host, device) = (node.host.0, node.device);
            let why = format!(
                "cell {}: {id} is on device {device} of host {host}, but the plan has no such device",
                plan.cell
            );
            return Err(Error::Damaged { path, why });
        }
    }
    Ok(plans)
}

//! The manifest of a run directory: what was run, where, by which version, and whether the directory is complete.
use crate::cells::CellRow;
use crate::load::MachineLoad;
use crate::measures::Judgement;
use scenarios::cell::CellKey;
use scenarios::chart::Chart;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::Hasher;
use std::time::{SystemTime, UNIX_EPOCH};

/// The format of run directories that this version writes and reads.
pub const FORMAT: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum World {
    Live,
    Sim,
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            World::Live => "live",
            World::Sim => "sim",
        })
    }
}

/// The contents of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// Whether every planned run has ended, done or failed but not interrupted, and the data of all runs were written.
    /// Missing charts do not matter, because they are derived from the data.
    pub complete: bool,
    /// Whether a signal ended the sweep before its last run.
    #[serde(default)]
    pub interrupted: bool,
    pub tool: String,
    #[serde(default)]
    pub build: Build,
    pub scenario: String,
    /// The folder of the scenario's file, where relative paths in the scenario begin. Absent for a scenario of the
    /// library.
    #[serde(default)]
    pub scenario_folder: Option<String>,
    /// The 64-bit FNV-1a hash of the scenario's text.
    pub scenario_hash: String,
    pub world: World,
    pub seed: u64,
    pub command: Vec<String>,
    pub charts: Vec<Chart>,
    pub machine: Machine,
    #[serde(default)]
    pub load: MachineLoad,
    /// The time at which the sweep began, in seconds since 1970.
    pub started_unix_s: u64,
    pub ended_unix_s: Option<u64>,
    /// The number of cells of the sweep; 0 if the version that wrote the directory did not count them.
    #[serde(default)]
    pub cells_planned: u32,
    /// The number of runs of the sweep: all repetitions of all cells. 0 if the version that wrote the directory did not
    /// count them.
    #[serde(default)]
    pub runs_planned: u32,
    pub runs_done: u32,
    pub runs_failed: u32,
    pub verdict: Judgement,
    /// The charts that are missing, with the reason.
    #[serde(default)]
    pub charts_missing: Vec<String>,
    /// The trace hash of each simulated run in hexadecimal: (cell, repetition, hash).
    pub trace_hashes: Vec<(u32, u32, String)>,
    /// The number of rows of `requests.parquet`. Absent if the version that wrote the directory did not count them.
    #[serde(default)]
    pub requests: Option<u64>,
    pub tokens: Kept,
    pub hops: Kept,
    /// Which rows of runs were left out; empty if all rows were kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thinned: Vec<Thinned>,
    /// Notes on the runs, for people.
    #[serde(default)]
    pub notes: Vec<String>,
    /// All cells of the sweep; empty once all of them have been run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<CellKey>,
}

/// How many rows of a kind were kept. In a long run, only the rows of every n-th request are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The number of kept rows.
    pub rows: u64,
    /// The number of all rows.
    pub of: u64,
}

/// Which rows of one run were left out of a file. The requests of the run are numbered from 0 in the order of their
/// first rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thinned {
    /// The file: `tokens` or `hops`.
    pub file: String,
    pub cell: u32,
    pub repeat: u32,
    /// Pairs (row, n): from this row of the run on, the file has only the rows of requests whose number is divisible by
    /// n. Rows are counted from 0, including those that were left out.
    pub every: Vec<(u64, u64)>,
}

/// The build of the program that made the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The commit, as git names it; `None` if the sources were not in a repository.
    pub commit: Option<String>,
    /// Whether the sources differed from that commit.
    pub modified: Option<bool>,
    /// The optional features with which the program was built.
    pub features: Vec<String>,
}

/// The computer of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub os: String,
    pub arch: String,
    pub cpu: String,
    pub cores: u32,
}

impl Manifest {
    /// Returns the manifest of a run that begins now, on this machine. The writer adds the rest.
    pub fn new(scenario: &str, world: World, seed: u64, charts: Vec<Chart>, command: Vec<String>) -> Manifest {
        Manifest {
            format: FORMAT,
            complete: false,
            interrupted: false,
            tool: format!("swarmbench {}", env!("CARGO_PKG_VERSION")),
            build: Build::default(),
            scenario: scenario.to_owned(),
            scenario_folder: None,
            scenario_hash: String::new(),
            world,
            seed,
            command,
            charts,
            machine: Machine::here(),
            load: MachineLoad::at_start(world == World::Live),
            started_unix_s: unix_now(),
            ended_unix_s: None,
            cells_planned: 0,
            runs_planned: 0,
            runs_done: 0,
            runs_failed: 0,
            verdict: Judgement::default(),
            charts_missing: Vec::new(),
            trace_hashes: Vec::new(),
            requests: Some(0),
            tokens: Kept::default(),
            hops: Kept::default(),
            thinned: Vec::new(),
            notes: Vec::new(),
            cells: Vec::new(),
        }
    }

    /// Returns the number of repetitions of each cell; 0 if it was not counted.
    pub fn repeats(&self) -> u32 {
        self.runs_planned.checked_div(self.cells_planned).unwrap_or(0)
    }

    /// Sets the numbers of done and of failed runs, takes over the verdicts of these runs, and sets whether they are
    /// all planned runs. Runs that a signal ended do not count.
    pub(crate) fn count(&mut self, rows: &[CellRow]) {
        self.runs_done = rows.iter().filter(|row| row.done()).count() as u32;
        let ended = rows.iter().filter(|row| !row.interrupted());
        self.runs_failed = ended.clone().count() as u32 - self.runs_done;
        ended.for_each(|row| self.verdict.absorb(&row.judgement));
        self.complete = self.runs_done + self.runs_failed >= self.runs_planned;
        if self.complete {
            self.cells.clear();
        }
    }

    /// The number of runs that no signal ended: the done and the failed ones.
    pub fn ended(&self) -> u32 {
        self.runs_done.saturating_add(self.runs_failed)
    }

    /// Returns the counts as a text such as `17 of 144 runs done, 0 failed`.
    pub fn counts(&self) -> String {
        let planned = self.runs_planned.max(self.runs_done + self.runs_failed);
        format!("{} of {planned} runs done, {} failed", self.runs_done, self.runs_failed)
    }

    /// Returns the reason why the result is incomplete, or `None` if it is complete.
    pub fn partial(&self) -> Option<String> {
        let how = if self.interrupted { "interrupted" } else { "unfinished" };
        (!self.complete).then(|| format!("{how}: {}", self.counts()))
    }
}

impl Machine {
    pub fn here() -> Machine {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Machine {
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            cpu: model.map_or("unknown", |(_, name)| name.trim()).to_owned(),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        }
    }
}

pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns the 64-bit FNV-1a hash of a text, to distinguish texts. The hash is no protection against forgery.
pub(crate) fn fnv1a(text: &str) -> u64 {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(text.as_bytes());
    hasher.finish()
}

//! The entry points for input from other programs: one function for each kind of input, and the seeds, the inputs that
//! are mutated.
//!
//! The fuzz targets call these functions. So does `tests/foreign_bytes.rs`, which replays the corpora and mutates them
//! with a seeded generator. An entry panics only if the program has a bug.
mod models;
mod tables;

use actors::id::NodeId;
use actors::message::{Activation, Buffer, Message, Payload, Present, Step, WireType};
use actors::seed::Seed;
use live::fuzz;
use live::wire::{self, FrameReader, Incoming, Limits};
use reports::cells::CellStatus;
use reports::manifest::{Manifest, World};
use reports::read::Run;
use reports::run_timeline::RunTimeline;
use reports::sheet;
use reports::write::RunWriter;
use scenarios::chart::Chart;
use scenarios::plan::{self, Plan};
use scenarios::profile::Profile;
use scenarios::{Cell, Loaded, Overrides};
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tempfile::TempDir;

/// A function that reads one kind of input.
pub type Entry = fn(&[u8]);

/// All entries with the names of their targets and corpora.
pub const ENTRIES: [(&str, Entry); 15] = [
    ("config", models::config),
    ("frames", frames),
    ("greeting", greeting),
    ("plan", plan),
    ("profile", profile),
    ("report", report),
    ("round_trips", tables::round_trips),
    ("run_directory", run_directory),
    ("safetensors", models::safetensors),
    ("safetensors_index", models::safetensors_index),
    ("samples", tables::samples),
    ("scenario", scenario),
    ("times_away", tables::times_away),
    ("tokenizer", models::tokenizer),
    ("trace", tables::trace),
];

/// Returns the entry of this name.
pub fn entry(name: &str) -> Entry {
    let found = ENTRIES.iter().find(|entry| entry.0 == name);
    found.unwrap_or_else(|| panic!("there is no entry {name}")).1
}

/// Reads the bytes as frames from a host that has already sent its greeting.
pub fn frames(bytes: &[u8]) {
    read_frames(bytes, Limits { control: 1 << 20, tensor: 4 << 20 });
}

/// Reads the bytes as the first frame of an unknown program, as the body of a greeting, and as an invitation.
pub fn greeting(bytes: &[u8]) {
    read_frames(bytes, Limits::GREETING);
    let _ = fuzz::greeting(bytes);
    if let Ok(line) = std::str::from_utf8(bytes) {
        let _ = fuzz::invitation(line);
    }
}

fn read_frames(bytes: &[u8], limits: Limits) {
    let mut reader = FrameReader::new(bytes, limits);
    loop {
        // A reader of bytes in memory never has to wait.
        match reader.next().poll_now() {
            Ok(Some(Incoming::Greeting(body))) => drop(fuzz::greeting(&body)),
            Ok(Some(Incoming::Control(body))) => drop(fuzz::control(&body)),
            Ok(Some(Incoming::Message(_))) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// A future that is ready at once.
trait Now: Future {
    fn poll_now(self) -> Self::Output;
}

impl<F: Future> Now for F {
    fn poll_now(self) -> F::Output {
        match pin!(self).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the reader waits for bytes that are all there"),
        }
    }
}

/// Reads the bytes as a plan in both of its formats: as a child process receives it, and as a run directory stores it.
pub fn plan(bytes: &[u8]) {
    let _ = wire::read::<Plan>(bytes);
    let _ = fuzz::control(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = plan::from_ron(text);
    }
}

/// Reads the text of a scenario.
pub fn scenario(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(loaded) = Loaded::read("scenario.ron", text.to_owned()) {
        let _ = loaded.repeats(&Overrides::default());
    }
}

/// Reads the text of a profile.
pub fn profile(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Profile::read("profile.ron", text);
    }
}

/// The files of a run directory that the program reads back.
pub const RUN_FILES: [&str; 12] = [
    "manifest.json",
    "cells.csv",
    "timeline.csv",
    "busy.csv",
    "coverage.csv",
    "faults.csv",
    "plan.ron",
    "requests.parquet",
    "tokens.parquet",
    "hops.parquet",
    "lookups.parquet",
    "pings.parquet",
];

thread_local! {
    static RUN: (TempDir, PathBuf) = {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let path = run(parent.path());
        (parent, path)
    };
}

/// Reads a run directory in which one file is replaced by `bytes`. The first byte selects the file.
pub fn run_directory(bytes: &[u8]) {
    damaged(bytes, open_run);
}

/// Replaces one file as [`run_directory`] does, and draws the run's charts.
pub fn report(bytes: &[u8]) {
    damaged(bytes, draw);
}

fn damaged(bytes: &[u8], read: fn(&Path) -> Result<(), String>) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let name = RUN_FILES[usize::from(*which) % RUN_FILES.len()];
    RUN.with(|(_, dir)| {
        let path = dir.join(name);
        let whole = fs::read(&path).expect("the run is whole");
        fs::write(&path, bytes).expect("the directory can be written to");
        let told = read(dir);
        fs::write(&path, whole).expect("the directory can be written to");
        if let Err(why) = told {
            let words = ["run directory", "format", "unfinished", "calibration", "the manifest"];
            let named = why.contains(name) || words.iter().any(|word| why.contains(word));
            assert!(named, "the error does not say that {name} is damaged: {why}");
        }
    });
}

/// Reads everything that any command reads from a run directory.
fn open_run(dir: &Path) -> Result<(), String> {
    let run = Run::open(dir).map_err(|why| why.to_string())?;
    run.latencies().map_err(|why| why.to_string())?;
    RunTimeline::read(dir).map_err(|why| why.to_string())?;
    for (file, names) in [
        ("lookups.parquet", ["cell", "repeat", "node", "purpose", "took_ns"]),
        ("pings.parquet", ["cell", "repeat", "client", "peer", "took_ns"]),
        ("requests.parquet", ["cell", "repeat", "route", "suspect", "ttft_ns"]),
    ] {
        sheet::read(&dir.join(file), &names).map_err(|why| why.to_string())?;
    }
    reports::observed::observed_runs(dir, 0).map_err(|why| why.to_string())?;
    Ok(())
}

/// Draws those charts of a run directory that need more files than its table of cells.
fn draw(dir: &Path) -> Result<(), String> {
    let charts = [Chart::Gantt, Chart::Utilisation, Chart::Timeline, Chart::Coverage, Chart::LatencyCdf];
    let out = dir.join("drawn");
    reports::draw::draw_charts(&[dir.to_owned()], &charts, Some(&out)).map(drop).map_err(|why| why.to_string())
}

/// Writes a small run of the library's `nano` under `parent`.
pub fn run(parent: &Path) -> PathBuf {
    let (loaded, cell, plan) = nano();
    let ran = simulator::run(&plan, simulator::HORIZON);
    // The manifest says that the run was live, because the calibration accepts only live runs.
    let manifest = Manifest::new("nano", World::Live, 1, Vec::new(), Vec::new());
    let mut writer =
        RunWriter::create(parent, manifest, loaded.text(), std::slice::from_ref(&plan)).expect("a new directory");
    writer.cell(&cell.key, &plan, CellStatus::Done, &ran.events).expect("its rows are written");
    writer.finish().expect("the run is whole").path
}

fn nano() -> (Loaded, Cell, Plan) {
    let loaded = scenarios::load("nano").expect("a scenario of the library");
    let set = |path: &str, value: &str| (path.to_owned(), value.to_owned());
    let set = vec![set("workload.micro_batches", "2"), set("workload.generate", "4")];
    let cell = loaded.cells(&Overrides { set, ..Overrides::default() }).expect("its cells").remove(0);
    let plan = cell.plan(Seed(1), 0).expect("its plan");
    (loaded, cell, plan)
}

/// Returns the seeds of an entry, the inputs that are mutated: valid bytes that the program itself has made.
pub fn seeds(entry: &str) -> Vec<Vec<u8>> {
    match entry {
        "config" | "safetensors" | "safetensors_index" | "tokenizer" => return models::seeds(entry),
        "round_trips" | "samples" | "times_away" | "trace" => return tables::seeds(entry),
        _ => {}
    }
    let (loaded, _, plan) = nano();
    match entry {
        "frames" => vec![step(), message(Message::Present(Present))],
        "greeting" => fuzz::frames(&plan).expect("frames").into(),
        "plan" => {
            let [_, order] = fuzz::frames(&plan).expect("frames");
            let text = plan::to_ron(std::slice::from_ref(&plan)).expect("RON");
            vec![order[wire::HEADER_BYTES..].to_vec(), text.into_bytes()]
        }
        "profile" => vec![include_bytes!("../../scenarios/profiles/helix-t4.ron").to_vec()],
        "report" | "run_directory" => {
            let parent = tempfile::tempdir().expect("a temporary directory");
            let dir = run(parent.path());
            let seed = |(which, name): (usize, &&str)| {
                let mut bytes = vec![which as u8];
                bytes.extend(fs::read(dir.join(name)).expect("a file of the run"));
                bytes
            };
            RUN_FILES.iter().enumerate().map(seed).collect()
        }
        "scenario" => vec![loaded.text().as_bytes().to_vec()],
        other => panic!("there is no entry {other}"),
    }
}

fn message(message: Message) -> Vec<u8> {
    let addressed = wire::AddressedMessage { from: NodeId(3), to: NodeId(4), passage: None, message };
    let wire::Frame { first, chunks } = wire::message_frame(&addressed).expect("a small frame");
    let units = std::iter::once(first).chain(chunks.into_iter().flatten());
    units.flat_map(|unit| unit.slices().iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>()).collect()
}

fn step() -> Vec<u8> {
    let hollow = Activation { tokens: 2, batch: 1, hidden: 8, dtype: WireType::F32, data: None };
    let data = Some(Arc::new(Payload::Buffer(Buffer::zeroed(hollow.bytes() as usize))));
    let request = actors::id::RequestId { client: NodeId(4), index: 1 };
    let session = actors::id::SessionId::new(request, 1);
    message(Message::Step(Step { session, position: 9, activation: Activation { data, ..hollow } }))
}

//! Tests that the rows of a run are written while the run goes on, that few rows are in memory at a time, and that no
//! row is lost.
mod synthetic;

use actors::record::{Event, Recorder};
use parquet::file::reader::{FileReader, SerializedFileReader};
use reports::cells::CellStatus;
use reports::manifest::{Manifest, World};
use reports::read::Run;
use reports::sheet;
use reports::write::RunWriter;
use scenarios::plan::Plan;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use synthetic::{Sketch, key};

const SKETCH: Sketch = Sketch {
    clients: 3,
    peers: 2,
    micro_batches: 9,
    batch: 1,
    prompt: 16,
    generate: 7,
    delay: actors::time::Duration(10_000_000),
    bandwidth: 1.25e8,
    seed: 1,
    carried: true,
    fails: false,
};

fn writer(parent: &Path, plans: &[Plan], chunk: usize) -> RunWriter {
    let manifest = Manifest::new("made-up", World::Sim, 1, Vec::new(), vec!["swarmbench".to_owned()]);
    RunWriter::create_in_chunks(parent, manifest, "Scenario(..)", plans, chunk).expect("a new directory")
}

/// Writes two runs while they go on, in row groups of at most `chunk` rows. Returns the run directory and the largest
/// number of rows that were in memory.
fn written(parent: &Path, chunk: usize) -> (std::path::PathBuf, usize) {
    let plans = [SKETCH.plan(0, 0), SKETCH.plan(0, 1)];
    let mut writer = writer(parent, &plans, chunk);
    let mut most = 0;
    for plan in &plans {
        let mut run = writer.recorders().begin(0, plan, None);
        for event in SKETCH.events() {
            run.record(event);
            most = most.max(run.buffered());
        }
        writer.add(&key(0, &[]), CellStatus::Done, run).expect("written");
    }
    (writer.finish().expect("finished").path, most)
}

/// Returns these columns of all rows of a file, sorted.
fn rows(dir: &Path, name: &str, columns: &[&str]) -> Vec<Vec<Option<i64>>> {
    let read = sheet::read(&dir.join(name), columns).expect("readable");
    let count = read.ints(columns[0]).len();
    let mut rows: Vec<Vec<_>> = (0..count).map(|at| columns.iter().map(|name| read.int(name, at)).collect()).collect();
    rows.sort();
    rows
}

fn groups(dir: &Path, name: &str) -> usize {
    let file = File::open(dir.join(name)).expect("a file");
    SerializedFileReader::new(file).expect("parquet").metadata().num_row_groups()
}

#[test]
fn rows_in_small_groups_read_back_as_those_in_one() {
    let parent = tempfile::tempdir().expect("a directory");
    let (whole, all) = written(parent.path(), usize::MAX);
    let (parts, most) = written(parent.path(), 10);
    assert!(all > 500 && most < 5 * 10, "at most one group of each kind is in memory: {most}, not {all}");
    let columns: [(&str, &[&str]); 3] = [
        ("requests.parquet", &["repeat", "client", "request", "sent_ns", "e2el_ns", "ttft_ns", "compute_ns", "bytes"]),
        ("tokens.parquet", &["repeat", "client", "request", "position", "seen_ns", "compute_ns", "transmit_ns"]),
        ("hops.parquet", &["repeat", "client", "request", "position", "hop", "peer", "started_ns", "in_queue_ns"]),
    ];
    for (name, columns) in columns {
        assert_eq!(groups(&whole, name), 1);
        let count = rows(&parts, name, columns).len();
        assert!(groups(&parts, name) >= count / 10, "{name}: {} groups of {count} rows", groups(&parts, name));
        assert_eq!(rows(&whole, name, columns), rows(&parts, name, columns), "{name}");
    }
    for name in ["cells.csv", "timeline.csv", "busy.csv", "coverage.csv", "events.jsonl"] {
        let text = |dir: &Path| std::fs::read_to_string(dir.join(name)).expect("a table");
        assert_eq!(text(&whole), text(&parts), "{name}");
    }
    assert_eq!(Run::open(&parts).expect("whole").latencies().expect("readable").len(), 2 * 3 * 9);
}

#[test]
fn a_run_that_is_recorded_has_the_figures_of_one_whose_events_are_kept() {
    let parent = tempfile::tempdir().expect("a directory");
    let (recorded, _) = written(parent.path(), usize::MAX);
    let plans = [SKETCH.plan(0, 0), SKETCH.plan(0, 1)];
    let mut writer = writer(parent.path(), &plans, usize::MAX);
    for plan in &plans {
        writer.cell(&key(0, &[]), plan, CellStatus::Done, &SKETCH.events()).expect("written");
    }
    let kept = writer.finish().expect("finished").path;
    for name in ["cells.csv", "timeline.csv", "busy.csv", "requests.parquet", "tokens.parquet", "hops.parquet"] {
        let bytes = |dir: &Path| std::fs::read(dir.join(name)).expect("a file");
        assert!(bytes(&recorded) == bytes(&kept), "{name}");
    }
}

#[test]
fn a_recorder_that_cannot_write_closes_and_the_runs_before_are_kept() {
    let parent = tempfile::tempdir().expect("a directory");
    let plans = [SKETCH.plan(0, 0), SKETCH.plan(0, 1)];
    let mut writer = writer(parent.path(), &plans, 10);
    let events = SKETCH.events();
    let mut run = writer.recorders().begin(0, &plans[0], None);
    events.iter().cloned().for_each(|event| run.record(event));
    writer.add(&key(0, &[]), CellStatus::Done, run).expect("written");
    let dir = writer.partial_dir().to_owned();
    // No file can be created in `parts` any more, as on a full disk.
    let parts = dir.join("parts");
    std::fs::rename(&parts, dir.join("aside")).expect("moved");
    std::fs::write(&parts, "a file is in the way").expect("written");
    let mut run = writer.recorders().begin(0, &plans[1], None);
    events.iter().cloned().for_each(|event| run.record(event));
    assert!(!run.is_open());
    let why = writer.add(&key(0, &[]), CellStatus::Done, run).expect_err("it was not written").to_string();
    assert!(why.contains("parts"), "{why}");
    drop(writer);
    std::fs::remove_file(&parts).expect("removed");
    std::fs::rename(dir.join("aside"), &parts).expect("moved back");
    let left = Run::open(&dir).expect("readable");
    assert_eq!((left.manifest.complete, left.rows.len()), (false, 1));
    assert_eq!(left.latencies().expect("readable").len(), 3 * 9);
}

#[test]
fn a_recorder_closes_when_its_sweep_is_interrupted() {
    let parent = tempfile::tempdir().expect("a directory");
    let plans = [SKETCH.plan(0, 0)];
    let mut writer = writer(parent.path(), &plans, 10);
    let stop = AtomicBool::new(false);
    let mut run = writer.recorders().begin(0, &plans[0], Some(&stop));
    let events: Vec<Event> = SKETCH.events();
    for event in &events[..events.len() / 2] {
        assert!(run.is_open());
        run.record(event.clone());
    }
    stop.store(true, Ordering::Relaxed);
    assert!(!run.is_open());
    writer.add(&key(0, &[]), CellStatus::Interrupted, run).expect("written");
    writer.interrupt();
    let left = Run::open(&writer.finish().expect("finished").path).expect("readable");
    assert!(!left.manifest.complete && left.latencies().expect("readable").len() > 9, "what there was is kept");
}

//! Tests that a run directory is complete or marked as incomplete, and that it keeps the rows of failed cells.
mod synthetic;

use actors::id::NodeId;
use actors::record::{Event, FaultEvent, FaultKind, Pinged};
use actors::time::Duration;
use reports::cells::CellStatus;
use reports::claim::PARTIAL;
use reports::error::Error;
use reports::manifest::{Manifest, World};
use reports::measures::Verdict;
use reports::read::Run;
use reports::run_timeline::RunTimeline;
use reports::sheet;
use reports::write::RunWriter;
use rows::RunRows;
use scenarios::chart::Chart;
use scenarios::plan::Plan;
use std::collections::BTreeMap;
use std::path::Path;
use synthetic::{Sketch, key};

/// Returns the writer of a sweep of one cell with this number of repetitions.
fn writer(parent: &Path, charts: Vec<Chart>, repeats: u32) -> RunWriter {
    let manifest = Manifest::new("made-up", World::Sim, 1, charts, vec!["swarmbench".to_owned()]);
    let plans: Vec<Plan> = (0..repeats).map(|repeat| Sketch::default().plan(0, repeat)).collect();
    RunWriter::create(parent, manifest, "Scenario(..)", &plans).expect("a new directory")
}

#[test]
fn a_run_that_stops_early_leaves_a_partial_directory_with_its_rows() {
    let parent = tempfile::tempdir().expect("a directory");
    let sketch = Sketch::default();
    let mut writer = writer(parent.path(), vec![Chart::LatencyCdf, Chart::Gantt, Chart::Timeline], 3);
    for repeat in 0..2 {
        let plan = sketch.plan(0, repeat);
        writer.cell(&key(0, &[]), &plan, CellStatus::Done, &sketch.events()).expect("written");
    }
    let dir = writer.partial_dir().to_owned();
    // This simulates a killed process: nothing is closed or finished.
    std::mem::forget(writer);
    assert!(dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PARTIAL)));
    let cells = dir.join("cells.csv");
    let torn = std::fs::read_to_string(&cells).expect("there") + "0,2,do";
    std::fs::write(&cells, torn).expect("written");
    let run = Run::open(&dir).expect("readable");
    assert_eq!((run.manifest.complete, run.rows.len(), run.latencies().expect("readable").len()), (false, 2, 12));
    assert_eq!(run.manifest.verdict.verdict, Verdict::Suspect);
    let tokens = sheet::read(&dir.join("tokens.parquet"), &["repeat"]).expect("readable");
    assert!([Some(0), Some(1)].iter().all(|repeat| tokens.ints("repeat").contains(repeat)));

    let drawing = reports::draw::draw(std::slice::from_ref(&dir), None).expect("drawn");
    assert_eq!(drawing.missing().collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(drawing.charts.len(), 3);
    let report = std::fs::read_to_string(dir.join("report.md")).expect("there");
    let said = "unfinished: 2 of 3 runs done, 0 failed";
    assert!(report.contains(said) && drawing.table.text(None).contains(said), "{report}");
}

#[test]
fn an_interrupted_sweep_says_how_much_of_it_was_run() {
    let parent = tempfile::tempdir().expect("a directory");
    let sketch = Sketch::default();
    let mut writer = writer(parent.path(), Vec::new(), 3);
    writer.cell(&key(0, &[]), &sketch.plan(0, 0), CellStatus::Done, &sketch.events()).expect("written");
    let events = sketch.events();
    let half = &events[..events.len() / 2];
    writer.cell(&key(0, &[]), &sketch.plan(0, 1), CellStatus::Interrupted, half).expect("written");
    writer.interrupt();
    let done = writer.finish().expect("finished");
    assert_eq!(done.verdict.verdict, Verdict::Suspect);
    let run = Run::open(&done.path).expect("readable");
    let m = &run.manifest;
    assert_eq!((m.complete, m.interrupted, m.runs_planned, m.runs_done, m.runs_failed), (false, true, 3, 1, 0));
    let report = std::fs::read_to_string(done.path.join("report.md")).expect("there");
    let said = "interrupted: 1 of 3 runs done, 0 failed";
    let text = done.table.text(None);
    assert!(report.contains(said) && text.contains(said) && text.contains("SUSPECT (1 of 3 run)"), "{report}{text}");
    let json: serde_json::Value = serde_json::from_str(&done.table.json()).expect("JSON");
    assert_eq!((&json[0]["planned"], &json[0]["runs"]), (&3.into(), &1.into()));
    assert_eq!(json[0]["verdict"]["verdict"], "SUSPECT");
}

#[test]
fn a_chart_that_cannot_be_written_leaves_the_data_whole_and_is_said_to_be_missing() {
    let parent = tempfile::tempdir().expect("a directory");
    let sketch = Sketch::default();
    let mut writer = writer(parent.path(), vec![Chart::LatencyCdf], 1);
    writer.cell(&key(0, &[]), &sketch.plan(0, 0), CellStatus::Done, &sketch.events()).expect("written");
    std::fs::write(writer.partial_dir().join("charts"), "a file is in the way").expect("written");
    let done = writer.finish().expect("finished");
    let run = Run::open(&done.path).expect("readable");
    assert!(run.manifest.complete && run.manifest.verdict.verdict == done.verdict.verdict);
    assert_eq!(run.latencies().expect("readable").len(), 6);
    let said = "the chart latency-cdf could not be written: ";
    let report = std::fs::read_to_string(done.path.join("report.md")).expect("there");
    for missing in [&done.unwritten, &run.manifest.charts_missing, &vec![report]] {
        assert!(missing.iter().any(|why| why.contains(said) && why.contains("charts")), "{missing:?}");
    }
}

#[test]
fn a_failed_cell_keeps_its_rows_and_does_not_stain_the_means() {
    let parent = tempfile::tempdir().expect("a directory");
    let mut writer =
        writer(parent.path(), vec![Chart::LatencyCdf, Chart::ThroughputVs("workload.batch".to_owned())], 2);
    let sketch = Sketch { fails: true, ..Sketch::default() };
    let events = sketch.events();
    let half = &events[..events.len() / 2];
    let failed = CellStatus::Failed { label: "deadlock".to_owned(), detail: "node 3 waits for node 4".to_owned() };
    let name = key(0, &[("workload.prompt", "16")]);
    writer.cell(&name, &sketch.plan(0, 0), CellStatus::Done, &events).expect("written");
    writer.cell(&name, &sketch.plan(0, 1), failed, half).expect("written");
    let done = writer.finish().expect("finished");
    assert_eq!(done.verdict.verdict, Verdict::Invalid);
    assert!(done.notes.len() == 1 && done.notes[0].contains("does not vary workload.batch"), "{:?}", done.notes);
    assert!(done.notes[0].contains("workload.prompt"), "{:?}", done.notes);

    let run = Run::open(&done.path).expect("whole");
    assert_eq!((run.rows[0].failures.as_str(), run.rows[1].status.as_str()), ("timeout:1", "deadlock"));
    let columns = sheet::read(&done.path.join("requests.parquet"), &["repeat", "outcome"]).expect("readable");
    let of_the_failed = columns.ints("repeat").iter().filter(|repeat| **repeat == Some(1)).count();
    assert!(of_the_failed > 0, "its requests are kept");
    assert!(columns.texts("outcome").iter().any(|outcome| outcome == "timeout"));
    let cells = run.cells();
    let throughput = cells[0].get("throughput_tokens_per_s").expect("one repetition was done");
    assert_eq!((cells[0].runs, cells[0].failed, throughput.count), (2, 1, 1));
    let summary = std::fs::read_to_string(done.path.join("summary.json")).expect("there");
    assert!(summary.contains("node 3 waits for node 4"));
}

#[test]
fn directories_never_collide_and_rows_come_back_as_they_were() {
    let parent = tempfile::tempdir().expect("a directory");
    let writers: Vec<RunWriter> = (0..3).map(|_| writer(parent.path(), Vec::new(), 1)).collect();
    let mut paths = Vec::new();
    for mut writer in writers {
        let sketch = Sketch::default();
        let row = writer.cell(&key(0, &[("a", "x, y \"z\"")]), &sketch.plan(0, 0), CellStatus::Done, &sketch.events());
        let row = row.expect("written").clone();
        let done = writer.finish().expect("finished");
        assert_eq!(Run::open(&done.path).expect("whole").rows, [row]);
        paths.push(done.path);
    }
    paths.dedup();
    assert_eq!(paths.len(), 3);
}

#[test]
fn what_is_no_run_directory_is_said_to_be_none() {
    let parent = tempfile::tempdir().expect("a directory");
    assert!(matches!(Run::open(parent.path()), Err(Error::NotARun { .. })));
    std::fs::write(parent.path().join("manifest.json"), "{\"format\": 99}").expect("written");
    assert!(matches!(Run::open(parent.path()), Err(Error::Format { found: 99, .. })));
    std::fs::write(parent.path().join("manifest.json"), "{{{").expect("written");
    assert!(matches!(Run::open(parent.path()), Err(Error::Damaged { .. })));
}

#[test]
fn a_table_fits_its_terminal_and_never_loses_the_verdict() {
    let parent = tempfile::tempdir().expect("a directory");
    let mut writer = writer(parent.path(), Vec::new(), 3);
    for repeat in 0..3 {
        let sketch = Sketch { seed: u64::from(repeat), ..Sketch::default() };
        let name = key(0, &[("workload.prompt", "16")]);
        writer.cell(&name, &sketch.plan(0, repeat), CellStatus::Done, &sketch.events()).expect("written");
    }
    let table = writer.finish().expect("finished").table;
    for width in [50, 80, 100, 200] {
        let text = table.text(Some(width));
        assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        assert!(text.contains("VALID") && text.contains("throughput"), "{text}");
    }
    assert!(table.text(Some(200)).contains("cold start") && !table.text(Some(50)).contains("cold start"));
    let json: serde_json::Value = serde_json::from_str(&table.json()).expect("JSON");
    assert!(json[0]["throughput_tokens_per_s_ci95"].as_f64().is_some_and(|half| half > 0.0));
    assert!(table.csv().starts_with("run,cell,workload.prompt,throughput_tokens_per_s,"));
}

#[test]
fn the_course_of_a_run_comes_back_and_its_tokens_are_all_of_them() {
    let parent = tempfile::tempdir().expect("a directory");
    let mut writer = writer(parent.path(), Vec::new(), 1);
    let sketch = Sketch { batch: 3, micro_batches: 4, ..Sketch::default() };
    let mut events = sketch.events();
    let stall = FaultEvent {
        at: RunRows::of(&events).rare.released.expect("it was released") + Duration::from_millis(40),
        fault: FaultKind::Stall,
        nodes: vec![NodeId(2)],
        lasts: Some(Duration::from_millis(15)),
    };
    events.push(Event::FaultEvent(Box::new(stall)));
    let plan = sketch.plan(0, 0);
    let row = writer.cell(&key(0, &[]), &plan, CellStatus::Done, &events).expect("written").clone();
    let done = writer.finish().expect("finished");
    let course = RunTimeline::read(&done.path).expect("readable");
    assert_eq!(course, RunTimeline::of(&RunRows::of(&events), &plan, 0));
    for (at, bin) in course.bins.iter().enumerate() {
        let peers = course.busy.iter().map(|busy| f64::from(busy.thousandths[at]) / 1000.0);
        let mean = peers.sum::<f64>() / course.busy.len() as f64;
        assert!((mean - bin.peers_busy).abs() <= 1e-3, "peers one by one are as busy as together: {mean} {bin:?}");
    }
    let tokens: u64 = course.bins.iter().map(|bin| bin.tokens).sum();
    assert_eq!(tokens as f64, row.get("total_tokens").expect("it was measured"));
    let width = course.bins[0].till_ns - course.bins[0].from_ns;
    let under_way: f64 = course.bins.iter().map(|bin| bin.under_way * width as f64 / 1e9).sum();
    let wanted = row.get("concurrency_mean").expect("it was measured") * row.get("wall_s").expect("it was measured");
    assert!((under_way - wanted).abs() < 1e-3 * wanted, "{under_way} {wanted}");
    // The peers of a synthetic run compute for several clients at once, so only their total time is known.
    let fold = RunRows::of(&events);
    let timed = fold.hops.iter().filter(|hop| !hop.request.is_warmup());
    let jobs: BTreeMap<_, u64> = timed.map(|hop| ((hop.peer, hop.finished), hop.compute)).collect();
    let computed = jobs.values().sum::<u64>() as f64;
    let busy: f64 = course.bins.iter().map(|bin| bin.peers_busy * width as f64 * f64::from(sketch.peers)).sum();
    assert!((busy - computed).abs() < 1e-3 * computed, "{busy} {computed}");
    let [fault] = course.faults.as_slice() else { panic!("{:?}", course.faults) };
    assert_eq!((fault.at_ns, fault.lasts_ns, fault.what.as_str()), (40_000_000, Some(15_000_000), "stall"));
}

#[test]
fn damage_to_any_file_is_an_error_that_names_it() {
    let parent = tempfile::tempdir().expect("a directory");
    let mut writer = writer(parent.path(), Vec::new(), 1);
    let sketch = Sketch::default();
    writer.cell(&key(0, &[]), &sketch.plan(0, 0), CellStatus::Done, &sketch.events()).expect("written");
    let dir = writer.finish().expect("finished").path;
    let read = || {
        let run = Run::open(&dir)?;
        let _ = run.latencies()?;
        RunTimeline::read(&dir).map(drop)
    };
    read().expect("a whole run");
    type Damage = fn(&mut Vec<u8>);
    let replace = |name: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(dir.join(name)).expect("a table");
        assert!(text.contains(from), "{name} has {from}: {text}");
        text.replacen(from, to, 1).into_bytes()
    };
    let damaged = |name: &str, damage: Damage| {
        let mut bytes = std::fs::read(dir.join(name)).expect("a file of the run");
        damage(&mut bytes);
        bytes
    };
    let half: Damage = |bytes| bytes.truncate(bytes.len() / 2);
    let no_parquet: Damage = |bytes| *bytes = b"cell,repeat\n0,0\n".to_vec();
    let long_footer: Damage = |bytes| {
        let at = bytes.len() - 8;
        bytes[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    };
    for (name, bytes, said) in [
        ("requests.parquet", damaged("requests.parquet", half), "it is truncated"),
        ("requests.parquet", damaged("requests.parquet", no_parquet), "of another kind"),
        ("requests.parquet", damaged("requests.parquet", long_footer), "4294967295 bytes"),
        ("requests.parquet", Vec::new(), "the file has 0 bytes"),
        ("requests.parquet", damaged("hops.parquet", |_| ()), "the manifest says"),
        (
            "cells.csv",
            replace("cells.csv", "\n0,0,done", "\n3,0,done"),
            "requests.parquet: row 0 belongs to cell 0, repetition 0",
        ),
        (
            "cells.csv",
            damaged("cells.csv", |bytes| bytes.truncate(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0) + 1)),
            "the file has 0 rows of runs that ended, but the manifest counts 1",
        ),
        // The bytes are those of another file of the run, which is valid by itself.
        ("hops.parquet", damaged("tokens.parquet", |_| ()), "the manifest says"),
        ("cells.csv", replace("cells.csv", "VALID", "FINE"), "column verdict: \"FINE\""),
        ("cells.csv", replace("cells.csv", "0,0,done", "0,first,done"), "line 2, column repeat: \"first\""),
        ("busy.csv", replace("busy.csv", "0,2,", "0,2,idle "), "line 2: \"idle\""),
        (
            "timeline.csv",
            replace("timeline.csv", "0,0,0,", "0,0,99999999999999,"),
            "line 2: the interval from 99999999999999",
        ),
        (
            "coverage.csv",
            damaged("coverage.csv", |bytes| bytes.extend(b"0,0,0,1,3,2\n")),
            "the row has 3 served blocks, but the model has only 2",
        ),
        ("manifest.json", damaged("manifest.json", half), "EOF"),
    ] {
        let path = dir.join(name);
        let whole = std::fs::read(&path).expect("a file of the run");
        std::fs::write(&path, bytes).expect("damaged");
        let why = read().expect_err(said).to_string();
        std::fs::write(&path, whole).expect("mended");
        assert!((why.contains(name) || said.contains("row 0 belongs to cell")) && why.contains(said), "{name}: {why}");
    }
    read().expect("whole again");
    for name in ["requests.parquet", "cells.csv"] {
        let (path, aside) = (dir.join(name), dir.join("aside"));
        std::fs::rename(&path, &aside).expect("moved");
        let why = read().expect_err("it is missing").to_string();
        assert!(why.contains(name), "{why}");
        let made = std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo runs");
        assert!(made.success());
        let why = read().expect_err("a pipe").to_string();
        assert!(why.contains(name) && why.contains("a pipe, a socket or a device"), "{why}");
        std::fs::rename(&aside, &path).expect("moved back");
    }
    read().expect("whole again");
    // A user may remove large tables such as this one.
    std::fs::remove_file(dir.join("hops.parquet")).expect("it is there");
    read().expect("without its hops");
}

#[test]
fn pings_of_a_directory_that_is_not_whole_are_learned_from() {
    let parent = tempfile::tempdir().expect("a directory");
    let sketch = Sketch::default();
    let manifest = Manifest::new("made-up", World::Live, 1, Vec::new(), vec!["swarmbench".to_owned()]);
    let plans: Vec<Plan> = (0..2).map(|repeat| sketch.plan(0, repeat)).collect();
    let mut writer = RunWriter::create(parent.path(), manifest, "Scenario(..)", &plans).expect("a new directory");
    let (client, peer) = (plans[0].clients().next().expect("one").0, plans[0].peers().next().expect("one").0);
    let mut events = sketch.events();
    let at = events.iter().find_map(|event| match event {
        Event::Released { at } => Some(*at),
        _ => None,
    });
    events.push(Event::Pinged(Pinged { client, peer, at: at.expect("the release"), took: Duration::from_micros(20) }));
    writer.cell(&key(0, &[]), &plans[0], CellStatus::Done, &events).expect("written");
    let dir = writer.partial_dir().to_owned();
    // This simulates a killed process.
    std::mem::forget(writer);
    let seen = reports::observed::observed_runs(&dir, 0).expect("readable");
    assert_eq!(seen.iter().map(|run| run.pings.len()).collect::<Vec<_>>(), [1]);
}

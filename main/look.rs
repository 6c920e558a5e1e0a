//! `check`, `plan`, `report` and `library`: looking without running.
use crate::print::{Format, errln, print_table, sayln};
use crate::stop::{Done, bad_scenario};
use crate::sweep::Sweep;
use std::path::{Path, PathBuf};

pub fn check(sweep: &Sweep) -> Done {
    let loaded = scenarios::load(&sweep.scenario).map_err(bad_scenario)?;
    let summary = loaded.check(&sweep.overrides()).map_err(bad_scenario)?;
    sayln!("{}: {} cells, {} repetitions each", summary.name, summary.cells.len(), summary.repeats);
    for adapted in summary.adapted {
        adapted.to_string().lines().for_each(|line| sayln!("  {line}"));
    }
    for warning in summary.warnings {
        sayln!("  warning: {warning}");
    }
    for note in loaded.notes() {
        sayln!("  note: {note}");
    }
    let batch = sweep.batch()?;
    for warning in batch.suited()? {
        sayln!("  warning: {warning}");
    }
    let obstacles = batch.live_obstacles();
    sayln!("  sim: yes");
    sayln!("  live: {}", if obstacles.is_empty() { "yes" } else { "not on this machine" });
    for obstacle in obstacles {
        sayln!("    {obstacle}");
    }
    Ok(0)
}

pub fn plan(sweep: &Sweep) -> Done {
    let loaded = scenarios::load(&sweep.scenario).map_err(bad_scenario)?;
    let summary = loaded.check(&sweep.overrides()).map_err(bad_scenario)?;
    for cell in summary.cells {
        let values: Vec<String> = cell.key.values.iter().map(|(path, value)| format!("{path}={value}")).collect();
        let (index, peers, clients) = (cell.key.index, cell.peers, cell.clients);
        sayln!("{index:4}  {peers} peers  {clients} clients  {}", values.join("  "));
    }
    Ok(0)
}

pub fn report(runs: &[PathBuf], out: Option<&Path>, format: Format) -> Done {
    let drawing = reports::draw::draw(runs, out)?;
    for note in drawing.missing() {
        errln!("note: {note}");
    }
    if matches!(format, Format::Json | Format::Csv) {
        drawing.table.notes.iter().for_each(|note| errln!("note: {note}"));
    }
    errln!("{}", drawing.dir.display());
    print_table(&drawing.table, format)?;
    Ok(u8::from(!drawing.unwritten.is_empty()))
}

pub fn library() -> Done {
    for name in scenarios::library::names() {
        let text = scenarios::library::find(name).unwrap_or_default();
        let question = text.lines().next().unwrap_or_default().trim_start_matches("// Question: ");
        sayln!("{name:26} {question}");
    }
    Ok(0)
}

//! Tables and charts of run directories, drawn at the end of a run and on request.
use crate::chart::{self, Picture, Source};
use crate::claim;
use crate::error::{Error, Result};
use crate::files::write_synced;
use crate::load::MachineLoad;
use crate::manifest::World;
use crate::read::Run;
use crate::table::Table;
use crate::twin::Twin;
use scenarios::chart::Chart;
use std::fs;
use std::path::{Path, PathBuf};

/// The drawn charts and their directory.
#[derive(Debug)]
pub struct Drawing {
    pub dir: PathBuf,
    pub table: Table,
    /// For each drawn chart, its file name in `charts/` without extension, and its title.
    pub charts: Vec<(String, String)>,
    /// The charts for which these runs have no data, with the reason.
    pub notes: Vec<String>,
    /// The files that could not be written, with the reason.
    pub unwritten: Vec<String>,
}

/// Runs the `report` command: draws the charts of the runs' scenarios again. Several runs are drawn together, with a
/// series for each.
///
/// One run is redrawn in its own directory. Several runs are drawn in `out`, or in a new `report-<n>` beside the first.
///
/// # Errors
/// A run directory cannot be read, or the directory of the report cannot be created.
pub fn draw(run_dirs: &[PathBuf], out: Option<&Path>) -> Result<Drawing> {
    let runs = open(run_dirs)?;
    let mut charts: Vec<Chart> = Vec::new();
    for chart in runs.iter().flat_map(|run| &run.manifest.charts) {
        if !charts.contains(chart) {
            charts.push(chart.clone());
        }
    }
    place(&runs, &charts, out)
}

/// Draws `charts` instead of the charts of the runs' scenarios, into the same directory as [`draw`] would.
///
/// # Errors
/// A run directory cannot be read, or the directory of the report cannot be created.
pub fn draw_charts(run_dirs: &[PathBuf], charts: &[Chart], out: Option<&Path>) -> Result<Drawing> {
    place(&open(run_dirs)?, charts, out)
}

fn open(run_dirs: &[PathBuf]) -> Result<Vec<Run>> {
    run_dirs.iter().map(|dir| Run::open(dir)).collect()
}

fn place(runs: &[Run], charts: &[Chart], out: Option<&Path>) -> Result<Drawing> {
    let Some(first) = runs.first() else {
        return Err(Error::NotARun { path: PathBuf::new(), why: "the command line names no run directory".to_owned() });
    };
    let dir = match out {
        Some(out) => out.to_owned(),
        None if runs.len() == 1 => first.dir.clone(),
        None => claim::directory(first.dir.parent().unwrap_or(Path::new(".")), "report")?,
    };
    fs::create_dir_all(&dir).map_err(Error::io(&dir))?;
    Ok(into(&dir, runs, charts))
}

/// Writes `report.md` and `charts/` into a directory. A file that cannot be made is reported as missing, and the others
/// are still written.
pub(crate) fn into(dir: &Path, runs: &[Run], charts: &[Chart]) -> Drawing {
    let mut drawing = Drawing {
        dir: dir.to_owned(),
        table: Table::of(runs),
        charts: Vec::new(),
        notes: Vec::new(),
        unwritten: Vec::new(),
    };
    match Source::of(runs) {
        Ok(source) => charts.iter().for_each(|wanted| drawing.draw(wanted, &source)),
        Err(error) => drawing.unwritten.push(format!("no chart could be drawn: {error}")),
    }
    if let Err(error) = write_synced(&dir.join("report.md"), drawing.markdown(runs).as_bytes()) {
        drawing.unwritten.push(format!("report.md could not be written: {error}"));
    }
    drawing
}

impl Drawing {
    fn draw(&mut self, wanted: &Chart, source: &Source) {
        match chart::draw(wanted, source) {
            Ok(pictures) => pictures.iter().for_each(|picture| self.add(picture)),
            Err(error @ Error::Chart { .. }) => {
                self.notes.push(format!("the chart {} could not be drawn: {error}", chart::title(wanted)));
            }
            // This error means that a file of the run is damaged, not that the run lacks the chart's data.
            Err(error) => {
                self.unwritten.push(format!("the chart {} could not be drawn: {error}", chart::title(wanted)))
            }
        }
    }

    fn add(&mut self, picture: &Picture) {
        match picture.write(&self.dir.join("charts")) {
            Ok(()) => self.charts.push((picture.name.clone(), picture.title.clone())),
            Err(error) => self.unwritten.push(format!("the chart {} could not be written: {error}", picture.name)),
        }
    }

    /// Returns the requested charts and files that are missing, with the reason.
    pub fn missing(&self) -> impl Iterator<Item = &String> {
        self.notes.iter().chain(&self.unwritten)
    }

    fn markdown(&self, runs: &[Run]) -> String {
        let mut names: Vec<&str> = runs.iter().map(|run| run.manifest.scenario.as_str()).collect();
        names.dedup();
        let mut text = format!("# {}\n\n", names.join(", "));
        for run in runs {
            let m = &run.manifest;
            let (counts, verdict) = (m.partial().unwrap_or_else(|| m.counts()), m.verdict.verdict);
            text += &format!("- {} run by {}, seed {}: {counts}, {verdict}\n", m.world, m.tool, m.seed);
            m.verdict.reasons.iter().for_each(|reason| text += &format!("  - {reason}\n"));
            m.notes.iter().for_each(|note| text += &format!("  - note: {note}\n"));
            if m.world == World::Live && m.load != MachineLoad::default() {
                text += &format!("  - machine: {}\n", m.load);
            }
        }
        text += "\n± is half the width of the 95 % t interval of the mean over repetitions.\n\n";
        text += &self.table.markdown();
        for (name, title) in &self.charts {
            text += &format!("\n## {title}\n\n![{title}](charts/{name}.svg)\n\n");
            text += &format!("[PNG](charts/{name}.png) · [figures](charts/{name}.csv)\n");
        }
        self.missing().for_each(|note| text += &format!("\n> {note}\n"));
        // If the report is of a live run and a simulation of the same scenario, it also has the result of their
        // comparison.
        if let [one, other] = runs
            && let Ok(twin) = Twin::of(one, other).or_else(|_| Twin::of(other, one))
        {
            text += &format!("\n## Simulated against live\n\n{}\n", twin.verdict.text);
        }
        text
    }
}

//! Tables and charts of run directories: at the end of a run, and again whenever someone asks.
use crate::chart::{self, Picture, Source};
use crate::error::{Error, Result};
use crate::read::Run;
use crate::table::Table;
use crate::write::write_synced;
use scenarios::chart::Chart;
use std::fs;
use std::path::{Path, PathBuf};

/// What was drawn, and where.
#[derive(Debug)]
pub struct Drawing {
    pub dir: PathBuf,
    pub table: Table,
    /// Files' names in `charts/`, without extension, and titles.
    pub charts: Vec<(String, String)>,
    /// Charts that could not be drawn, and why.
    pub notes: Vec<String>,
}

/// The `report` command: draws again what the runs' scenarios asked for, several runs together with a series for each.
///
/// One run is redrawn in its own directory, several in `out`, or in a new `report-<n>` beside the first.
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

/// As [`draw`], with charts of one's own choice.
pub fn draw_charts(run_dirs: &[PathBuf], charts: &[Chart], out: Option<&Path>) -> Result<Drawing> {
    place(&open(run_dirs)?, charts, out)
}

fn open(run_dirs: &[PathBuf]) -> Result<Vec<Run>> {
    run_dirs.iter().map(|dir| Run::open(dir)).collect()
}

fn place(runs: &[Run], charts: &[Chart], out: Option<&Path>) -> Result<Drawing> {
    let Some(first) = runs.first() else {
        return Err(Error::NotARun { path: PathBuf::new(), why: "no run was named".to_owned() });
    };
    let dir = match out {
        Some(out) => out.to_owned(),
        None if runs.len() == 1 => first.dir.clone(),
        None => free_dir(first.dir.parent().unwrap_or(Path::new(".")), "report"),
    };
    fs::create_dir_all(&dir).map_err(Error::io(&dir))?;
    into(&dir, runs, charts)
}

/// `<stem>-<n>` with the least free `n`.
pub(crate) fn free_dir(parent: &Path, stem: &str) -> PathBuf {
    let numbered = |n: u32| parent.join(format!("{stem}-{n:03}"));
    (1..).map(numbered).find(|dir| !dir.exists()).unwrap_or_else(|| numbered(0))
}

/// Writes `report.md` and `charts/` into a directory. A chart that cannot be drawn is a note, not the end of the others.
pub(crate) fn into(dir: &Path, runs: &[Run], charts: &[Chart]) -> Result<Drawing> {
    let mut drawing = Drawing { dir: dir.to_owned(), table: Table::of(runs), charts: Vec::new(), notes: Vec::new() };
    let folder = dir.join("charts");
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let source = Source::of(runs)?;
    for wanted in charts {
        match chart::draw(wanted, &source) {
            Ok(pictures) => pictures.iter().try_for_each(|picture| drawing.add(&folder, picture))?,
            Err(error) => drawing.notes.push(format!("{} was not drawn: {error}", chart::title(wanted))),
        }
    }
    write_synced(&dir.join("report.md"), drawing.markdown(runs).as_bytes())?;
    Ok(drawing)
}

impl Drawing {
    fn add(&mut self, folder: &Path, picture: &Picture) -> Result<()> {
        picture.write(folder)?;
        self.charts.push((picture.name.clone(), picture.title.clone()));
        Ok(())
    }

    fn markdown(&self, runs: &[Run]) -> String {
        let mut names: Vec<&str> = runs.iter().map(|run| run.manifest.scenario.as_str()).collect();
        names.dedup();
        let mut text = format!("# {}\n\n", names.join(", "));
        for run in runs {
            let m = &run.manifest;
            text += &format!("- {} run by {}, seed {}: {} runs done, ", m.world, m.tool, m.seed, m.runs_done);
            text += &format!("{} failed, {}\n", m.runs_failed, m.verdict.verdict);
            m.verdict.reasons.iter().for_each(|reason| text += &format!("  - {reason}\n"));
        }
        text += "\n± is half the width of the 95 % t interval of the mean over repetitions.\n\n";
        text += &self.table.markdown();
        for (name, title) in &self.charts {
            text += &format!("\n## {title}\n\n![{title}](charts/{name}.svg)\n\n");
            text += &format!("[PNG](charts/{name}.png) · [figures](charts/{name}.csv)\n");
        }
        self.notes.iter().for_each(|note| text += &format!("\n> {note}\n"));
        text
    }
}

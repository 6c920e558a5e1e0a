//! Charts from the cells of one or several runs: each `scenarios::chart::Chart` becomes one or more pictures.
//!
//! Non-finite values never reach a drawing. If the runs lack the data of a chart, the result is an error with the
//! reason.
mod bars;
mod canvas;
mod coverage;
mod gantt;
mod group;
mod heat;
mod lines;
mod panel;
mod picture;
mod scale;
pub(crate) mod scatter;
mod timeline;
pub(crate) mod tornado;
mod utilisation;

pub use picture::Picture;

use crate::error::{Error, Result};
use crate::read::{Latency, Run};
use crate::summary::Cell;
use crate::table;
use scenarios::chart::Chart;
use scenarios::only::Only;
use std::path::PathBuf;

/// The data of charts: runs with their labels.
pub struct Source {
    runs: Vec<Labelled>,
    /// The scenario's name, for titles.
    scenario: String,
}

struct Labelled {
    label: String,
    cells: Vec<Cell>,
    latencies: Vec<Latency>,
    dir: PathBuf,
}

/// The width of every picture in px: 178 mm, two columns of a paper, at 108 px per inch.
const WIDTH: f64 = 760.0;

/// One quantity of the charts: column, name, unit.
type Quantity = (&'static str, &'static str, &'static str);

const THROUGHPUT: Quantity = ("throughput_tokens_per_s", "throughput", "tokens/s");
const LATENCY: Quantity = ("mean_latency_ms", "mean latency", "ms");
const DISCOVERY: [Quantity; 2] =
    [("discovery_mean_ms", "discovery time", "ms"), ("lookup_hops_mean", "lookup hops", "")];

impl Source {
    /// Collects the cells of the runs under their labels.
    ///
    /// # Errors
    /// A run directory cannot be read.
    pub fn of(runs: &[Run]) -> Result<Source> {
        let mut labelled = Vec::new();
        for (run, label) in runs.iter().zip(table::labels(runs)) {
            let (cells, latencies) = (run.cells(), run.latencies()?);
            labelled.push(Labelled { label, cells, latencies, dir: run.dir.clone() });
        }
        let mut names: Vec<&str> = runs.iter().map(|run| run.manifest.scenario.as_str()).collect();
        names.dedup();
        Ok(Source { runs: labelled, scenario: names.join(", ") })
    }

    /// Returns the source with only the selected cells. `which` names the selection in titles.
    fn only(&self, only: &Only, which: &str) -> Source {
        let narrowed = |run: &Labelled| {
            let cells: Vec<Cell> = run.cells.iter().filter(|cell| only.takes(&cell.axes)).cloned().collect();
            let here = |latency: &&Latency| cells.iter().any(|cell| cell.cell == latency.cell);
            let latencies = run.latencies.iter().filter(here).copied().collect();
            Labelled { label: run.label.clone(), cells, latencies, dir: run.dir.clone() }
        };
        Source { runs: self.runs.iter().map(narrowed).collect(), scenario: format!("{} ({which})", self.scenario) }
    }

    /// Returns the reason why no cell has figures of successful requests.
    fn without_figures(&self) -> &'static str {
        match self.cells().any(|(_, cell)| cell.runs > cell.failed) {
            true => "no timed request succeeded",
            false => "no run ended without a failure, and the requests of failed runs are left out",
        }
    }

    /// Returns every cell with its run.
    fn cells(&self) -> impl Iterator<Item = (&Labelled, &Cell)> {
        self.runs.iter().flat_map(|run| run.cells.iter().map(move |cell| (run, cell)))
    }
}

/// Draws one chart. `Heatmap` and `Discovery` return two pictures each. If the chart shows only some cells (`Only`),
/// the names of its pictures end in the expression that selects them.
///
/// # Errors
/// The runs lack the data of the chart, or the drawing fails.
pub fn draw(chart: &Chart, source: &Source) -> Result<Vec<Picture>> {
    match chart {
        Chart::ThroughputVs(path) => lines::against(source, path, THROUGHPUT).map(|picture| vec![picture]),
        Chart::LatencyVs(path) => lines::against(source, path, LATENCY).map(|picture| vec![picture]),
        Chart::Pareto(path) => lines::pareto(source, path).map(|picture| vec![picture]),
        Chart::LatencyCdf => lines::cdf(source).map(|picture| vec![picture]),
        Chart::Heatmap(x, y) => [LATENCY, THROUGHPUT].map(|of| heat::map(source, x, y, of)).into_iter().collect(),
        Chart::Breakdown => bars::breakdown(source).map(|picture| vec![picture]),
        Chart::Discovery(path) => DISCOVERY.map(|of| lines::against(source, path, of)).into_iter().collect(),
        Chart::Coverage => coverage::over_time(source).map(|picture| vec![picture]),
        Chart::Timeline => timeline::timeline(source).map(|picture| vec![picture]),
        Chart::Gantt => gantt::gantt(source).map(|picture| vec![picture]),
        Chart::Utilisation => utilisation::strips(source).map(|picture| vec![picture]),
        Chart::Only(text, chart) => {
            let only = Only::parse(text).map_err(|why| impossible("only", why))?;
            only.paths().try_for_each(|path| group::checked(source, "only", path))?;
            let which = group::label(only.values());
            let narrowed = source.only(&only, &which);
            if narrowed.cells().next().is_none() {
                return Err(impossible("only", format!("no cell has the values {text}")));
            }
            let mut pictures = draw(chart, &narrowed)?;
            pictures.iter_mut().for_each(|picture| picture.name += &format!("-{}", slug(&which)));
            Ok(pictures)
        }
    }
}

/// Returns the chart as it is written in a scenario.
pub fn title(chart: &Chart) -> String {
    format!("{chart:?}")
}

fn impossible(chart: &str, why: impl Into<String>) -> Error {
    Error::Chart { chart: chart.to_owned(), why: why.into() }
}

/// Returns a text in lower case with only letters, digits and dashes, as a part of a file's name.
fn slug(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let dashed: String = text.chars().map(plain).collect();
    dashed.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

//! How far the simulation was off: two runs of one scenario, cell by cell and measure by measure.
use crate::cells::{CellRow, number};
use crate::chart::{Picture, scatter};
use crate::draw::free_dir;
use crate::error::{Error, Result};
use crate::manifest::World;
use crate::read::Run;
use crate::stats::quantile;
use crate::summary::{self, Cell};
use crate::table::{WIDTH, short, significant};
use crate::write::{write_json, write_synced};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// What is compared: (column, name, unit).
const MEASURES: [(&str, &str, &str); 4] = [
    ("throughput_tokens_per_s", "throughput", "tokens/s"),
    ("mean_latency_ms", "mean latency", "ms"),
    ("ttft_mean_ms", "ttft", "ms"),
    ("tpot_mean_ms", "tpot", "ms"),
];

/// One measure of one cell in both worlds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gap {
    pub cell: u32,
    /// What the cell varies, `prompt=512 batch=1`.
    pub values: String,
    pub measure: &'static str,
    pub live: f64,
    pub sim: f64,
    /// (sim - live) / live.
    pub error: f64,
    /// (max - min) / mean of the live repetitions: no prediction can be held to less. Absent for one repetition.
    pub noise_floor: Option<f64>,
}

/// A live and a simulated run of the same scenario beside each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Twin {
    pub scenario: String,
    pub errors: Vec<Gap>,
    /// Of the errors' magnitudes.
    pub median: f64,
    pub worst: f64,
}

/// Compares a live run directory with a simulated one.
pub fn compare(live: &Path, sim: &Path) -> Result<Twin> {
    Twin::of(&Run::open(live)?, &Run::open(sim)?)
}

impl Twin {
    /// Cells are matched by what the sweep varies in them.
    pub fn of(live: &Run, sim: &Run) -> Result<Twin> {
        let wrong = |why: &str| Err(Error::NoTwin { why: why.to_owned() });
        if (live.manifest.world, sim.manifest.world) != (World::Live, World::Sim) {
            return wrong("one must be a live run and the other a simulated one");
        }
        if live.manifest.scenario != sim.manifest.scenario {
            return wrong("they are of different scenarios");
        }
        let simulated = summary::cells(&sim.rows);
        let mut errors = Vec::new();
        for measured in summary::cells(&live.rows) {
            let rows: Vec<&CellRow> = live.rows.iter().filter(|row| row.cell == measured.cell && row.done()).collect();
            if let Some(predicted) = simulated.iter().find(|cell| cell.axes == measured.axes) {
                errors.extend(MEASURES.iter().filter_map(|(column, _, _)| gap(column, &measured, predicted, &rows)));
            }
        }
        let mut sizes: Vec<f64> = errors.iter().map(|gap: &Gap| gap.error.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        match (quantile(&sizes, 0.5), sizes.last()) {
            (Some(median), Some(&worst)) => {
                Ok(Twin { scenario: live.manifest.scenario.clone(), errors, median, worst })
            }
            _ => wrong("no cell was done in both with a measure to compare"),
        }
    }

    /// Errors of one measure: median and worst of their magnitudes.
    pub fn of_measure(&self, measure: &str) -> Option<(f64, f64)> {
        let mut sizes: Vec<f64> =
            self.errors.iter().filter(|gap| gap.measure == measure).map(|gap| gap.error.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        Some((quantile(&sizes, 0.5)?, *sizes.last()?))
    }

    /// Side by side for a terminal; where it is narrower than the table, the cells' names are cut.
    pub fn text(&self, width: Option<usize>) -> String {
        let terminal = width.unwrap_or(WIDTH);
        let heading = ["cell", "measure", "live", "sim", "error", "live spread"].map(str::to_owned);
        let mut rows: Vec<[String; 6]> = [heading].into_iter().chain(self.errors.iter().map(Gap::row)).collect();
        let widest =
            |rows: &[[String; 6]], at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
        let others: usize = (1..6).map(|at| widest(&rows, at) + 2).sum();
        rows.iter_mut().for_each(|row| row[0] = cut(&row[0], terminal.saturating_sub(others).max(12)));
        let widths: Vec<usize> = (0..6).map(|at| widest(&rows, at)).collect();
        let mut text = String::new();
        for row in &rows {
            let cells =
                row.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
                    if at < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                });
            text += &format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        for (column, name, _) in MEASURES {
            if let Some((median, worst)) = self.of_measure(column) {
                text += &format!("{name}: median error {}, worst {}\n", percent(median), percent(worst));
            }
        }
        text + &format!("all: median error {}, worst {}\n", percent(self.median), percent(self.worst))
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("# {}: simulated against live\n\n", self.scenario);
        text += &format!("Median error {}, worst {}.\n\n", percent(self.median), percent(self.worst));
        text += "| cell | measure | live | sim | error | live spread |\n| --- | --- | --: | --: | --: | --: |\n";
        self.errors.iter().for_each(|gap| text += &format!("| {} |\n", gap.row().join(" | ")));
        text + "\n![simulated against live](charts/twin.svg)\n"
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// A row for each cell and measure.
    pub fn csv(&self) -> Result<String> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let header = ["cell", "values", "measure", "live", "sim", "error", "noise_floor"];
        csv.write_record(header).map_err(Error::encode("the twin's CSV"))?;
        for gap in &self.errors {
            let floor = gap.noise_floor.map(number).unwrap_or_default();
            let figures = [number(gap.live), number(gap.sim), number(gap.error), floor];
            let names = [gap.cell.to_string(), gap.values.clone(), gap.measure.to_owned()];
            csv.write_record(names.iter().chain(&figures)).map_err(Error::encode("the twin's CSV"))?;
        }
        let bytes = csv.into_inner().map_err(Error::encode("the twin's CSV"))?;
        String::from_utf8(bytes).map_err(Error::encode("the twin's CSV"))
    }

    /// The scatter of both worlds.
    pub fn picture(&self) -> Result<Picture> {
        let groups: Vec<scatter::Group> = MEASURES
            .iter()
            .map(|(column, name, unit)| scatter::Group {
                measure: format!("{name} [{unit}]"),
                points: self
                    .errors
                    .iter()
                    .filter(|gap| gap.measure == *column)
                    .map(|gap| (gap.values.clone(), gap.live, gap.sim))
                    .collect(),
            })
            .collect();
        let note = format!(
            "a point for each cell; line: equal, band: ±10 %; median error {}, worst {}",
            percent(self.median),
            percent(self.worst)
        );
        scatter::draw(&format!("{}: simulated against live", self.scenario), &note, &groups)
    }

    /// `twin.json`, `twin.md` and the chart, in a new `<scenario>-twin-<n>` under `parent`.
    pub fn write(&self, parent: &Path) -> Result<PathBuf> {
        let dir = free_dir(parent, &format!("{}-twin", self.scenario));
        let charts = dir.join("charts");
        fs::create_dir_all(&charts).map_err(Error::io(&charts))?;
        write_json(&dir.join("twin.json"), self)?;
        write_synced(&dir.join("twin.md"), self.markdown().as_bytes())?;
        self.picture()?.write(&charts)?;
        Ok(dir)
    }
}

impl Gap {
    fn row(&self) -> [String; 6] {
        let name = MEASURES.iter().find(|(column, _, _)| *column == self.measure);
        let name = name.map_or(self.measure.to_owned(), |(_, name, unit)| format!("{name} {unit}"));
        let spread = self.noise_floor.map_or("–".to_owned(), percent);
        let error = format!("{:+.1} %", self.error * 100.0);
        [self.values.clone(), name, significant(self.live), significant(self.sim), error, spread]
    }
}

/// Nothing where either world lacks the measure, or live measured none of it.
fn gap(column: &'static str, live: &Cell, sim: &Cell, live_rows: &[&CellRow]) -> Option<Gap> {
    let (measured, predicted) = (live.mean(column)?, sim.mean(column)?);
    let error = Some((predicted - measured) / measured).filter(|error| error.is_finite())?;
    let values: Vec<f64> = live_rows.iter().filter_map(|row| row.get(column)).collect();
    let spread = || {
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        (high - low) / measured
    };
    let word = |(path, value): &(String, String)| format!("{}={value}", short(path).replace(' ', "_"));
    let values_text = live.axes.iter().map(word).collect::<Vec<_>>().join(" ");
    Some(Gap {
        cell: live.cell,
        values: if values_text.is_empty() { "the one cell".to_owned() } else { values_text },
        measure: column,
        live: measured,
        sim: predicted,
        error,
        noise_floor: (values.len() > 1).then(spread),
    })
}

/// The end of a name says most: prefixes are the same in every row.
fn cut(name: &str, width: usize) -> String {
    let count = name.chars().count();
    if count <= width {
        name.to_owned()
    } else {
        format!("…{}", name.chars().skip(count + 1 - width).collect::<String>())
    }
}

fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

//! The error of the simulation: a live and a simulated run of one scenario, compared by cell and measure.
use crate::cells::{CellRow, number};
use crate::chart::{Picture, scatter};
use crate::claim;
use crate::error::{Error, Result};
use crate::files::{write_json, write_synced};
use crate::load::CpuShares;
use crate::manifest::World;
use crate::read::Run;
use crate::stats::quantile;
use crate::summary::Cell;
use crate::table::{WIDTH, short, significant};
use rows::probe::Probed;
use rows::stats::pairwise_gap;
use scenarios::columns::Columns;
use scenarios::input;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

mod verdict;

pub use verdict::TwinVerdict;

/// The compared measures: (column, name, unit).
const MEASURES: [(&str, &str, &str); 4] = [
    ("throughput_tokens_per_s", "throughput", "tokens/s"),
    ("mean_latency_ms", "mean latency", "ms"),
    ("ttft_mean_ms", "ttft", "ms"),
    ("tpot_mean_ms", "tpot", "ms"),
];

/// One measure of one cell, live and simulated.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gap {
    pub cell: u32,
    /// The swept values of the cell, as in `prompt=512 batch=1`.
    pub values: String,
    pub measure: &'static str,
    pub live: f64,
    pub sim: f64,
    /// The relative error: (sim - live) / live.
    pub error: f64,
    /// Half the width of the 95 % confidence interval of `error`, as a fraction of the live value. `None` for one
    /// repetition.
    pub confidence: Option<f64>,
    /// The noise floor of the live runs: the median of |a - b| / mean over pairs of repetitions of the cell. No
    /// prediction can be expected to have a smaller error. `None` for one repetition.
    pub noise_floor: Option<f64>,
    /// The part of the mean latency with the largest error, and that error in ms (sim - live).
    pub part: Option<(String, f64)>,
}

/// The comparison of a live and a simulated run of the same scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Twin {
    pub scenario: String,
    pub errors: Vec<Gap>,
    /// The median of the absolute errors of all compared measures.
    pub median: f64,
    /// The largest of the absolute errors.
    pub worst: f64,
    /// The source of the simulation's device times.
    pub times: String,
    /// The live run and its probes, so that the prediction can be repeated.
    #[serde(flatten)]
    pub recording: Recording,
    /// A note for each of the two runs that is incomplete.
    pub partial: Vec<String>,
    /// The load of the machine during the live run.
    pub machine: Option<CpuShares>,
    pub verdict: TwinVerdict,
}

/// The live run of a twin, with the probes that show the machine's speed at each of its cells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recording {
    /// The name of the live run's directory, which lies beside the directory of the twin.
    pub live: String,
    /// The machine's speed between the live cells, relative to the profile.
    pub probes: Vec<Probed>,
    /// The last probe before each live run.
    pub probed: Vec<ProbedRun>,
}

impl Recording {
    /// Reads `twin.json` of a twin's directory.
    ///
    /// # Errors
    /// The file is missing or damaged, or an older version wrote it.
    pub fn read(dir: &Path) -> Result<Recording> {
        let path = dir.join("twin.json");
        let text = input::read_text(&path, input::TEXT_BYTES).map_err(Error::Input)?;
        serde_json::from_str(&text).map_err(Error::damaged(&path))
    }
}

/// A live run of a cell, and the index of the last probe before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbedRun {
    pub cell: u32,
    pub repeat: u32,
    pub probe: usize,
}

/// The headings of the table of all errors.
const HEADINGS: [&str; 7] = ["cell", "measure", "live", "sim", "error", "± 95 %", "live / live"];

/// The number of rows in the table of the largest errors.
const WORST: usize = 10;

/// The parts of a request's latency that both live runs and simulations measure.
const PARTS: [(&str, &str); 6] = [
    ("part_setup_ms", "set-up"),
    ("part_client_queue_ms", "client queue"),
    ("part_client_ms", "client"),
    ("part_peer_queue_ms", "peer queue"),
    ("part_compute_ms", "compute"),
    ("part_network_ms", "network"),
];

/// Returns the errors of a simulation of the cells of a live run. Cells are matched by their swept values.
pub fn errors(live: &Run, simulated: &[Cell]) -> Vec<Gap> {
    let mut errors = Vec::new();
    for measured in live.cells() {
        let rows: Vec<&CellRow> = live.rows.iter().filter(|row| row.cell == measured.cell && row.done()).collect();
        if let Some(predicted) = simulated.iter().find(|cell| cell.axes == measured.axes) {
            errors.extend(MEASURES.iter().filter_map(|(column, _, _)| gap(column, &measured, predicted, &rows)));
        }
    }
    errors
}

/// Compares a live run directory with a simulated one.
///
/// # Errors
/// A directory cannot be read, or the runs are not one live and one simulated run of the same scenario.
pub fn compare(live: &Path, sim: &Path) -> Result<Twin> {
    Twin::of(&Run::open(live)?, &Run::open(sim)?)
}

impl Twin {
    /// Compares two runs. Cells are matched by their swept values.
    ///
    /// # Errors
    /// The runs are not one live and one simulated run of the same scenario.
    pub fn of(live: &Run, sim: &Run) -> Result<Twin> {
        let wrong = |why: &str| Err(Error::NoTwin { why: why.to_owned() });
        if (live.manifest.world, sim.manifest.world) != (World::Live, World::Sim) {
            return wrong("one of the two must be a live run, and the other a simulated run");
        }
        if live.manifest.scenario != sim.manifest.scenario {
            return wrong("the two runs have different scenarios");
        }
        let named = |run: &Run| Some(format!("{} {}", run.manifest.world, run.manifest.partial()?));
        Twin::new(live, errors(live, &sim.cells()), [live, sim].into_iter().filter_map(named).collect())
    }

    /// Returns the comparison of a live run with predictions that had these `errors`. `partial` are the notes on
    /// incomplete runs.
    ///
    /// # Errors
    /// `errors` is empty, because no cell was completed both live and simulated.
    pub fn new(live: &Run, errors: Vec<Gap>, partial: Vec<String>) -> Result<Twin> {
        let mut sizes: Vec<f64> = errors.iter().map(|gap: &Gap| gap.error.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        match (quantile(&sizes, 0.5), sizes.last()) {
            (Some(median), Some(&worst)) => {
                let (scenario, times) = (live.manifest.scenario.clone(), "the plan's".to_owned());
                let machine = live.manifest.load.during;
                let verdict = TwinVerdict::of(&errors, machine);
                Ok(Twin {
                    scenario,
                    errors,
                    median,
                    worst,
                    times,
                    recording: Recording::default(),
                    partial,
                    machine,
                    verdict,
                })
            }
            _ => Err(Error::NoTwin { why: "no cell with a measure to compare was completed in both runs".to_owned() }),
        }
    }

    /// Sets the source of the simulation's device times, and the recording of the live run.
    pub fn with_times_of(mut self, times: &str, recording: Recording) -> Twin {
        self.times = times.to_owned();
        self.recording = recording;
        self
    }

    /// Returns the errors that exceed both `limit` and their noise floor.
    pub fn beyond(&self, limit: f64) -> impl Iterator<Item = &Gap> {
        self.errors.iter().filter(move |gap| gap.error.abs() > limit.max(gap.noise_floor.unwrap_or(0.0)))
    }

    /// Returns the `WORST` largest errors, the largest first.
    fn worst_gaps(&self) -> Vec<&Gap> {
        let mut gaps: Vec<&Gap> = self.errors.iter().collect();
        gaps.sort_by(|a, b| b.error.abs().total_cmp(&a.error.abs()));
        gaps.truncate(WORST);
        gaps
    }

    /// Returns the median and the maximum of the absolute errors of one measure, or `None` if no cell has the measure.
    pub fn of_measure(&self, measure: &str) -> Option<(f64, f64)> {
        let mut sizes: Vec<f64> =
            self.errors.iter().filter(|gap| gap.measure == measure).map(|gap| gap.error.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        Some((quantile(&sizes, 0.5)?, *sizes.last()?))
    }

    /// Returns the comparison for a terminal. If the terminal is narrower than the table, the swept values of a cell
    /// are on a line above its measures. The last line is the verdict.
    pub fn text(&self, width: Option<usize>) -> String {
        self.text_beside(width, None)
    }

    /// Returns the text of [`Twin::text`], and inserts `beside`, the last line of another comparison, above the
    /// verdict.
    pub fn text_beside(&self, width: Option<usize>, beside: Option<&str>) -> String {
        let mut text = self.columns(width.unwrap_or(WIDTH));
        for (column, name, _) in MEASURES {
            if let Some((median, worst)) = self.of_measure(column) {
                text += &format!("{name}: median error {}, worst {}\n", percent(median), percent(worst));
            }
        }
        for gap in self.worst_gaps().iter().take(3) {
            if let Some((part, off)) = &gap.part {
                let (values, measure) = (&gap.values, gap.name());
                text +=
                    &format!("off most: {values} {measure} {:+.1} %, of it {part} {off:+.3} ms\n", 100.0 * gap.error);
            }
        }
        self.partial.iter().for_each(|why| text += &format!("{why}\n"));
        text += &format!("{}\n", self.last_line());
        beside.into_iter().for_each(|line| text += &format!("{line}\n"));
        text + &self.verdict.text + "\n"
    }

    /// Returns a line for each error, no wider than the terminal if possible.
    fn columns(&self, terminal: usize) -> String {
        let heading = HEADINGS.map(str::to_owned);
        let rows: Vec<[String; 7]> = [heading].into_iter().chain(self.errors.iter().map(Gap::row)).collect();
        let right = [false, false, true, true, true, true, true];
        let columns = Columns::of(&rows, &right);
        if columns.width() <= terminal {
            return rows.iter().map(|row| columns.line(row) + "\n").collect();
        }
        let figures: Vec<&[String]> = rows.iter().map(|row| &row[1..]).collect();
        let columns = Columns::of(&figures, &right[1..]);
        let mut text = String::new();
        for (at, row) in rows.iter().enumerate() {
            if at == 0 || row[0] != rows[at - 1][0] {
                text += &format!("{}\n", row[0]);
            }
            text += &format!("  {}\n", columns.line(&row[1..]));
        }
        text
    }

    /// Returns the line that summarises the errors.
    pub fn last_line(&self) -> String {
        format!(
            "all {} measures: median error {}, worst {}; devices' times {}",
            self.errors.len(),
            percent(self.median),
            percent(self.worst),
            self.times
        )
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("# {}: simulated against live\n\n", self.scenario);
        text += &format!("Median error {}, worst {}", percent(self.median), percent(self.worst));
        text += &format!(" of {} measures; devices' times are {}.\n\n", self.errors.len(), self.times);
        self.partial.iter().for_each(|why| text += &format!("{why}.\n\n"));
        for (column, name, _) in MEASURES {
            if let Some((median, worst)) = self.of_measure(column) {
                text += &format!("- {name}: median {}, worst {}\n", percent(median), percent(worst));
            }
        }
        text += "\n## The worst\n\n| cell | measure | error | ± 95 % | live / live | the part most off | by ms |\n";
        text += "| --- | --- | --: | --: | --: | --- | --: |\n";
        for gap in self.worst_gaps() {
            let [values, measure, _, _, error, confidence, floor] = gap.row();
            let (part, off) = gap.part.clone().unwrap_or_default();
            text += &format!("| {values} | {measure} | {error} | {confidence} | {floor} | {part} | {off:+.3} |\n");
        }
        text += &format!("\n## All\n\n| {} |\n", HEADINGS.join(" | "));
        text += "| --- | --- | --: | --: | --: | --: | --: |\n";
        self.errors.iter().for_each(|gap| text += &format!("| {} |\n", gap.row().join(" | ")));
        text + &format!("\n![simulated against live](charts/twin.svg)\n\n{}\n", self.verdict.text)
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Returns a CSV row for each cell and measure.
    ///
    /// # Errors
    /// The rows cannot be encoded as CSV.
    pub fn csv(&self) -> Result<String> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let header =
            ["cell", "values", "measure", "live", "sim", "error", "confidence", "noise_floor", "part", "part_ms"];
        csv.write_record(header).map_err(Error::encode("the twin's CSV"))?;
        for gap in &self.errors {
            let [confidence, floor] = [gap.confidence, gap.noise_floor].map(|of| of.map(number).unwrap_or_default());
            let (part, off) = gap.part.as_ref().map(|(part, off)| (part.clone(), number(*off))).unwrap_or_default();
            let figures = [number(gap.live), number(gap.sim), number(gap.error), confidence, floor, part, off];
            let names = [gap.cell.to_string(), gap.values.clone(), gap.measure.to_owned()];
            csv.write_record(names.iter().chain(&figures)).map_err(Error::encode("the twin's CSV"))?;
        }
        let bytes = csv.into_inner().map_err(Error::encode("the twin's CSV"))?;
        String::from_utf8(bytes).map_err(Error::encode("the twin's CSV"))
    }

    /// Returns the scatter chart of predictions against measurements.
    ///
    /// # Errors
    /// The chart cannot be drawn.
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

    /// Writes `twin.json`, `twin.md` and the chart to a new `<scenario>-twin-<n>` under `parent`. Returns the
    /// directory, and the reason if the chart is missing.
    ///
    /// # Errors
    /// The directory or one of the other files cannot be written.
    pub fn write(&self, parent: &Path) -> Result<(PathBuf, Option<Error>)> {
        let dir = claim::directory(parent, &format!("{}-twin", self.scenario))?;
        write_json(&dir.join("twin.json"), self)?;
        write_synced(&dir.join("twin.md"), self.markdown().as_bytes())?;
        let drawn = self.picture().and_then(|picture| picture.write(&dir.join("charts")));
        Ok((dir, drawn.err()))
    }
}

impl Gap {
    /// Returns the size of an error that may be due to chance, as a fraction: the larger of `noise_floor` and
    /// `confidence`. `None` for one repetition.
    pub fn noise(&self) -> Option<f64> {
        Some(self.noise_floor?.max(self.confidence.unwrap_or(0.0)))
    }

    /// Returns the measure's name without its unit, as tables show it.
    fn name(&self) -> &'static str {
        MEASURES.iter().find(|(column, _, _)| *column == self.measure).map_or(self.measure, |measure| measure.1)
    }

    fn row(&self) -> [String; 7] {
        let unit = MEASURES.iter().find(|(column, _, _)| *column == self.measure).map_or("", |measure| measure.2);
        let name = format!("{} {unit}", self.name());
        let [confidence, floor] = [self.confidence, self.noise_floor].map(|of| of.map_or("–".to_owned(), percent));
        let error = format!("{:+.1} %", self.error * 100.0);
        [self.values.clone(), name, significant(self.live), significant(self.sim), error, confidence, floor]
    }
}

/// Compares one measure of a cell. Returns `None` if the live or the simulated cell lacks the measure, or if the live
/// value is 0.
fn gap(column: &'static str, live: &Cell, sim: &Cell, live_rows: &[&CellRow]) -> Option<Gap> {
    let (measured, predicted) = (live.mean(column)?, sim.mean(column)?);
    let error = Some((predicted - measured) / measured).filter(|error| error.is_finite())?;
    let values: Vec<f64> = live_rows.iter().filter_map(|row| row.get(column)).collect();
    let relative = |cell: &Cell| cell.get(column).and_then(|sample| Some(sample.half_width? / sample.mean));
    // The relative width of a ratio is the root of the summed squares of the two means' relative widths.
    let confidence = relative(live).map(|width| width.hypot(relative(sim).unwrap_or(0.0)) * (1.0 + error));
    let word = |(path, value): &(String, String)| format!("{}={value}", short(path).replace(' ', "_"));
    let values_text = live.axes.iter().map(word).collect::<Vec<_>>().join(" ");
    Some(Gap {
        cell: live.cell,
        values: if values_text.is_empty() { "the one cell".to_owned() } else { values_text },
        measure: column,
        live: measured,
        sim: predicted,
        error,
        confidence,
        noise_floor: (values.len() > 1).then(|| pairwise_gap(&values)),
        part: most_off(live, sim),
    })
}

/// Returns the part of the mean latency with the largest difference between the live and the simulated cell.
fn most_off(live: &Cell, sim: &Cell) -> Option<(String, f64)> {
    let off = |(column, name): &(&str, &str)| Some(((*name).to_owned(), sim.mean(column)? - live.mean(column)?));
    PARTS.iter().filter_map(off).max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))
}

fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

//! `twin --without TERM`: the errors of the prediction with and without a term of the host model.
use crate::calibrate::{read_profile, unfit};
use crate::exit::Exit;
use crate::progress::Progress;
use crate::signals::interrupted;
use crate::sweep::DRAWS;
use calibration::{DriftTimeline, Term, prepare};
use miette::miette;
use reports::cells::{CellRow, CellStatus};
use reports::measures::MeasureRecorder;
use reports::read::Run;
use reports::twin::{Gap, ProbedRun, Recording, Twin, errors};
use rows::stats::median;
use scenarios::cell::CellKey;
use scenarios::plan::Plan;
use scenarios::profile::Profile;
use simulator::HORIZON;
use std::path::Path;

/// One live run of a cell.
pub struct LiveCell {
    pub plan: Plan,
    pub key: CellKey,
    /// The index of the last probe before the run.
    pub probe: usize,
}

/// The live runs of a twin, with the data that their predictions need.
pub struct Recorded {
    pub cells: Vec<LiveCell>,
    pub drift: DriftTimeline,
    pub profile: Option<Profile>,
    pub measured: Run,
}

/// The errors of several predictions of the same live runs.
pub struct Ablation {
    rows: Vec<Row>,
}

/// The errors of the prediction without some terms.
struct Row {
    without: String,
    errors: Vec<Gap>,
    /// The numbers of the cells whose network was shaped.
    shaped: Vec<u32>,
}

impl Ablation {
    /// Predicts the live cells several times: with the whole host model, then without one of `terms` at a time, and, if
    /// there are several terms, without all of them.
    ///
    /// # Errors
    /// The profile has no figures for the model of a cell.
    pub fn of(recorded: &Recorded, terms: &[Term]) -> Result<Ablation, Exit> {
        let mut variants = vec![("nothing".to_owned(), Vec::new())];
        variants.extend(terms.iter().map(|term| (term.to_string(), vec![*term])));
        if terms.len() > 1 {
            variants.push(("all of these".to_owned(), terms.to_vec()));
        }
        let task = format!("predicting {} cells with and without {} terms", recorded.cells.len(), terms.len());
        let progress = Progress::new("terms", variants.len() as u64, &task)?;
        let mut rows = Vec::new();
        for (without, terms) in variants {
            if interrupted() {
                break;
            }
            rows.push(predict(recorded, without, &terms)?);
            progress.step();
        }
        progress.end();
        Ok(Ablation { rows })
    }

    /// Returns the comparison of the live runs with their prediction by the whole host model.
    ///
    /// # Errors
    /// No cell was run live.
    pub fn twin(&self, recorded: &Recorded) -> Result<Twin, Exit> {
        let partial = recorded.measured.manifest.partial().map(|why| format!("live {why}"));
        let errors = self.rows.first().map(|row| row.errors.clone()).unwrap_or_default();
        Ok(Twin::new(&recorded.measured, errors, partial.into_iter().collect())?)
    }

    /// The table as text for people.
    pub fn text(&self) -> String {
        let heading = ["without", "median", "mean", "bare: median", "mean", "shaped: median", "mean"];
        let mut rows = vec![heading.map(str::to_owned)];
        rows.extend(self.rows.iter().map(|row| {
            let cells = Row::parts().map(|(_, part)| row.spread(part));
            let [all, bare, shaped] = cells.map(|spread| spread.map(|of| of.map_or("–".to_owned(), percent)));
            let [[a, b], [c, d], [e, f]] = [all, bare, shaped];
            [row.without.clone(), a, b, c, d, e, f]
        }));
        let columns = scenarios::columns::Columns::of(&rows, &[false, true, true, true, true, true, true]);
        let mut text: String = rows.iter().map(|row| columns.line(row) + "\n").collect();
        let noise = self.rows.first().map(|row| {
            Row::parts().map(|(_, part)| {
                let noise = row.of(part).filter_map(|gap| gap.noise_floor).collect();
                median(noise).map_or("–".to_owned(), percent)
            })
        });
        if let Some([all, bare, shaped]) = noise {
            text += &format!("noise floor (median): all {all}, bare {bare}, shaped {shaped}\n");
        }
        text
    }

    /// Writes the table as CSV, with errors as fractions of the live values.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Exit> {
        let mut text = "without,network,measures,median_error,mean_error,median_noise_floor\n".to_owned();
        for row in &self.rows {
            for (name, part) in Row::parts() {
                let noise = median(row.of(part).filter_map(|gap| gap.noise_floor).collect());
                let [middle, mean] = row.spread(part);
                let figures = [middle, mean, noise].map(|of| of.map(|of| format!("{of:.5}")).unwrap_or_default());
                text += &format!("{},{name},{},{}\n", row.without, row.of(part).count(), figures.join(","));
            }
        }
        Ok(reports::files::write_synced(path, text.as_bytes())?)
    }
}

impl Recorded {
    /// Opens the directory of a twin. The directory of its live run must be beside it, under the recorded name.
    ///
    /// # Errors
    /// If a file of the two directories is missing or damaged.
    pub fn open(twin: &Path) -> Result<Recorded, Exit> {
        let recording = Recording::read(twin)?;
        let live = twin.join("..").join(&recording.live);
        let profile = twin.join("profile.ron");
        let profile = if profile.exists() { Some(read_profile(&profile)?) } else { None };
        let measured = Run::open(&live)?;
        let plans = reports::read::plans(&live)?;
        let mut cells = Vec::new();
        for ProbedRun { cell, repeat, probe } in &recording.probed {
            let plan = plans.iter().find(|plan| plan.cell == *cell);
            let row = measured.rows.iter().find(|row| (row.cell, row.repeat) == (*cell, *repeat));
            let (Some(plan), Some(row)) = (plan, row) else {
                let live = live.display();
                let why = format!(
                    "the twin {} needs repetition {repeat} of cell {cell}, which the live run {live} does not have",
                    twin.display()
                );
                return Err(Exit { code: 1, report: miette!("{why}") });
            };
            // `plan.ron` has one plan per cell. The plans of its repetitions differ only in their random streams.
            let plan = Plan { repeat: *repeat, ..plan.clone() };
            let chance = if *repeat == 0 { plan.chance } else { plan.chance.derive("repeat", (*repeat).into(), 0) };
            let key = CellKey { index: *cell, values: row.axes.clone() };
            cells.push(LiveCell { plan: Plan { chance, ..plan }, key, probe: *probe });
        }
        Ok(Recorded { cells, drift: DriftTimeline::of(recording.probes), profile, measured })
    }
}

impl Row {
    /// The parts of the table: all cells (`None`), the cells without a shaped network (`Some(false)`), and the cells
    /// with one.
    fn parts() -> [(&'static str, Option<bool>); 3] {
        [("all", None), ("bare", Some(false)), ("shaped", Some(true))]
    }

    fn of(&self, shaped: Option<bool>) -> impl Iterator<Item = &Gap> {
        let wanted = move |gap: &&Gap| shaped.is_none_or(|shaped| self.shaped.contains(&gap.cell) == shaped);
        self.errors.iter().filter(wanted)
    }

    /// The median and the mean of the absolute errors in a part of the table.
    fn spread(&self, shaped: Option<bool>) -> [Option<f64>; 2] {
        let sizes: Vec<f64> = self.of(shaped).map(|gap| gap.error.abs()).collect();
        let mean = (!sizes.is_empty()).then(|| sizes.iter().sum::<f64>() / sizes.len() as f64);
        [median(sizes), mean]
    }
}

/// Simulates each live run `DRAWS` times with different random streams, and computes the errors.
fn predict(recorded: &Recorded, without: String, terms: &[Term]) -> Result<Row, Exit> {
    let (mut profile, mut drift) = (recorded.profile.clone(), recorded.drift.clone());
    terms.iter().for_each(|term| term.remove(profile.as_mut(), &mut drift));
    let (mut rows, mut shaped) = (Vec::new(), Vec::new());
    for LiveCell { plan, key, probe } in &recorded.cells {
        let mut plan = plan.clone();
        prepare(&mut plan, profile.as_ref()).map_err(unfit)?;
        drift.apply(*probe, &mut plan);
        if plan.network.shape {
            shaped.push(plan.cell);
        }
        for plan in crate::sweep::drawn(&plan, DRAWS) {
            let mut recorder = MeasureRecorder::new(&plan);
            simulator::run_into(&plan, HORIZON, &mut recorder);
            rows.push(CellRow::new(key, plan.repeat, &CellStatus::Done, &recorder.measures()));
        }
    }
    let repeats = recorded.measured.manifest.repeats() * DRAWS;
    Ok(Row { without, errors: errors(&recorded.measured, &reports::summary::cells(&rows, repeats)), shaped })
}

fn percent(fraction: f64) -> String {
    format!("{:.2} %", 100.0 * fraction)
}

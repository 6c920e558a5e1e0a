//! `twin`: runs a scenario live, simulates it with this machine's calibrated devices, and prints the differences.
//!
//! The machine's speed drifts, for example with the load of other virtual machines on the same server. Live cells
//! therefore run in random order, each between two short probes of fixed work, and each is simulated with the device
//! speed that its probes measured.
use crate::ablation::{Ablation, LiveCell, Recorded};
use crate::calibrate::{Measured, measure, read_profile, save, unfit, watch};
use crate::exit::{Done, Exit, INTERRUPT};
use crate::place;
use crate::print::{Format, errln, say, width};
use crate::run_writer::SweepWriter;
use crate::signals::{Heeding, INTERRUPTED, interrupted};
use crate::sweep::{Batch, DRAWS, Sweep};
use actors::seed::mix;
use calibration::swarms::probes;
use calibration::{DriftTimeline, Probed, Term, drift_of, prepare};
use clap::Args;
use live::Options;
use miette::miette;
use reports::manifest::World;
use reports::read;
use reports::twin::{ProbedRun, Recording, Twin};
use scenarios::plan::Plan;
use scenarios::profile::Profile;
use simulator::observed::Observed;
use simulator::{HORIZON, run_into, run_observed_into};
use std::path::PathBuf;
use topology::outcome::{Outcome, Run};

/// The exit code if an error of the prediction exceeds `--fail-above`.
pub const OFF: u8 = 10;

/// The minimum number of live runs of each cell. A number on the command line overrides it. The differences between the
/// live runs of a cell are the measurement noise, with which the prediction error is compared.
const REPEATS: u32 = 3;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    sweep: Sweep,
    /// Simulate also with the computing times of the live run itself, which excludes errors in the speed of devices
    #[arg(long)]
    observed: bool,
    /// The profile of this machine; without this option, the machine is measured first
    #[arg(long)]
    profile: Option<PathBuf>,
    /// The number of measurement rounds for the profile
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Simulate again without this term of the host model, and print the errors with and without the term
    #[arg(long, value_name = "TERM", value_delimiter = ',')]
    without: Vec<Term>,
    /// Fit the profile to these cells, and compare live and simulated results only of the other cells. Select cells by
    /// `path=value`, several conditions joined by `&&`
    #[arg(long, value_name = "CELLS", conflicts_with = "profile")]
    fit: Option<String>,
    /// Exit with code 10 if a prediction error exceeds this limit (`10%` or `0.1`) and its noise floor
    #[arg(long, value_parser = fraction)]
    fail_above: Option<f64>,
}

pub fn fraction(text: &str) -> Result<f64, String> {
    let (number, whole) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
    let value = number.trim().parse::<f64>().ok().map(|value| value / whole);
    let sound = value.filter(|value| value.is_finite() && *value >= 0.0);
    sound.ok_or_else(|| format!("`{text}` is not a share; write for example 10% or 0.1"))
}

pub fn twin(wanted: &Arguments) -> Done {
    place::directory(&wanted.sweep.out)?;
    let sweep = &wanted.sweep.repeated_at_least(REPEATS)?;
    let mut batch = sweep.live_ready()?;
    sweep.able(&batch)?;
    place::temporary()?;
    let fitted = wanted.fit.as_ref().map(|cells| leave_out(sweep, &mut batch, cells)).transpose()?;
    let _heeding = Heeding::new();
    let profile = match &wanted.profile {
        Some(path) => Some(read_profile(path)?),
        // A scenario whose devices all have profiles of their own needs no measurement.
        None if batch.plans.iter().all(profiled) => None,
        None => {
            let source = format!("swarmbench twin {}", sweep.scenario);
            let name = &batch.scenario().name;
            let Measured { profile, interrupted } =
                measure(fitted.as_ref().unwrap_or(&batch.plans), wanted.rounds, name, &source)?;
            if let Some(how) = interrupted {
                let dir = reports::claim::directory(&sweep.out, &format!("{name}-twin"))?;
                save(&profile, &dir.join("profile.ron"))?;
                errln!("{how}, and no cell was run; use the saved profile with --profile");
                return Ok(INTERRUPTED);
            }
            Some(profile)
        }
    };
    let live = Live::run(sweep, &batch, profile.as_ref())?;
    if live.cells.is_empty() && interrupted() {
        if let Some(profile) = &profile {
            save(profile, &live.dir.join("profile.ron"))?;
        }
        errln!("the twin was interrupted before any cell was run live, so there is no comparison");
        return Ok(INTERRUPTED);
    }
    let ablated = match wanted.without.as_slice() {
        [] => None,
        terms => Some(Ablation::of(&live.recorded(&batch, profile.as_ref())?, terms)?),
    };
    // The plans are changed in place, so that the run directory of the simulation has the plans as they are simulated.
    for measured in &live.cells {
        let plan = &mut batch.plans[measured.index];
        prepare(plan, profile.as_ref()).map_err(unfit)?;
        live.drift.apply(measured.probe, plan);
    }
    let batch = batch.drawn(DRAWS);
    let mut twin = predict(sweep, &batch, &live, Times::Calibrated, profile.as_ref())?;
    // With --observed, the summary of the prediction with calibrated times is shown too, for comparison.
    let mut beside = None;
    if wanted.observed {
        beside = Some(twin.seen.last_line());
        twin = predict(sweep, &batch, &live, Times::Observed, profile.as_ref())?;
    }
    let Predicted { seen: twin, dir, code } = twin;
    match sweep.format {
        Format::Table => {
            say!("{}", twin.text_beside(width(), beside.as_deref()));
        }
        Format::Json => say!("{}", twin.json()),
        Format::Csv => {
            say!("{}", twin.csv()?);
            errln!("{}", twin.verdict.text);
        }
        Format::Md => say!("{}", twin.markdown()),
    }
    if let Some(ablated) = ablated {
        ablated.write(&dir.join("terms.csv"))?;
        if matches!(sweep.format, Format::Table | Format::Md) {
            say!("\n{}", ablated.text());
        }
    }
    errln!("{}", dir.display());
    let code = live.code.max(code);
    let off = wanted.fail_above.map_or(0, |limit| twin.beyond(limit).count());
    if code == 0 && off > 0 {
        errln!(
            "{off} of {} prediction errors are above both the limit of --fail-above and their noise floor",
            twin.errors.len()
        );
        return Ok(OFF);
    }
    Ok(code)
}

/// Removes the cells with these values from the batch, and returns their plans.
fn leave_out(sweep: &Sweep, batch: &mut Batch, cells: &str) -> Result<Vec<Plan>, Exit> {
    // The profile is fitted to one repetition of each cell, however often the sweep repeats it.
    let set = sweep.set.iter().filter(|(path, _)| path != "sweep.repeat").cloned().collect();
    let fitted = Sweep { only: Some(cells.to_owned()), repeat: Some(1), set, ..sweep.clone() }.live_batch()?;
    batch.remove(&fitted);
    if batch.plans.is_empty() {
        let why =
            format!("--fit `{cells}` uses every cell for the profile, so no cell is left to compare; name fewer cells");
        return Err(Exit { code: 2, report: miette!("{why}") });
    }
    Ok(fitted.plans)
}

/// The source of the computing times in the simulation.
#[derive(Clone, Copy, PartialEq)]
enum Times {
    Calibrated,
    Observed,
}

/// The comparison of a simulation with the live cells, the simulation's directory, and its exit code.
struct Predicted {
    seen: Twin,
    dir: PathBuf,
    code: u8,
}

fn predict(
    sweep: &Sweep,
    batch: &Batch,
    live: &Live,
    times: Times,
    profile: Option<&Profile>,
) -> Result<Predicted, Exit> {
    let mut writer = SweepWriter::new(sweep, batch, World::Sim)?;
    // If a signal stopped the live runs early, the cells that did run are simulated all the same.
    let before = interrupted();
    for Watched { index, observed, .. } in &live.cells {
        if interrupted() && !before {
            break;
        }
        for index in (index * DRAWS as usize..).take(DRAWS as usize) {
            let plan = &batch.plans[index];
            let mut recorder = writer.recorders().begin(batch.keys[index].index, plan, None);
            let run = match times {
                Times::Calibrated => run_into(plan, HORIZON, &mut recorder),
                Times::Observed => run_observed_into(plan, HORIZON, observed.clone(), &mut recorder),
            };
            writer.keep_recorded(index, run, recorder)?;
        }
    }
    let (sim, mut code) = writer.finish()?;
    let name = if times == Times::Observed { "observed in the live run" } else { "calibrated" };
    let twin = Twin::of(&read::Run::open(&live.dir)?, &read::Run::open(&sim.path)?)?;
    let twin = twin.with_times_of(name, live.recording(batch));
    let (dir, missing) = twin.write(&sweep.out)?;
    if let Some(why) = missing {
        errln!("note: the chart of the twin could not be drawn: {why}");
        code = code.max(1);
    }
    if let Some(profile) = profile {
        save(profile, &dir.join("profile.ron"))?;
    }
    let drawing = reports::draw::draw(&[live.dir.clone(), sim.path], Some(&dir))?;
    for note in &drawing.unwritten {
        errln!("note: {note}");
        code = code.max(1);
    }
    Ok(Predicted { seen: twin, dir, code })
}

fn profiled(plan: &Plan) -> bool {
    plan.hosts.iter().skip(1).flat_map(|host| host.devices()).all(|device| device.cost.table.is_some())
}

/// The live runs of a twin.
struct Live {
    dir: PathBuf,
    code: u8,
    cells: Vec<Watched>,
    drift: DriftTimeline,
}

/// A live run of a cell: the index of its plan, the index of the last probe before it, and the observed times of its
/// jobs.
struct Watched {
    index: usize,
    probe: usize,
    observed: Observed,
}

impl Live {
    /// Returns the live runs with their probes. These suffice to predict the runs with and without terms of the host
    /// model.
    fn recorded(&self, batch: &Batch, profile: Option<&Profile>) -> Result<Recorded, Exit> {
        let cell = |watched: &Watched| LiveCell {
            plan: batch.plans[watched.index].clone(),
            key: batch.keys[watched.index].clone(),
            probe: watched.probe,
        };
        Ok(Recorded {
            cells: self.cells.iter().map(cell).collect(),
            drift: self.drift.clone(),
            profile: profile.cloned(),
            measured: read::Run::open(&self.dir)?,
        })
    }

    /// Returns the record of the live runs that the twin's directory keeps. Each live run has `DRAWS` consecutive plans
    /// in `batch`.
    fn recording(&self, batch: &Batch) -> Recording {
        let probed = self.cells.iter().map(|watched| {
            let plan = &batch.plans[watched.index * DRAWS as usize];
            ProbedRun { cell: plan.cell, repeat: plan.repeat / DRAWS, probe: watched.probe }
        });
        let live = self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Recording { live, probes: self.drift.probes.clone(), probed: probed.collect() }
    }

    fn run(sweep: &Sweep, batch: &Batch, profile: Option<&Profile>) -> Result<Live, Exit> {
        let options = Options::new(std::env::current_exe()?);
        let mut probes = Probes::new(batch, profile)?;
        // The first probe runs before the run directory is created, so a probe that fails leaves no empty directory.
        probes.look(&options)?;
        let mut writer = SweepWriter::new(sweep, batch, World::Live)?;
        let mut order: Vec<usize> = (0..batch.plans.len()).collect();
        order.sort_by_key(|at| mix(mix(sweep.seed) ^ *at as u64));
        let mut cells = Vec::new();
        for (probe, index) in order.into_iter().enumerate() {
            if interrupted() {
                break;
            }
            let run = live::run(&batch.plans[index], &options, &INTERRUPT);
            writer.doing("probe");
            probes.look(&options).map_err(|stop| writer.left(stop))?;
            if let Ok(Run { events, outcome, .. }) = &run
                && !matches!(outcome, Outcome::Interrupted)
            {
                cells.push(Watched { index, probe, observed: Observed::of(events) });
            }
            writer.keep(index, run.map_err(|error| error.to_string()))?;
        }
        cells.sort_by_key(|cell| cell.index);
        let (dir, code) = writer.finish()?;
        Ok(Live { dir: dir.path, code, cells, drift: DriftTimeline::of(probes.seen) })
    }
}

/// Short live runs that do the same work each time and show the machine's speed. Successive probes have different
/// prompt sizes. The plans of the probes have the device times of the profile.
struct Probes {
    /// The plans of the probes. Empty if no profile gives their expected times.
    plans: Vec<Plan>,
    /// The results of the probes so far: the prompt size of each and the measured speed.
    seen: Vec<Probed>,
}

impl Probes {
    fn new(batch: &Batch, profile: Option<&Profile>) -> Result<Probes, Exit> {
        // If no probe can be made for these cells, the live runs are made without probes.
        let mut plans = probes(&batch.plans).unwrap_or_default();
        plans.retain(|plan| profile.is_some() || profiled(plan));
        plans.iter_mut().try_for_each(|plan| prepare(plan, profile)).map_err(unfit)?;
        Ok(Probes { plans, seen: Vec::new() })
    }

    fn look(&mut self, options: &Options) -> Result<(), Exit> {
        let turn = self.seen.len();
        let Some(plan) = turn.checked_rem(self.plans.len()).map(|at| &self.plans[at]) else { return Ok(()) };
        if interrupted() {
            return Ok(());
        }
        match watch(plan, 0, options) {
            Err(_) if interrupted() => {}
            run => self.seen.push(Probed { size: plan.workload.prompt, drift: drift_of(&run?) }),
        }
        Ok(())
    }
}

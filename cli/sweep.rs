//! A sweep with the overrides of the command line, and its cells and plans.
use crate::execute::{self, Unsuited};
use crate::exit::{Exit, bad_scenario};
use crate::print::{Format, errln};
use actors::limits;
use actors::seed::Seed;
use actors::time::Duration;
use clap::Args;
use clap::builder::RangedI64ValueParser;
use scenarios::cell::CellKey;
use scenarios::chart::Chart;
use scenarios::plan::Plan;
use scenarios::schema::Scenario;
use scenarios::{Cell, Loaded, Overrides, Summary};
use std::collections::BTreeSet;
use std::path::PathBuf;

#[derive(Args, Clone)]
pub struct Sweep {
    /// The path of a scenario file, or the name of a scenario of the library
    pub scenario: String,
    /// The directory in which run directories are created
    #[arg(long, default_value = "runs")]
    pub out: PathBuf,
    /// The seed of all random choices
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Set a field of the scenario to a value in every cell
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
    /// Sweep a field of the scenario over values
    #[arg(long = "axis", value_name = "PATH=A,B,C", value_parser = assignment)]
    pub axis: Vec<(String, String)>,
    /// Run only the cells with these values: `path=value`, several joined by `&&`
    #[arg(long)]
    pub only: Option<String>,
    /// The number of repetitions of each cell
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: Option<u32>,
    /// The number of simulations that run in parallel [default: the number of cores]
    #[arg(long, value_parser = jobs())]
    pub jobs: Option<u32>,
    /// The output format of the result
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

pub fn assignment(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').map(|(path, value)| (path.trim().to_owned(), value.trim().to_owned()));
    parts.filter(|(path, _)| !path.is_empty()).ok_or_else(|| format!("`{text}` does not have the form PATH=VALUE"))
}

/// The parser of the option `--jobs`, the number of simulations that run in parallel.
pub fn jobs() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(limits::THREADS))
}

/// The number of threads that run `jobs` simulations in parallel. `None` means as many as there are cores.
pub fn threads(jobs: Option<u32>) -> usize {
    jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), |jobs| jobs as usize)
}

/// A resolved sweep: the plan of every repetition of every cell.
pub struct Batch {
    pub loaded: Loaded,
    cells: Vec<Cell>,
    /// The key of each plan's cell.
    pub keys: Vec<CellKey>,
    pub plans: Vec<Plan>,
}

impl Batch {
    /// The scenario with the overrides of the command line. Its name and its charts apply to all cells.
    pub fn scenario(&self) -> &Scenario {
        self.cells.first().map_or_else(|| self.loaded.scenario(), |cell| &cell.scenario)
    }

    /// Removes the cells that `other` contains.
    pub fn remove(&mut self, other: &Batch) {
        let gone: BTreeSet<&[(String, String)]> = other.keys.iter().map(|key| key.values.as_slice()).collect();
        self.cells.retain(|cell| !gone.contains(cell.key.values.as_slice()));
        let kept = self.keys.iter().map(|key| !gone.contains(key.values.as_slice())).collect::<Vec<_>>();
        let (mut of_keys, mut of_plans) = (kept.iter(), kept.iter());
        self.keys.retain(|_| *of_keys.next().expect("one for each key"));
        self.plans.retain(|_| *of_plans.next().expect("one for each plan"));
    }

    /// The charts that the scenario asks for or, if it asks for none, charts that suit the swept fields.
    pub fn charts(&self) -> Vec<Chart> {
        let asked = &self.scenario().report;
        if !asked.is_empty() {
            return asked.clone();
        }
        let varied = self.cells.first().map(|cell| cell.key.values.as_slice()).unwrap_or_default();
        let count = |at: usize| self.cells.iter().map(|cell| &cell.key.values[at].1).collect::<BTreeSet<_>>().len();
        let axes = varied.iter().enumerate().map(|(at, (path, _))| (path.as_str(), count(at)));
        Chart::suited(&axes.filter(|(_, values)| *values > 1).collect::<Vec<_>>(), self.cells.len())
    }

    /// Returns a note on how many events of the scenario did not happen in a run that ended `end` after the barrier's
    /// release, or `None` if all happened.
    pub fn events_missed(&self, plan: &Plan, end: Duration) -> Option<String> {
        let cell = self.cells.iter().find(|cell| cell.key.index == plan.cell)?;
        let (missed, all) = cell.events_after(plan, end);
        let which = if self.cells.len() == 1 { String::new() } else { format!("cell {}: ", plan.cell) };
        let end = format!("{:.3} s", end.as_secs_f64());
        (missed > 0).then(|| format!("{which}{missed} of {all} events did not happen, because the run ended at {end}"))
    }

    /// The summary of the sweep, with its warnings.
    fn summary(&self) -> Summary {
        let scenario = self.scenario();
        let mut summary = Summary::new(scenario.name.clone(), scenario.sweep.repeat);
        self.firsts().for_each(|(cell, plan)| summary.add(cell, plan));
        summary
    }

    /// Prints the warnings of the sweep.
    fn warned(self) -> Batch {
        self.summary().warnings.iter().for_each(|warning| errln!("warning: {warning}"));
        self
    }

    /// Every cell with the plan of its first repetition.
    fn firsts(&self) -> impl Iterator<Item = (&Cell, &Plan)> {
        self.cells.iter().zip(self.plans.chunk_by(|a, b| a.cell == b.cell).filter_map(<[Plan]>::first))
    }

    /// Repeats each plan `times` times in succession. Each copy has its own random streams for the simulation.
    pub fn drawn(self, times: u32) -> Batch {
        let keys = self.keys.iter().flat_map(|key| std::iter::repeat_n(key.clone(), times as usize)).collect();
        Batch { keys, plans: self.plans.iter().flat_map(|plan| drawn(plan, times)).collect(), ..self }
    }

    /// The reasons why this machine and this build cannot run the sweep live, based on its first cell.
    pub fn live_obstacles(&self) -> Vec<String> {
        let Some(plan) = self.plans.first() else { return Vec::new() };
        let mut obstacles = scenarios::live_obstacles(plan);
        obstacles.extend(execute::device_obstacles(plan));
        obstacles
    }

    /// Checks the files that the cells name, and returns warnings, each once.
    ///
    /// # Errors
    /// If a file is missing or does not match the scenario.
    pub fn suited(&self) -> Result<Vec<String>, Exit> {
        let mut warnings = Vec::new();
        let mut last: Option<&Plan> = None;
        for (cell, plan) in self.firsts() {
            // The next cell often has the same model, tokens and workload. Its files are then not checked again.
            let same = |last: &Plan| {
                (&last.model, &last.tokens, &last.workload) == (&plan.model, &plan.tokens, &plan.workload)
                    && last.open == plan.open
            };
            if !last.is_some_and(same) {
                let reject = |Unsuited { path, why }| bad_scenario(cell.reject(path, why));
                let found = execute::check_files(plan).map_err(reject)?;
                warnings.extend(found.into_iter().filter(|warning| !warnings.contains(warning)).collect::<Vec<_>>());
            }
            last = Some(plan);
        }
        Ok(warnings)
    }
}

impl Sweep {
    /// The sweep of a scenario with these overrides. Every other option has its default value.
    pub fn of(scenario: &str, set: Vec<(String, String)>, only: Option<String>) -> Sweep {
        Sweep {
            scenario: scenario.to_owned(),
            out: PathBuf::from("runs"),
            seed: 1,
            set,
            axis: Vec::new(),
            only,
            repeat: None,
            jobs: None,
            format: Format::default(),
        }
    }

    /// Returns this sweep with at least `least` repetitions of each cell. If the command line gives a number of
    /// repetitions, that number is kept, even if it is smaller.
    ///
    /// # Errors
    /// If the scenario or an override is not valid.
    pub fn repeated_at_least(&self, least: u32) -> Result<Sweep, Exit> {
        let said = self.repeat.is_some() || self.set.iter().any(|(path, _)| path == "sweep.repeat");
        let loaded = scenarios::load(&self.scenario).map_err(bad_scenario)?;
        let repeats = loaded.repeats(&self.overrides()).map_err(bad_scenario)?;
        let repeat = if said { self.repeat } else { Some(repeats.max(least)) };
        Ok(Sweep { repeat, ..self.clone() })
    }

    pub fn overrides(&self) -> Overrides {
        Overrides { set: self.set.clone(), axis: self.axis.clone(), repeat: self.repeat, only: self.only.clone() }
    }

    pub fn batch(&self) -> Result<Batch, Exit> {
        let loaded = scenarios::load(&self.scenario).map_err(bad_scenario)?;
        let repeats = loaded.repeats(&self.overrides()).map_err(bad_scenario)?;
        self.repeated(loaded, repeats)
    }

    /// Resolves the first repetition of every cell, and returns it with the summary of the sweep.
    ///
    /// # Errors
    /// If the scenario or an override is not valid.
    pub fn look(&self) -> Result<(Batch, Summary), Exit> {
        let loaded = scenarios::load(&self.scenario).map_err(bad_scenario)?;
        let repeats = loaded.repeats(&self.overrides()).map_err(bad_scenario)?;
        let batch = self.repeated(loaded, 1)?;
        let summary = Summary { repeats, ..batch.summary() };
        Ok((batch, summary))
    }

    /// Resolves the first `repeats` repetitions of every cell.
    fn repeated(&self, loaded: Loaded, repeats: u32) -> Result<Batch, Exit> {
        let overrides = self.overrides();
        let (mut keys, mut plans) = (Vec::new(), Vec::new());
        let cells = loaded.cells(&overrides).map_err(bad_scenario)?;
        for cell in &cells {
            for repeat in 0..repeats {
                plans.push(cell.plan(Seed(self.seed), repeat).map_err(bad_scenario)?);
                keys.push(cell.key.clone());
            }
        }
        Ok(Batch { loaded, cells, keys, plans })
    }

    /// Resolves a sweep that is to run live. If the scenario names no machines, all hosts share the cores of this one.
    ///
    /// # Errors
    /// If the scenario or an override is not valid.
    #[cfg(feature = "live")]
    pub fn live_batch(&self) -> Result<Batch, Exit> {
        let mut batch = self.batch()?;
        let several = |plan: &Plan| plan.hosts.iter().any(|host| host.machine != plan.hosts[0].machine);
        if batch.scenario().machines.is_empty() && batch.plans.iter().any(several) {
            let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
            batch.plans.iter_mut().for_each(|plan| plan.onto_one_machine(cores));
            errln!(
                "note: the scenario names no machines, so in a live run all of its hosts share the cores of this one \
                 ({cores}) in turn; to run fewer or more jobs at once: --set 'machines=[Machine(name: \"here\", \
                 leases: N)]' and for each host group --set hosts.0.machine=here"
            );
        }
        Ok(batch)
    }

    /// Resolves a sweep that is to be simulated, and prints its warnings.
    pub fn ready(&self) -> Result<Batch, Exit> {
        self.batch().map(Batch::warned)
    }

    /// Resolves a sweep that is to run live, and prints its warnings.
    #[cfg(feature = "live")]
    pub fn live_ready(&self) -> Result<Batch, Exit> {
        self.live_batch().map(Batch::warned)
    }
}

/// The number of simulations of each live run, each with its own random streams. The prediction is the mean of their
/// results, because single simulations differ: small random differences decide whether the steps of several clients
/// coincide. Single runs of a swarm of three clients differed by up to 15 %.
pub const DRAWS: u32 = 5;

/// Returns `times` copies of the plan, which differ in their random streams. The first copy has the random streams of
/// the plan itself.
pub fn drawn(plan: &Plan, times: u32) -> impl Iterator<Item = Plan> {
    (0..times).map(move |draw| Plan {
        repeat: plan.repeat * times + draw,
        chance: if draw == 0 { plan.chance } else { plan.chance.derive("draw", draw.into(), 0) },
        ..plan.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::Sweep;
    use scenarios::plan::Plan;

    #[test]
    fn what_is_drawn_again_differs_by_chance_alone() {
        let batch = Sweep::of("nano", Vec::new(), None).batch().unwrap_or_else(|stop| panic!("{:?}", stop.report));
        let (keys, plans) = (batch.keys.clone(), batch.plans.clone());
        let drawn = batch.drawn(3);
        assert_eq!(drawn.plans.len(), 3 * plans.len());
        for (at, (plan, key)) in drawn.plans.iter().zip(&drawn.keys).enumerate() {
            let of = &plans[at / 3];
            assert_eq!((key, plan.repeat), (&keys[at / 3], of.repeat * 3 + at as u32 % 3), "a repetition of its own");
            assert_eq!(plan.chance == of.chance, at % 3 == 0, "the first is as it was");
            assert_eq!(*of, Plan { repeat: of.repeat, chance: of.chance, ..plan.clone() });
        }
    }
}

//! `published`: simulates systems with published measurements, and prints predicted and published figures side by side.
use crate::exit::{Done, Exit, bad_scenario};
use crate::print::{Format, errln, say};
use crate::signals::{Heeding, INTERRUPTED, interrupted};
use actors::seed::Seed;
use clap::Args;
use miette::miette;
use reports::published::{Published, RUNS, compare, paired};
use rows::RunRows;
use scenarios::published::{System, systems};
use scenarios::{Overrides, load};
use simulator::{HORIZON, run};

#[derive(Args)]
pub struct Arguments {
    /// The names of the scenarios to simulate; without names, all scenarios with published figures
    scenarios: Vec<String>,
    /// Set a field of the scenarios to a value
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = crate::sweep::assignment)]
    set: Vec<(String, String)>,
    /// The output format of the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub fn published(wanted: &Arguments) -> Done {
    let mut all = Published::default();
    let mut systems = systems().map_err(|why| Exit { code: 1, report: miette!("{why}") })?;
    if let Some(name) = wanted.scenarios.iter().find(|name| !systems.iter().any(|system| system.scenario == **name)) {
        let mut known: Vec<&str> = systems.iter().map(|system| system.scenario.as_str()).collect();
        known.dedup();
        let help = format!("the scenarios with published figures are {}", known.join(", "));
        return Err(Exit { code: 2, report: miette!(help = help, "there are no published figures for `{name}`") });
    }
    systems.retain(|system| wanted.scenarios.is_empty() || wanted.scenarios.contains(&system.scenario));
    let _heeding = Heeding::new();
    for system in &systems {
        if interrupted() || !of(system, &wanted.set, &mut all)? {
            all.not_simulated.push(system.scenario.clone());
        }
    }
    // A scenario that stands for several systems is listed once.
    all.not_simulated.dedup();
    match wanted.format {
        Format::Json => say!("{}\n", serde_json::to_string_pretty(&all)?),
        _ => say!("{}", all.markdown()),
    }
    if !all.not_simulated.is_empty() {
        errln!("the command was interrupted; these scenarios were not simulated: {}", all.not_simulated.join(", "));
        return Ok(INTERRUPTED);
    }
    Ok(0)
}

/// Simulates a system, and adds the comparison to `all`. Returns false if a signal arrived before the last run; the
/// comparison is then left out.
fn of(system: &System, set: &[(String, String)], all: &mut Published) -> Result<bool, Exit> {
    let overrides = Overrides { set: set.to_vec(), only: system.only.clone(), ..Overrides::default() };
    let cells = load(&system.scenario).and_then(|loaded| loaded.cells(&overrides)).map_err(bad_scenario)?;
    let [cell] = &cells[..] else {
        let message = format!(
            "a published figure needs exactly one cell, but {} cells of {} match; remove the --set that adds or \
             removes cells",
            cells.len(),
            system.scenario
        );
        return Err(Exit { code: 3, report: miette!(message) });
    };
    let mut runs = Vec::new();
    for repeat in 0..RUNS {
        if interrupted() {
            return Ok(false);
        }
        let plan = cell.plan(Seed(1), repeat).map_err(bad_scenario)?;
        let done = run(&plan, HORIZON);
        if !done.outcome.is_ok() {
            let why = plan.in_words(&done.outcome.to_string());
            return Err(Exit { code: 4, report: miette!("{}: {why}", system.scenario) });
        }
        let fold = RunRows::of(&done.events);
        runs.push((plan, fold));
    }
    let measured = system.measured().map_err(|why| Exit { code: 1, report: miette!("{why}") })?;
    all.figures.extend(compare(system, &measured, &runs));
    all.queries.extend(paired(system, &measured, &runs));
    Ok(true)
}

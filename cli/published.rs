//! `published`: simulates systems with published measurements, and prints both figures side by side.
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
use std::collections::BTreeSet;

#[derive(Args)]
pub struct Arguments {
    /// Only these scenarios
    scenarios: Vec<String>,
    /// Put a value over the scenarios'
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = crate::sweep::assignment)]
    set: Vec<(String, String)>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub fn published(wanted: &Arguments) -> Done {
    let mut all = Published::default();
    let _heeding = Heeding::new();
    for system in systems().map_err(|why| Exit { code: 1, report: miette!("{why}") })? {
        let meant = wanted.scenarios.is_empty() || wanted.scenarios.contains(&system.scenario);
        if meant && !interrupted() {
            of(&system, &wanted.set, &mut all)?;
        }
    }
    if all.figures.is_empty() && !interrupted() {
        let known = systems().map_err(|why| Exit { code: 1, report: miette!("{why}") })?;
        let known: BTreeSet<String> = known.into_iter().map(|system| system.scenario).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        let why = format!("nothing was published of {}: name one of {known}", wanted.scenarios.join(", "));
        return Err(Exit { code: 2, report: miette!("{why}") });
    }
    match wanted.format {
        Format::Json => say!("{}\n", serde_json::to_string_pretty(&all)?),
        _ => say!("{}", all.markdown()),
    }
    if interrupted() {
        errln!("interrupted: not all systems were simulated");
        return Ok(INTERRUPTED);
    }
    Ok(0)
}

/// Simulates a system, and adds the comparison to `all`.
fn of(system: &System, set: &[(String, String)], all: &mut Published) -> Result<(), Exit> {
    let overrides = Overrides { set: set.to_vec(), only: system.only.clone(), ..Overrides::default() };
    let cells = load(&system.scenario).and_then(|loaded| loaded.cells(&overrides)).map_err(bad_scenario)?;
    let [cell] = &cells[..] else {
        let message = format!("{} cells of {} are meant by one figure", cells.len(), system.scenario);
        return Err(Exit { code: 3, report: miette!(message) });
    };
    let mut runs = Vec::new();
    for repeat in 0..RUNS {
        // An interrupted system has fewer runs than the others and is left out.
        if interrupted() {
            return Ok(());
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
    Ok(())
}

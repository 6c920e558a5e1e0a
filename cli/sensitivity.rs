//! `sensitivity`: changes the inputs of a scenario one at a time, and shows which one changes the result most.
use crate::exit::{Done, Exit};
use crate::place;
use crate::print::{Format, errln, say, width};
use crate::signals::{Heeding, INTERRUPTED, interrupted};
use crate::sweep::Sweep;
use clap::Args;
use miette::miette;
use reports::sensitivity::{Effect, Sensitivity};
use scenarios::plan::Plan;
use scenarios::sensitivity::{Input, choices};
use simulator::{HORIZON, run_into};
use topology::outcome::Outcome;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    sweep: Sweep,
    /// The percentage by which each number is decreased and increased
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=90))]
    by: u32,
}

pub fn sensitivity(wanted: &Arguments) -> Done {
    place::directory(&wanted.sweep.out)?;
    let batch = wanted.sweep.batch()?;
    let base = figures(&batch.plans)?;
    // From here on there are results to save after a signal.
    let _heeding = Heeding::new();
    let by = f64::from(wanted.by) / 100.0;
    let (mut effects, mut not_varied) = (Vec::new(), Vec::new());
    for input in Input::ALL {
        if interrupted() {
            not_varied.push(input.name().to_owned());
            continue;
        }
        let vary = |factor| varied(&batch.plans, |plan| input.scaled(plan, factor));
        let (Some(less), Some(more)) = (vary(1.0 - by), vary(1.0 + by)) else { continue };
        let (less, more) = (figures(&less)?, figures(&more)?);
        effects.push(Effect::of(&format!("{} ±{} %", input.name(), wanted.by), base, less, Some(more)));
    }
    let mut named: Vec<String> = Vec::new();
    for (name, _) in batch.plans.iter().flat_map(choices) {
        if !named.contains(&name) {
            named.push(name);
        }
    }
    for name in named {
        if interrupted() {
            not_varied.push(name);
            continue;
        }
        let choose = |plan: &Plan| choices(plan).into_iter().find(|choice| choice.0 == name).map(|choice| choice.1);
        if let Some(plans) = varied(&batch.plans, choose) {
            effects.push(Effect::of(&name, base, figures(&plans)?, None));
        }
    }
    let found = Sensitivity::new(&batch.scenario().name, base, effects, not_varied);
    let (dir, missing) = found.write(&wanted.sweep.out)?;
    match wanted.sweep.format {
        Format::Table => say!("{}", found.text(width())),
        Format::Json => say!("{}", found.json()),
        Format::Csv => say!("{}", found.csv()?),
        Format::Md => say!("{}", found.markdown()),
    }
    if let Some(why) = &missing {
        errln!("note: the chart could not be drawn: {why}");
    }
    errln!("{}", dir.display());
    if let Some(missing) = found.missing() {
        errln!("{missing}");
        return Ok(INTERRUPTED);
    }
    Ok(u8::from(missing.is_some()))
}

/// Returns all plans, with the change applied to each plan for which it is possible, or `None` if it is possible for no
/// plan.
fn varied(plans: &[Plan], change: impl Fn(&Plan) -> Option<Plan>) -> Option<Vec<Plan>> {
    let changed: Vec<Option<Plan>> = plans.iter().map(change).collect();
    let any = changed.iter().any(Option::is_some);
    let each = |(plan, changed): (&Plan, Option<Plan>)| changed.unwrap_or_else(|| plan.clone());
    any.then(|| plans.iter().zip(changed).map(each).collect())
}

/// Returns the geometric means over all plans of tokens/s and of seconds per request. With geometric means, a slow cell
/// counts as much as a fast one.
fn figures(plans: &[Plan]) -> Result<(f64, f64), Exit> {
    let (mut throughput, mut latency) = (0.0, 0.0);
    for plan in plans {
        let failed = |why: String| Exit { code: 4, report: miette!("cell {} failed: {why}", plan.cell) };
        let drained = match run_into(plan, HORIZON, &mut ()).outcome {
            Outcome::Done(drained) => drained,
            other => return Err(failed(plan.in_words(&other.to_string()))),
        };
        let mean = drained.mean_latency_s().ok_or_else(|| failed("no request succeeded".to_owned()))?;
        // Requests for no token have no token throughput, so requests per second are used instead.
        let tokens = drained.total_tokens.max(u64::from(drained.requests)) as f64;
        throughput += (tokens / drained.wall.as_secs_f64().max(1e-9)).ln();
        latency += mean.max(1e-9).ln();
    }
    let count = plans.len().max(1) as f64;
    Ok(((throughput / count).exp(), (latency / count).exp()))
}

//! What a machine's devices and transport were measured at: from the rows of live runs to a profile.
//!
//! Robust by medians: of each kind of job over all runs. What they leave out, the tail, comes back as the jitter, whose
//! mean the tables are raised by. Nothing here knows whether the runs were made to calibrate or for something else.
mod cold;
mod company;
mod drift;
mod frames;
mod jobs;
mod links;
mod mood;
mod overheads;
mod runs;
mod steal;
mod wake;

pub use company::{Company, in_company};
pub use drift::Drift;
pub use mood::{Mood, Probed};
pub use runs::from_run;

use crate::error::{Error, Result};
use crate::fold::{HopRow, TokenRow};
use crate::stats::quantile;
use actors::record::Pinged;
use cold::Cold;
use jobs::{Job, Phase};
use scenarios::plan::Plan;
use scenarios::profile::{At, Jitter, Measured, Overhead, Profile, Served, Spread, VERSION};
use scenarios::units::Time;

/// The rows of one live run.
#[derive(Clone, Debug)]
pub struct Seen {
    pub plan: Plan,
    pub hops: Vec<HopRow>,
    pub tokens: Vec<TokenRow>,
    pub pings: Vec<Pinged>,
    /// Cores that the run had.
    pub cores: u32,
    /// Runs of the same round were made before those of the next: what differs between rounds is the machine's mood.
    pub round: u32,
}

/// Quantiles that the jitter keeps.
const QUANTILES: usize = 21;

/// Fits a profile to live runs, all but what company costs: see [`Company`]. `hand_over`, measured by itself, stands where
/// no run shows any.
pub fn fit(seen: &[Seen], hand_over: Option<Time>, name: &str, source: &str) -> Result<Profile> {
    let too_little = |what: &str| Error::Calibration { what: what.to_owned() };
    let first = seen.first().ok_or_else(|| too_little("there are no runs"))?;
    let served = Served::of(&first.plan.model.shape, first.plan.model.block_type);
    if seen.iter().any(|run| Served::of(&run.plan.model.shape, run.plan.model.block_type) != served) {
        return Err(too_little("the runs are of several models"));
    }
    let (jobs, gaps) = jobs::of(seen);
    if !jobs.iter().any(|job| job.phase == Phase::Decode) && !jobs.iter().any(|job| job.phase == Phase::Prefill) {
        return Err(too_little("no timed step was computed"));
    }
    let (heads, between_heads) = jobs::heads(seen);
    let cold = Cold::fit((&jobs, &gaps), (&heads, &between_heads));
    let warm: Vec<Job> = jobs
        .iter()
        .map(|job| Job { seconds: (job.seconds - cold.of_job(job)).max(job.seconds * 0.05), ..*job })
        .collect();
    let per_job = jobs::per_job(&warm);
    let blocks = jobs::Blocks::fit(&warm, per_job);
    let factor = |job: &Job| Some(job.seconds / (blocks.predict(job)? + cold.of_job(job)));
    let factors: Vec<f64> = jobs.iter().filter_map(factor).collect();
    let (jitter, mean) = jitter(factors);
    let raised = |seconds: f64| time(seconds * mean);
    let points = |points: &[(u32, f64)]| points.iter().map(|(size, s)| (*size, raised(*s))).collect::<Vec<_>>();
    let (embed, head) = jobs::ends(seen, &heads, &cold);
    let plain = |points: Vec<(u32, f64)>| points.into_iter().map(|(size, s)| (size, time(s))).collect();
    let overhead = overheads::fit(&seen.iter().collect::<Vec<_>>());
    let ends = overhead.ends;
    Ok(Profile {
        version: VERSION,
        name: name.to_owned(),
        source: source.to_owned(),
        threads: threads(&first.plan),
        models: vec![Measured {
            model: served,
            per_job: raised(per_job),
            prefill: vec![At { context: 0, times: points(&blocks.prefill) }],
            decode: blocks.decode().iter().map(|(context, row)| At { context: *context, times: points(row) }).collect(),
            cold: cold.written(),
            embed: plain(embed),
            head: plain(head),
        }],
        first_job: time(jobs::first_job(seen, &blocks, mean)),
        jitter,
        overhead: Overhead {
            to_device: time(overhead.to_device),
            from_device: time(overhead.from_device),
            per_kilobyte_copied: time(overhead.per_copied * 1e3),
            hand_over: if overhead.hand_over > 0.0 { time(overhead.hand_over) } else { hand_over.unwrap_or_default() },
            frame: time(ends.start),
            per_kilobyte: time(ends.per_byte * 1e3),
            idle: time(overhead.wake.idle),
            half_after: time(overhead.wake.half_after),
            opening: time(overhead.opening),
            held: time(overhead.held),
            serving: serving(&first.plan, first.cores),
            sigma: (overhead.sigma * 1e3).round() / 1e3,
            company: 0.0,
            steal: overhead.steal.written(),
        },
        links: links::fit(seen, overhead.from_device),
        spread: Some(spread(seen, &warm, &blocks)),
    })
}

/// Cores that are left to the network where jobs keep to as many as the leases can use.
fn serving(plan: &Plan, cores: u32) -> u32 {
    let machine = plan.peers().next().map(|(_, peer)| plan.host(peer.host).machine);
    machine.and_then(|machine| plan.computing_cores(machine)).map_or(0, |computing| cores.saturating_sub(computing))
}

fn threads(plan: &Plan) -> u32 {
    let peer = plan.peers().next().map(|(peer, _)| &plan.device(peer).executor);
    match peer {
        Some(scenarios::plan::Executor::Cpu { threads }) => *threads,
        _ => 0,
    }
}

/// Quantiles of factors over the medians, made of mean 1, and the mean that they had.
fn jitter(mut factors: Vec<f64>) -> (Jitter, f64) {
    factors.sort_by(f64::total_cmp);
    let Some(top) = quantile(&factors, 0.995) else { return (Jitter::Off, 1.0) };
    let at = |index: usize| quantile(&factors, index as f64 / (QUANTILES - 1) as f64).unwrap_or(1.0).min(top);
    let quantiles: Vec<f64> = (0..QUANTILES).map(at).collect();
    // What is drawn linearly between quantiles has this mean.
    let mean = quantiles.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).sum::<f64>() / (QUANTILES - 1) as f64;
    if !(mean.is_finite() && mean > 0.0 && quantiles[0] > 0.0) {
        return (Jitter::Off, 1.0);
    }
    let rounded = |q: &f64| (q / mean * 1e4).round() / 1e4;
    (Jitter::Quantiles(quantiles.iter().map(rounded).collect()), mean)
}

/// How far rounds were from each other.
fn spread(seen: &[Seen], jobs: &[Job], blocks: &jobs::Blocks) -> Spread {
    let rounds: std::collections::BTreeSet<u32> = seen.iter().map(|run| run.round).collect();
    let of_round = |round: &u32| {
        let factors = jobs.iter().filter(|job| job.round == *round);
        median(factors.filter_map(|job| Some(job.seconds / blocks.predict(job)?)).collect())
    };
    let compute: Vec<f64> = rounds.iter().filter_map(of_round).collect();
    let overheads: Vec<f64> = rounds
        .iter()
        .map(|round| {
            let runs: Vec<&Seen> = seen.iter().filter(|run| run.round == *round).collect();
            let overhead = overheads::fit(&runs);
            overhead.to_device + overhead.from_device + overhead.ends.start + overhead.wake.idle
        })
        .collect();
    let three = |value: f64| (value * 1e3).round() / 1e3;
    Spread { compute: three(pairs(&compute)), overhead: three(pairs(&overheads)), repetitions: rounds.len() as u32 }
}

/// The median of |a - b| over their mean, for all pairs: how far measurements of one thing are from each other.
pub fn pairs(values: &[f64]) -> f64 {
    let mut gaps = Vec::new();
    for (at, a) in values.iter().enumerate() {
        gaps.extend(values[at + 1..].iter().map(|b| 2.0 * (a - b).abs() / (a + b)).filter(|gap| gap.is_finite()));
    }
    median(gaps).unwrap_or(0.0)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

/// The mean with what lies above the 99th percentile taken for it.
fn steady_mean(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let top = quantile(&values, 0.99)?;
    Some(values.iter().map(|value| value.min(top)).sum::<f64>() / values.len() as f64)
}

fn time(seconds: f64) -> Time {
    Time(actors::time::Span::from_secs_f64(seconds).0)
}

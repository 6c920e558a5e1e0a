//! Calibration: fitting a profile of a machine's devices and transport to the rows of live runs.
//!
//! The times of jobs are fitted to medians over similar jobs, so that single disturbed jobs do not change them. A
//! median leaves out the long tail, so the fitted times of jobs are then multiplied by the mean ratio of measured to
//! fitted times. A profile can be fitted to any live runs, whether they were made for calibration or not.
#![forbid(unsafe_code)]

mod cold_cache;
mod cpu_steal;
mod drift;
mod drift_timeline;
mod embedding_and_head;
mod estimate;
mod jobs;
mod links;
mod message_overheads;
mod overheads;
pub mod swarms;
mod terms;
mod wake_up;

pub use drift::drift_of;
pub use drift_timeline::DriftTimeline;
pub use rows::ObservedRun;
pub use rows::probe::{Drift, Probed};
pub use terms::{TERMS, Term};

use actors::record::Event;
use cold_cache::ColdCache;
use jobs::{Job, Phase};
use rows::RunRows;
use rows::stats::{median, pairwise_gap, steady_mean};
use scenarios::plan::{Jitter, Plan};
use scenarios::profile::{At, Measured, Overhead, Profile, Served, Spread, VERSION};
use scenarios::units::Time;

/// An error that prevents the fit of a profile, or the preparation of a plan with one.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    #[error("no profile can be fitted to these runs: {what}")]
    TooLittle { what: String },
    #[error(transparent)]
    Profile(#[from] scenarios::profile::ProfileError),
}

/// Prepares a plan for the prediction of its live run on this machine: gives the devices the costs of `profile` and,
/// unless the scenario shapes its network, replaces the network by the machine's loopback.
///
/// # Errors
/// The profile has no figures for the plan's model.
pub fn prepare(plan: &mut Plan, profile: Option<&Profile>) -> Result<(), CalibrationError> {
    let model = plan.model.clone();
    for device in plan.hosts.iter_mut().skip(1).flat_map(|host| host.devices_mut()) {
        if let Some(profile) = profile {
            profile.apply(&mut device.cost, &model)?;
        }
    }
    if !plan.network.shape {
        swarms::loopback(plan);
    }
    Ok(())
}

/// Converts the events of a run of `plan` into rows. `round` is the number of the measurement round in which the run
/// was made.
pub fn observe(plan: Plan, round: u32, events: &[Event]) -> ObservedRun {
    let RunRows { hops, tokens, pings, .. } = RunRows::of(events);
    ObservedRun { plan, hops, tokens, pings, round }
}

/// Fits a profile to live runs. `hand_over` is the separately measured time that a core lease takes to pass from one
/// process to another; it is used if no run contains such a hand-over.
///
/// # Errors
/// There are no runs, the runs are of several models, or they have no timed step.
pub fn fit(
    seen: &[ObservedRun],
    hand_over: Option<Time>,
    name: &str,
    source: &str,
) -> Result<Profile, CalibrationError> {
    let too_little = |what: &str| CalibrationError::TooLittle { what: what.to_owned() };
    let first = seen.first().ok_or_else(|| too_little("the list of runs is empty"))?;
    let served = Served::of(&first.plan.model.shape, first.plan.model.block_type);
    if seen.iter().any(|run| Served::of(&run.plan.model.shape, run.plan.model.block_type) != served) {
        return Err(too_little("the runs serve several models; give runs of one model"));
    }
    let (jobs, gaps) = jobs::of(seen);
    if !jobs.iter().any(|job| job.phase == Phase::Decode) && !jobs.iter().any(|job| job.phase == Phase::Prefill) {
        return Err(too_little("the runs have no timed step"));
    }
    let (heads, between_heads) = jobs::heads(seen);
    let cold = ColdCache::fit((&jobs, &gaps), (&heads, &between_heads));
    let warm: Vec<Job> = jobs
        .iter()
        .map(|job| Job { seconds: (job.seconds - cold.of_job(job)).max(job.seconds * 0.05), ..*job })
        .collect();
    let per_job = jobs::per_job(&warm);
    let blocks = jobs::Blocks::fit(&warm, per_job);
    let factor = |job: &Job| Some(job.seconds / (blocks.predict(job)? + cold.of_job(job)));
    let factors: Vec<f64> = jobs.iter().filter_map(factor).collect();
    let mean = steady_mean(factors).filter(|mean| mean.is_finite() && *mean > 0.0).unwrap_or(1.0);
    let raised = |seconds: f64| time(seconds * mean);
    let points = |points: &[(u32, f64)]| points.iter().map(|(size, s)| (*size, raised(*s))).collect::<Vec<_>>();
    let (embed, head) = embedding_and_head::ends(seen, &heads, &cold);
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
            cold_cache: cold.written(),
            embed: plain(embed),
            head: plain(head),
        }],
        first_job: time(jobs::first_job(seen, &blocks, mean)),
        jitter: Jitter::Off,
        overhead: Overhead {
            to_device: time(overhead.to_device),
            from_device: time(overhead.from_device),
            hand_over: if overhead.hand_over > 0.0 { time(overhead.hand_over) } else { hand_over.unwrap_or_default() },
            frame: time(ends.start),
            per_kilobyte: time(ends.per_byte * 1e3),
            idle: time(overhead.wake.idle),
            half_after: time(overhead.wake.half_after),
            cpu_steal: overhead.cpu_steal.written(),
        },
        links: links::fit(seen, overhead.from_device),
        spread: Some(spread(seen, &warm, &blocks)),
    })
}

fn threads(plan: &Plan) -> u32 {
    let peer = plan.peers().next().map(|(peer, _)| &plan.device(peer).executor);
    match peer {
        Some(scenarios::plan::Executor::Cpu { threads }) => *threads,
        _ => 0,
    }
}

/// Returns how much the measurement rounds differ: the median relative difference between two rounds, in the times of
/// jobs and in the sum of the overheads.
fn spread(seen: &[ObservedRun], jobs: &[Job], blocks: &jobs::Blocks) -> Spread {
    let rounds: std::collections::BTreeSet<u32> = seen.iter().map(|run| run.round).collect();
    let of_round = |round: &u32| {
        let factors = jobs.iter().filter(|job| job.round == *round);
        median(factors.filter_map(|job| Some(job.seconds / blocks.predict(job)?)).collect())
    };
    let compute: Vec<f64> = rounds.iter().filter_map(of_round).collect();
    let overheads: Vec<f64> = rounds
        .iter()
        .map(|round| {
            let runs: Vec<&ObservedRun> = seen.iter().filter(|run| run.round == *round).collect();
            let overhead = overheads::fit(&runs);
            overhead.to_device + overhead.from_device + overhead.ends.start + overhead.wake.idle
        })
        .collect();
    let three = |value: f64| (value * 1e3).round() / 1e3;
    Spread {
        compute: three(pairwise_gap(&compute)),
        overhead: three(pairwise_gap(&overheads)),
        repetitions: rounds.len() as u32,
    }
}

fn time(seconds: f64) -> Time {
    Time(actors::time::Duration::from_secs_f64(seconds).0)
}

#[cfg(test)]
mod tests {
    use super::swarms::swarms;
    use super::{fit, observe};
    use actors::seed::Seed;
    use actors::time::Duration;
    use rows::ObservedRun;
    use scenarios::Overrides;
    use scenarios::plan::{Overhead, Plan};
    use simulator::HORIZON;

    /// Returns simulated observations of the calibration swarms on a machine whose hosts have this overhead.
    fn seen(overhead: Overhead) -> Vec<ObservedRun> {
        let cells = scenarios::load("quickstart").expect("it is there").cells(&Overrides::default()).expect("cells");
        let plans: Vec<Plan> = cells.iter().map(|cell| cell.plan(Seed(1), 0).expect("a plan")).collect();
        let swarms = swarms(&plans).expect("CPUs can be measured");
        let watched = |mut plan: Plan| {
            plan.hosts
                .iter_mut()
                .flat_map(|host| host.devices_mut())
                .for_each(|device| device.cost.overhead = overhead);
            let events = simulator::run(&plan, HORIZON).events;
            observe(plan, 0, &events)
        };
        swarms.into_iter().map(watched).collect()
    }

    #[test]
    fn overheads_are_found_again_in_simulated_runs() {
        let [frame, to_device, from_device, hand_over] = [7_000, 9_000, 8_000, 20_000].map(Duration);
        let truth = Overhead { frame, per_byte: 2e-10, to_device, from_device, hand_over, ..Overhead::NONE };
        let found = fit(&seen(truth), None, "here", "a simulation").expect("a profile").overhead.resolve();
        let near = |found: Duration, truth: Duration| (found.as_secs_f64() / truth.as_secs_f64() - 1.0).abs() < 0.05;
        assert!(near(found.frame, frame) && (found.per_byte / 2e-10 - 1.0).abs() < 0.05, "{found:?}");
        assert!(near(found.to_device, to_device) && near(found.from_device, from_device), "{found:?}");
        assert!(near(found.hand_over, hand_over), "{found:?}");
    }
}

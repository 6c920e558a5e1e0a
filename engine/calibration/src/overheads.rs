//! Fits the overheads that live hosts add to the times of computing and of the network: for handing jobs to devices and
//! results back, for sending and receiving frames, and for handing over core leases.
use super::cpu_steal::CpuSteal;
use super::estimate::seconds;
use super::jobs::idle;
use super::message_overheads;
use super::wake_up::{Line, Start, Wake};
use actors::time::Duration;
use rows::HopRow;
use rows::ObservedRun;
use rows::stats::{median, steady_mean};
use scenarios::plan::Overhead;
use std::collections::BTreeMap;

/// The fitted overheads of a host, in seconds, see [`Overhead`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overheads {
    pub to_device: f64,
    pub from_device: f64,
    pub hand_over: f64,
    pub ends: Line,
    pub wake: Wake,
    pub cpu_steal: CpuSteal,
}

/// Fits the overheads of hosts to runs. The time of handing over a core lease is the median over the rounds, so that a
/// process that was busy for a while distorts only its own round.
pub(super) fn fit(seen: &[&ObservedRun]) -> Overheads {
    // Only runs with one client are used here, because their jobs never wait for the job of another client.
    let there: Vec<Start> = seen.iter().filter(|run| solitary(run)).flat_map(|run| ways_there(run)).collect();
    let back: Vec<Start> = seen.iter().flat_map(|run| ways_back(run)).collect();
    // The times of frames are taken only from runs with one client, or from all runs if no run has just one client.
    let crowded = !seen.iter().any(|run| solitary(run));
    let plain = |run: &&&ObservedRun| !run.plan.network.shape && (crowded || solitary(run));
    let frames_after = |back: f64| -> Vec<Start> {
        seen.iter().filter(plain).flat_map(|run| message_overheads::starts(run, back)).collect()
    };
    let wake = Wake::fit(&[&there, &back, &frames_after(Line::fit(&back, Wake::default()).start)]);
    let back_seconds: Vec<f64> = back.iter().map(|start| start.seconds).collect();
    let [to_device, from_device] = [&there, &back].map(|starts| Line::fit(starts, wake).start);
    let mut rounds: BTreeMap<u32, Vec<&ObservedRun>> = BTreeMap::new();
    seen.iter().for_each(|run| rounds.entry(run.round).or_default().push(run));
    Overheads {
        to_device,
        from_device,
        hand_over: median(rounds.values().filter_map(|runs| hand_over(runs, wake)).collect()).unwrap_or(0.0),
        ends: Line::fit(&frames_after(from_device), wake),
        wake,
        cpu_steal: CpuSteal::fit(&back_seconds),
    }
}

/// Returns the ratios of a run's measured overheads to the overheads `said`: for handing jobs to devices, for handing
/// results back, and for frames.
pub(super) fn against(seen: &ObservedRun, said: &Overhead) -> [f64; 3] {
    let wake = Wake::of(said);
    let line = |span: Duration, per_byte: f64| Line { start: span.as_secs_f64(), per_byte };
    let ratio = |starts: &[Start], line: Line| {
        let ratios = starts.iter().map(|start| start.seconds.max(0.0) / line.predict(start, wake));
        steady_mean(ratios.collect()).filter(|ratio| ratio.is_finite() && *ratio > 0.0).unwrap_or(1.0)
    };
    let there = ratio(&ways_there(seen), line(said.to_device, 0.0));
    let back = ratio(&ways_back(seen), line(said.from_device, 0.0));
    let frames = message_overheads::starts(seen, said.from_device.as_secs_f64() * back);
    [there, back, ratio(&frames, line(said.frame, said.per_byte))]
}

/// Returns the times from a step's arrival at a peer until the peer's device starts the step's job.
fn ways_there(run: &ObservedRun) -> Vec<Start> {
    let start = |(hop, idle): (&HopRow, f64)| {
        let waited = seconds(hop.peer_queue);
        let still = vec![(idle - waited).max(0.0)];
        Start { round: run.round, bytes: 0, count: 1, still, seconds: waited }
    };
    idle(run).into_iter().filter(|(hop, _)| !hop.request.is_warmup()).map(start).collect()
}

/// Returns the times from the end of a peer's job until the peer sends the result.
fn ways_back(run: &ObservedRun) -> Vec<Start> {
    let start = |hop: &HopRow| {
        let seconds_back = seconds(hop.sent.saturating_sub(hop.finished));
        let still = vec![seconds(hop.compute)];
        Start { round: run.round, bytes: 0, count: 1, still, seconds: seconds_back }
    };
    run.hops.iter().filter(|hop| !hop.request.is_warmup()).map(start).collect()
}

/// Whether the run has exactly one client.
pub(super) fn solitary(run: &ObservedRun) -> bool {
    run.plan.clients().count() == 1
}

/// Returns the seconds from the end of a peer's job until the waiting job of another peer begins, without the cost of
/// waking up after the wait. Jobs of clients have no timestamps. With four clients, a client's job lies within most of
/// these gaps between peers' jobs, but not within the shortest tenth of them. The result is therefore the 10th
/// percentile of the gaps.
fn hand_over(seen: &[&ObservedRun], wake: Wake) -> Option<f64> {
    let mut gaps = Vec::new();
    for run in seen.iter().filter(|run| run.plan.clients().count() > 1) {
        let mut hops: Vec<&HopRow> = run.hops.iter().filter(|hop| !hop.request.is_warmup()).collect();
        hops.sort_by_key(|hop| hop.started);
        for pair in hops.windows(2) {
            let waited = pair[0].finished.saturating_sub(pair[1].received);
            if pair[1].peer != pair[0].peer && waited > 50_000 && pair[1].started >= pair[0].finished {
                gaps.push((seconds(pair[1].started - pair[0].finished) - wake.after(seconds(waited))).max(0.0));
            }
        }
    }
    gaps.sort_by(f64::total_cmp);
    rows::stats::quantile(&gaps, 0.1)
}

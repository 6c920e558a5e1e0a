//! The fit of the overheads that live hosts add to computing and to the declared network: the hand-over to and from a
//! device, frames, sessions and leases.
use super::cpu_steal::CpuSteal;
use super::estimate::seconds;
use super::jobs::idle;
use super::message_overheads;
use super::wake_up::{Line, Start, Wake};
use actors::time::Duration;
use rows::HopRow;
use rows::ObservedRun;
use rows::stats::{median, steady_mean};
use scenarios::plan::{Overhead, Plan};
use std::collections::BTreeMap;

/// The fitted overheads of a host, in seconds, see [`Overhead`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overheads {
    pub to_device: f64,
    pub from_device: f64,
    pub per_copied: f64,
    pub hand_over: f64,
    pub ends: Line,
    pub wake: Wake,
    pub opening: f64,
    pub held: f64,
    /// The standard deviation of the logarithm of a frame's overhead at one end.
    pub sigma: f64,
    pub cpu_steal: CpuSteal,
}

/// Fits the overheads. The hand-over of leases, the opening of sessions and the delay of shaped frames are medians over
/// rounds, so that a neighbour that was busy for a while spoils only one round's value.
pub(super) fn fit(seen: &[&ObservedRun]) -> Overheads {
    // A client that is alone waits for no other client.
    let there: Vec<Start> = seen.iter().filter(|run| solitary(run)).flat_map(|run| ways_there(run)).collect();
    let back: Vec<Start> = seen.iter().flat_map(|run| ways_back(run)).collect();
    // Frames are also taken from runs with one client, unless all runs have several.
    let cache_interference = !seen.iter().any(|run| solitary(run));
    let plain = |run: &&&ObservedRun| !run.plan.network.shape && (cache_interference || solitary(run));
    let frames_after = |back: Line| -> Vec<Start> {
        seen.iter().filter(plain).flat_map(|run| message_overheads::starts(run, |bytes| back.of(bytes))).collect()
    };
    let wake = Wake::fit(&[&there, &back, &frames_after(Line::fit(&back, Wake::default()))]);
    let back_seconds: Vec<f64> = back.iter().map(|start| start.seconds).collect();
    let (there, back) = (Line::fit(&there, wake), Line::fit(&back, wake));
    let frames = frames_after(back);
    let ends = Line::fit(&frames, wake);
    let mut rounds: BTreeMap<u32, Vec<&ObservedRun>> = BTreeMap::new();
    seen.iter().for_each(|run| rounds.entry(run.round).or_default().push(run));
    let middle = |of: &dyn Fn(&[&ObservedRun]) -> Option<f64>| {
        median(rounds.values().filter_map(|runs| of(runs)).collect()).unwrap_or(0.0)
    };
    let held = |runs: &[&ObservedRun]| {
        let shaped = runs.iter().filter(|run| run.plan.network.shape);
        median(shaped.filter_map(|run| message_overheads::held(run, back.start)).collect())
    };
    Overheads {
        to_device: there.start,
        from_device: back.start,
        per_copied: (there.per_byte + back.per_byte) / 2.0,
        hand_over: middle(&|runs| hand_over(runs, wake)),
        ends,
        wake,
        opening: middle(&|runs| opening(runs.iter().filter(plain).copied(), ends)),
        held: middle(&held),
        sigma: sigma(&frames, ends, wake).unwrap_or(0.0),
        cpu_steal: CpuSteal::fit(&back_seconds),
    }
}

/// Returns the factors by which a host's overheads have to be multiplied to match a run: the hand-over to a device, the
/// hand-over from it, and frames.
pub(super) fn against(seen: &ObservedRun, said: &Overhead) -> [f64; 3] {
    let wake = Wake::of(said);
    let line = |span: Duration, per_byte: f64| Line { start: span.as_secs_f64(), per_byte };
    let ratio = |starts: &[Start], line: Line| {
        let ratios = starts.iter().map(|start| start.seconds.max(0.0) / line.predict(start, wake));
        steady_mean(ratios.collect()).filter(|ratio| ratio.is_finite() && *ratio > 0.0).unwrap_or(1.0)
    };
    let there = ratio(&ways_there(seen), line(said.to_device, said.per_copied));
    let back = line(said.from_device, said.per_copied);
    let times = ratio(&ways_back(seen), back);
    let frames = message_overheads::starts(seen, |bytes| back.of(bytes) * times);
    [there, times, ratio(&frames, line(said.frame, said.per_byte))]
}

/// Returns the times from a step's arrival at a peer until its job begins.
fn ways_there(run: &ObservedRun) -> Vec<Start> {
    let start = |(hop, idle): (&HopRow, f64)| {
        let waited = seconds(hop.peer_queue);
        let still = vec![(idle - waited).max(0.0)];
        Start { round: run.round, bytes: bytes_of(&run.plan, hop), count: 1, still, seconds: waited }
    };
    idle(run).into_iter().filter(|(hop, _)| !hop.request.is_warmup()).map(start).collect()
}

/// Returns the times from the end of a peer's job until the peer has its result.
fn ways_back(run: &ObservedRun) -> Vec<Start> {
    let start = |hop: &HopRow| {
        let seconds_back = seconds(hop.sent.saturating_sub(hop.finished));
        let still = vec![seconds(hop.compute)];
        Start { round: run.round, bytes: bytes_of(&run.plan, hop), count: 1, still, seconds: seconds_back }
    };
    run.hops.iter().filter(|hop| !hop.request.is_warmup()).map(start).collect()
}

/// Whether the run has exactly one client.
pub(super) fn solitary(run: &ObservedRun) -> bool {
    run.plan.clients().count() == 1
}

/// Returns the bytes of the activations that a hop's job takes as input, which equal those of its output.
fn bytes_of(plan: &Plan, hop: &HopRow) -> u64 {
    u64::from(hop.batch)
        * u64::from(hop.tokens)
        * plan.model.wire.row_bytes(u16::try_from(plan.model.shape.hidden).unwrap_or(u16::MAX))
}

/// Returns the time to open a session, without five frame ends. These belong to the two small frames of the request and
/// the answer, and to the frame by which the client has just closed its last request's session at each peer.
fn opening<'a>(runs: impl Iterator<Item = &'a ObservedRun>, ends: Line) -> Option<f64> {
    let steps = runs.flat_map(|run| &run.tokens).filter(|step| !step.request.is_warmup() && step.parts.setup > 0);
    let each = steps.filter(|step| step.hops > 0);
    let each = each.map(|step| seconds(step.parts.setup) / f64::from(step.hops) - 5.0 * ends.start);
    Some(median(each.collect())?.max(0.0))
}

/// Returns the time from the end of a peer's job until a waiting job of another peer begins, without the cost of waking
/// up after the wait. The jobs of clients have no stamps. With four clients they lie within most of these gaps, but not
/// within the lowest tenth, so the result is the 10th percentile.
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

/// Returns the spread of a frame end's overhead as the sigma of a log-normal, from the middle two thirds of the ratios
/// of measured to predicted times.
fn sigma(frames: &[Start], ends: Line, wake: Wake) -> Option<f64> {
    let logs = frames.iter().map(|start| (start.seconds / ends.predict(start, wake)).ln());
    let mut logs: Vec<f64> = logs.filter(|log| log.is_finite()).collect();
    logs.sort_by(f64::total_cmp);
    let of_all = (rows::stats::quantile(&logs, 5.0 / 6.0)? - rows::stats::quantile(&logs, 1.0 / 6.0)?) / (2.0 * 0.967);
    // Relative variances add up: the relative variance of one of four ends is four times that of the whole.
    let count = frames.iter().map(|start| start.count).max().unwrap_or(0);
    let relative = f64::from(count) * (of_all * of_all).exp_m1();
    Some(relative.ln_1p().sqrt())
}

#[cfg(test)]
mod tests {
    use super::{Line, Start, Wake, sigma};

    #[test]
    fn frames_that_vary_show_it() {
        let ends = Line { start: 10e-6, per_byte: 0.0 };
        let of = |spread: f64| {
            let start = |at: u32| {
                let seconds = 40e-6 * (spread * (f64::from(at % 101) / 50.0 - 1.0)).exp();
                Start { round: 0, bytes: 0, count: 4, still: Vec::new(), seconds }
            };
            let starts: Vec<Start> = (0..1010).map(start).collect();
            sigma(&starts, ends, Wake::default()).expect("there are frames")
        };
        assert!(of(0.0) < 1e-9);
        assert!(of(0.4) > of(0.2) && of(0.2) > 0.1);
    }
}

//! What live hosts add to computing and to the declared network: the way to a device and back, frames, leases.
use super::jobs::rising_line;
use super::{Seen, median, steady_mean};
use crate::fold::{HopRow, TokenRow};
use actors::id::SessionId;
use actors::message::{Activation, Forwarding, Message, Step};
use scenarios::plan::Plan;
use std::collections::BTreeMap;

/// In seconds; see [`scenarios::plan::Overhead`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overheads {
    pub to_device: f64,
    pub from_device: f64,
    pub hand_over: f64,
    pub frame: f64,
    pub per_byte: f64,
    pub held: f64,
    /// Of the logarithm of what an end of a frame costs.
    pub sigma: f64,
}

/// The median over rounds of what each shows: a neighbour that was busy for a while spoils one of them, and not the others.
pub(super) fn fit(seen: &[Seen]) -> Overheads {
    let mut rounds: BTreeMap<u32, Vec<Seen>> = BTreeMap::new();
    for run in seen {
        rounds.entry(run.round).or_default().push(run.clone());
    }
    let fits: Vec<Overheads> = rounds.values().map(|runs| of_round(runs)).collect();
    let middle = |part: fn(&Overheads) -> f64| median(fits.iter().map(part).collect()).unwrap_or(0.0);
    Overheads {
        to_device: middle(|fit| fit.to_device),
        from_device: middle(|fit| fit.from_device),
        hand_over: middle(|fit| fit.hand_over),
        frame: middle(|fit| fit.frame),
        per_byte: middle(|fit| fit.per_byte),
        held: middle(|fit| fit.held),
        sigma: middle(|fit| fit.sigma),
    }
}

/// Of runs that were made one after another.
pub(super) fn of_round(seen: &[Seen]) -> Overheads {
    let hops = || {
        seen.iter().flat_map(|run| run.hops.iter().filter(|hop| !hop.request.is_warmup()).map(move |hop| (run, hop)))
    };
    let from_device = hops().map(|(_, hop)| seconds(hop.sent.saturating_sub(hop.finished)));
    let from_device = steady_mean(from_device.collect()).unwrap_or(0.0);
    // Who asks alone waits for nobody.
    let alone = hops().filter(|(run, _)| run.plan.clients().count() == 1).map(|(_, hop)| seconds(hop.peer_queue));
    let to_device = steady_mean(alone.collect()).unwrap_or(0.0);
    let mut frames: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    let mut held = Vec::new();
    // Likewise frames, but for a network that nobody saw without company.
    let solitary = |run: &Seen| run.plan.clients().count() == 1;
    let company = !seen.iter().any(solitary);
    for run in seen.iter().filter(|run| company || solitary(run)) {
        for step in run.tokens.iter().filter(|step| !step.request.is_warmup()) {
            let (count, bytes) = frames_of(&run.plan, step);
            // No device accounts for the way back from it, which the step's network part has of every job.
            let returns = (2.0 + f64::from(step.hops)) * from_device;
            match (run.plan.network.shape, step.network) {
                (true, Some(network)) => held.push((seconds(network.other) - returns).max(0.0) / count),
                (true, None) => {}
                (false, _) => {
                    let rest = seconds(step.parts.network) - returns;
                    frames.entry(bytes).or_default().push(rest.max(0.0) / count);
                }
            }
        }
    }
    let points: Vec<(f64, f64)> =
        frames.into_iter().filter_map(|(bytes, times)| Some((bytes as f64, steady_mean(times)?))).collect();
    let (frame, per_byte) = weighted_line(&points);
    Overheads {
        to_device,
        from_device,
        hand_over: hand_over(seen).unwrap_or(0.0),
        // Both ends of a frame pay alike.
        frame: frame / 2.0,
        per_byte: per_byte / 2.0,
        held: steady_mean(held).unwrap_or(0.0),
        sigma: sigma(seen).unwrap_or(0.0),
    }
}

/// How much what a frame's end costs varies: from how long small frames take on their own machine from one peer to the
/// client and on to the next, two frames of two ends each. The middle two thirds of them say it, as of a log-normal.
fn sigma(seen: &[Seen]) -> Option<f64> {
    let mut logs = Vec::new();
    let plain = |run: &&Seen| !run.plan.network.shape && run.plan.policies.forwarding == Forwarding::Relay;
    for run in seen.iter().filter(plain) {
        let mut steps: BTreeMap<_, Vec<&HopRow>> = BTreeMap::new();
        for hop in run.hops.iter().filter(|hop| !hop.request.is_warmup() && hop.tokens == 1) {
            steps.entry((hop.request, hop.position)).or_default().push(hop);
        }
        for hops in steps.values_mut() {
            hops.sort_by_key(|hop| hop.hop);
            let ways = hops.windows(2).map(|pair| pair[1].received.saturating_sub(pair[0].sent));
            logs.extend(ways.filter(|way| *way > 0).map(|way| seconds(way).ln()));
        }
    }
    logs.sort_by(f64::total_cmp);
    let of_way =
        (crate::stats::quantile(&logs, 5.0 / 6.0)? - crate::stats::quantile(&logs, 1.0 / 6.0)?) / (2.0 * 0.967);
    // Variances relative to the mean add up: that of a quarter is four times that of the whole.
    let relative = 4.0 * (of_way * of_way).exp_m1();
    Some(relative.ln_1p().sqrt())
}

/// How many frames a step is, and the bytes of each.
pub(super) fn frames_of(plan: &Plan, step: &TokenRow) -> (f64, u64) {
    let count = match plan.policies.forwarding {
        Forwarding::Relay => 2.0 * f64::from(step.hops),
        Forwarding::Push => f64::from(step.hops) + 1.0,
    };
    let hidden = u16::try_from(plan.model.shape.hidden).unwrap_or(u16::MAX);
    let activation = Activation { tokens: step.tokens, batch: step.batch, hidden, dtype: plan.model.wire, data: None };
    let session = SessionId::new(step.request, 0);
    (count, Message::Step(Step { session, position: step.position, activation }).wire_bytes())
}

/// A line through points whose relative errors count alike: small frames are many, and their constant matters most.
pub(super) fn weighted_line(points: &[(f64, f64)]) -> (f64, f64) {
    let (mut w, mut wx, mut wy, mut wxx, mut wxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (x, y) in points.iter().filter(|point| point.1 > 0.0) {
        let weight = 1.0 / (y * y);
        w += weight;
        wx += weight * x;
        wy += weight * y;
        wxx += weight * x * x;
        wxy += weight * x * y;
    }
    let bend = w * wxx - wx * wx;
    if w == 0.0 || bend <= 0.0 {
        return rising_line(points).unwrap_or((0.0, 0.0));
    }
    let slope = ((w * wxy - wx * wy) / bend).max(0.0);
    (((wy - slope * wx) / w).max(0.0), slope)
}

/// From the end of a peer's job until one of another host that waited for it begins. Clients' jobs, of which nobody knows
/// when they were, come between some; the lower quarter has none.
fn hand_over(seen: &[Seen]) -> Option<f64> {
    let mut gaps = Vec::new();
    for run in seen.iter().filter(|run| run.plan.clients().count() > 1) {
        let mut hops: Vec<&HopRow> = run.hops.iter().filter(|hop| !hop.request.is_warmup()).collect();
        hops.sort_by_key(|hop| hop.started);
        for pair in hops.windows(2) {
            let waited = pair[1].peer != pair[0].peer && pair[1].received + 50_000 < pair[0].finished;
            if waited && pair[1].started >= pair[0].finished {
                gaps.push(seconds(pair[1].started - pair[0].finished));
            }
        }
    }
    gaps.sort_by(f64::total_cmp);
    crate::stats::quantile(&gaps, 0.25).or_else(|| median(gaps))
}

pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

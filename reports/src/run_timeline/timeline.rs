//! A run in short intervals of equal width: output tokens, requests in flight, and the utilisation of the peers.
use super::{Bin, Busy};
use crate::figures::{RunFigures, split};
use actors::id::NodeId;
use rows::RareEvents;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The maximum number of intervals. Their width is 1, 2 or 5 times a power of ten ns.
const BINS: u64 = 120;

/// The maximum number of peers of a run that get a row: those with the highest utilisation. No chart shows more.
const PEERS: usize = 64;

/// Returns the intervals from the barrier's release to the last client's end, and the utilisation of single peers. The
/// last interval may reach beyond that end. Only the first repetition has the utilisation of single peers.
pub(super) fn bins(figures: &RunFigures<'_>, rare: &RareEvents, (cell, repeat): (u32, u32)) -> (Vec<Bin>, Vec<Busy>) {
    let Some((released, end)) = rare.window() else { return Default::default() };
    let length = end.since(released).0;
    if length == 0 {
        return Default::default();
    }
    let width = width(length);
    let count = length.div_ceil(width) as usize;
    let (mut tokens, mut under_way) = (vec![0u64; count], vec![0u64; count]);
    for (rows, seen) in &figures.arrivals {
        // Tokens that arrive at the very end of the run belong to its last interval.
        for seen in seen.iter().filter(|seen| (released.0..=end.0).contains(seen)) {
            let at = ((seen - released.0) / width).min(count as u64 - 1);
            tokens[at as usize] += u64::from(*rows);
        }
    }
    for row in &figures.requests {
        let [from, till] = [row.sent, row.ended].map(|at| at.clamp(released.0, end.0) - released.0);
        split(from, till, width, |at, ns| under_way[at as usize] += ns);
    }
    let mut busy: BTreeMap<NodeId, Vec<u64>> = figures.plan.peers().map(|(id, _)| (id, vec![0; count])).collect();
    busy.extend(figures.jobs.intervals(end.0, width, count));
    let share = |ns: u64| ns as f64 / width as f64;
    let bin = |at: usize| Bin {
        cell,
        repeat,
        from_ns: (at as u64 * width) as i64,
        till_ns: ((at as u64 + 1) * width) as i64,
        tokens: tokens[at],
        under_way: rounded(share(under_way[at])),
        peers_busy: rounded(busy.values().map(|peer| share(peer[at])).sum::<f64>() / busy.len().max(1) as f64),
    };
    let bins = (0..count).map(bin).collect();
    let busy_peer = |(peer, ns): (NodeId, Vec<u64>)| {
        let thousandths = ns.into_iter().map(|ns| (1000.0 * share(ns)).round() as u32).collect();
        Busy { cell, peer: peer.0, thousandths }
    };
    let peers = busiest(busy).into_iter().map(busy_peer);
    (bins, if repeat == 0 { peers.collect() } else { Vec::new() })
}

/// Returns the peers with the highest utilisation that get a row, in the order of their ids.
fn busiest(busy: BTreeMap<NodeId, Vec<u64>>) -> Vec<(NodeId, Vec<u64>)> {
    let mut ranked: Vec<(NodeId, Vec<u64>)> = busy.into_iter().collect();
    // The sort is stable, so of two equally busy peers the lower id is kept.
    ranked.sort_by_key(|(_, ns)| Reverse(ns.iter().sum::<u64>()));
    ranked.truncate(PEERS);
    ranked.sort_by_key(|(peer, _)| *peer);
    ranked
}

/// Rounds to six decimals, which exceeds the resolution of any chart and keeps the file small.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn width(length: u64) -> u64 {
    let steps = (0..19u32).flat_map(|power| [1, 2, 5].map(|multiple| multiple * 10u64.pow(power)));
    steps.into_iter().find(|step| length.div_ceil(*step) <= BINS).unwrap_or(length)
}

#[cfg(test)]
mod tests {
    use super::width;
    use proptest::prelude::{prop_assert, proptest};

    proptest! {
        #[test]
        fn bins_are_many_but_not_too_many(length in 1..u64::MAX / 2) {
            let bins = length.div_ceil(width(length));
            prop_assert!(bins <= super::BINS && (bins >= super::BINS / 3 || length < super::BINS), "{}", bins);
        }
    }
}

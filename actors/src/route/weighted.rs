//! Routes that spread requests by weight: at random, or in turns.
use super::reach::Reach;
use super::view::Known;
use super::{Ask, Weight};
use crate::id::BlockRange;
use crate::message::Hop;
use crate::seed::{Seed, mix};
use crate::time::Timestamp;
use rand::RngExt;

impl Weight {
    /// Of a peer; never zero, so that nobody who is needed is left out.
    fn of(self, peer: &Known, unknown_rps: f64) -> f64 {
        let length = f64::from(peer.announce.blocks.len().max(1));
        let rps = peer.announce.inference_rps;
        let rps = if rps.is_finite() && rps > 0.0 { rps } else { unknown_rps };
        match self {
            Weight::Span => length,
            Weight::Throughput => (rps / length).max(f64::MIN_POSITIVE),
        }
    }
}

/// At each block of the route one of its holders, drawn by weight: Petals' `max_throughput` mode, where the weight is the
/// length of the span.
pub(super) fn random(
    peers: &[&Known],
    ask: &Ask<'_>,
    weight: Weight,
    unknown_rps: f64,
    now: Timestamp,
) -> Option<Vec<Hop>> {
    let mut stream = Seed(ask.draw).small_stream("route", 0, 0);
    let weights: Vec<f64> = peers.iter().map(|peer| weight.of(peer, unknown_rps)).collect();
    walk(peers, ask, now, |candidates| {
        let total: f64 = candidates.iter().map(|index| weights[*index]).sum();
        let mut left = stream.random::<f64>() * total;
        let drawn = candidates.iter().position(|index| {
            left -= weights[*index];
            left < 0.0
        });
        candidates[drawn.unwrap_or(candidates.len() - 1)]
    })
}

/// At each block of the route the holder that is owed most: smooth weighted round robin, whose turns are as even as the
/// weights allow. `credits` are what each peer is owed from the turns before.
pub(super) fn in_turns(
    peers: &[&Known],
    ask: &Ask<'_>,
    weight: Weight,
    unknown_rps: f64,
    now: Timestamp,
    credits: &mut [f64],
) -> Option<Vec<Hop>> {
    let weights: Vec<f64> = peers.iter().map(|peer| weight.of(peer, unknown_rps)).collect();
    // Each client begins somewhere else, or all would take their turns in step.
    for (credit, peer) in credits.iter_mut().zip(peers).filter(|(credit, _)| **credit == 0.0) {
        *credit = mix(ask.draw ^ u64::from(peer.id().0)) as f64 / u64::MAX as f64;
    }
    walk(peers, ask, now, |candidates| {
        let total: f64 = candidates.iter().map(|index| weights[*index]).sum();
        candidates.iter().for_each(|index| credits[*index] += weights[*index] / total);
        // The first of equals.
        let chosen = candidates.iter().copied().rev().max_by(|a, b| credits[*a].total_cmp(&credits[*b]));
        let chosen = chosen.unwrap_or(candidates[0]);
        credits[chosen] -= 1.0;
        chosen
    })
}

/// Follows one peer after another to the end of its span; `choose` picks of those that hold the next block.
fn walk(
    peers: &[&Known],
    ask: &Ask<'_>,
    now: Timestamp,
    mut choose: impl FnMut(&[usize]) -> usize,
) -> Option<Vec<Hop>> {
    let reach = Reach::of(peers, ask.blocks, now);
    let (mut block, mut route) = (ask.blocks.start, Vec::new());
    while block < ask.blocks.end {
        let candidates: Vec<usize> = reach.entering(block).map(|(index, _)| index).collect();
        if candidates.is_empty() {
            return None;
        }
        let index = choose(&candidates);
        let end = reach.end(index, block)?;
        route.push(Hop { peer: peers[index].id(), blocks: BlockRange { start: block, end } });
        block = end;
    }
    Some(route)
}

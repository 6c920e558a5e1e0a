//! Routes that distribute requests by weight: random choice and weighted round robin.
use super::reach::walk;
use super::view::Known;
use super::{Ask, Weight};
use crate::message::Hop;
use crate::seed::{Seed, mix};
use crate::time::Timestamp;
use rand::RngExt;

impl Weight {
    /// Returns the weight of a peer. It is never zero, so that even the only holder of a block can be chosen.
    fn of(self, peer: &Known<'_>, unknown_rps: f64) -> f64 {
        let length = f64::from(peer.announce.blocks.len().max(1));
        let rps = peer.announce.inference_rps;
        let rps = if rps.is_finite() && rps > 0.0 { rps } else { unknown_rps };
        match self {
            Weight::Span => length,
            Weight::Throughput => (rps / length).max(f64::MIN_POSITIVE),
        }
    }
}

/// Returns a route that takes a random holder of the next block at each hop. The probability of a holder is
/// proportional to its weight. With the number of blocks as the weight this is Petals' `max_throughput` mode.
pub(super) fn random(
    peers: &[Known<'_>],
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

/// Returns a route that takes, at each hop, the holder of the next block with the highest credit. This is smooth
/// weighted round robin, which spreads the choices of each peer as evenly over time as the weights allow. `credits` has
/// the credit of each of `peers` after earlier choices, and is updated.
pub(super) fn in_turns(
    peers: &[Known<'_>],
    ask: &Ask<'_>,
    weight: Weight,
    unknown_rps: f64,
    now: Timestamp,
    credits: &mut [f64],
) -> Option<Vec<Hop>> {
    let weights: Vec<f64> = peers.iter().map(|peer| weight.of(peer, unknown_rps)).collect();
    // Each client starts with random credits. Otherwise all clients would choose the same peers in the same order.
    for (credit, peer) in credits.iter_mut().zip(peers).filter(|(credit, _)| **credit == 0.0) {
        *credit = mix(ask.draw ^ u64::from(peer.id().0)) as f64 / u64::MAX as f64;
    }
    walk(peers, ask, now, |candidates| {
        let total: f64 = candidates.iter().map(|index| weights[*index]).sum();
        candidates.iter().for_each(|index| credits[*index] += weights[*index] / total);
        // If several peers have the highest credit, the first of them is taken.
        let chosen = candidates.iter().copied().rev().max_by(|a, b| credits[*a].total_cmp(&credits[*b]));
        let chosen = chosen.unwrap_or(candidates[0]);
        credits[chosen] -= 1.0;
        chosen
    })
}

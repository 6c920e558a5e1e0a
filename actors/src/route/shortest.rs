//! The route of least estimated time: Petals' shortest path over nodes (peer, block), with or without a term for load.
//!
//! The terms of an edge are those of Petals (`sequence_manager.py`, `_build_inference_graph`). Every edge leads to a
//! later block, so the graph has no cycle. The exact shortest path is found by dynamic programming from the last block
//! to the first.
use super::reach::Reach;
use super::view::Known;
use super::{Ask, Costs, Pings};
use crate::id::BlockRange;
use crate::message::Hop;
use crate::seed::mix;
use crate::time::{Duration, Timestamp};
use std::collections::BTreeMap;

/// The best rest of a route from a peer that is entered at a block.
#[derive(Clone, Copy)]
struct Rest {
    /// The estimated time from the peer's computation to the end of the route, including the way back to the client.
    seconds: f64,
    /// The index of the next peer; `None` if the peer is the last hop.
    next: Option<usize>,
}

/// Estimates of the parts of a route's time. All its methods return seconds.
pub(super) struct Estimate<'a> {
    pub ask: &'a Ask<'a>,
    pub costs: &'a Costs,
    pub pings: &'a Pings,
    pub now: Timestamp,
    /// Whether the expected waiting time at a peer is part of the estimate.
    pub by_load: bool,
}

impl Estimate<'_> {
    /// Half of a round trip, which is clamped to `longest_rtt`; half of `unknown_rtt` if it is not known.
    fn one_way(&self, rtt: Option<Duration>) -> f64 {
        rtt.unwrap_or(self.costs.unknown_rtt).min(self.costs.longest_rtt).as_secs_f64() / 2.0
    }

    /// The time of one message between the client and the peer.
    fn client(&self, peer: &Known) -> f64 {
        self.one_way(peer.rtt(self.now, self.pings.expiry))
    }

    /// The cost of entering a peer, without the transfer to it: the overhead of handling a step, and a fixed time if
    /// the peer has no room for the session in its KV cache.
    fn entry(&self, peer: &Known) -> f64 {
        let short = u64::from(peer.load.cache_tokens) < self.ask.cache_tokens;
        let wait = if short { self.costs.short_cache.as_secs_f64() } else { 0.0 };
        self.costs.overhead.as_secs_f64() + wait
    }

    /// The time of one message from one peer to the next, by the round trip that the first one announces.
    fn between(&self, from: &Known, to: &Known) -> f64 {
        let next = &from.announce.next;
        self.one_way(next.iter().find(|(peer, _)| *peer == to.id()).map(|(_, rtt)| *rtt))
    }

    /// The time to compute `blocks` blocks at the peer and, if load counts, to wait there.
    fn work(&self, peer: &Known, blocks: u32) -> f64 {
        let rps = peer.announce.inference_rps;
        let rps = if rps.is_finite() && rps > 0.0 { rps } else { self.costs.unknown_rps };
        let load = if self.by_load { self.costs.load * self.waiting(peer, f64::from(blocks) / rps) } else { 0.0 };
        f64::from(blocks) / rps + load
    }

    /// The expected time that a step waits at the peer for the steps of other sessions. It is the time of one step
    /// (`expected` if the peer has reported none) multiplied by the sum of three numbers of sessions:
    ///
    /// - the reported number of sessions times the busy share of the device, times a random factor from 0.5 to 1.5
    ///   because the report is old;
    /// - the number of sessions that this client has opened there since the report;
    /// - a random number from 0 to 1, for the sessions that other clients are opening at the same time.
    ///
    /// Both random terms come from one number per peer, which is derived from `ask.draw`. The randomness keeps clients
    /// with the same information from all choosing the same route.
    fn waiting(&self, peer: &Known, expected: f64) -> f64 {
        let known = peer.load_at.is_some_and(|at| self.now.since(at) <= self.pings.expiry);
        let load = if known { peer.load } else { peer.announce.load };
        let step = if load.step == 0 { expected } else { f64::from(load.step) * 1e-6 };
        let chance = mix(self.ask.draw ^ u64::from(peer.id().0)) as f64 / u64::MAX as f64;
        let heard = f64::from(load.busy) / 1000.0 * f64::from(load.sessions);
        step * (heard * (0.5 + chance) + f64::from(peer.opened) + chance)
    }
}

/// The route of least estimated time, or `None` if no route covers every block. Ties go to the lower node id.
pub(super) fn shortest(peers: &[&Known], estimate: &Estimate<'_>) -> Option<Vec<Hop>> {
    let blocks = estimate.ask.blocks;
    let reach = Reach::of(peers, blocks, estimate.now);
    let mut rests: BTreeMap<(u32, usize), Rest> = BTreeMap::new();
    // For each block, the peers that may be entered there, each with its cost to the end of the route, the cheapest
    // first.
    let mut orders: BTreeMap<u32, Vec<(f64, usize)>> = BTreeMap::new();
    for block in (blocks.start..blocks.end).rev() {
        let mut order = Vec::new();
        for (index, end) in reach.entering(block) {
            let peer = peers[index];
            let rest = if end == blocks.end {
                Some(Rest { seconds: estimate.client(peer), next: None })
            } else {
                orders.get(&end).and_then(|order| onwards(peers, index, (end, order), &rests, estimate))
            };
            let Some(rest) = rest else { continue };
            let seconds = rest.seconds + estimate.work(peer, end - block);
            rests.insert((block, index), Rest { seconds, ..rest });
            order.push((estimate.entry(peer) + seconds, index));
        }
        // The peers are in the order of their ids, and the sort is stable, so ties stay in that order.
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        orders.insert(block, order);
    }
    let start = orders.get(&blocks.start)?;
    let whole = |&(seconds, index): &(f64, usize)| seconds + estimate.client(peers[index]);
    let mut at = start.iter().min_by(|a, b| whole(a).total_cmp(&whole(b)).then(a.1.cmp(&b.1))).map(|(_, index)| *index);
    let (mut block, mut route) = (blocks.start, Vec::new());
    while let Some(index) = at {
        let end = reach.end(index, block)?;
        route.push(Hop { peer: peers[index].id(), blocks: BlockRange { start: block, end } });
        at = rests.get(&(block, index))?.next;
        block = end;
    }
    (block == blocks.end).then_some(route)
}

/// The best rest of a route after the peer at `index` leaves it at `block`; `order` is the list of peers that may
/// follow, the cheapest first. Only the peers with an announced round trip, and the cheapest of all others, have to be
/// compared: the others all have the same unknown round trip.
fn onwards(
    peers: &[&Known],
    index: usize,
    (block, order): (u32, &[(f64, usize)]),
    rests: &BTreeMap<(u32, usize), Rest>,
    estimate: &Estimate<'_>,
) -> Option<Rest> {
    let from = peers[index];
    let next = &from.announce.next;
    let near = next.iter().filter_map(|(id, _)| {
        let to = peers.binary_search_by_key(id, |peer| peer.id()).ok()?;
        let rest = rests.get(&(block, to))?;
        Some((estimate.entry(peers[to]) + rest.seconds, to))
    });
    let named = |to: usize| next.iter().any(|(peer, _)| *peer == peers[to].id());
    let remote = order.iter().find(|(_, to)| !named(*to)).copied();
    let all = near.chain(remote).map(|(rest, to)| (rest + estimate.between(from, peers[to]), to));
    let best = all.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))?;
    Some(Rest { seconds: best.0, next: Some(best.1) })
}

//! The route of least estimated time: Petals' shortest path over (peer, block), with or without a term for load.
//!
//! The terms of an edge are Petals' (`sequence_manager.py`, `_build_inference_graph`). Blocks only ever follow each other,
//! so the graph has no cycle and the path is found from its end, exactly, block by block.
use super::reach::Reach;
use super::view::Known;
use super::{Ask, Costs, Pings};
use crate::id::BlockRange;
use crate::message::Hop;
use crate::seed::mix;
use crate::time::{Duration, Timestamp};
use std::collections::BTreeMap;

/// What entering a peer at a block costs until the end of the route, and where to go after it.
#[derive(Clone, Copy)]
struct Rest {
    seconds: f64,
    next: Option<usize>,
}

/// Estimates of a route's parts, in seconds.
pub(super) struct Estimate<'a> {
    pub ask: &'a Ask<'a>,
    pub costs: &'a Costs,
    pub pings: &'a Pings,
    pub now: Timestamp,
    /// Whether load counts.
    pub by_load: bool,
}

impl Estimate<'_> {
    fn one_way(&self, rtt: Option<Duration>) -> f64 {
        rtt.unwrap_or(self.costs.unknown_rtt).min(self.costs.longest_rtt).as_secs_f64() / 2.0
    }

    fn client(&self, peer: &Known) -> f64 {
        self.one_way(peer.rtt(self.now, self.pings.expiry))
    }

    /// Beside the way there: handling, and waiting for room in the cache if there is none.
    fn entry(&self, peer: &Known) -> f64 {
        let short = u64::from(peer.load.cache_tokens) < self.ask.cache_tokens;
        let wait = if short { self.costs.short_cache.as_secs_f64() } else { 0.0 };
        self.costs.overhead.as_secs_f64() + wait
    }

    /// From one peer to the next, by the round trip that the first announces.
    fn between(&self, from: &Known, to: &Known) -> f64 {
        let next = &from.announce.next;
        self.one_way(next.iter().find(|(peer, _)| *peer == to.id()).map(|(_, rtt)| *rtt))
    }

    fn work(&self, peer: &Known, blocks: u32) -> f64 {
        let rps = peer.announce.inference_rps;
        let rps = if rps.is_finite() && rps > 0.0 { rps } else { self.costs.unknown_rps };
        let load = if self.by_load { self.costs.load * self.waiting(peer, f64::from(blocks) / rps) } else { 0.0 };
        f64::from(blocks) / rps + load
    }

    /// How long a step will wait at the peer: as long as the steps of the sessions there take, for the share of the time
    /// in which its device is busy at all; and as long as those take that one opens oneself, or that others are just
    /// opening: of these one supposes one, by chance, and what was heard is old and believed to within a half. So clients
    /// who know the same do not all go the same way.
    fn waiting(&self, peer: &Known, expected: f64) -> f64 {
        let known = peer.load_at.is_some_and(|at| self.now.since(at) <= self.pings.expiry);
        let load = if known { peer.load } else { peer.announce.load };
        let step = if load.step == 0 { expected } else { f64::from(load.step) * 1e-6 };
        let chance = mix(self.ask.draw ^ u64::from(peer.id().0)) as f64 / u64::MAX as f64;
        let heard = f64::from(load.busy) / 1000.0 * f64::from(load.sessions);
        step * (heard * (0.5 + chance) + f64::from(peer.opened) + chance)
    }
}

/// The shortest route, or nothing if no route covers every block. Ties go to the lower node id.
pub(super) fn shortest(peers: &[&Known], estimate: &Estimate<'_>) -> Option<Vec<Hop>> {
    let blocks = estimate.ask.blocks;
    let reach = Reach::of(peers, blocks, estimate.now);
    let mut rests: BTreeMap<(u32, usize), Rest> = BTreeMap::new();
    // What may follow a peer that ends before a block, the best first.
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
        // Peers stand in the order of their ids, and the sort is stable.
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

/// The best way on from the peer at `index` at a block, given those that may follow there: its announced round trips name
/// a few of them, and all others are equally remote.
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

//! The shortest route by a plain search, which tests the fast search of `route/shortest.rs`. The plain search keeps the
//! best remainder of a route for every peer and every block, and compares all peers.
use crate::id::BlockRange;
use crate::message::Hop;
use crate::route::reach::Reach;
use crate::route::shortest::Estimate;
use crate::route::view::Known;
use std::collections::BTreeMap;

/// The best remainder of a route from a peer that is entered at a given block.
#[derive(Clone, Copy)]
struct Rest {
    /// The estimated time from the peer's computation to the end of the route, including the way back to the client.
    seconds: f64,
    /// The index of the next peer; `None` if the peer is the last hop.
    next: Option<usize>,
}

/// Returns the route of least estimated time, or `None` if no route covers every block. If several routes have equal
/// times, the one with the lower node ids wins.
pub(super) fn plain(peers: &[Known<'_>], estimate: &Estimate<'_>) -> Option<Vec<Hop>> {
    let blocks = estimate.ask.blocks;
    let reach = Reach::of(peers, blocks, estimate.now);
    let mut rests: BTreeMap<(u32, usize), Rest> = BTreeMap::new();
    // For each block, the peers that may be entered there, each with its cost to the end of the route, the cheapest
    // first.
    let mut orders: BTreeMap<u32, Vec<(f64, usize)>> = BTreeMap::new();
    for block in (blocks.start..blocks.end).rev() {
        let mut order = Vec::new();
        for (index, end) in reach.entering(block) {
            let peer = &peers[index];
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
    let whole = |&(seconds, index): &(f64, usize)| seconds + estimate.client(&peers[index]);
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

/// Returns the best remainder of a route that leaves the peer `index` at `block`. `order` lists the peers that may
/// follow, the cheapest first. Only the peers to which `index` announces a round trip, and the cheapest of all other
/// peers, have to be compared, because all other peers have the same unknown round trip.
fn onwards(
    peers: &[Known<'_>],
    index: usize,
    (block, order): (u32, &[(f64, usize)]),
    rests: &BTreeMap<(u32, usize), Rest>,
    estimate: &Estimate<'_>,
) -> Option<Rest> {
    let from = &peers[index];
    let next = &from.announce.next;
    let near = next.iter().filter_map(|(id, _)| {
        let to = peers.binary_search_by_key(id, |peer| peer.id()).ok()?;
        let rest = rests.get(&(block, to))?;
        Some((estimate.entry(&peers[to]) + rest.seconds, to))
    });
    let named = |to: usize| next.iter().any(|(peer, _)| *peer == peers[to].id());
    let remote = order.iter().find(|(_, to)| !named(*to)).copied();
    let all = near.chain(remote).map(|(rest, to)| (rest + estimate.between(from, &peers[to]), to));
    let best = all.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))?;
    Some(Rest { seconds: best.0, next: Some(best.1) })
}

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

/// The best remainder of a route after one of its peers.
#[derive(Clone, Copy)]
struct Rest {
    /// The estimated time from the end of the peer's computation to the end of the route, including the way back to the
    /// client.
    seconds: f64,
    /// The index of the next peer; `None` if the peer is the last hop.
    next: Option<usize>,
}

/// The inputs of a route's estimated time. Each method estimates a part of that time, in seconds.
pub(super) struct Estimate<'a> {
    pub ask: &'a Ask<'a>,
    pub costs: &'a Costs,
    pub pings: &'a Pings,
    pub now: Timestamp,
    /// Whether the expected waiting time at a peer is part of the estimate.
    pub by_load: bool,
}

impl Estimate<'_> {
    /// Returns half of the round-trip time `rtt`, clamped to `longest_rtt`; half of `unknown_rtt` if `rtt` is `None`.
    fn one_way(&self, rtt: Option<Duration>) -> f64 {
        rtt.unwrap_or(self.costs.unknown_rtt).min(self.costs.longest_rtt).as_secs_f64() / 2.0
    }

    /// Returns the time of one message between the client and the peer.
    pub(super) fn client(&self, peer: &Known<'_>) -> f64 {
        self.one_way(peer.rtt(self.now, self.pings.expiry))
    }

    /// Returns the cost of entering a peer, without the transfer to it: the overhead of handling a step and, if the
    /// peer has no room for the session in its KV cache, a fixed time.
    pub(super) fn entry(&self, peer: &Known<'_>) -> f64 {
        let short = u64::from(peer.load().cache_tokens) < self.ask.cache_tokens;
        let wait = if short { self.costs.short_cache.as_secs_f64() } else { 0.0 };
        self.costs.overhead.as_secs_f64() + wait
    }

    /// Returns the time of one message from the peer `from` to the peer `to`, by the round trip that `from` announces.
    pub(super) fn between(&self, from: &Known<'_>, to: &Known<'_>) -> f64 {
        let next = &from.announce.next;
        self.one_way(next.iter().find(|(peer, _)| *peer == to.id()).map(|(_, rtt)| *rtt))
    }

    /// Returns the time to compute `blocks` blocks at the peer. With `by_load`, it includes the time to wait there for
    /// other steps.
    pub(super) fn work(&self, peer: &Known<'_>, blocks: u32) -> f64 {
        let rps = peer.announce.inference_rps;
        let rps = if rps.is_finite() && rps > 0.0 { rps } else { self.costs.unknown_rps };
        let load = if self.by_load { self.costs.load * self.waiting(peer, f64::from(blocks) / rps) } else { 0.0 };
        f64::from(blocks) / rps + load
    }

    /// Returns the expected time that a step waits at the peer for the steps of other sessions. It is the time of one
    /// step (`expected` if the peer has reported none) multiplied by the sum of three numbers of sessions:
    ///
    /// - the reported number of sessions times the busy share of the device, times a random factor from 0.5 to 1.5
    ///   because the report is old;
    /// - the number of sessions that this client has opened there since the report;
    /// - a random number from 0 to 1, for the sessions that other clients are opening at the same time.
    ///
    /// Both random terms are computed from one random number per peer, which is derived from `ask.draw`. The randomness
    /// keeps clients with the same information from all choosing the same route.
    fn waiting(&self, peer: &Known<'_>, expected: f64) -> f64 {
        let recent = peer.seen.load.filter(|(_, at)| self.now.since(*at) <= self.pings.expiry);
        let load = recent.map_or(peer.announce.load, |(load, _)| load);
        let step = if load.step == 0 { expected } else { f64::from(load.step) * 1e-6 };
        let chance = mix(self.ask.draw ^ u64::from(peer.id().0)) as f64 / u64::MAX as f64;
        let heard = f64::from(load.busy) / 1000.0 * f64::from(load.sessions);
        step * (heard * (0.5 + chance) + f64::from(peer.seen.opened) + chance)
    }
}

/// Returns the route of least estimated time, or `None` if no route covers every block. If several routes have equal
/// times, the one with the lower node ids wins.
pub(super) fn shortest(peers: &[Known<'_>], estimate: &Estimate<'_>) -> Option<Vec<Hop>> {
    let reach = Reach::of(peers, estimate.ask.blocks, estimate.now);
    ShortestPath::new(peers, &reach, estimate).route()
}

/// A search for the shortest route, from the last block to the first.
struct ShortestPath<'a> {
    peers: &'a [Known<'a>],
    reach: &'a Reach,
    estimate: &'a Estimate<'a>,
    blocks: BlockRange,
    /// The index in `peers` of each node id; `usize::MAX` for the ids of other nodes.
    indices: Vec<usize>,
    /// For each peer, the cost of entering it.
    entries: Vec<f64>,
    /// For each peer, the best remainder of a route after the peer's whole block range. One remainder is enough for a
    /// peer that is not banned, because every route leaves such a peer at the end of its range.
    rests: Vec<Option<Rest>>,
    /// The best remainders of routes after banned peers. The key is the block where the route enters the peer, and the
    /// peer's index.
    banned: BTreeMap<(u32, usize), Rest>,
    /// For each block, up to `most` of the peers that a route may enter there, the cheapest first. Each entry has the
    /// cost from entering the peer to the end of the route, and the peer's index.
    cheapest: Vec<Vec<(f64, usize)>>,
    /// The largest length of a list of `cheapest`: one more than the largest number of round trips that a peer
    /// announces. The peers to which one peer announces round trips therefore never fill a list, and the list always
    /// has the cheapest peer to which that peer announces none.
    most: usize,
}

impl<'a> ShortestPath<'a> {
    fn new(peers: &'a [Known<'a>], reach: &'a Reach, estimate: &'a Estimate<'a>) -> ShortestPath<'a> {
        let blocks = estimate.ask.blocks;
        let mut indices = vec![usize::MAX; peers.last().map_or(0, |last| last.id().0 as usize + 1)];
        peers.iter().enumerate().for_each(|(index, peer)| indices[peer.id().0 as usize] = index);
        let named = peers.iter().map(|peer| peer.announce.next.len()).max().unwrap_or(0);
        ShortestPath {
            peers,
            reach,
            estimate,
            blocks,
            indices,
            entries: peers.iter().map(|peer| estimate.entry(peer)).collect(),
            rests: vec![None; peers.len()],
            banned: BTreeMap::new(),
            cheapest: vec![Vec::new(); blocks.len() as usize],
            most: named + 1,
        }
    }

    fn route(mut self) -> Option<Vec<Hop>> {
        let mut first: Option<(f64, usize)> = None;
        for block in (self.blocks.start..self.blocks.end).rev() {
            for (index, end) in self.reach.entering(block) {
                let Some(rest) = self.rest(index, block, end) else { continue };
                let seconds = self.entries[index] + self.seconds(index, end - block, rest);
                if block == self.blocks.start {
                    let whole = seconds + self.estimate.client(&self.peers[index]);
                    // The loop visits the peers in the order of their ids and keeps the first of two equal routes, so
                    // ties go to the lower id.
                    if first.is_none_or(|(least, _)| whole.total_cmp(&least).is_lt()) {
                        first = Some((whole, index));
                    }
                } else {
                    self.offer(block, seconds, index);
                }
            }
        }
        let mut at = Some(first?.1);
        let (mut block, mut route) = (self.blocks.start, Vec::new());
        while let Some(index) = at {
            let end = self.reach.end(index, block)?;
            route.push(Hop { peer: self.peers[index].id(), blocks: BlockRange { start: block, end } });
            at = self.known_rest(index, block)?.next;
            block = end;
        }
        (block == self.blocks.end).then_some(route)
    }

    /// Returns the time in which the peer computes `blocks` blocks, plus the time of the remainder `rest` of the route.
    fn seconds(&self, index: usize, blocks: u32, rest: Rest) -> f64 {
        rest.seconds + self.estimate.work(&self.peers[index], blocks)
    }

    /// Returns the best remainder of a route after the peer `index`, which the route enters at `block` and leaves at
    /// `end`; `None` if no peer can follow.
    fn rest(&mut self, index: usize, block: u32, end: u32) -> Option<Rest> {
        if let Some(rest) = self.known_rest(index, block) {
            return Some(rest);
        }
        let rest = if end == self.blocks.end {
            Some(Rest { seconds: self.estimate.client(&self.peers[index]), next: None })
        } else {
            self.onwards(index, end)
        }?;
        if self.reach.is_banned(index) {
            self.banned.insert((block, index), rest);
        } else {
            self.rests[index] = Some(rest);
        }
        Some(rest)
    }

    fn known_rest(&self, index: usize, block: u32) -> Option<Rest> {
        if self.reach.is_banned(index) { self.banned.get(&(block, index)).copied() } else { self.rests[index] }
    }

    /// Returns the best remainder of a route that leaves the peer `index` at `block`. It compares only the peers to
    /// which that peer announces a round trip, and the cheapest of all other peers. This is enough, because all other
    /// peers have the same unknown round trip.
    fn onwards(&self, index: usize, block: u32) -> Option<Rest> {
        let (from, peers) = (&self.peers[index], self.peers);
        let next = &from.announce.next;
        let near = next.iter().filter_map(|(id, _)| {
            let to = self.indices.get(id.0 as usize).copied().filter(|index| *index < peers.len())?;
            let end = self.reach.end(to, block)?;
            let rest = self.known_rest(to, block)?;
            Some((self.entries[to] + self.seconds(to, end - block, rest), to))
        });
        let named = |to: usize| next.iter().any(|(peer, _)| *peer == peers[to].id());
        let order = &self.cheapest[(block - self.blocks.start) as usize];
        let remote = order.iter().find(|(_, to)| !named(*to)).copied();
        let all = near.chain(remote).map(|(rest, to)| (rest + self.estimate.between(from, &peers[to]), to));
        let best = all.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))?;
        Some(Rest { seconds: best.0, next: Some(best.1) })
    }

    /// Adds a peer to the cheapest peers of a block if it is one of them. Must be called in ascending order of the
    /// peers' ids.
    #[inline]
    fn offer(&mut self, block: u32, seconds: f64, index: usize) {
        let order = &mut self.cheapest[(block - self.blocks.start) as usize];
        if order.len() == self.most && order.last().is_some_and(|(most, _)| most.total_cmp(&seconds).is_le()) {
            return;
        }
        let at = order.partition_point(|(other, _)| other.total_cmp(&seconds).is_le());
        order.insert(at, (seconds, index));
        order.truncate(self.most);
    }
}

//! Conversion of one run's events into rows: requests, tokens (steps) and hops.
//!
//! Events come in any order, because a live run merges those of several processes. Rows come in the order of their
//! keys. The parts of a step sum exactly to its time, and the parts of a request to its latency. If the clocks of
//! different hosts disagree, parts are reduced and the row is marked suspect; the sum never changes.
#![forbid(unsafe_code)]

mod observed;
mod parts;
pub mod probe;
mod rows;
pub mod stats;

pub use observed::ObservedRun;
pub use parts::{NetworkParts, Parts};
pub use rows::{HopRow, RequestRow, TokenRow};

use actors::id::{NodeId, RequestId, SessionId};
use actors::record::{
    Abort, Carried, Drained, Ended, Event, Failover, FaultEvent, Looked, Pinged, Served, Serving, Stepped,
};
use actors::time::{Duration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// The rows of one run of one cell, and the records of its orchestrator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunRows {
    /// The requests, ordered by client and index. A client's warm-up is its request 0.
    pub requests: Vec<RequestRow>,
    /// The steps, ordered by request, session and position.
    pub tokens: Vec<TokenRow>,
    /// The hops, ordered by request, position, hop and session.
    pub hops: Vec<HopRow>,
    /// The time of the barrier's release, on the orchestrator's clock.
    pub released: Option<Timestamp>,
    /// The time at which each client finished, on the client's own clock.
    pub finished: BTreeMap<NodeId, Timestamp>,
    /// The failovers, ordered by request and time.
    pub failovers: Vec<Failover>,
    /// The lookups in the DHT, ordered by node and time.
    pub lookups: Vec<Looked>,
    pub pings: Vec<Pinged>,
    /// The announcements and withdrawals of peers as servers of blocks, ordered by time.
    pub serving: Vec<Serving>,
    /// The faults that occurred, ordered by time.
    pub fault_events: Vec<FaultEvent>,
    pub drained: Option<Drained>,
    pub aborted: Option<Abort>,
    /// The number of requests that ended more than once and of steps recorded twice. Both indicate a faulty merge.
    pub duplicates: u32,
}

/// The key of a step: its request and the position at its end. A replay begins earlier and has the same end.
type StepKey = (RequestId, u32);

impl RunRows {
    pub fn of(events: &[Event]) -> RunRows {
        let mut index = Index::default();
        for event in events {
            index.take(event);
        }
        index.fold()
    }

    /// Returns the measured window: from the barrier's release to the last client's end, or to the end by the
    /// orchestrator's figure if that is later. `None` if the barrier was not released, or if no end is known.
    pub fn window(&self) -> Option<(Timestamp, Timestamp)> {
        let released = self.released?;
        let drained = self.drained.as_ref().map(|drained| released + drained.wall);
        let end = drained.max(self.finished.values().max().copied())?;
        Some((released, end.max(released)))
    }

    /// Returns the requests that count in timed statistics: all except warm-ups.
    pub fn timed(&self) -> impl Iterator<Item = &RequestRow> {
        self.requests.iter().filter(|row| !row.warmup())
    }
}

/// The events, indexed by request and step.
#[derive(Default)]
struct Index<'a> {
    fold: RunRows,
    steps: BTreeMap<RequestId, BTreeMap<(SessionId, u32), &'a Stepped>>,
    served: BTreeMap<StepKey, Vec<&'a Served>>,
    carried: BTreeMap<StepKey, Vec<&'a Carried>>,
    ended: BTreeMap<RequestId, &'a Ended>,
}

impl<'a> Index<'a> {
    fn take(&mut self, event: &'a Event) {
        match event {
            Event::Stepped(step) => {
                let steps = self.steps.entry(step.request).or_default();
                let twice = steps.insert((step.session, step.position), step).is_some();
                self.fold.duplicates += u32::from(twice);
            }
            Event::Served(hop) => {
                self.served.entry((hop.request, hop.position.saturating_add(hop.tokens))).or_default().push(hop)
            }
            Event::Carried(way) => {
                let key = (way.session.request(), way.position.saturating_add(way.tokens));
                self.carried.entry(key).or_default().push(way)
            }
            Event::Ended(ended) => {
                let twice = self.ended.insert(ended.request, ended).is_some();
                self.fold.duplicates += u32::from(twice);
            }
            Event::Released { at } => self.fold.released = Some(*at),
            Event::Finished { client, at } => {
                self.fold.finished.insert(*client, *at);
            }
            Event::Drained(drained) => self.fold.drained = Some((**drained).clone()),
            Event::Aborted { why, .. } => self.fold.aborted = Some(why.clone()),
            Event::Failover(failover) => self.fold.failovers.push((**failover).clone()),
            Event::Present { .. } | Event::Ready { .. } | Event::Scored(_) => {}
            Event::Pinged(pinged) => self.fold.pings.push(*pinged),
            Event::Looked(looked) => self.fold.lookups.push((**looked).clone()),
            Event::Serving(serving) => self.fold.serving.push((**serving).clone()),
            Event::FaultEvent(fault_events) => self.fold.fault_events.push((**fault_events).clone()),
            Event::Reserved(_) | Event::Routed(_) | Event::Rated(_) => {}
        }
    }

    /// Returns the peers' and links' events of one attempt at a step. Other attempts at the request, before or after,
    /// may end at the same position; their events are left out.
    fn done_for(&self, step: &Stepped) -> (Vec<&'a Served>, Vec<&'a Carried>) {
        // A prefill in chunks has several ends.
        let end = |tokens| (step.request, step.position.saturating_add(tokens));
        let keys = end(1)..=end(step.tokens);
        let mut hops: Vec<_> = self.served.range(keys.clone()).flat_map(|(_, hops)| hops).copied().collect();
        let mut ways: Vec<_> = self.carried.range(keys).flat_map(|(_, ways)| ways).copied().collect();
        let within = |hop: &&Served| (step.began..=step.seen).contains(&hop.received);
        // If no hop lies within the step, the clocks disagree, and all hops are kept.
        if hops.iter().any(within) && !hops.iter().all(within) {
            hops.retain(within);
            ways.retain(|way| hops.iter().any(|hop| hop.session == way.session));
        }
        // An activation without a hop was lost, which happens only in a step that had to recover. A peer that replaces
        // another one later sends the result of the last replayed position to the next peer, which ignores it.
        if step.recovery == Duration::ZERO && !hops.is_empty() {
            let with = |way: &Carried, hop: &Served| {
                (way.session, way.position, way.tokens) == (hop.session, hop.position, hop.tokens)
            };
            let takes_part = |node| node == step.request.client || hops.iter().any(|hop| hop.peer == node);
            ways.retain(|way| takes_part(way.from) && takes_part(way.to) && hops.iter().any(|hop| with(way, hop)));
        }
        (hops, ways)
    }

    fn fold(mut self) -> RunRows {
        let served = self.served.values().flatten().map(|hop| hop.request);
        let known: BTreeSet<RequestId> = self.steps.keys().chain(self.ended.keys()).copied().chain(served).collect();
        // Equal keys are ordered by time, so that the order of the events has no effect.
        self.served.values_mut().for_each(|hops| hops.sort_by_key(|hop| (hop.hop, hop.received, hop.peer)));
        self.carried.values_mut().for_each(|ways| ways.sort_by_key(|way| (way.from, way.to, way.bytes, way.queue)));
        for &request in &known {
            let first = self.fold.tokens.len();
            for step in self.steps.get(&request).into_iter().flat_map(BTreeMap::values) {
                let (hops, ways) = self.done_for(step);
                self.fold.tokens.push(TokenRow::of(step, &hops, &ways));
            }
            let hops = self.served.range((request, 0)..=(request, u32::MAX)).flat_map(|(_, hops)| hops).copied();
            let row = RequestRow::of(request, self.ended.get(&request).copied(), &self.fold.tokens[first..], hops);
            self.fold.requests.push(row);
        }
        for (key, hops) in &self.served {
            let ways = self.carried.get(key).map_or(&[][..], Vec::as_slice);
            self.fold.hops.extend(hops.iter().map(|hop| HopRow::of(hop, ways)));
        }
        self.fold.failovers.sort_by_key(|failover| (failover.request, failover.noticed));
        self.fold.lookups.sort_by_key(|looked| (looked.node, looked.at, looked.purpose));
        self.fold.pings.sort_by_key(|pinged| (pinged.client, pinged.peer, pinged.at));
        // A peer may withdraw its old blocks and announce others at one instant. The stable sort keeps that order.
        self.fold.serving.sort_by_key(|serving| (serving.at, serving.peer));
        self.fold.fault_events.sort_by(|a, b| (a.at, a.fault, &a.nodes).cmp(&(b.at, b.fault, &b.nodes)));
        self.fold.hops.sort_by_key(|row| (row.request, row.position, row.hop, row.session));
        self.fold
    }
}

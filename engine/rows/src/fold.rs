//! The conversion of one run's events into rows, one event after another.
use crate::rows::StepSums;
use crate::{HopRow, RequestRow, RowSink, TokenRow};
use actors::id::{NodeId, RequestId, SessionId};
use actors::record::{Abort, Carried, Drained, Ended, Event, Failover, FaultEvent, Served, Serving, Stepped};
use actors::time::{Duration, Timestamp};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;

/// The largest number of hops and transfers that are kept for requests after their end, while peers may still work on a
/// failed attempt.
const HELD: usize = 1 << 16;

/// The rare events of a run, which have no rows, and the orchestrator's final record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RareEvents {
    /// The time of the barrier's release, on the orchestrator's clock.
    pub released: Option<Timestamp>,
    /// The time at which each client finished, on the client's own clock.
    pub finished: BTreeMap<NodeId, Timestamp>,
    /// The failovers, ordered by request and time.
    pub failovers: Vec<Failover>,
    /// The announcements and withdrawals of peers as servers of blocks, ordered by time.
    pub serving: Vec<Serving>,
    /// The faults that occurred, ordered by time.
    pub fault_events: Vec<FaultEvent>,
    pub drained: Option<Drained>,
    pub aborted: Option<Abort>,
    /// The number of requests that ended twice plus the number of steps that were recorded twice. More than 0 means
    /// that the events of a run's processes were merged wrongly.
    pub duplicates: u32,
}

impl RareEvents {
    /// Returns the measured window of time: from the barrier's release to the time at which the last client finished,
    /// or to the end that the orchestrator recorded if that is later. Returns `None` if the barrier was not released or
    /// no end is known.
    pub fn window(&self) -> Option<(Timestamp, Timestamp)> {
        let released = self.released?;
        let drained = self.drained.as_ref().map(|drained| released + drained.wall);
        let end = drained.max(self.finished.values().max().copied())?;
        Some((released, end.max(released)))
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Released { at } => self.released = Some(*at),
            Event::Finished { client, at } => {
                self.finished.insert(*client, *at);
            }
            Event::Drained(drained) => self.drained = Some((**drained).clone()),
            Event::Aborted { why, .. } => self.aborted = Some(why.clone()),
            Event::Failover(failover) => self.failovers.push((**failover).clone()),
            Event::Serving(serving) => self.serving.push((**serving).clone()),
            Event::FaultEvent(fault_event) => self.fault_events.push((**fault_event).clone()),
            _ => {}
        }
    }

    fn sort(&mut self) {
        self.failovers.sort_by_key(|failover| (failover.request, failover.noticed));
        // A peer may withdraw its old blocks and announce others at one instant; the stable sort keeps these two events
        // in order.
        self.serving.sort_by_key(|serving| (serving.at, serving.peer));
        self.fault_events.sort_by(|a, b| (a.at, a.fault, &a.nodes).cmp(&(b.at, b.fault, &b.nodes)));
    }
}

/// Folds the events of one run into rows. The fold keeps the requests in progress, and passes a row on as soon as no
/// later event can change it.
///
/// Given events in the order of time, the fold passes on a step's rows when the step is completed, and a request's row
/// when the request ends. If failed peers delayed a step, its rows are passed on later, because a peer may still
/// compute a failed attempt. At most 65,536 hops and transfers of such steps and of failed requests are kept after the
/// end of their requests; beyond that number, the rows of the request that ended first are passed on.
///
/// Given events in any other order, the fold passes on all rows at the end.
#[derive(Debug, Default)]
pub struct RowFold {
    in_order: bool,
    open: BTreeMap<RequestId, OpenRequest>,
    /// The requests that have ended and for which hops or transfers are still kept, in the order in which they ended.
    ended: VecDeque<RequestId>,
    /// The number of hops and transfers that are kept for requests that have ended.
    held: usize,
    closed: BTreeMap<NodeId, Closed>,
    rare: RareEvents,
}

/// A request whose row has not been passed on yet.
#[derive(Debug, Default)]
struct OpenRequest {
    ended: Option<Box<Ended>>,
    /// The steps without a row, by session and position.
    steps: BTreeMap<(SessionId, u32), Stepped>,
    /// The hops without a row, by the position at which they end. A replay begins earlier than the step for which it is
    /// made, and ends at the same position.
    served: BTreeMap<u32, Vec<Served>>,
    /// The transfers without a row, by the position at which they end.
    carried: BTreeMap<u32, Vec<Carried>>,
    sums: StepSums,
    /// The first time at which a peer received a step of the request, and the last time at which a peer sent a result
    /// of it.
    at_peers: Option<(Timestamp, Timestamp)>,
    /// The index of the last output token so far, counted from 1; `None` before the first.
    output: Option<u32>,
    routed: bool,
    /// Whether the request is replacing failed peers.
    troubled: bool,
    /// Whether a step has returned since the request began to replace failed peers.
    resumed: bool,
}

/// The indices of those requests of a client that have had their row passed on.
#[derive(Debug, Default)]
struct Closed {
    /// All indices below this index belong to the set: the rows of their requests have been passed on.
    below: u32,
    others: BTreeSet<u32>,
}

impl Closed {
    fn insert(&mut self, index: u32) {
        self.others.insert(index);
        while self.others.remove(&self.below) {
            self.below += 1;
        }
    }

    fn contains(&self, index: u32) -> bool {
        index < self.below || self.others.contains(&index)
    }
}

impl RowFold {
    /// Creates a fold for events that arrive in the order of time.
    pub fn in_order() -> RowFold {
        RowFold { in_order: true, ..RowFold::default() }
    }

    /// Creates a fold for events in any order, such as the merged events of a live run's processes.
    pub fn in_any_order() -> RowFold {
        RowFold::default()
    }

    /// Returns the number of requests that have begun and have no row yet.
    pub fn open_requests(&self) -> usize {
        self.open.len()
    }

    /// Returns the number of steps, hops and transfers that have no row yet.
    pub fn waiting(&self) -> usize {
        self.open.values().map(|open| open.steps.len() + open.held()).sum()
    }

    pub fn take(&mut self, event: &Event, sink: &mut impl RowSink) {
        match event {
            Event::Stepped(step) => self.step(step, sink),
            Event::Served(hop) => self.serve(hop, sink),
            Event::Carried(way) => self.carry(way),
            Event::Ended(ended) => self.end(ended, sink),
            Event::Routed(routed) if self.in_order => {
                if let Some(open) = self.open(routed.request) {
                    // A request is routed once, so a second routing means that its peers have failed.
                    (open.troubled, open.resumed) = (open.routed, false);
                    open.routed = true;
                }
            }
            Event::Looked(looked) => sink.looked((**looked).clone()),
            Event::Pinged(pinged) => sink.pinged(*pinged),
            rare => {
                if let Event::Failover(failover) = rare
                    && let Some(open) = self.open.get_mut(&failover.request)
                {
                    open.resumed = true;
                }
                self.rare.take(rare);
            }
        }
    }

    /// Passes on the remaining rows, and returns the rare events.
    pub fn finish(mut self, sink: &mut impl RowSink) -> RareEvents {
        for (request, open) in std::mem::take(&mut self.open) {
            open.close(request, sink);
        }
        self.rare.sort();
        self.rare
    }

    /// Returns the request's data, or `None` if its row has been passed on already.
    fn open(&mut self, request: RequestId) -> Option<&mut OpenRequest> {
        match self.open.entry(request) {
            Entry::Occupied(open) => Some(open.into_mut()),
            Entry::Vacant(none) => {
                let closed = self.closed.get(&request.client).is_some_and(|closed| closed.contains(request.index));
                if closed { None } else { Some(none.insert(OpenRequest::default())) }
            }
        }
    }

    fn step(&mut self, step: &Stepped, sink: &mut impl RowSink) {
        let in_order = self.in_order;
        let Some(open) = self.open(step.request) else {
            self.rare.duplicates += 1;
            return;
        };
        let twice = match in_order {
            true => open.output.is_some_and(|last| step.output <= last),
            false => open.steps.insert((step.session, step.position), *step).is_some(),
        };
        if twice {
            self.rare.duplicates += 1;
            return;
        }
        if !in_order {
            return;
        }
        open.output = Some(step.output);
        if open.troubled || step.recovery > Duration::ZERO {
            open.steps.insert((step.session, step.position), *step);
            open.troubled &= !open.resumed;
            return;
        }
        open.finish_step(step, sink);
        open.pass_on_until(*ends(step).end(), sink);
    }

    fn serve(&mut self, hop: &Served, sink: &mut impl RowSink) {
        sink.served(hop);
        let Some(open) = self.open(hop.request) else { return sink.hop(HopRow::of(hop, &[])) };
        let (first, last) = open.at_peers.unwrap_or((hop.received, hop.sent));
        open.at_peers = Some((first.min(hop.received), last.max(hop.sent)));
        open.served.entry(hop.position.saturating_add(hop.tokens)).or_default().push(*hop);
        let late = open.ended.is_some();
        self.held += usize::from(late);
    }

    fn carry(&mut self, way: &Carried) {
        let Some(open) = self.open(way.session.request()) else { return };
        open.carried.entry(way.position.saturating_add(way.tokens)).or_default().push(*way);
        let late = open.ended.is_some();
        self.held += usize::from(late);
    }

    fn end(&mut self, ended: &Ended, sink: &mut impl RowSink) {
        let in_order = self.in_order;
        let Some(open) = self.open(ended.request) else {
            self.rare.duplicates += 1;
            return;
        };
        let twice = open.ended.replace(Box::new(ended.clone())).is_some();
        let (waits, held) = (!(open.steps.is_empty() && open.served.is_empty()), open.held());
        if twice {
            self.rare.duplicates += 1;
        } else if in_order && waits {
            self.held += held;
            self.ended.push_back(ended.request);
        } else if in_order {
            self.close(ended.request, sink);
        }
        while self.held > HELD
            && let Some(request) = self.ended.pop_front()
        {
            self.held -= self.open.get(&request).map_or(0, OpenRequest::held);
            self.close(request, sink);
        }
    }

    fn close(&mut self, request: RequestId, sink: &mut impl RowSink) {
        if let Some(open) = self.open.remove(&request) {
            open.close(request, sink);
        }
        self.closed.entry(request.client).or_default().insert(request.index);
    }
}

impl OpenRequest {
    /// Returns the number of hops and transfers that have no row yet.
    fn held(&self) -> usize {
        let hops = self.served.values().map(Vec::len).sum::<usize>();
        hops + self.carried.values().map(Vec::len).sum::<usize>()
    }

    /// Sorts hops and transfers with equal end positions by time, so that the order of the events has no effect on
    /// rows.
    fn sort(&mut self, ends: RangeInclusive<u32>) {
        let served = self.served.range_mut(ends.clone()).map(|(_, hops)| hops);
        served.for_each(|hops| hops.sort_by_key(|hop| (hop.hop, hop.received, hop.peer)));
        let carried = self.carried.range_mut(ends).map(|(_, ways)| ways);
        carried.for_each(|ways| ways.sort_by_key(|way| (way.from, way.to, way.bytes, way.queue)));
    }

    fn finish_step(&mut self, step: &Stepped, sink: &mut impl RowSink) {
        let (hops, ways) = self.done_for(step);
        let row = TokenRow::of(step, &hops, &ways);
        self.sums.add(&row);
        sink.token(row);
    }

    /// Returns the hops and transfers of the attempt that completed the step. Other attempts, before or after it, may
    /// have events that end at the same position; these are left out.
    fn done_for(&self, step: &Stepped) -> (Vec<&Served>, Vec<&Carried>) {
        let mut hops: Vec<_> = self.served.range(ends(step)).flat_map(|(_, hops)| hops).collect();
        let mut ways: Vec<_> = self.carried.range(ends(step)).flat_map(|(_, ways)| ways).collect();
        let within = |hop: &&Served| (step.began..=step.seen).contains(&hop.received);
        // If no hop lies within the step's time, the hosts' clocks disagree, and all hops are kept.
        if hops.iter().any(within) && !hops.iter().all(within) {
            hops.retain(within);
            ways.retain(|way| hops.iter().any(|hop| hop.session == way.session));
        }
        // Only a step that had to recover has lost transfers, which have no hop; other steps keep only transfers with a
        // hop. A replacement peer sends the result of its last replayed position to the next peer, which ignores it.
        if step.recovery == Duration::ZERO && !hops.is_empty() {
            let with = |way: &Carried, hop: &Served| {
                (way.session, way.position, way.tokens) == (hop.session, hop.position, hop.tokens)
            };
            let takes_part = |node| node == step.request.client || hops.iter().any(|hop| hop.peer == node);
            ways.retain(|way| takes_part(way.from) && takes_part(way.to) && hops.iter().any(|hop| with(way, hop)));
        }
        (hops, ways)
    }

    /// Passes on the hops that end at position `end` or before, except those of steps that still wait.
    fn pass_on_until(&mut self, end: u32, sink: &mut impl RowSink) {
        let waits = |end: &u32| self.steps.values().any(|step| ends(step).contains(end));
        let due: Vec<u32> = self.served.range(..=end).map(|(end, _)| *end).filter(|end| !waits(end)).collect();
        self.carried.retain(|way, _| *way > end || waits(way) || due.contains(way));
        for end in due {
            self.sort(end..=end);
            let hops = self.served.remove(&end).unwrap_or_default();
            let ways = self.carried.remove(&end).unwrap_or_default();
            hops.iter().for_each(|hop| sink.hop(HopRow::of(hop, &ways)));
        }
    }

    fn close(mut self, request: RequestId, sink: &mut impl RowSink) {
        self.sort(0..=u32::MAX);
        std::mem::take(&mut self.steps).values().for_each(|step| self.finish_step(step, sink));
        for (end, hops) in &self.served {
            let ways = self.carried.get(end).map_or(&[][..], Vec::as_slice);
            hops.iter().for_each(|hop| sink.hop(HopRow::of(hop, ways)));
        }
        // A request without a recorded end gets a row only if a peer received a step of it. A transfer alone does not
        // show that.
        if self.ended.is_some() || self.sums.count() > 0 || self.at_peers.is_some() {
            sink.request(RequestRow::of(request, self.ended.as_deref(), &self.sums, self.at_peers));
        }
    }
}

/// Returns the positions at which the hops of a step may end. A prefill in chunks has several such positions.
fn ends(step: &Stepped) -> RangeInclusive<u32> {
    step.position.saturating_add(1)..=step.position.saturating_add(step.tokens)
}

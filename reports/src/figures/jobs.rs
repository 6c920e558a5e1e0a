//! The jobs of the peers: how long each peer computed, in the whole run and in short intervals.
//!
//! A peer computes one job at a time, so steps that end at one instant belong to one job.
use super::JobStep;
use actors::id::{NodeId, RequestId, SessionId};
use std::collections::{BTreeMap, VecDeque};

/// The number of a peer's last jobs to which steps may still be added. A peer records the steps of a job together.
const UNFINISHED: usize = 16;

/// The maximum number of jobs that wait to be assigned to intervals. They wait because compute time after the end of
/// the last client does not count, and this end is known only when the run is over.
const PENDING: usize = 1 << 16;

/// The maximum number of fine intervals. A timeline has at most 120 intervals. Each is 1, 2 or 5 times a power of ten
/// ns wide. Fine intervals are as wide as that power of ten, so an interval of the timeline is the sum of 1, 2 or 5
/// fine ones.
const FINE: u64 = 600;

/// The jobs of all peers of a run.
#[derive(Debug, Default)]
pub struct Jobs {
    released: Option<u64>,
    peers: BTreeMap<NodeId, PeerJobs>,
    /// The last jobs, which are in no interval yet: peer, start and end.
    pending: VecDeque<(NodeId, u64, u64)>,
    fine: FineBins,
}

#[derive(Debug, Default)]
struct PeerJobs {
    /// The compute time in ns of ended jobs that have a step of a timed request.
    busy: u64,
    unfinished: Vec<Job>,
}

/// A job. Its first step is the lowest one by request, position, hop and session.
#[derive(Clone, Copy, Debug)]
struct Job {
    finished: u64,
    started: u64,
    first: Order,
    /// The job's first step that belongs to a timed request, and the step's compute time in ns.
    timed: Option<(Order, u64)>,
}

type Order = (RequestId, u32, u16, SessionId);

impl Jobs {
    pub(super) fn release(&mut self, at: u64) {
        self.released = Some(at);
    }

    /// Adds a step of a job. A peer's jobs must be added nearly in the order of their ends.
    pub(super) fn add(&mut self, step: &JobStep) {
        let order = (step.request, step.position, step.hop, step.session);
        let timed = (!step.request.is_warmup()).then_some((order, step.compute));
        let peer = self.peers.entry(step.peer).or_default();
        match peer.unfinished.iter_mut().rev().find(|job| job.finished == step.finished) {
            Some(job) => {
                if order < job.first {
                    (job.first, job.started) = (order, step.started);
                }
                if timed.is_some_and(|timed| job.timed.is_none_or(|known| timed.0 < known.0)) {
                    job.timed = timed;
                }
            }
            None => {
                peer.unfinished.push(Job { finished: step.finished, started: step.started, first: order, timed });
                if peer.unfinished.len() > UNFINISHED {
                    let ends = peer.unfinished.iter().enumerate().min_by_key(|(_, job)| job.finished);
                    let at = ends.map_or(0, |(at, _)| at);
                    let job = peer.unfinished.remove(at);
                    peer.busy += job.timed.map_or(0, |(_, time)| time);
                    self.pending.push_back((step.peer, job.started, job.finished));
                }
            }
        }
        while self.pending.len() > PENDING {
            let Some((peer, started, finished)) = self.pending.pop_front() else { break };
            self.spread(peer, started, finished);
        }
    }

    /// Adds the part of a job after the barrier's release to the intervals. Does nothing if the barrier was not
    /// released.
    fn spread(&mut self, peer: NodeId, started: u64, finished: u64) {
        if let Some(released) = self.released
            && finished > released
        {
            self.fine.add(peer, started.max(released) - released, finished - released);
        }
    }

    /// Returns the time in ns that each peer computed for timed requests, the last jobs included.
    pub(crate) fn busy(&self) -> BTreeMap<NodeId, u64> {
        let unfinished =
            |peer: &PeerJobs| peer.unfinished.iter().filter_map(|job| job.timed).map(|timed| timed.1).sum::<u64>();
        self.peers.iter().map(|(id, peer)| (*id, peer.busy + unfinished(peer))).collect()
    }

    /// Returns the time in ns that each peer computed in each of `count` intervals of `width` ns after the release, for
    /// a run that ended at `end`. Peers that computed nothing are left out.
    pub(crate) fn intervals(&self, end: u64, width: u64, count: usize) -> BTreeMap<NodeId, Vec<u64>> {
        let mut intervals: BTreeMap<NodeId, Vec<u64>> = BTreeMap::new();
        for (peer, fine) in &self.fine.peers {
            let into = intervals.entry(*peer).or_insert_with(|| vec![0; count]);
            for &(at, ns) in fine {
                if let Some(sum) = into.get_mut((u64::from(at) * self.fine.width / width) as usize) {
                    *sum += ns;
                }
            }
        }
        let unfinished = self
            .peers
            .iter()
            .flat_map(|(peer, jobs)| jobs.unfinished.iter().map(move |job| (*peer, job.started, job.finished)));
        let Some(released) = self.released else { return intervals };
        for (peer, started, finished) in self.pending.iter().copied().chain(unfinished) {
            let into = intervals.entry(peer).or_insert_with(|| vec![0; count]);
            let (from, till) = (started.max(released) - released, finished.clamp(released, end) - released);
            split(from, till, width, |at, ns| into[at as usize] += ns);
        }
        intervals
    }
}

/// Splits the time from `from` to `till` at the borders of intervals of `width`. Calls `each` with the index of each
/// interval and the length of its part.
pub(crate) fn split(from: u64, till: u64, width: u64, mut each: impl FnMut(u64, u64)) {
    let mut from = from;
    while from < till {
        let at = from / width;
        let next = till.min((at + 1) * width);
        each(at, next - from);
        from = next;
    }
}

/// The time that each peer computed in intervals of equal width, which grows with the run.
#[derive(Debug)]
struct FineBins {
    /// A power of ten, in ns.
    width: u64,
    /// The number of the interval and the time in ns, for each interval in which the peer computed.
    peers: BTreeMap<NodeId, Vec<(u32, u64)>>,
}

impl Default for FineBins {
    fn default() -> FineBins {
        FineBins { width: 1, peers: BTreeMap::new() }
    }
}

impl FineBins {
    fn add(&mut self, peer: NodeId, from: u64, till: u64) {
        while till.div_ceil(self.width) > FINE {
            self.width *= 10;
            self.peers.values_mut().for_each(|bins| {
                for bin in bins.iter_mut() {
                    bin.0 /= 10;
                }
                bins.dedup_by(|later, earlier| {
                    let same = later.0 == earlier.0;
                    earlier.1 += if same { later.1 } else { 0 };
                    same
                });
            });
        }
        let bins = self.peers.entry(peer).or_default();
        split(from, till, self.width, |at, ns| {
            let at = at as u32;
            // Jobs are added nearly in order of time, so the search begins at the end.
            let place = bins.iter().rposition(|bin| bin.0 <= at);
            match place {
                Some(place) if bins[place].0 == at => bins[place].1 += ns,
                Some(place) => bins.insert(place + 1, (at, ns)),
                None => bins.insert(0, (at, ns)),
            }
        });
    }
}

//! The measured job times of a live run, replayed in the order of their starts.
//!
//! A simulation with measured job times predicts everything except the computation: queueing, scheduling and the
//! network. A job of a kind that the live run did not have takes the time of the plan's costs.
use actors::id::{BlockRange, NodeId};
use actors::message::{Piece, Work};
use actors::record::{Event, Served};
use actors::time::{Duration, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// The number of context tokens in one bucket. The time of a decode step hardly changes within a bucket.
const BUCKET: u32 = 16;

/// The properties that similar jobs share: the node, the phase, the number of new tokens summed over all rows, and the
/// bucket of the mean context of the job's steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    node: NodeId,
    phase: Phase,
    tokens: u32,
    bucket: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// A peer's job: the peer computes its blocks for this number of steps together.
    Blocks { steps: u32 },
    /// A client's job: the embedding or the LM head of one step.
    Ends,
}

/// The measured times of one peer's job, or of a client's embedding and LM head for one step.
#[derive(Clone, Copy, Debug)]
struct Time {
    took: Duration,
    /// The time of the LM head if the job is a client's; otherwise 0.
    head: Duration,
    /// The blocks that the live job computed. A simulated job of fewer blocks takes a proportional share of its time.
    blocks: BlockRange,
}

/// The measured times of each kind of job, in the order of the jobs' starts. If more times are needed, the last time of
/// the kind is used again.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    times: BTreeMap<Kind, VecDeque<Time>>,
    /// For each client, the time of its next LM head, which belongs to the step that the client has embedded last.
    heads: BTreeMap<NodeId, Duration>,
}

impl Observed {
    /// Collects the job times from all events of a live run, given in any order.
    pub fn of(events: &[Event]) -> Observed {
        let mut stamped = Vec::new();
        // All steps of one job have equal start and end times.
        let mut jobs: BTreeMap<(NodeId, Timestamp, Timestamp), Vec<&Served>> = BTreeMap::new();
        for event in events {
            match event {
                Event::Served(hop) => jobs.entry((hop.peer, hop.started, hop.finished)).or_default().push(hop),
                Event::Stepped(step) => {
                    let tokens = u32::from(step.batch) * step.tokens;
                    let kind =
                        Kind { node: step.request.client, phase: Phase::Ends, tokens, bucket: step.position / BUCKET };
                    let blocks = BlockRange { start: 0, end: 0 };
                    let head = step.client - step.embedding;
                    stamped.push((step.began, kind, Time { took: step.embedding, head, blocks }));
                }
                _ => {}
            }
        }
        for ((node, started, finished), hops) in jobs {
            let steps = hops.iter().map(|hop| (u32::from(hop.batch) * hop.tokens, hop.position));
            let Some(first) = hops.first() else { continue };
            let time = Time { took: finished.since(started), head: Duration::ZERO, blocks: first.blocks };
            stamped.push((started, of_job(node, steps), time));
        }
        stamped.sort_by_key(|(at, kind, _)| (*at, *kind));
        let mut observed = Observed::default();
        for (_, kind, took) in stamped {
            observed.times.entry(kind).or_default().push_back(took);
        }
        observed
    }

    /// Returns the next measured time of a job of `node` that is similar to `work`, or `None` if none was measured.
    pub fn take(&mut self, node: NodeId, work: &Work) -> Option<Duration> {
        let of_piece = |piece: &Piece| (u32::from(piece.input.batch) * piece.input.tokens, piece.position);
        match work {
            Work::Blocks(piece) => {
                self.next(of_job(node, std::iter::once(of_piece(piece))), piece.blocks).map(|time| time.took)
            }
            Work::Batch(pieces) => {
                let blocks = pieces.first()?.blocks;
                self.next(of_job(node, pieces.iter().map(of_piece)), blocks).map(|time| time.took)
            }
            Work::Embed { batch, tokens, position, .. } => {
                let tokens = u32::from(*batch) * tokens;
                let kind = Kind { node, phase: Phase::Ends, tokens, bucket: position / BUCKET };
                let time = self.next(kind, BlockRange { start: 0, end: 0 })?;
                self.heads.insert(node, time.head);
                Some(time.took)
            }
            Work::Head { .. } => self.heads.remove(&node),
            Work::Load { .. } | Work::Benchmark { .. } | Work::Release { .. } => None,
        }
    }

    /// Returns the measured time of a job of this kind on `blocks`. If no such job was measured, returns the time of a
    /// job with the same node, phase and number of tokens and with the nearest context. Contexts differ between runs
    /// because microseconds decide which steps share a batch.
    fn next(&mut self, kind: Kind, blocks: BlockRange) -> Option<Time> {
        let like = match self.times.contains_key(&kind) {
            true => kind,
            false => {
                let (first, last) = (Kind { bucket: 0, ..kind }, Kind { bucket: u32::MAX, ..kind });
                let known = self.times.range(first..=last).map(|(known, _)| *known);
                known.min_by_key(|known| known.bucket.abs_diff(kind.bucket))?
            }
        };
        let times = self.times.get_mut(&like)?;
        let time = *times.front()?;
        let whole = blocks.end >= time.blocks.end;
        if whole && times.len() > 1 {
            times.pop_front();
        }
        match (blocks.len(), time.blocks.len()) {
            (some, all) if some < all => {
                let share = Duration((time.took.0 as f64 * f64::from(some) / f64::from(all)) as u64);
                Some(Time { took: share, ..time })
            }
            _ => Some(time),
        }
    }
}

/// Returns the kind of a job with these steps, each given as (new tokens over all rows, context).
fn of_job(node: NodeId, steps: impl Iterator<Item = (u32, u32)>) -> Kind {
    let (mut count, mut tokens, mut contexts) = (0, 0u32, 0u64);
    for (new, context) in steps {
        count += 1;
        tokens = tokens.saturating_add(new);
        contexts += u64::from(context);
    }
    let bucket = (contexts / u64::from(count).max(1)) as u32 / BUCKET;
    Kind { node, phase: Phase::Blocks { steps: count }, tokens, bucket }
}

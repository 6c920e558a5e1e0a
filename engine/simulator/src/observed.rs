//! The measured job times of a live run, replayed in the order of their starts.
//!
//! With them, a simulation predicts everything except the computation: queueing, scheduling and the network. A job of a
//! kind that the live run did not have takes the time of the plan's costs.
use actors::id::{BlockRange, NodeId};
use actors::message::{Piece, Work};
use actors::record::{Event, Served};
use actors::time::{Duration, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// The number of context tokens in one bucket. The time of a decode step hardly changes within a bucket.
const BUCKET: u32 = 16;

/// The key of similar jobs: the node, the phase, the new tokens summed over all rows, and the bucket of the context.
/// The context of a job is the mean context of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    node: NodeId,
    phase: Phase,
    tokens: u32,
    bucket: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// The blocks, with this number of steps in one job.
    Blocks { steps: u32 },
    /// The embedding and the head of one step.
    Ends,
}

/// The measured time of a job. For a client's step it is the time of the embedding.
#[derive(Clone, Copy, Debug)]
struct Time {
    took: Duration,
    /// The time of the head, for a client's step.
    head: Duration,
    /// The blocks that were computed. A simulated step over fewer blocks takes its share of the time.
    blocks: BlockRange,
}

/// The measured times of each kind, in the order of their starts. The last time of a kind repeats if more are needed.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    times: BTreeMap<Kind, VecDeque<Time>>,
    /// The time of the next head of each client, which belongs to the step that was embedded last.
    heads: BTreeMap<NodeId, Duration>,
}

impl Observed {
    /// Collects the times from all events of a live run, in any order.
    pub fn of(events: &[Event]) -> Observed {
        let mut stamped = Vec::new();
        // All steps of one job have the stamps of the job.
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

    /// Returns the time of the next job of this kind, or `None` if none was measured.
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

    /// Returns the time of `blocks` in a job of this kind. If the kind was not measured, the measured kind with the
    /// same node, steps and tokens and the nearest context replaces it: the composition of batches depends on
    /// microseconds, so contexts differ between runs.
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

/// Returns the kind of a job. Each item of `steps` is the new tokens over all rows and the context of one step.
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

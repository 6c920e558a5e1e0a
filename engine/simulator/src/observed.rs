//! The times that a live run's jobs were observed to take, replayed in the order in which they came.
//!
//! With them a simulation predicts everything but computing: queueing, scheduling and the network. What a live run did not
//! do (a job of a kind that none was observed of) is left to the plan's costs.
use actors::id::{BlockRange, NodeId};
use actors::message::{Piece, Work};
use actors::record::{Event, Served};
use actors::time::{Duration, Timestamp};
use std::collections::{BTreeMap, VecDeque};

/// Tokens of context that are one bucket: the time of a decode step hardly changes within it.
const BUCKET: u32 = 16;

/// What makes jobs alike: who computes it, what it is, the new tokens of all rows, and the bucket of its context, which is
/// the mean of its steps'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    node: NodeId,
    phase: Phase,
    tokens: u32,
    bucket: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Blocks, of so many steps in one job.
    Blocks { steps: u32 },
    /// Embedding and head of one step.
    Ends,
}

/// What a job took; of a client's step, its embedding.
#[derive(Clone, Copy, Debug)]
struct Time {
    took: Duration,
    /// Of a client's step.
    head: Duration,
    /// That were computed: a step may come in parts, which have their shares of the time.
    blocks: BlockRange,
}

/// The observed times of each kind, in the order of their starts. The last comes again where more are asked for.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    times: BTreeMap<Kind, VecDeque<Time>>,
    /// The head that follows what a client has embedded.
    heads: BTreeMap<NodeId, Duration>,
}

impl Observed {
    /// Of all events of a live run, in whatever order.
    pub fn of(events: &[Event]) -> Observed {
        let mut stamped = Vec::new();
        // The steps of one job have its stamps, all of them.
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

    /// The time of the next job of this kind, if one was observed.
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

    /// The time of these blocks in a job of this kind, or in the most like it of as many steps and tokens: who is batched
    /// with whom hangs on microseconds, so contexts differ.
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

/// The kind of a job of these steps, each its new tokens of all rows and its context.
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

//! The times that a live run's jobs were observed to take, replayed in the order in which they came.
//!
//! With them a simulation predicts everything but computing: queueing, scheduling and the network. What a live run did not
//! do (a job of a kind that none was observed of) is left to the plan's costs.
use actors::id::NodeId;
use actors::message::{Piece, Work};
use actors::record::{Event, Served, Stepped};
use actors::time::Span;
use std::collections::{BTreeMap, VecDeque};

/// Tokens of context that are one bucket: the time of a decode step hardly changes within it.
const BUCKET: u32 = 16;

/// What makes jobs alike: who computes it, what it is, the new tokens of all rows, and the context's bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    node: NodeId,
    phase: Phase,
    tokens: u32,
    bucket: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Blocks,
    /// Embedding and head of one step, of which a client stamps the sum.
    Ends,
}

/// The observed times of each kind, in the order of their starts. The last comes again where more are asked for.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    times: BTreeMap<Kind, VecDeque<Span>>,
    /// Of a step's ends, what its embedding has left for the head, by client.
    left: BTreeMap<NodeId, Span>,
}

impl Observed {
    /// Of all events of a live run, in whatever order.
    pub fn of(events: &[Event]) -> Observed {
        let mut stamped = Vec::new();
        for event in events {
            match event {
                Event::Served(hop) => stamped.push((hop.started, blocks(hop), hop.finished.since(hop.started))),
                Event::Stepped(step) => stamped.push((step.began, ends(step), step.client)),
                _ => {}
            }
        }
        stamped.sort_by_key(|(at, kind, _)| (*at, *kind));
        let mut observed = Observed::default();
        for (_, kind, took) in stamped {
            observed.times.entry(kind).or_default().push_back(took);
        }
        observed
    }

    /// The time of the next job of this kind, if one was observed.
    pub fn take(&mut self, node: NodeId, work: &Work) -> Option<Span> {
        match work {
            Work::Blocks(Piece { position, input, .. }) => {
                let tokens = u32::from(input.batch) * input.tokens;
                self.next(Kind { node, phase: Phase::Blocks, tokens, bucket: position / BUCKET })
            }
            Work::Embed { batch, tokens, position, .. } => {
                let tokens = u32::from(*batch) * tokens;
                let both = self.next(Kind { node, phase: Phase::Ends, tokens, bucket: position / BUCKET })?;
                // A step computes nothing between the two, so how they share the time changes nothing but their order.
                let embedding = Span(both.0 / 10);
                self.left.insert(node, both - embedding);
                Some(embedding)
            }
            Work::Head { .. } => self.left.remove(&node),
            // A batch is stamped once for each of its steps, which do not say whom they were computed with.
            Work::Batch(_) | Work::Load { .. } | Work::Release { .. } => None,
        }
    }

    fn next(&mut self, kind: Kind) -> Option<Span> {
        let times = self.times.get_mut(&kind)?;
        if times.len() > 1 { times.pop_front() } else { times.front().copied() }
    }
}

fn blocks(hop: &Served) -> Kind {
    let tokens = u32::from(hop.batch) * hop.tokens;
    Kind { node: hop.peer, phase: Phase::Blocks, tokens, bucket: hop.position / BUCKET }
}

fn ends(step: &Stepped) -> Kind {
    let tokens = u32::from(step.batch) * step.tokens;
    Kind { node: step.request.client, phase: Phase::Ends, tokens, bucket: step.position / BUCKET }
}

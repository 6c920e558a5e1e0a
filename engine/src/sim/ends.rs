//! What the two ends of a frame cost beside the network: encoding, copying, the kernel, waking up.
//!
//! Without a shaped network it is added to the network's own time. With `shape: true` a live run holds a frame until its
//! scheduled instant, so that what the ends cost is absorbed as long as it is less, and only the wake-up comes on top.
use crate::link::Passage;
use actors::id::NodeId;
use actors::message::Message;
use actors::seed::SmallStream;
use actors::time::{Moment, Span};
use rand_distr::{Distribution, LogNormal};
use scenarios::plan::{Overhead, Plan};
use std::collections::BTreeMap;

/// The overheads of each node's host. Empty where no host has any, which costs nothing.
pub struct FrameEnds {
    of_node: Vec<Overhead>,
    shaped: bool,
    /// Where what ends cost is drawn.
    drawn: Option<Drawn>,
}

/// Draws for frames, which do not overtake each other on their connection for that.
struct Drawn {
    stream: SmallStream,
    of_node: Vec<Option<LogNormal<f64>>>,
    last: BTreeMap<(NodeId, NodeId), Moment>,
}

impl FrameEnds {
    pub fn of(plan: &Plan) -> FrameEnds {
        let of_node: Vec<Overhead> = plan.nodes().map(|(node, _)| plan.device(node).cost.overhead).collect();
        let free = |overhead: &Overhead| {
            overhead.frame == Span::ZERO && overhead.per_byte == 0.0 && overhead.held == Span::ZERO
        };
        let of_node = if of_node.iter().all(free) { Vec::new() } else { of_node };
        let drawn = of_node.iter().any(|overhead| overhead.sigma > 0.0).then(|| Drawn {
            stream: plan.seed.small_stream("ends", 0, 0),
            of_node: of_node.iter().map(|overhead| factor(overhead.sigma)).collect(),
            last: BTreeMap::new(),
        });
        FrameEnds { of_node, shaped: plan.network.shape, drawn }
    }

    /// When the receiver has the message.
    #[inline]
    pub fn delivered(&mut self, from: NodeId, to: NodeId, passage: &Passage, message: &Message) -> Moment {
        let (Some(sender), Some(receiver)) = (self.of_node.get(from.0 as usize), self.of_node.get(to.0 as usize))
        else {
            return passage.last;
        };
        let bytes = message.wire_bytes() as f64;
        let copied = Span::from_secs_f64(bytes * (sender.per_byte + receiver.per_byte));
        let (mut frames, mut held) = (sender.frame + receiver.frame, receiver.held);
        if let Some(drawn) = &mut self.drawn {
            frames = drawn.stretch(from, sender.frame) + drawn.stretch(to, receiver.frame);
            held = drawn.stretch(to, held);
        }
        let unshaped = if self.shaped { passage.sent } else { passage.last } + frames + copied;
        let at = if self.shaped && passage.last > unshaped { passage.last + held } else { unshaped };
        match &mut self.drawn {
            Some(drawn) => drawn.in_order(from, to, at),
            None => at,
        }
    }
}

/// Of mean 1: that of exp(N(mu, sigma)) is exp(mu + sigma^2 / 2).
fn factor(sigma: f64) -> Option<LogNormal<f64>> {
    LogNormal::new(-sigma * sigma / 2.0, sigma).ok().filter(|_| sigma > 0.0)
}

impl Drawn {
    fn stretch(&mut self, node: NodeId, time: Span) -> Span {
        match &self.of_node[node.0 as usize] {
            Some(factor) => Span::from_secs_f64(time.as_secs_f64() * factor.sample(&mut self.stream)),
            None => time,
        }
    }

    fn in_order(&mut self, from: NodeId, to: NodeId, at: Moment) -> Moment {
        let last = self.last.entry((from, to)).or_default();
        *last = at.max(*last);
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::{Drawn, factor};
    use actors::id::NodeId;
    use actors::seed::Seed;
    use actors::time::{Moment, Span};
    use std::collections::BTreeMap;

    #[test]
    fn frames_vary_about_their_mean_and_keep_their_order() {
        let stream = Seed(7).small_stream("ends", 0, 0);
        let mut drawn = Drawn { stream, of_node: vec![factor(0.4), factor(0.0)], last: BTreeMap::new() };
        let frame = Span(20_000);
        let times: Vec<u64> = (0..20_000).map(|_| drawn.stretch(NodeId(0), frame).0).collect();
        let mean = times.iter().sum::<u64>() as f64 / times.len() as f64;
        assert!((mean / 20_000.0 - 1.0).abs() < 0.01, "{mean}");
        let short = times.iter().filter(|time| **time < 13_000).count() as f64 / times.len() as f64;
        assert!((0.1..0.25).contains(&short), "{short} are a standard deviation below the median");
        assert_eq!(drawn.stretch(NodeId(1), frame), frame, "nothing is drawn for a host that does not vary");
        assert_eq!(drawn.in_order(NodeId(0), NodeId(1), Moment(50)), Moment(50));
        assert_eq!(drawn.in_order(NodeId(0), NodeId(1), Moment(30)), Moment(50), "not before the frame before it");
        assert_eq!(drawn.in_order(NodeId(1), NodeId(0), Moment(30)), Moment(30));
    }
}

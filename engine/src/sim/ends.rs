//! What the two ends of a frame cost beside the network: encoding, copying, the kernel, waking up.
//!
//! Without a shaped network it is added to the network's own time. With `shape: true` a live run holds a frame until its
//! scheduled instant, so that what the ends cost is absorbed as long as it is less, and only the wake-up comes on top.
use crate::link::Passage;
use actors::id::NodeId;
use actors::message::Message;
use actors::time::{Moment, Span};
use scenarios::plan::{Overhead, Plan};

/// The overheads of each node's host. Empty where no host has any, which costs nothing.
pub struct FrameEnds {
    of_node: Vec<Overhead>,
    shaped: bool,
}

impl FrameEnds {
    pub fn of(plan: &Plan) -> FrameEnds {
        let of_node: Vec<Overhead> = plan.nodes().map(|(node, _)| plan.device(node).cost.overhead).collect();
        let free = |overhead: &Overhead| {
            overhead.frame == Span::ZERO && overhead.per_byte == 0.0 && overhead.held == Span::ZERO
        };
        let of_node = if of_node.iter().all(free) { Vec::new() } else { of_node };
        FrameEnds { of_node, shaped: plan.network.shape }
    }

    /// When the receiver has the message.
    #[inline]
    pub fn delivered(&self, from: NodeId, to: NodeId, passage: &Passage, message: &Message) -> Moment {
        let (Some(sender), Some(receiver)) = (self.of_node.get(from.0 as usize), self.of_node.get(to.0 as usize))
        else {
            return passage.last;
        };
        let bytes = message.wire_bytes() as f64;
        let copied = Span::from_secs_f64(bytes * (sender.per_byte + receiver.per_byte));
        let ends = sender.frame + receiver.frame + copied;
        if !self.shaped {
            return passage.last + ends;
        }
        let unshaped = passage.sent + ends;
        if passage.last > unshaped { passage.last + receiver.held } else { unshaped }
    }
}

//! Inputs to a host's arbiter from other threads of its process.
use actors::id::NodeId;
use actors::message::{Computed, Message};
use actors::record::Event;
use actors::time::Timestamp;

/// An input to the arbiter from another thread of this process.
pub enum Arrival {
    Computed {
        node: NodeId,
        computed: Computed,
    },
    /// An event that the device records, in addition to the events of the nodes.
    Seen(Event),
    LoadFailed {
        node: NodeId,
        what: String,
    },
    /// A frame that the shaper has held until its delivery time.
    Held(Held),
}

/// A frame and its delivery time.
pub struct Held {
    pub until: Timestamp,
    pub from: NodeId,
    pub to: NodeId,
    /// The incarnation of the sender's host.
    pub incarnation: u32,
    pub message: Message,
}

//! Inputs to a host's arbiter (the thread that runs its actors) from other threads of the same process.
use actors::id::NodeId;
use actors::message::{Computed, Message};
use actors::record::Event;
use actors::time::Timestamp;

/// An input that another thread of the process gives to the arbiter, which is the thread that runs the host's actors.
pub enum Arrival {
    Computed {
        node: NodeId,
        computed: Computed,
    },
    /// An event that the device's thread observed. The arbiter records it with the events of the nodes.
    Seen(Event),
    LoadFailed {
        node: NodeId,
        what: String,
    },
    /// A frame that the shaper has held until its delivery time.
    Held(Held),
}

/// A frame that the shaper holds until its delivery time, `until`.
pub struct Held {
    pub until: Timestamp,
    pub from: NodeId,
    pub to: NodeId,
    /// The incarnation of the sender's host.
    pub incarnation: u32,
    pub message: Message,
}

//! Node roles, and the messages that a node of each role may send.
//!
//! In a live run, every process checks each message from another process with [`NodeRole::may_say`]. It does not check
//! the receiver: an honest node may have been given a wrong node id, and a receiver that does not understand a message
//! refuses it.
use super::Message;

/// The role of a node, as far as the protocol distinguishes roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// The node that starts the run, releases the barrier and collects the latencies.
    Orchestrator,
    /// The DHT node that newcomers query first.
    Bootstrap,
    /// A node that serves blocks.
    Peer,
    /// A node that sends requests.
    Client,
}

impl NodeRole {
    /// Whether an honest node of this role may send `message`.
    #[inline]
    pub fn may_say(self, message: &Message) -> bool {
        match message {
            Message::Warm(_) | Message::Go(_) => self == NodeRole::Orchestrator,
            Message::Present(_) => matches!(self, NodeRole::Peer | NodeRole::Client),
            Message::Ready(_) | Message::Latency(_) | Message::Finished(_) => self == NodeRole::Client,
            Message::Open(_) | Message::Reroute(_) | Message::Close(_) => self == NodeRole::Client,
            Message::Step(_) => matches!(self, NodeRole::Peer | NodeRole::Client),
            Message::Opened(_) | Message::Returned(_) => self == NodeRole::Peer,
            Message::Rpc(_) | Message::Ping(_) => self != NodeRole::Orchestrator,
            Message::Pong(_) | Message::Refused(_) => true,
            // No node sends this message: the simulation or the live host creates it.
            Message::Gone(_) => false,
        }
    }
}

//! Who says what: the messages that a node of each kind ever sends.
//!
//! A world whose nodes sit in processes of their own holds what comes from one of them against this. To whom something is
//! said is not looked at: an honest node may have been told a wrong name, and who does not understand says so.
use super::Message;

/// The kinds of nodes, as far as the protocol tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeRole {
    Orchestrator,
    Bootstrap,
    Peer,
    Client,
}

impl NodeRole {
    /// Whether an honest node of this kind may send such a message.
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
            // The world's own word.
            Message::Gone(_) => false,
        }
    }
}

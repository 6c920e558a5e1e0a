//! The requests and responses of the DHT. Kademlia's `PING` is [`crate::message::Message::Ping`], which every node
//! answers.
//!
//! One query may contain several keys, as in hivemind, on which Petals runs. All blocks of a model are looked up
//! together, and a node that is near to several of their keys is queried once.
use super::key::Key;
use super::record::{Held, Record};
use super::table::Contact;
use crate::time::Duration;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A request or a response of the DHT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rpc {
    /// The number that the sender of a request gives to the request. The response repeats it.
    pub id: u32,
    /// The sender's id; `None` for a client-mode node, which no other node adds to its routing table.
    pub key: Option<Key>,
    pub body: Body,
}

/// The content of a request or a response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// A query for the known contacts nearest to each of the targets.
    FindNode { targets: Vec<Key> },
    /// A query for the known contacts nearest to each of the targets, and for the records under the targets.
    FindValue { targets: Vec<Key> },
    /// The response to `FindNode`: the contacts nearest to any of the targets, each contact once.
    Nodes { contacts: Vec<Contact> },
    /// The response to `FindValue`: the contacts nearest to any of the targets, and the records under the targets.
    Values { contacts: Vec<Contact>, held: Held },
    /// A request to store `record` under each of `keys`, for the lifetime `lives`.
    Store { record: Arc<Record>, lives: Duration, keys: Vec<Key> },
    /// The response to `Store`: the number of keys under which the record is kept.
    Stored { kept: u16 },
}

impl Rpc {
    pub fn kind(&self) -> &'static str {
        match self.body {
            Body::FindNode { .. } => "FindNode",
            Body::FindValue { .. } => "FindValue",
            Body::Nodes { .. } => "Nodes",
            Body::Values { .. } => "Values",
            Body::Store { .. } => "Store",
            Body::Stored { .. } => "Stored",
        }
    }

    /// Returns the size of the message on the wire, in bytes: keys of 256 bits, contacts with their addresses, and
    /// records.
    pub fn wire_bytes(&self) -> u64 {
        const KEY: u64 = 32;
        // A key, an IPv4 address and a port.
        const CONTACT: u64 = KEY + 6;
        KEY + match &self.body {
            Body::FindNode { targets } | Body::FindValue { targets } => KEY * targets.len() as u64,
            Body::Nodes { contacts } => CONTACT * contacts.len() as u64,
            Body::Values { contacts, held } => CONTACT * contacts.len() as u64 + held.wire_bytes(),
            Body::Store { record, keys, .. } => record.wire_bytes() + 8 + KEY * keys.len() as u64,
            Body::Stored { .. } => 2,
        }
    }
}

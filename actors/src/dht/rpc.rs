//! What nodes of the DHT say to each other. `PING` is [`crate::message::Message::Ping`], which every node answers.
//!
//! A question may be for several keys at once, as in hivemind, on which Petals runs: all blocks of a model are looked up
//! together, and a node that is near to several of their keys is asked once.
use super::key::Key;
use super::record::{Held, Record};
use super::table::Contact;
use crate::time::Duration;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A question or an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rpc {
    /// The asker's number of the question, the same in its answer.
    pub id: u32,
    /// The sender's id. Without one it only looks up, and enters nobody's table.
    pub key: Option<Key>,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// Whom do you know nearest to each of these?
    FindNode {
        targets: Vec<Key>,
    },
    /// Likewise, and what do you hold under them?
    FindValue {
        targets: Vec<Key>,
    },
    /// Those nearest to the targets, all together, each once.
    Nodes {
        contacts: Vec<Contact>,
    },
    Values {
        contacts: Vec<Contact>,
        held: Vec<Held>,
    },
    /// Keep this under these keys.
    Store {
        record: Arc<Record>,
        lives: Duration,
        keys: Vec<Key>,
    },
    /// How many of the keys it was kept under.
    Stored {
        kept: u16,
    },
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

    /// Bytes of the body on the wire: keys, contacts with an address, records.
    pub fn wire_bytes(&self) -> u64 {
        const KEY: u64 = 32;
        // A key, an IPv4 address and a port.
        const CONTACT: u64 = KEY + 6;
        let held = |held: &Held| held.record.wire_bytes() + 8 + 2 * held.keys.len() as u64;
        KEY + match &self.body {
            Body::FindNode { targets } | Body::FindValue { targets } => KEY * targets.len() as u64,
            Body::Nodes { contacts } => CONTACT * contacts.len() as u64,
            Body::Values { contacts, held: all } => CONTACT * contacts.len() as u64 + all.iter().map(held).sum::<u64>(),
            Body::Store { record, keys, .. } => record.wire_bytes() + 8 + KEY * keys.len() as u64,
            Body::Stored { .. } => 2,
        }
    }
}

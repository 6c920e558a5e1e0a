//! The DHT: Kademlia (Maymounkov and Mazieres 2002), by which peers announce what they serve and clients find them.
//!
//! Every peer is a full [`node`]; a client is one that only looks up; the orchestrator's host keeps a [`bootstrap`] node,
//! the one that newcomers ask first. Several keys of one lookup travel together, as in hivemind. Records are kept by the
//! `replicas` nodes nearest to their key, and live because their peer announces them again, not because holders pass them
//! on; there is no caching along the path of a lookup.
use crate::time::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod bootstrap;
pub mod key;
pub mod lookup;
pub mod node;
pub mod record;
pub mod rpc;
pub mod table;

pub use key::Key;
pub use node::{Done, Node};
pub use record::{Record, State};

/// The rules of the DHT, the same for all of its nodes. The defaults are those of Petals on hivemind 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kademlia {
    /// Contacts of a bucket, and how many nodes a lookup finds.
    pub k: u16,
    /// Questions that a lookup has under way at once.
    pub alpha: u16,
    /// Nodes that keep a record.
    pub replicas: u16,
    pub search: Search,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How often a peer announces itself.
    pub announce: Duration,
    /// How long a record lives unless it is announced again.
    pub expiry: Duration,
    /// How old a client's view of the swarm may grow.
    pub refresh: Duration,
}

/// When a lookup of records ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Search {
    /// After the `k` nearest nodes have been asked. It finds the latest record of every peer.
    #[default]
    Latest,
    /// After the first node that holds a record. It takes fewer queries, but may miss peers that other nodes know.
    First,
}

impl Default for Kademlia {
    fn default() -> Kademlia {
        Kademlia {
            k: 20,
            alpha: 3,
            replicas: 5,
            search: Search::Latest,
            timeout: Duration::from_secs(3),
            announce: Duration::from_secs(60),
            expiry: Duration::from_secs(120),
            refresh: Duration::from_secs(60),
        }
    }
}

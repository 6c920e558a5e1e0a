//! The DHT: Kademlia (Maymounkov and Mazieres 2002). Peers announce in it which blocks they serve, and clients look the
//! peers up.
//!
//! Every peer is a full [`node`]. A client's node only looks up records. The orchestrator's host runs a [`bootstrap`]
//! node, which newcomers query first. Several keys of one lookup travel together, as in hivemind. The `replicas` nodes
//! nearest to a key keep its records. A record stays alive because its peer announces it again; the nodes that keep it
//! do not pass it on. Records are not cached along the path of a lookup.
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

/// The distributed hash table (Kademlia) by which peers announce themselves and are found. The defaults are those of
/// Petals on hivemind 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(bound = "T: JsonSchema + Serialize + From<Duration>")]
pub struct Kademlia<T = Duration> {
    /// The size of a bucket, and the number of nodes that a lookup finds.
    pub k: u16,
    /// The number of queries that a lookup has in flight.
    pub alpha: u16,
    /// The number of queries that all lookups of one operation have in flight together, such as those of all blocks
    /// (hivemind's `num_workers`).
    pub parallel: u16,
    /// The number of nodes that store a record.
    pub replicas: u16,
    /// When a lookup of records ends.
    pub search: Search,
    /// The timeout of a query.
    pub timeout: T,
    /// The interval at which a peer announces itself.
    pub announce: T,
    /// The time after which a record expires unless it is announced again.
    pub expiry: T,
    /// The age from which on a client looks up the peers again before it begins a request.
    pub refresh: T,
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

impl<T: From<Duration>> Default for Kademlia<T> {
    fn default() -> Kademlia<T> {
        Kademlia {
            k: 20,
            alpha: 3,
            parallel: 32,
            replicas: 5,
            search: Search::Latest,
            timeout: Duration::from_secs(3).into(),
            announce: Duration::from_secs(60).into(),
            expiry: Duration::from_secs(120).into(),
            refresh: Duration::from_secs(60).into(),
        }
    }
}

impl<T> Kademlia<T> {
    /// Returns the same parameters with each time converted by `to`.
    pub fn map<U>(self, to: impl Fn(T) -> U) -> Kademlia<U> {
        let Kademlia { k, alpha, parallel, replicas, search, timeout, announce, expiry, refresh } = self;
        let [timeout, announce, expiry, refresh] = [timeout, announce, expiry, refresh].map(to);
        Kademlia { k, alpha, parallel, replicas, search, timeout, announce, expiry, refresh }
    }
}

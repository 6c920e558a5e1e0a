//! The DHT: Kademlia (Maymounkov and Mazieres 2002). Peers announce in it which blocks they serve, and clients look the
//! peers up.
//!
//! Every peer is a full [`node`]; a client's node only looks up records. The orchestrator's host runs a [`bootstrap`]
//! node, which new nodes query first. One query asks for several keys, as in hivemind. The `replicas` nodes nearest to
//! a key store its records. A peer keeps its record alive by announcing it again; the nodes that store the record do
//! not copy it to other nodes. Records are not cached along the path of a lookup.
use crate::time::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod bootstrap;
mod calls;
pub mod key;
pub mod lookup;
pub mod node;
pub mod record;
pub mod rpc;
pub mod table;

pub use key::Key;
pub use node::{Done, Node};
pub use record::{Record, State};

/// The parameters of the distributed hash table (Kademlia) in which peers announce themselves and clients look them up.
/// The defaults are those of Petals on hivemind 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(bound = "T: JsonSchema + Serialize + From<Duration>")]
pub struct Kademlia<T = Duration> {
    /// The maximum number of contacts in a bucket of a routing table, and the number of nearest nodes that a lookup
    /// finds.
    pub k: u16,
    /// The maximum number of queries that one lookup has in flight. After `alpha` successive responses without a nearer
    /// node, the maximum is `k`.
    pub alpha: u16,
    /// The maximum number of queries in flight over all lookups of one operation, such as the lookup of every block
    /// (hivemind's `num_workers`).
    pub parallel: u16,
    /// The number of nodes that store a peer's record for one block: the nodes nearest to the block's key.
    pub replicas: u16,
    /// The condition that ends a lookup of records.
    pub search: Search,
    /// The timeout of one request to a DHT node.
    pub timeout: T,
    /// The interval at which a peer repeats its announcement.
    pub announce: T,
    /// The time after which a peer's record expires unless the peer announces itself again.
    pub expiry: T,
    /// A client that begins a request, or waits before a retry, starts a new lookup of all peers if its last lookup
    /// ended longer ago than this. The request does not wait for the new lookup.
    pub refresh: T,
}

/// The condition that ends a lookup of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Search {
    /// The lookup ends after the `k` nearest nodes have answered. It finds the latest record of every peer.
    #[default]
    Latest,
    /// The lookup ends at the first answer that contains a record. It takes fewer queries, but may miss peers that have
    /// their records only on other nodes.
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

//! The DHT: Kademlia (Maymounkov and Mazieres 2002). Peers announce in it which blocks they serve, and clients look the
//! peers up.
//!
//! Every peer is a full [`node`]. A client is a node that only looks up. The orchestrator's host runs a [`bootstrap`]
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

/// The parameters of the DHT, the same for all of its nodes. The defaults are those of Petals on hivemind 1.1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kademlia {
    /// The maximum number of contacts in a bucket, and the number of nodes that a lookup finds.
    pub k: u16,
    /// The number of queries that a lookup has in flight at once.
    pub alpha: u16,
    /// The number of queries that all lookups of one operation together have in flight at once (hivemind's
    /// `num_workers`). A plan of an earlier version has no such limit.
    #[serde(default = "unlimited")]
    pub parallel: u16,
    /// The number of nodes that keep a record.
    pub replicas: u16,
    /// When a lookup of records ends.
    pub search: Search,
    /// The timeout of a query.
    pub timeout: Duration,
    /// The interval at which a peer announces itself.
    pub announce: Duration,
    /// The lifetime of a record that is not announced again.
    pub expiry: Duration,
    /// The maximum age of a client's view of the swarm.
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

fn unlimited() -> u16 {
    u16::MAX
}

impl Default for Kademlia {
    fn default() -> Kademlia {
        Kademlia {
            k: 20,
            alpha: 3,
            parallel: 32,
            replicas: 5,
            search: Search::Latest,
            timeout: Duration::from_secs(3),
            announce: Duration::from_secs(60),
            expiry: Duration::from_secs(120),
            refresh: Duration::from_secs(60),
        }
    }
}

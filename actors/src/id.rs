//! Names of things: nodes, hosts, requests, sessions and ranges of transformer blocks.
use serde::{Deserialize, Serialize};
use std::fmt;

/// One actor of the swarm. Numbered by the plan, the same in both worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

/// One operating-system process of the live world, with one device; in the simulation the same box with its NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostId(pub u32);

/// One `generate()` of one client. Index 0 is the client's warm-up, 1.. are its timed micro-batches in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    pub client: NodeId,
    pub index: u32,
}

impl RequestId {
    pub fn is_warmup(self) -> bool {
        self.index == 0
    }
}

/// A session holds the KV cache of one request along one route; unique in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(u64);

impl SessionId {
    /// The `count`-th session that `client` opens.
    pub fn new(client: NodeId, count: u32) -> SessionId {
        SessionId(u64::from(client.0) << 32 | u64::from(count))
    }

    pub fn client(self) -> NodeId {
        NodeId((self.0 >> 32) as u32)
    }

    #[inline]
    pub fn raw(self) -> u64 {
        self.0
    }
}

/// Transformer blocks `start..end` of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockRange {
    pub start: u32,
    pub end: u32,
}

impl BlockRange {
    pub fn len(self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn contains(self, block: u32) -> bool {
        (self.start..self.end).contains(&block)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

impl fmt::Display for BlockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

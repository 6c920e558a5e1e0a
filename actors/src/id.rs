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

/// A session holds the KV cache of one request at one peer: one leg of a route. Its id names the request, and which of
/// the request's legs it is, counted over every peer it was ever asked of; so nothing that is late can be taken for
/// something newer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(u64);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:?}, leg {})", self.request(), self.0 as u16)
    }
}

impl SessionId {
    /// 24 bits of client, 24 of request and 16 of leg, within `limits::{NODES, REQUESTS_PER_CLIENT, LEGS_PER_REQUEST}`.
    pub fn new(request: RequestId, leg: u16) -> SessionId {
        SessionId(u64::from(request.client.0) << 40 | u64::from(request.index & 0xff_ffff) << 16 | u64::from(leg))
    }

    #[inline]
    pub fn client(self) -> NodeId {
        NodeId((self.0 >> 40) as u32)
    }

    #[inline]
    pub fn request(self) -> RequestId {
        RequestId { client: self.client(), index: (self.0 >> 16) as u32 & 0xff_ffff }
    }

    #[inline]
    pub fn raw(self) -> u64 {
        self.0
    }

    /// The id that was written down as its `raw` number.
    pub fn from_raw(raw: u64) -> SessionId {
        SessionId(raw)
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

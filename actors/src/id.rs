//! Identifiers of nodes, hosts, requests and sessions, and ranges of transformer blocks.
use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of a node, which is one actor of the swarm. The plan numbers the nodes; live runs and simulations of the
/// plan use the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u32);

/// The number of a host. A host has one or more devices and one NIC. In a live run, a host is one operating-system
/// process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostId(pub u32);

/// The id of a request, which is one `generate()` call of one client. Index 0 is the client's warm-up; the indices from
/// 1 on are the client's timed requests, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId {
    pub client: NodeId,
    pub index: u32,
}

impl RequestId {
    /// Whether the request is the client's warm-up.
    pub fn is_warmup(self) -> bool {
        self.index == 0
    }
}

/// The id of a session. A session holds the KV cache of one request at one peer, for one hop of a route.
///
/// The id contains the request and a number that counts all sessions of the request, at any peer. A late message of an
/// old session can therefore not be mistaken for a message of a newer session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(u64);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:?}, number {})", self.request(), self.0 as u16)
    }
}

impl SessionId {
    /// Returns the id of the request's session number `number`: 24 bits for the client, 24 bits for the request's index
    /// and 16 bits for `number`. The numbers must be below `limits::NODES`, `limits::REQUESTS_PER_CLIENT` and
    /// `limits::SESSIONS_PER_REQUEST`.
    pub fn new(request: RequestId, number: u16) -> SessionId {
        SessionId(u64::from(request.client.0) << 40 | u64::from(request.index & 0xff_ffff) << 16 | u64::from(number))
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

    /// Returns the id whose [`raw`](SessionId::raw) number is `raw`.
    pub fn from_raw(raw: u64) -> SessionId {
        SessionId(raw)
    }
}

/// The transformer blocks `start..end` of a model.
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

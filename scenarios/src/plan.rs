//! A plan: one cell of a sweep made wholly explicit. No default, range, preset or draw is left in it.
//!
//! Both worlds run the same plan, and a host that joins a live run gets it over the wire. Node ids are indices into
//! `nodes`, host ids into `hosts`, machine numbers into `machines`.
use crate::shape::{Shape, WeightType};
use actors::id::{BlockRange, HostId, NodeId};
use actors::message::WireType;
use actors::policy::Policies;
use actors::seed::Seed;
use actors::time::Span;
use serde::{Deserialize, Serialize};

mod device;

pub use device::{Cost, Curve, Device, Ends, Executor, Grid, Jitter, Overhead, Roofline, Table};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: String,
    /// Which cell of the sweep, counted from 0, and which repetition of it.
    pub cell: u32,
    pub repeat: u32,
    pub seed: Seed,
    pub model: Model,
    pub machines: Vec<Machine>,
    /// `hosts[0]` is the orchestrator's.
    pub hosts: Vec<Host>,
    /// `nodes[0]` is the orchestrator, `nodes[1]` the registry, then the peers, then the clients.
    pub nodes: Vec<Node>,
    pub network: Network,
    pub policies: Policies,
    pub workload: Workload,
    /// How long a request may take.
    pub timeout: Span,
    /// How long the swarm may take to come up before the warm-up.
    pub muster: Span,
}

/// What is executed, after any adaptation to another architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub shape: Shape,
    /// Of the peers' blocks.
    pub block_type: WeightType,
    /// Of the client's embedding and head.
    pub ends_type: WeightType,
    /// Of activations between nodes.
    pub wire: WireType,
    /// Of the KV cache, bytes a value.
    pub cache_value_bytes: u32,
    pub weights: Weights,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Weights {
    /// Drawn tensor by tensor from a stream of this seed: the same values wherever a tensor is needed.
    Random { seed: u64 },
    /// A Hugging Face folder.
    Dir(String),
    /// None: the simulation computes hashes of what the caches should hold (see [`actors::echo`]).
    Echo,
}

/// A computer: its hosts share its cores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub name: String,
    /// How many jobs may compute at once, first come first served, over all devices of the machine; nothing: no limit.
    pub leases: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    pub name: String,
    pub site: String,
    pub machine: u32,
    pub device: Device,
    /// What leaves and what enters by its NIC, beside the path's own link.
    pub egress: Link,
    pub ingress: Link,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub host: HostId,
    pub role: Role,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Role {
    Orchestrator,
    Registry,
    Peer { blocks: BlockRange, cache_bytes: u64, inference_rps: f64 },
    Client,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Of every path that `between` does not name, except within a host, which is free.
    pub default: Link,
    pub between: Vec<Between>,
    /// Live: impose these links on the real frames.
    pub shape: bool,
}

impl Network {
    /// What lies between two hosts' NICs.
    pub fn link(&self, from: HostId, to: HostId) -> &Link {
        let named = self.between.iter().find(|between| between.from == from && between.to == to);
        named.map_or(&self.default, |between| &between.link)
    }
}

/// The path from one host to another, one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Between {
    pub from: HostId,
    pub to: HostId,
    pub link: Link,
}

/// One direction of a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// One-way propagation, drawn for each message.
    pub delay: Distribution,
    /// Bytes per second; nothing: no limit.
    pub bandwidth: Option<f64>,
}

impl Link {
    /// Adds no delay and has no limit.
    pub const FREE: Link = Link { delay: Distribution::Constant(Span::ZERO), bandwidth: None };
}

/// A distribution of durations. What it draws is never negative and keeps the order of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Distribution {
    Constant(Span),
    Uniform {
        low: Span,
        high: Span,
    },
    /// Cut off at zero.
    Normal {
        mean: Span,
        std: Span,
    },
    /// `exp(N(ln median, sigma))`.
    LogNormal {
        median: Span,
        sigma: f64,
    },
}

/// P clients run M micro-batches each, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    pub micro_batches: u32,
    pub batch: u32,
    pub prompt: u32,
    pub generate: u32,
}

impl Plan {
    pub const ORCHESTRATOR: NodeId = NodeId(0);
    pub const REGISTRY: NodeId = NodeId(1);

    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().map(|(id, node)| (NodeId(id as u32), node))
    }

    pub fn peers(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes().filter(|(_, node)| matches!(node.role, Role::Peer { .. }))
    }

    pub fn clients(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes().filter(|(_, node)| node.role == Role::Client)
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub fn host(&self, id: HostId) -> &Host {
        &self.hosts[id.0 as usize]
    }

    /// All blocks of the model.
    pub fn blocks(&self) -> BlockRange {
        BlockRange { start: 0, end: self.model.shape.layers }
    }

    /// Bytes that one token of one row takes in the KV cache of one block: keys and values.
    pub fn cache_bytes_per_token_block(&self) -> u64 {
        let shape = &self.model.shape;
        2 * u64::from(shape.kv_heads) * u64::from(shape.head_dim()) * u64::from(self.model.cache_value_bytes)
    }
}

/// Plans as text, for a person to read what a run resolved to.
pub fn to_ron(plans: &[Plan]) -> Result<String, ron::Error> {
    ron::ser::to_string_pretty(plans, ron::ser::PrettyConfig::new().struct_names(true))
}

/// Plans as [`to_ron`] has written them.
pub fn from_ron(text: &str) -> Result<Vec<Plan>, ron::error::SpannedError> {
    ron::from_str(text)
}

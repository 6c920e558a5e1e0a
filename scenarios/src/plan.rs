//! A plan: one cell of a sweep made wholly explicit. No default, range, preset or draw is left in it.
//!
//! Both worlds run the same plan, and a host that joins a live run gets it over the wire. Node ids are indices into
//! `nodes`, host ids into `hosts`, machine numbers into `machines`.
use crate::shape::{Shape, WeightType};
use crate::tokens::{Prompts, Sampling};
use actors::id::{BlockRange, HostId, NodeId};
use actors::message::{NodeRole, WireType};
use actors::policy::Policies;
use actors::seed::Seed;
use actors::time::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

mod device;

pub use device::{ColdCache, Cost, CpuSteal, Curve, Device, Ends, Executor, Grid, Jitter, Overhead, Roofline, Table};

pub mod faults;
mod names;

pub use faults::{Fault, What, When};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: String,
    /// Which cell of the sweep, counted from 0, and which repetition of it.
    pub cell: u32,
    pub repeat: u32,
    pub seed: Seed,
    /// What follows from nothing live, and from this in a simulation: how devices and frames vary.
    pub chance: Seed,
    pub model: Model,
    pub machines: Vec<Machine>,
    /// `hosts[0]` is the orchestrator's.
    pub hosts: Vec<Host>,
    /// `nodes[0]` is the orchestrator, `nodes[1]` the bootstrap node of the DHT, then the peers, then the clients.
    pub nodes: Vec<Node>,
    pub network: Network,
    pub policies: Policies,
    pub workload: Workload,
    pub tokens: Tokens,
    /// Requests that come when they come, in place of the workload's micro-batches.
    pub open: Option<Open>,
    pub objectives: Objectives,
    /// How long a request may take.
    pub timeout: Duration,
    /// How long the swarm may take to come up before the warm-up.
    pub ready_within: Duration,
    /// What goes wrong, in the order of [`When`].
    pub faults: Vec<Fault>,
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

impl Model {
    /// Bytes that one token of one row takes in the KV cache of one block: keys and values.
    pub fn cache_bytes_per_token_block(&self) -> u64 {
        let shape = &self.shape;
        2 * u64::from(shape.kv_heads) * u64::from(shape.head_dim()) * u64::from(self.cache_value_bytes)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Weights {
    /// Drawn tensor by tensor from a stream of this seed: the same values wherever a tensor is needed.
    Random { seed: u64 },
    /// A Hugging Face folder: a path from the working directory on.
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
    /// Its further devices: each computes by itself, and its jobs wait for it alone.
    pub also: Vec<Device>,
    /// What leaves and what enters by its NIC, beside the path's own link.
    pub egress: Link,
    pub ingress: Link,
}

impl Host {
    /// In the order in which nodes name them.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        std::iter::once(&self.device).chain(&self.also)
    }

    pub fn devices_mut(&mut self) -> impl Iterator<Item = &mut Device> {
        std::iter::once(&mut self.device).chain(&mut self.also)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub host: HostId,
    /// Which of its host's devices computes for it; nodes that share one take turns, first come, first served.
    pub device: u32,
    pub role: Role,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Role {
    Orchestrator,
    /// The node of the DHT that newcomers ask first.
    Bootstrap,
    Peer {
        /// If it chooses, only how many count.
        blocks: BlockRange,
        chooses: bool,
        cache_bytes: u64,
        /// Blocks per second of one-token steps.
        inference_rps: f64,
        /// Blocks per second and token of a step of 1024 tokens.
        forward_rps: f64,
        /// Tokens per second that its NIC carries, or what is left of them where it is reached through others.
        network_rps: f64,
    },
    Client,
}

impl Role {
    /// What the protocol takes it for.
    pub fn party(&self) -> NodeRole {
        match self {
            Role::Orchestrator => NodeRole::Orchestrator,
            Role::Bootstrap => NodeRole::Bootstrap,
            Role::Peer { .. } => NodeRole::Peer,
            Role::Client => NodeRole::Client,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Of every path that `between` does not name, except within a host, which is free.
    pub default: Link,
    /// The last that names a path decides.
    pub between: Vec<Between>,
    pub tcp: Tcp,
    pub sharing: Sharing,
    /// Live: impose these links on the real frames.
    pub shape: bool,
}

impl Network {
    /// The same link between any two hosts; connecting costs a round trip, and nothing else of TCP is modelled.
    pub fn of(default: Link) -> Network {
        Network { default, between: Vec::new(), tcp: Tcp::PIPE, sharing: Sharing::Fifo, shape: false }
    }

    /// What lies between two hosts' NICs.
    pub fn link(&self, from: HostId, to: HostId) -> &Link {
        let named = self.between.iter().rfind(|between| between.from.holds(from) && between.to.holds(to));
        named.map_or(&self.default, |between| &between.link)
    }
}

/// The paths from any of some hosts to any of others, one way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Between {
    pub from: Hosts,
    pub to: Hosts,
    pub link: Link,
}

/// Hosts that follow each other, `first` and `last` among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hosts {
    pub first: HostId,
    pub last: HostId,
}

impl Hosts {
    pub fn holds(&self, host: HostId) -> bool {
        (self.first..=self.last).contains(&host)
    }

    pub fn count(&self) -> usize {
        (self.last.0 - self.first.0) as usize + 1
    }
}

/// One direction of a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// One-way propagation.
    pub delay: Distribution,
    /// How often `delay` is drawn.
    pub drawn: Drawn,
    /// What is added to the delay of each message.
    pub jitter: Distribution,
    /// Bytes per second; nothing: no limit.
    pub bandwidth: Option<f64>,
    /// Share of segments that are lost on the way, each on its own; TCP turns them into delay.
    pub loss: f64,
}

impl Link {
    /// Adds no delay and has no limit.
    pub const FREE: Link = Link::new(Distribution::ZERO, None);

    /// A delay drawn for each message, and a bandwidth in bytes per second.
    pub const fn new(delay: Distribution, bandwidth: Option<f64>) -> Link {
        Link { delay, drawn: Drawn::PerMessage, jitter: Distribution::ZERO, bandwidth, loss: 0.0 }
    }
}

/// How often a delay is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Drawn {
    /// For each message.
    #[default]
    PerMessage,
    /// Once for each network interface, or once for each pair of hosts and both directions.
    PerPair,
}

/// A distribution of durations. What it draws is never negative and keeps the order of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Distribution {
    Constant(Duration),
    Uniform {
        low: Duration,
        high: Duration,
    },
    /// Cut off at zero.
    Normal {
        mean: Duration,
        std: Duration,
    },
    /// `exp(N(ln median, sigma))`.
    LogNormal {
        median: Duration,
        sigma: f64,
    },
    /// Mean `shape * scale`, variance `shape * scale^2`.
    Gamma {
        shape: f64,
        scale: Duration,
    },
    /// P(X > x) = (scale / x)^shape for x >= scale.
    Pareto {
        scale: Duration,
        shape: f64,
    },
    /// P(X > x) = exp(-(x / scale)^shape).
    Weibull {
        scale: Duration,
        shape: f64,
    },
    /// One of these, each as likely as the others; ascending.
    Empirical(Arc<[Duration]>),
}

impl Distribution {
    pub const ZERO: Distribution = Distribution::Constant(Duration::ZERO);
}

/// What of TCP is modelled on top of links. The formulas stand in `links::tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tcp {
    /// Connecting costs a round trip.
    pub handshake: bool,
    /// Payload bytes of a full segment.
    pub mss: u64,
    /// Bytes of headers on the wire with each segment.
    pub header: u64,
    /// A new connection begins with a window of so many bytes and doubles it each round trip; nothing: no slow start.
    pub initial_window: Option<u64>,
    /// A connection that has been idle for longer than its retransmission timeout has lost some of its window.
    pub idle_restart: bool,
    /// Bytes that may be under way without acknowledgement; nothing: no limit.
    pub window: Option<u64>,
    /// The least that is added to the round trip for the retransmission timeout.
    pub least_timeout: Duration,
}

impl Tcp {
    /// Nothing of it: a link is a pipe that needs no connecting.
    pub const OFF: Tcp = Tcp { handshake: false, ..Tcp::PIPE };

    /// A pipe that must be connected.
    pub const PIPE: Tcp = Tcp {
        handshake: true,
        mss: 1448,
        header: 0,
        initial_window: None,
        idle_restart: false,
        window: None,
        least_timeout: Duration::from_millis(200),
    };
}

/// How concurrent transfers share a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Sharing {
    /// One transfer after another.
    #[default]
    Fifo,
    /// All at once, each with its max-min fair share of the bandwidth. A shaped live run cannot do that.
    Fair,
}

/// P clients run M micro-batches each, one after another. Where requests come by themselves ([`Open`]), there are no
/// micro-batches, and `prompt` and `generate` are the longest of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    pub micro_batches: u32,
    pub batch: u32,
    pub prompt: u32,
    pub generate: u32,
}

/// Tokens in and out, where a world computes values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tokens {
    pub prompts: Prompts,
    /// Every choice draws from a stream of its own, named after its request and its place in it.
    pub sampling: Sampling,
    /// A request ends early where its first row has one of these. A benchmark has none: T tokens are T tokens.
    pub stops: Vec<u32>,
    /// How many of the best scores of each choice are recorded.
    pub scores: u32,
}

/// Requests that come at their own instants, whatever has become of those before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// In the order of time.
    pub arrivals: Vec<Arrival>,
    /// How long they come for: their number over it is the rate that was asked for.
    pub horizon: Duration,
    /// Requests that a client has under way at once; one that comes beyond them is shed.
    pub in_flight: u32,
}

/// A request of an open workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    pub client: NodeId,
    /// After the barrier's release.
    pub at: Duration,
    pub prompt: u32,
    pub generate: u32,
    /// The peers it is to take; empty: as the policy has it.
    pub route: Vec<NodeId>,
}

/// What a request is expected to keep within.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Objectives {
    pub limits: Vec<Objective>,
    /// The share of requests that must keep them; nothing: no run fails by them.
    pub share: Option<f64>,
}

/// A limit on one request's time, counted from the instant it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Objective {
    /// To the first token.
    Ttft(Duration),
    /// Mean time between tokens.
    Tpot(Duration),
    /// To the end.
    E2el(Duration),
}

impl Plan {
    pub const ORCHESTRATOR: NodeId = NodeId(0);
    pub const BOOTSTRAP: NodeId = NodeId(1);

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

    /// Cores of a machine on which jobs run, as many as its leases can use; none where it has no leases.
    pub fn computing_cores(&self, machine: u32) -> Option<u32> {
        let leases = self.machines.get(machine as usize)?.leases?;
        let devices = self.hosts.iter().filter(|host| host.machine == machine).flat_map(|host| host.devices());
        let threads = devices.map(|device| match device.executor {
            Executor::Cpu { threads } => threads,
            Executor::Cuda { .. } | Executor::Elsewhere => 1,
        });
        Some(leases.saturating_mul(threads.max().unwrap_or(1)))
    }

    /// What computes for a node.
    pub fn device(&self, id: NodeId) -> &Device {
        let node = self.node(id);
        self.host(node.host).devices().nth(node.device as usize).expect("a plan names devices that there are")
    }

    /// Timed requests of all clients together.
    pub fn requests(&self) -> u64 {
        match &self.open {
            Some(open) => open.arrivals.len() as u64,
            None => self.clients().count() as u64 * u64::from(self.workload.micro_batches),
        }
    }

    /// Tokens that all timed requests ask for, over all rows.
    pub fn tokens(&self) -> u64 {
        let rows = u64::from(self.workload.batch);
        match &self.open {
            Some(open) => rows * open.arrivals.iter().map(|arrival| u64::from(arrival.generate)).sum::<u64>(),
            None => rows * self.requests() * u64::from(self.workload.generate),
        }
    }

    /// Tokens of the longest request, each row's prompt and answer together.
    pub fn longest(&self) -> u32 {
        match &self.open {
            Some(open) => open.arrivals.iter().map(|arrival| arrival.prompt + arrival.generate).max().unwrap_or(0),
            None => self.workload.prompt + self.workload.generate,
        }
    }

    /// All blocks of the model.
    pub fn blocks(&self) -> BlockRange {
        BlockRange { start: 0, end: self.model.shape.layers }
    }

    /// Bytes that one token of one row takes in the KV cache of one block: keys and values.
    pub fn cache_bytes_per_token_block(&self) -> u64 {
        self.model.cache_bytes_per_token_block()
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

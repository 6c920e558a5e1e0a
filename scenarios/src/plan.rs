//! The plan: one cell of a sweep with every value explicit. A plan contains no defaults, ranges, presets or random
//! choices that are still open.
//!
//! The live run and the simulation execute the same plan, and a host that joins a live run receives the plan over the
//! network. Node ids are indices into `nodes`, host ids into `hosts`, and machine numbers into `machines`.
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
mod network;

pub use faults::{Fault, What, When};
pub use network::{Between, Hosts, Network, SiteTable};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: String,
    /// The number of the cell in the sweep, counted from 0.
    pub cell: u32,
    /// The number of the repetition of the cell, counted from 0.
    pub repeat: u32,
    pub seed: Seed,
    /// The seed of the simulation's random variation of devices and frames. A live run does not use this seed.
    pub chance: Seed,
    pub model: Model,
    pub machines: Vec<Machine>,
    /// The hosts of the plan. `hosts[0]` is the orchestrator's host.
    pub hosts: Vec<Host>,
    /// The nodes of the plan: `nodes[0]` is the orchestrator, `nodes[1]` the bootstrap node of the DHT; the peers
    /// follow, then the clients.
    pub nodes: Vec<Node>,
    pub network: Network,
    pub policies: Policies,
    pub workload: Workload,
    pub tokens: Tokens,
    /// The arrivals of an open-loop workload, which replace the micro-batches in `workload`. `None` for a closed loop.
    /// [`Plan::workload_kind`] tells the two apart.
    pub open: Option<Open>,
    pub objectives: Objectives,
    /// The longest time that a request may take.
    pub timeout: Duration,
    /// The longest time that the swarm may take to become ready before the warm-up.
    pub ready_within: Duration,
    /// Whether each client completes one request before the timed run.
    #[serde(default = "yes")]
    pub warm_up: bool,
    /// The injected faults, ordered by [`When::key`].
    pub faults: Vec<Fault>,
}

fn yes() -> bool {
    true
}

/// The model that is executed, after any adaptation to another architecture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    pub shape: Shape,
    /// The number format of the weights of the peers' blocks.
    pub block_type: WeightType,
    /// The number format of the weights of the client's embedding and LM head.
    #[serde(alias = "ends_type")]
    pub client_type: WeightType,
    /// The number format of activations in messages between nodes.
    pub wire: WireType,
    /// The size of one value in the KV cache, in bytes.
    pub cache_value_bytes: u32,
    pub weights: Weights,
}

impl Model {
    /// Bytes of KV cache, keys and values, that one token of one row takes in one block.
    pub fn cache_bytes_per_token_block(&self) -> u64 {
        let shape = &self.shape;
        2 * u64::from(shape.kv_heads) * u64::from(shape.head_dim()) * u64::from(self.cache_value_bytes)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Weights {
    /// Random weights. Each tensor has a random stream that is derived from this seed, so all nodes that need a tensor
    /// compute the same values.
    Random { seed: u64 },
    /// Weights from a Hugging Face folder, given as a path relative to the working directory.
    Dir(String),
    /// No weights. The simulation computes hashes of the contents that the caches should have (see [`actors::echo`]).
    Echo,
}

/// A computer. The hosts on it share its cores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub name: String,
    /// The number of core leases: how many jobs may compute at once on all devices of the machine. Jobs get leases in
    /// the order of their requests. `None` for no limit.
    pub leases: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    pub name: String,
    pub site: String,
    pub machine: u32,
    pub device: Device,
    /// Further devices of the host. Each has its own queue of jobs and computes independently of the others.
    pub also: Vec<Device>,
    /// The outgoing link of the host's NIC. A message also crosses the link between the two hosts.
    pub egress: Link,
    /// The incoming link of the host's NIC. A message also crosses the link between the two hosts.
    pub ingress: Link,
}

impl Host {
    /// The host's devices. [`Node::device`] is an index into them.
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
    /// The index of the host's device that computes for this node. Nodes that share a device are served first come,
    /// first served.
    pub device: u32,
    pub role: Role,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Role {
    Orchestrator,
    /// The DHT node that new nodes contact first.
    Bootstrap,
    Peer {
        /// The blocks that the peer serves. If the peer chooses its blocks itself (`chooses`), only the length of the
        /// range matters.
        blocks: BlockRange,
        chooses: bool,
        cache_bytes: u64,
        /// The announced speed in blocks per second, for one-token steps.
        inference_rps: f64,
        /// The announced number of blocks per second in a step of 1024 tokens, multiplied by 1024.
        forward_rps: f64,
        /// The announced number of tokens per second that the peer's NIC carries. It is reduced if other nodes reach
        /// the peer through a relay.
        network_rps: f64,
    },
    Client,
}

impl Role {
    /// The role of the node in the protocol.
    pub fn node_role(&self) -> NodeRole {
        match self {
            Role::Orchestrator => NodeRole::Orchestrator,
            Role::Bootstrap => NodeRole::Bootstrap,
            Role::Peer { .. } => NodeRole::Peer,
            Role::Client => NodeRole::Client,
        }
    }
}

/// The properties of a link in one direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The one-way propagation delay.
    pub delay: Distribution,
    /// How often a value of `delay` is sampled.
    pub drawn: Drawn,
    /// A random time that is added to the delay of each message.
    pub jitter: Distribution,
    /// The bandwidth in bytes per second. `None` for no limit.
    pub bandwidth: Option<f64>,
    /// The share of TCP segments that are lost, each independently. TCP retransmits lost segments, so loss becomes
    /// delay.
    pub loss: f64,
}

impl Link {
    /// A link without a delay and without a bandwidth limit.
    pub const FREE: Link = Link::new(Distribution::ZERO, None);

    /// Returns a link with this bandwidth in bytes per second and this delay, which is sampled for each message.
    pub const fn new(delay: Distribution, bandwidth: Option<f64>) -> Link {
        Link { delay, drawn: Drawn::PerMessage, jitter: Distribution::ZERO, bandwidth, loss: 0.0 }
    }
}

/// How often the delay of a link is sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Drawn {
    /// Once for each message.
    #[default]
    PerMessage,
    /// Once for the whole run: for each network interface, and for each pair of hosts, with the same delay in both
    /// directions.
    PerPair,
}

/// A distribution of delays. Samples are never negative. Links deliver the messages of a connection in order, whatever
/// the samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Distribution {
    Constant(Duration),
    Uniform {
        low: Duration,
        high: Duration,
    },
    /// A normal distribution. Negative samples are replaced by 0.
    Normal {
        mean: Duration,
        std: Duration,
    },
    /// A log-normal distribution: `exp(N(ln median, sigma))`.
    LogNormal {
        median: Duration,
        sigma: f64,
    },
    /// A gamma distribution with mean `shape * scale` and variance `shape * scale^2`.
    Gamma {
        shape: f64,
        scale: Duration,
    },
    /// A Pareto distribution: P(X > x) = (scale / x)^shape for x >= scale.
    Pareto {
        scale: Duration,
        shape: f64,
    },
    /// A Weibull distribution: P(X > x) = exp(-(x / scale)^shape).
    Weibull {
        scale: Duration,
        shape: f64,
    },
    /// A uniform choice among these values, which are in ascending order.
    Empirical(Arc<[Duration]>),
}

impl Distribution {
    pub const ZERO: Distribution = Distribution::Constant(Duration::ZERO);
}

/// The effects of TCP that are modelled in addition to links. `links::tcp` contains the formulas.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tcp {
    /// Whether opening a connection takes a round trip.
    pub handshake: bool,
    /// Payload bytes of a full segment.
    pub mss: u64,
    /// Bytes of protocol headers that each segment has on the wire.
    pub header: u64,
    /// The congestion window of a new connection in bytes, which then doubles each round trip (slow start). `None` for
    /// no slow start.
    pub initial_window: Option<u64>,
    /// Whether a connection loses a part of its window while it is idle for longer than its retransmission timeout.
    pub idle_restart: bool,
    /// Bytes of a connection that may be in flight without acknowledgement. `None` for no limit.
    pub window: Option<u64>,
    /// The time that is added to the round trip to get the retransmission timeout.
    pub least_timeout: Duration,
}

impl Tcp {
    /// The settings without any effect of TCP: connecting takes no time.
    pub const OFF: Tcp = Tcp { handshake: false, ..Tcp::PIPE };

    /// The settings with the handshake as the only effect of TCP: connecting takes a round trip.
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
    /// All transfers at once, each with its max-min fair share of the bandwidth. Live runs that shape their messages do
    /// not support this.
    Fair,
}

/// A closed-loop workload: each client runs `micro_batches` requests, one after another. In an open-loop workload
/// ([`Open`]) there are no micro-batches, and `prompt` and `generate` are the largest values of all requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    pub micro_batches: u32,
    pub batch: u32,
    pub prompt: u32,
    pub generate: u32,
}

/// The input and output tokens, for runs that compute values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tokens {
    pub prompts: Prompts,
    /// The sampling of tokens. Every sampled token uses a random stream of its own, which is derived from the request
    /// and the token's position in the request.
    pub sampling: Sampling,
    /// The stop tokens. A request ends early if its first row generates one of them. Benchmarks have no stop tokens, so
    /// that a request always generates the given number of tokens.
    pub stops: Vec<u32>,
    /// The number of highest scores that are recorded for each chosen token.
    pub scores: u32,
}

/// An open-loop workload: requests arrive at fixed times, whether or not earlier requests have ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// The requests, ordered by time of arrival.
    pub arrivals: Vec<Arrival>,
    /// The time during which requests arrive. The number of requests divided by this time is the offered rate.
    pub horizon: Duration,
    /// The largest number of requests that a client has in flight. A request that arrives beyond this number is shed.
    pub in_flight: u32,
}

/// The kind of a plan's workload, with the values that only this kind has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WorkloadKind<'a> {
    /// A closed loop: each client runs this many requests of the workload's size, one after another.
    Closed { micro_batches: u32 },
    /// An open loop: requests arrive at fixed times and have their own sizes.
    Open(&'a Open),
}

/// A request of an open-loop workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    pub client: NodeId,
    /// The time of arrival after the barrier's release.
    pub at: Duration,
    pub prompt: u32,
    pub generate: u32,
    /// The peers of the request's route. If empty, the routing policy chooses the route.
    pub route: Vec<NodeId>,
}

/// The service level objectives (SLOs) of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Objectives {
    pub limits: Vec<Objective>,
    /// The share of requests that must meet all limits. A run with a smaller share fails. `None` if the share is not
    /// checked.
    pub share: Option<f64>,
}

/// A limit on one time of a request, measured from the time at which the request was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Objective {
    /// The limit on the time to the first token.
    Ttft(Duration),
    /// The limit on the mean time between tokens.
    Tpot(Duration),
    /// The limit on the time to the end of the request.
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

    /// Moves all hosts to one machine with `cores` cores. The machine has a core lease for each core or, if devices have
    /// several threads, for as many cores as the device with most threads uses; but at least one lease.
    pub fn onto_one_machine(&mut self, cores: u32) {
        self.machines = vec![Machine { name: "here".to_owned(), leases: Some(1) }];
        self.hosts.iter_mut().for_each(|host| host.machine = 0);
        let threads = self.computing_cores(0).unwrap_or(1);
        self.machines[0].leases = Some((cores / threads).max(1));
    }

    /// The number of cores of a machine that can run jobs at once: the number of its core leases, multiplied by the
    /// largest number of threads of a device on the machine. `None` if the machine has no limit on core leases.
    pub fn computing_cores(&self, machine: u32) -> Option<u32> {
        let leases = self.machines.get(machine as usize)?.leases?;
        let devices = self.hosts.iter().filter(|host| host.machine == machine).flat_map(|host| host.devices());
        let threads = devices.map(|device| match device.executor {
            Executor::Cpu { threads } => threads,
            Executor::Cuda { .. } | Executor::Elsewhere => 1,
        });
        Some(leases.saturating_mul(threads.max().unwrap_or(1)))
    }

    /// The device that computes for a node.
    ///
    /// # Panics
    /// If the plan has no such node or device.
    pub fn device(&self, id: NodeId) -> &Device {
        let node = self.node(id);
        self.host(node.host).devices().nth(node.device as usize).expect("a plan names devices that there are")
    }

    /// The kind of the plan's workload: a closed or an open loop.
    pub fn workload_kind(&self) -> WorkloadKind<'_> {
        match &self.open {
            Some(open) => WorkloadKind::Open(open),
            None => WorkloadKind::Closed { micro_batches: self.workload.micro_batches },
        }
    }

    /// The number of timed requests of all clients together.
    pub fn requests(&self) -> u64 {
        match self.workload_kind() {
            WorkloadKind::Open(open) => open.arrivals.len() as u64,
            WorkloadKind::Closed { micro_batches } => self.clients().count() as u64 * u64::from(micro_batches),
        }
    }

    /// The number of tokens that all timed requests generate in all their rows.
    pub fn tokens(&self) -> u64 {
        let rows = u64::from(self.workload.batch);
        match self.workload_kind() {
            WorkloadKind::Open(open) => {
                rows * open.arrivals.iter().map(|arrival| u64::from(arrival.generate)).sum::<u64>()
            }
            WorkloadKind::Closed { .. } => rows * self.requests() * u64::from(self.workload.generate),
        }
    }

    /// The number of tokens in one row of the longest request, prompt and answer together.
    pub fn longest(&self) -> u32 {
        match self.workload_kind() {
            WorkloadKind::Open(open) => {
                open.arrivals.iter().map(|arrival| arrival.prompt + arrival.generate).max().unwrap_or(0)
            }
            WorkloadKind::Closed { .. } => self.workload.prompt + self.workload.generate,
        }
    }

    /// The range of all blocks of the model.
    pub fn blocks(&self) -> BlockRange {
        BlockRange { start: 0, end: self.model.shape.layers }
    }

    /// Bytes of KV cache, keys and values, that one token of one row takes in one block.
    pub fn cache_bytes_per_token_block(&self) -> u64 {
        self.model.cache_bytes_per_token_block()
    }
}

/// Writes plans as RON text, for people who want to see the resolved values of a run.
///
/// # Errors
/// If a value cannot be written as RON.
pub fn to_ron(plans: &[Plan]) -> Result<String, ron::Error> {
    ron::ser::to_string_pretty(plans, ron::ser::PrettyConfig::new().struct_names(true))
}

/// Reads plans from the text that [`to_ron`] writes.
///
/// # Errors
/// If the text does not hold plans.
pub fn from_ron(text: &str) -> Result<Vec<Plan>, ron::error::SpannedError> {
    ron::from_str(text)
}

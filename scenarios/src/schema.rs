//! The scenario as written: the typed form of a RON file, with defaults for optional fields.
//!
//! Printing writes every field, so a path such as `workload.prompt` exists in the canonical text of every scenario. A
//! scenario that is printed and read again is the same scenario (a property test checks this). [`crate::resolve`]
//! derives the explicit plan from a scenario.
//!
//! Every path of a file or folder in a scenario (tables, traces, profiles, weights, prompts) is relative to the folder
//! of the scenario file, unless it is absolute. For a built-in scenario it is relative to the working directory. A path
//! that `--set` or `--axis` gives is relative to the same folder.
use crate::chart::Chart;
use crate::raw::Raw;
use crate::tokens::{Prompts, Sampling};
use crate::units::Time;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod cache;
pub mod delay;
mod describe;
pub mod events;
pub mod hosts;
pub mod lengths;
pub mod limit;
pub mod model;
pub mod network;
pub mod swarm;
pub mod workload;

pub use cache::Cache;
pub use delay::Delay;
pub use events::{Away, Going, Lives, Part, ScheduledFault, When};
pub use hosts::{Device, Host, Machine, Spread, Table};
pub use lengths::Lengths;
pub use limit::Limit;
pub use model::{Model, Shape, Weights};
pub use network::{Between, Link, Network, RoundTrips, Transport};
pub use swarm::{
    Admission, Bans, Costs, Detection, Kademlia, Lifetime, Pings, Placement, Probe, Retry, Routing, Speeds, Swarm,
    Throughput,
};
pub use workload::{Columns, Process, Workload};

/// The version of the scenario format that this program reads.
pub const VERSION: u32 = 1;

/// A scenario: a swarm, its network, the workload that clients send, and the sweep over some of these values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The version of the scenario format: 1.
    pub version: u32,
    /// The name of the scenario, which run directories begin with.
    pub name: String,
    /// A text for people.
    #[serde(default)]
    pub description: String,
    /// The model that the swarm serves.
    pub model: Model,
    /// Computers that several hosts share. A host that names no machine has one of its own.
    #[serde(default)]
    pub machines: Vec<Machine>,
    /// Groups of equal hosts. A host is one process with a network interface and one or more devices.
    pub hosts: Vec<Host>,
    /// Which hosts serve blocks, and which blocks.
    pub peers: Vec<Peers>,
    /// The policies of clients and peers. `swarm: Petals` takes those of Petals, `Petals(field: ..)` changes some of them.
    #[serde(default)]
    pub swarm: Swarm,
    /// The network between the hosts.
    #[serde(default)]
    pub network: Network,
    /// The requests that clients send.
    pub workload: Workload,
    /// The tokens of the prompts. A simulation needs them only with `weights: Echo`.
    #[serde(default)]
    pub prompts: Prompts,
    /// How clients choose a token from its scores. A simulation needs it only with `weights: Echo`.
    #[serde(default)]
    pub sampling: Sampling,
    /// Faults that are injected, each with its time.
    #[serde(default)]
    pub events: Vec<ScheduledFault>,
    #[serde(default)]
    /// Timeouts of the measurement, and service level objectives.
    pub measure: Measure,
    /// The values that are varied.
    #[serde(default)]
    pub sweep: Sweep,
    /// The charts that are drawn. If there are none, charts that suit the sweep are drawn.
    #[serde(default)]
    pub report: Vec<Chart>,
}

/// Puts peers on every host of a group. Peers on one host are one process and exchange messages without a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// A host group, or one host of it, counted from 0: `gpu[0]`.
    pub on: String,
    /// The number of peers on each of these hosts.
    #[serde(default = "one")]
    pub count: u32,
    /// The device of the host that these peers share, counted from 0. Without it, the peers of a host take its devices in
    /// turn.
    #[serde(default)]
    pub device: Option<u32>,
    #[serde(default)]
    /// The blocks that each peer serves.
    pub span: BlockSpan,
    /// Whether these peers are reached through a relay. They then announce less throughput (`swarm.throughput.relayed`).
    #[serde(default)]
    pub relayed: bool,
}

fn one() -> u32 {
    1
}

/// The blocks that a peer serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum BlockSpan {
    /// The blocks of the model are split evenly over all peers with this span. The first peers take the remainder.
    #[default]
    Even,
    /// `Blocks(start, end)`: the blocks from `start` to `end` - 1, counted from 0, for every peer of the group.
    Blocks(u32, u32),
    /// A number of consecutive blocks. The peer chooses them by `swarm.placement` and may move later.
    Capacity {
        /// The number of blocks that the peer holds.
        blocks: u32,
    },
}

/// Timeouts of the measurement, and service level objectives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Measure {
    /// A request that takes longer has failed.
    pub timeout: Time,
    /// The longest time from the start of the swarm until every peer has announced its blocks and every client is ready.
    #[serde(alias = "muster")]
    pub ready_within: Time,
    /// Whether each client has one request answered before the timed run. Without this warm-up, the first requests also pay
    /// for discovery and for new connections, as those of new clients of a public swarm do.
    pub warm_up: bool,
    /// Objectives that a request must meet to count as good. Times count from the instant the request was due.
    pub slo: Vec<Slo>,
    /// The least share of good requests, from 0 to 1. A run with a smaller share ends the program with exit code 5.
    pub slo_share: Option<f64>,
}

/// A service level objective of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Slo {
    /// The longest time to the first token.
    Ttft(Time),
    /// The longest mean time between two tokens.
    Tpot(Time),
    /// The longest time to the last token.
    E2el(Time),
}

impl Default for Measure {
    fn default() -> Measure {
        Measure {
            timeout: Time(600_000_000_000),
            ready_within: Time(60_000_000_000),
            warm_up: true,
            slo: Vec::new(),
            slo_share: None,
        }
    }
}

/// The values that are varied. Each combination of values is a cell.
///
/// The cells are the grid of `axes`, the first axis slowest. Then each case adds its values, combined with the grid of the
/// axes that it does not name. Equal combinations are one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sweep {
    /// How often each cell is run, with different random streams.
    pub repeat: u32,
    /// A map from the path of a field to its values, as in `{ "workload.clients": [1, 2, 4] }`.
    pub axes: IndexMap<String, Vec<Raw>>,
    /// Single points: each a map from the path of a field to its value.
    pub cases: Vec<IndexMap<String, Raw>>,
}

impl Default for Sweep {
    fn default() -> Sweep {
        Sweep { repeat: 1, axes: IndexMap::new(), cases: Vec::new() }
    }
}

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
    /// The name of the scenario. The names of its run directories begin with it.
    pub name: String,
    /// A free text that describes the scenario to people.
    #[serde(default)]
    pub description: String,
    /// The model that the swarm serves.
    pub model: Model,
    /// Computers that several hosts share. A host that names no machine has a machine of its own.
    #[serde(default)]
    pub machines: Vec<Machine>,
    /// Groups of equal hosts. A host is one process with a network interface and one or more devices.
    pub hosts: Vec<Host>,
    /// The peers: which hosts serve blocks, and which blocks each peer serves.
    pub peers: Vec<Peers>,
    /// The policies of clients and peers. `Petals` selects the policies of Petals. `Petals(..)` does so too, except for
    /// the fields in the parentheses.
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
    /// How clients choose the next token from the model's scores. A simulation needs it only with `weights: Echo`.
    #[serde(default)]
    pub sampling: Sampling,
    /// The faults that are injected into a run.
    #[serde(default)]
    pub events: Vec<ScheduledFault>,
    #[serde(default)]
    /// The time limits, the warm-up and the service level objectives.
    pub measure: Measure,
    /// The fields that are varied, their values, and the number of repetitions.
    #[serde(default)]
    pub sweep: Sweep,
    /// The charts of the report. If the list is empty, the report has charts that suit the sweep.
    #[serde(default)]
    pub report: Vec<Chart>,
}

/// A group of peers on the hosts of a host group. All peers on one host run in one process and exchange messages
/// without a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// The host group on which the peers run, or one of its hosts, counted from 0: `gpu[0]`.
    pub on: String,
    /// The number of peers on each host that `on` names.
    #[serde(default = "one")]
    pub count: u32,
    /// The index of the host's device that these peers share, counted from 0. Without it, the peers of a host are
    /// assigned to the host's devices in turn.
    #[serde(default)]
    pub device: Option<u32>,
    #[serde(default)]
    /// The blocks that each peer serves.
    pub span: BlockSpan,
    /// Whether other nodes reach these peers through a relay. If so, the peers announce less throughput
    /// (`swarm.throughput.relayed`).
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
    /// The blocks of the model are split evenly over all peers with this span. If the blocks cannot be divided evenly,
    /// the first peers serve one block more.
    #[default]
    Even,
    /// `Blocks(start, end)`: the blocks from `start` to `end` - 1, counted from 0, for every peer of the group.
    Blocks(u32, u32),
    /// A number of consecutive blocks. The peer chooses which ones, as `swarm.placement` says, and may choose others
    /// later.
    Capacity {
        /// The number of blocks that the peer holds.
        blocks: u32,
    },
}

/// The time limits, the warm-up and the service level objectives of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Measure {
    /// The longest time that a request may take. A request that takes longer has failed.
    pub timeout: Time,
    /// The longest time from the start of the swarm until every peer has announced its blocks and every client is
    /// ready.
    #[serde(alias = "muster")]
    pub ready_within: Time,
    /// Whether each client completes one request before the timed run. Without this warm-up, the first timed requests
    /// also take the time to discover peers and to open connections, like the first requests of new clients of a public
    /// swarm.
    pub warm_up: bool,
    /// Objectives that a request must meet to count as good. Times count from the instant the request was due.
    pub slo: Vec<Slo>,
    /// The least share of good requests, from 0 to 1. If the share is smaller in a run, the program ends with exit code
    /// 5.
    pub slo_share: Option<f64>,
}

/// A service level objective of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Slo {
    /// The longest allowed time to the first token.
    Ttft(Time),
    /// The longest allowed mean time between consecutive tokens.
    Tpot(Time),
    /// The longest allowed time to the last token.
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

/// The fields that a sweep varies, and their values. Each combination of values is a cell of the sweep.
///
/// The first cells are all combinations of the values of `axes`, with the first axis varied slowest. Each entry of
/// `cases` then adds cells: its own values, combined with all values of the axes that it does not name. A combination
/// that occurs twice is one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sweep {
    /// The number of runs of each cell. Each run has random streams of its own.
    pub repeat: u32,
    /// A map from the path of each varied field to the field's values, as in `{ "workload.clients": [1, 2, 4] }`.
    pub axes: IndexMap<String, Vec<Raw>>,
    /// Further combinations: each is a map from the paths of fields to one value for each field.
    pub cases: Vec<IndexMap<String, Raw>>,
}

impl Default for Sweep {
    fn default() -> Sweep {
        Sweep { repeat: 1, axes: IndexMap::new(), cases: Vec::new() }
    }
}

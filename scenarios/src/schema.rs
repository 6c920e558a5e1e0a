//! A scenario as it is written: the typed form of a RON file, with defaults where a person need not choose.
//!
//! Every field is written when printed, so that a path such as `workload.prompt` has a place in the canonical text of
//! every scenario; printing and reading gives the same scenario (a property test holds it). What follows from a scenario
//! is not here: [`crate::resolve`] makes it explicit.
//!
//! Every path of a file or folder in a scenario (tables, traces, profiles, weights, prompts) begins at the folder of the
//! scenario file, unless it is absolute; for a scenario of the library it begins at the working directory. A path that
//! `--set` or `--axis` gives is a value of the scenario as any other, and begins at the same folder.
use crate::chart::Chart;
use crate::raw::Raw;
use crate::tokens::{Prompts, Sampling};
use crate::units::Time;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub mod cache;
pub mod delay;
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
pub use events::{Away, Going, Happening, Lives, Part, When};
pub use hosts::{Device, Host, Machine, Table};
pub use lengths::Lengths;
pub use limit::Limit;
pub use model::{Model, Shape, Weights};
pub use network::{Between, Link, Network, RoundTrips, Transport};
pub use swarm::{
    Admission, Bans, Costs, Detection, Kademlia, Lifetime, Pings, Placement, Probe, Retry, Routing, Speeds, Swarm,
    Throughput,
};
pub use workload::{Columns, Process, Workload};

/// The format that this program reads.
pub const VERSION: u32 = 1;

/// A swarm, its network, what is asked of it, and what is varied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub version: u32,
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub model: Model,
    /// Computers that several hosts share; a host that names none has one of its own.
    #[serde(default)]
    pub machines: Vec<Machine>,
    pub hosts: Vec<Host>,
    pub peers: Vec<Peers>,
    #[serde(default)]
    pub swarm: Swarm,
    #[serde(default)]
    pub network: Network,
    pub workload: Workload,
    /// Of which tokens the prompts are, where a world computes values.
    #[serde(default)]
    pub prompts: Prompts,
    /// How clients choose tokens, where a world computes values.
    #[serde(default)]
    pub sampling: Sampling,
    /// What goes wrong, and when.
    #[serde(default)]
    pub events: Vec<Happening>,
    #[serde(default)]
    pub measure: Measure,
    #[serde(default)]
    pub sweep: Sweep,
    #[serde(default)]
    pub report: Vec<Chart>,
}

/// Peers on every host of a group. Those of one host are of one process, and talk to each other without a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peers {
    /// A host group, or one host of it, counted from 0: `gpu[0]`.
    pub on: String,
    /// On each of these hosts.
    #[serde(default = "one")]
    pub count: u32,
    /// Which of a host's devices they share, counted from 0; where nothing is said, a host's peers take them in turn.
    #[serde(default)]
    pub device: Option<u32>,
    #[serde(default)]
    pub span: Span,
    /// They are reached through others, and announce less throughput for it (`swarm.throughput.relayed`).
    #[serde(default)]
    pub relayed: bool,
}

fn one() -> u32 {
    1
}

/// Which blocks a peer serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Span {
    /// All blocks of the model split over all peers of the scenario's even groups, the first of which take the remainder.
    #[default]
    Even,
    /// From the first to before the second, the same for every peer of the group.
    Blocks(u32, u32),
    /// So many blocks, which the peer chooses by `swarm.placement`, and may change.
    Capacity { blocks: u32 },
}

/// How long things may take, and how long they should.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Measure {
    /// A request.
    pub timeout: Time,
    /// The swarm, from its start to its last peer's announcement and its last client's presence.
    pub muster: Time,
    /// What a request that counts as good keeps within, counted from the instant it was due.
    pub slo: Vec<Slo>,
    /// The share of requests that must be good; where a run has less, the program ends with exit code 5.
    pub slo_share: Option<f64>,
}

/// A service level objective of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Slo {
    /// Time to the first token.
    Ttft(Time),
    /// Mean time between tokens.
    Tpot(Time),
    /// Time to the end.
    E2el(Time),
}

impl Default for Measure {
    fn default() -> Measure {
        Measure { timeout: Time(600_000_000_000), muster: Time(60_000_000_000), slo: Vec::new(), slo_share: None }
    }
}

/// What is varied. The cells are the grid of `axes`, the first axis slowest, then for each case the grid of those axes
/// that the case does not name; a point that comes up twice is one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sweep {
    /// How often each cell is run.
    pub repeat: u32,
    /// Path -> values.
    pub axes: IndexMap<String, Vec<Raw>>,
    /// Path -> value.
    pub cases: Vec<IndexMap<String, Raw>>,
}

impl Default for Sweep {
    fn default() -> Sweep {
        Sweep { repeat: 1, axes: IndexMap::new(), cases: Vec::new() }
    }
}

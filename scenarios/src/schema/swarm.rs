//! The policies of a swarm: how its nodes work together.
//!
//! A policy that a scenario leaves out has the default value of `actors::policy::Policies`.
use crate::schema::cache::Cache;
use crate::schema::limit::Limit;
use crate::units::{Rate, Size, Time};
use actors::dht;
use actors::message::Forwarding;
use actors::placement;
use actors::policy::{self, Prefill, Recovery, Scheduling};
use actors::route;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// [`route::Routing`] in which peers are identified by the names of their hosts.
pub type Routing = route::Routing<String>;

/// [`route::Costs`] with times that a scenario writes as text, such as `"80 ms"`.
pub type Costs = route::Costs<Time>;

/// [`route::Pings`] with times that a scenario writes as text, such as `"80 ms"`.
pub type Pings = route::Pings<Time>;

/// [`route::Bans`] with times that a scenario writes as text, such as `"80 ms"`.
pub type Bans = route::Bans<Time>;

/// [`policy::Detection`] with times that a scenario writes as text, such as `"80 ms"`.
pub type Detection = policy::Detection<Time>;

/// [`policy::Lifetime`] with times that a scenario writes as text, such as `"80 ms"`.
pub type Lifetime = policy::Lifetime<Time>;

/// [`policy::Admission`] with times that a scenario writes as text, such as `"80 ms"`.
pub type Admission = policy::Admission<Time>;

/// [`policy::Speeds`] with times that a scenario writes as text, such as `"80 ms"`.
pub type Speeds = policy::Speeds<Time>;

/// [`policy::Probe`] with times that a scenario writes as text, such as `"80 ms"`.
pub type Probe = policy::Probe<Time>;

/// [`dht::Kademlia`] with times that a scenario writes as text, such as `"80 ms"`.
pub type Kademlia = dht::Kademlia<Time>;

/// [`placement::Placement`] with times that a scenario writes as text, such as `"80 ms"`.
pub type Placement = placement::Placement<Time>;

/// The policies of clients and peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Swarm {
    /// How a client chooses the peers of a route.
    pub routing: Routing,
    /// The terms by which `MinLatency` and `LoadAware` estimate the time of a route.
    pub costs: Costs,
    /// How nodes measure round-trip times.
    pub pings: Pings,
    /// How long a client avoids a peer that has failed.
    pub bans: Bans,
    /// Who sends the activations of a step from one peer to the next: the client, or the peer itself.
    pub forwarding: Forwarding,
    /// How much of a prompt one step carries.
    pub prefill: Prefill,
    /// How a client notices that a peer has failed.
    pub detection: Detection,
    /// How a client continues a request after a peer has failed.
    pub recovery: Recovery,
    /// How many times a client tries again after a failure, and how long it waits before each retry.
    pub retry: Retry,
    /// The order in which a peer computes waiting steps, and how many of them it computes as one job.
    pub scheduling: Scheduling,
    /// The batching delay: how long an idle peer waits for further steps before it starts a job.
    #[serde(alias = "gather")]
    pub batch_wait: Time,
    /// How a peer treats a new session that finds no room in its KV cache.
    pub admission: Admission,
    /// How long a session may last at a peer.
    pub lifetime: Lifetime,
    /// The throughput that peers announce.
    pub throughput: Throughput,
    /// The distributed hash table by which peers announce themselves and are found.
    pub dht: Kademlia,
    /// How peers with `span: Capacity` choose their blocks.
    pub placement: Placement,
    /// The size of a peer's KV cache: bytes for the whole peer, as `"4 GiB"`, or tokens for each of its blocks, as
    /// `Tokens(full: 4096, grouped: 16384)`.
    pub cache: Cache,
}

impl Default for Swarm {
    fn default() -> Swarm {
        Swarm {
            routing: Routing::default(),
            costs: Costs::default(),
            pings: Pings::default(),
            bans: Bans::default(),
            forwarding: Forwarding::default(),
            prefill: Prefill::default(),
            detection: Detection::default(),
            recovery: Recovery::default(),
            retry: Retry::default(),
            scheduling: Scheduling::default(),
            batch_wait: Time(0),
            admission: Admission::default(),
            lifetime: Lifetime::default(),
            throughput: Throughput::default(),
            dht: Kademlia::default(),
            placement: Placement::default(),
            cache: Cache::Bytes(Size(4 << 30)),
        }
    }
}

/// How many times a client tries again after a failure, and how long it waits before each retry. The first retry begins
/// at once. Before each further retry the client waits, each time twice as long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// The number of tries for one token after which the request fails. `Off`: the client tries until the request times
    /// out.
    pub limit: Limit,
    /// The first wait between two tries.
    pub first: Time,
    /// The longest wait, before `jitter` is applied.
    pub most: Time,
    /// The largest fraction by which a wait is made longer or shorter, from 0 to 1. Each wait draws its own fraction at
    /// random.
    pub jitter: f64,
}

/// The throughput that a peer announces: the lower of the throughputs of its device and of its network. Block placement
/// and routing by throughput use it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Throughput {
    /// How a peer learns the speed of its device.
    pub speeds: Speeds,
    /// The factor by which a peer that is reached through a relay multiplies its network throughput. Petals uses 0.2.
    pub relayed: f64,
    /// The bandwidth that a peer announces for a host without a bandwidth limit. Petals uses 100 Mbit/s.
    pub unknown: Rate,
}

impl Default for Retry {
    fn default() -> Retry {
        let policy::Retry { limit, first, most, jitter } = policy::Retry::default();
        Retry { limit: Limit::Of(limit), first: first.into(), most: most.into(), jitter }
    }
}

impl Default for Throughput {
    fn default() -> Throughput {
        Throughput { speeds: Speeds::default(), relayed: 0.2, unknown: Rate(100_000_000) }
    }
}

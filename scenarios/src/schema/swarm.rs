//! How the nodes of a swarm work together: the policies that what-ifs change.
//!
//! What is not said is as `actors::policy::Policies` has it by default.
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

/// [`route::Routing`] with peers named by their hosts.
pub type Routing = route::Routing<String>;

/// [`route::Costs`] with times as text.
pub type Costs = route::Costs<Time>;

/// [`route::Pings`] with times as text.
pub type Pings = route::Pings<Time>;

/// [`route::Bans`] with times as text.
pub type Bans = route::Bans<Time>;

/// [`policy::Detection`] with times as text.
pub type Detection = policy::Detection<Time>;

/// [`policy::Lifetime`] with times as text.
pub type Lifetime = policy::Lifetime<Time>;

/// [`policy::Admission`] with times as text.
pub type Admission = policy::Admission<Time>;

/// [`policy::Speeds`] with times as text.
pub type Speeds = policy::Speeds<Time>;

/// [`policy::Probe`] with times as text.
pub type Probe = policy::Probe<Time>;

/// [`dht::Kademlia`] with times as text.
pub type Kademlia = dht::Kademlia<Time>;

/// [`placement::Placement`] with times as text.
pub type Placement = placement::Placement<Time>;

/// The policies of clients and peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Swarm {
    /// How a client chooses the peers of a route.
    pub routing: Routing,
    /// The terms by which `MinLatency` and `LoadAware` estimate the time of a route.
    pub costs: Costs,
    /// How nodes measure round trips.
    pub pings: Pings,
    /// How long a client avoids a peer that has failed it.
    pub bans: Bans,
    /// Who sends a step from one peer to the next.
    pub forwarding: Forwarding,
    /// The part of a prompt that one step carries.
    pub prefill: Prefill,
    /// How a client notices that a peer has failed.
    pub detection: Detection,
    /// How a client continues a request after a peer has failed.
    pub recovery: Recovery,
    /// How often and after which waits a client tries again.
    pub retry: Retry,
    /// The order in which a peer computes waiting steps, and how many of them are one job.
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
    /// The size of a peer's KV cache: `"4 GiB"` for the whole peer, or `Tokens(full: 4096, grouped: 16384)` for each block.
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

/// How often a client tries again. The first try comes at once; the waits between further tries double.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// The number of tries for one token before the request has failed; `Off`: until the request times out.
    pub limit: Limit,
    /// The first wait.
    pub first: Time,
    /// The longest wait, before `jitter` is applied.
    pub most: Time,
    /// The largest relative change of a wait, drawn at random, from 0 to 1.
    pub jitter: f64,
}

/// The throughput that a peer announces, for block placement and for routing by throughput: the lower of what its device
/// computes and what its network carries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Throughput {
    /// How a peer knows the speed of its device.
    pub speeds: Speeds,
    /// The factor on the network throughput of a peer that is reached through a relay. Petals: 0.2.
    pub relayed: f64,
    /// The bandwidth that is assumed for a host without a bandwidth limit. Petals: 100 Mbit/s.
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

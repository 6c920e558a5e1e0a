//! How the nodes of a swarm work together: the policies that what-ifs change.
//!
//! What is not said is as `actors::policy::Policies` has it by default.
use crate::schema::cache::Cache;
use crate::schema::limit::Limit;
use crate::units::{Rate, Size, Time};
use actors::dht::{self, Search};
use actors::message::Forwarding;
use actors::policy::{self, Prefill, Recovery, Scheduling};
use actors::route::{self, Weight};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// How a client chooses the peers of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Routing {
    /// The route of the least estimated time: round trips, overhead of each peer and announced speed. Petals uses it for
    /// generation (`min_latency`).
    #[default]
    MinLatency,
    /// `MinLatency` plus the expected queueing time at each peer, from the load that peers announce.
    LoadAware,
    /// A random route. Peers are drawn by their weight; `Random(Span)` is the `max_throughput` mode of Petals.
    Random(Weight),
    /// Peers in turn, each as often as its weight says.
    RoundRobin(Weight),
    /// Always the peers on the given hosts, in this order, each up to the end of its blocks.
    Fixed(Vec<String>),
    /// The route that a trace gives for each request; `MinLatency` for a request without one.
    Replay,
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

/// How a peer knows the speed of its device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Speeds {
    /// From the cost model of its device, in both worlds.
    #[default]
    Told,
    /// It measures one of its blocks when it starts, as in Petals; a simulated peer measures the modelled device.
    Measured {
        /// The measurement of one-token steps.
        decode: Probe,
        /// The measurement of longer steps.
        forward: Probe,
    },
}

/// A measurement that a peer makes of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The tokens of each step.
    pub tokens: u32,
    /// The number of steps.
    pub steps: u32,
    /// The time after which no further step begins; zero: no limit.
    #[serde(default)]
    pub most: Time,
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

/// The distributed hash table (Kademlia) by which peers announce themselves and are found. The defaults are those of
/// Petals on hivemind 1.1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kademlia {
    /// The size of a bucket, and the number of nodes that a lookup finds.
    pub k: u16,
    /// The number of queries that a lookup has in flight.
    pub alpha: u16,
    /// The number of queries that all lookups of one operation have in flight together, such as those of all blocks.
    pub parallel: u16,
    /// The number of nodes that store a record.
    pub replicas: u16,
    /// When a lookup of records ends.
    pub search: Search,
    /// The timeout of a query.
    pub timeout: Time,
    /// The interval at which a peer announces itself.
    pub announce: Time,
    /// The time after which a record expires unless it is announced again.
    pub expiry: Time,
    /// The age from which on a client looks up the peers again before it begins a request.
    pub refresh: Time,
}

/// How peers with `span: Capacity` choose their blocks. The defaults are those of Petals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Placement {
    /// The mean interval at which a peer considers moving; each is drawn uniformly from 0 to twice this.
    pub period: Time,
    /// A peer moves if the throughput of the weakest block, divided by that after the best move, is below this.
    pub quality: f64,
    /// The mean time that a new peer waits before it chooses.
    pub delay: Time,
}

impl Default for Kademlia {
    fn default() -> Kademlia {
        let dht::Kademlia { k, alpha, parallel, replicas, search, timeout, announce, expiry, refresh } =
            dht::Kademlia::default();
        let (timeout, announce, expiry, refresh) = (timeout.into(), announce.into(), expiry.into(), refresh.into());
        Kademlia { k, alpha, parallel, replicas, search, timeout, announce, expiry, refresh }
    }
}

impl Default for Placement {
    fn default() -> Placement {
        let actors::placement::Placement { period, quality, delay } = actors::placement::Placement::default();
        Placement { period: period.into(), quality, delay: delay.into() }
    }
}

//! How the nodes of a swarm work together: the policies that what-ifs change.
//!
//! What is not said is as `actors::policy::Policies` has it by default.
use crate::schema::cache::Cache;
use crate::schema::limit::Limit;
use crate::units::{Rate, Size, Time};
use actors::dht::{self, Search};
use actors::message::Forwarding;
use actors::peer::Scheduling;
use actors::policy::{self, Prefill, Recovery};
use actors::route::{self, Weight};
use serde::{Deserialize, Serialize};

/// How the swarm works together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Swarm {
    pub routing: Routing,
    /// How `MinLatency` and `LoadAware` estimate the time of a route.
    pub costs: Costs,
    pub pings: Pings,
    pub bans: Bans,
    pub forwarding: Forwarding,
    /// How much of a prompt goes through the route at once.
    pub prefill: Prefill,
    pub detection: Detection,
    pub recovery: Recovery,
    pub retry: Retry,
    /// In which order a peer computes the steps that wait, and how many in one job.
    pub scheduling: Scheduling,
    /// How long an idle peer waits for more steps before it begins a job with those that have come.
    pub gather: Time,
    /// What becomes of a session that finds no room in a peer's cache.
    pub admission: Admission,
    /// How long a session may last.
    pub lifetime: Lifetime,
    /// What peers say that they can do.
    pub throughput: Throughput,
    pub dht: Kademlia,
    /// Of peers with `Capacity`.
    pub placement: Placement,
    /// What the KV caches of a peer may take: `"4 GiB"`, or `Tokens(full: 4096, grouped: 16384)` in each block.
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
            gather: Time(0),
            admission: Admission::default(),
            lifetime: Lifetime::default(),
            throughput: Throughput::default(),
            dht: Kademlia::default(),
            placement: Placement::default(),
            cache: Cache::Bytes(Size(4 << 30)),
        }
    }
}

/// How a client picks its route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Routing {
    /// The shortest path by round trips and announced speed, as Petals routes for generation.
    #[default]
    MinLatency,
    /// The same with the time that a step will wait at a peer, by what peers say of their load.
    LoadAware,
    /// At random by weight; `Random(Span)` is Petals' `max_throughput` mode.
    Random(Weight),
    /// In turns by weight.
    RoundRobin(Weight),
    /// Always the peers on these hosts, in this order, each to the end of its span.
    Fixed(Vec<String>),
    /// The route that each request brings with it, as from a trace; the shortest for one that brings none.
    Replay,
}

/// What becomes of a session for which there is no room in a KV cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Admission {
    /// It is refused at once.
    #[default]
    Refuse,
    /// It waits so long for others to close, and is refused then.
    Wait(Time),
}

/// The terms of a route's estimated time; the values are Petals'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Costs {
    /// Of each peer, for handling a step.
    pub overhead: Time,
    /// Taken where no round trip is known.
    pub unknown_rtt: Time,
    /// No round trip counts for more.
    pub longest_rtt: Time,
    /// Of a peer without room for the session in its cache.
    pub short_cache: Time,
    /// Blocks per second of a peer that announces no speed.
    pub unknown_rps: f64,
    /// What a second of waiting for others counts in `LoadAware`.
    pub load: f64,
}

/// Who measures round trips, and how long they are believed; the values are Petals'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pings {
    /// Peers that a client pings after a lookup, of those that may come first, in the middle and last, each; 0: none.
    pub fanout: u32,
    /// How often a client pings between its lookups; zero: never.
    pub every: Time,
    /// Peers that a peer pings at each announcement, of those that a route may go on to from its last block; 0: none.
    pub next: u32,
    /// Likewise, of those that hold blocks in the midst of its own.
    pub middle: u32,
    /// The weight of the newest round trip in the exponential average.
    pub smoothing: f64,
    pub expiry: Time,
}

/// How long a client avoids a peer that has failed it; the values are Petals'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bans {
    pub first: Time,
    /// The second ban in a row is so many times as long as the first, and so on.
    pub growth: f64,
}

/// How a client notices that a peer has failed. A connection that breaks is noticed at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Detection {
    /// How often a client pings the peers that it waits for.
    pub heartbeat: Time,
    /// A peer that is silent for so many heartbeats after a ping has failed; 0: no pings, as in Petals.
    pub missed: u32,
    /// A step that is away for longer has failed, whoever answers pings. Petals: 180 s.
    pub step_timeout: Time,
    /// A session that is not open after this (and the wait that `admission` allows) has failed. Petals: 5 s.
    pub open_timeout: Time,
}

/// How often a client tries again: the first time at once, then after waits that double.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Tries for one token before the request has failed; `Off`: until its time is up.
    pub limit: Limit,
    pub first: Time,
    /// No wait is longer, before it is spread.
    pub most: Time,
    /// By which part of itself each wait is longer or shorter, at random: 0 to 1.
    pub jitter: f64,
}

/// How long a session may last at a peer, whose cache it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lifetime {
    /// Without a step; zero: for ever. Petals: 300 s.
    pub idle: Time,
    /// In all; zero: for ever. Petals: 1800 s.
    pub longest: Time,
}

/// What peers say of their throughput, for placement and for routes by throughput: what their device computes or what
/// their network carries, whichever is less.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Throughput {
    pub speeds: Speeds,
    /// What is left of the network's of a peer that is reached through others. Petals: 0.2.
    pub relayed: f64,
    /// Of a NIC that nothing limits. Petals: 100 Mbit/s.
    pub unknown: Rate,
}

/// How peers come to know how fast their device is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Speeds {
    /// By what the scenario says of their device, in both worlds.
    #[default]
    Told,
    /// Live they measure it on one of their blocks as they start; the simulation tells them.
    Measured { decode: Probe, forward: Probe },
}

/// Steps by which a peer measures itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Of each step.
    pub tokens: u32,
    pub steps: u32,
    /// No further step begins after this; zero: however long it takes.
    #[serde(default)]
    pub most: Time,
}

impl Default for Detection {
    fn default() -> Detection {
        let policy::Detection { heartbeat, missed, step_timeout, open_timeout } = policy::Detection::default();
        let (heartbeat, step_timeout, open_timeout) = (heartbeat.into(), step_timeout.into(), open_timeout.into());
        Detection { heartbeat, missed, step_timeout, open_timeout }
    }
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

/// How peers announce themselves and are found; the values are Petals'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kademlia {
    /// Contacts of a bucket, and how many nodes a lookup finds.
    pub k: u16,
    /// Questions that a lookup has under way at once.
    pub alpha: u16,
    /// Nodes that keep a record.
    pub replicas: u16,
    /// Whether a lookup of records goes on when it has found one.
    pub search: Search,
    /// How long an answer may take.
    pub timeout: Time,
    /// How often a peer announces itself.
    pub announce: Time,
    /// How long a record lives unless it is announced again.
    pub expiry: Time,
    /// How old a client's view may be when it begins a request; then it looks again.
    pub refresh: Time,
}

/// How peers choose their blocks; the values are Petals'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Placement {
    /// The mean time between two looks whether to move; each is drawn uniformly up to twice this.
    pub period: Time,
    /// It moves if the weakest block has less than this part of what it would have.
    pub quality: f64,
    /// The mean time before a newcomer chooses.
    pub delay: Time,
}

impl Default for Kademlia {
    fn default() -> Kademlia {
        let dht::Kademlia { k, alpha, replicas, search, timeout, announce, expiry, refresh } = dht::Kademlia::default();
        let (timeout, announce, expiry, refresh) = (timeout.into(), announce.into(), expiry.into(), refresh.into());
        Kademlia { k, alpha, replicas, search, timeout, announce, expiry, refresh }
    }
}

impl Default for Placement {
    fn default() -> Placement {
        let actors::placement::Placement { period, quality, delay } = actors::placement::Placement::default();
        Placement { period: period.into(), quality, delay: delay.into() }
    }
}

impl Default for Costs {
    fn default() -> Costs {
        let route::Costs { overhead, unknown_rtt, longest_rtt, short_cache, unknown_rps, load } =
            route::Costs::default();
        Costs {
            overhead: overhead.into(),
            unknown_rtt: unknown_rtt.into(),
            longest_rtt: longest_rtt.into(),
            short_cache: short_cache.into(),
            unknown_rps,
            load,
        }
    }
}

impl Default for Pings {
    fn default() -> Pings {
        let route::Pings { fanout, every, next, middle, smoothing, expiry } = route::Pings::default();
        Pings { fanout, every: every.into(), next, middle, smoothing, expiry: expiry.into() }
    }
}

impl Default for Bans {
    fn default() -> Bans {
        let route::Bans { first, growth } = route::Bans::default();
        Bans { first: first.into(), growth }
    }
}

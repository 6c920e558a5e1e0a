//! The policies by which the nodes of a swarm work together. A scenario chooses them, and what-if runs change them.
mod admission;
mod lifetime;
mod prefill;
mod recovery;
mod scheduling;
mod speeds;

pub use admission::Admission;
pub use lifetime::Lifetime;
pub use prefill::Prefill;
pub use recovery::{Detection, Recovery, Retry};
pub use scheduling::Scheduling;
pub use speeds::{Probe, Speeds};

use crate::dht::Kademlia;
use crate::message::Forwarding;
use crate::placement::Placement;
use crate::route::{Bans, Costs, Pings, Routing};
use crate::time::Duration;
use serde::{Deserialize, Serialize};

/// The policies of a swarm, the same for all of its nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policies {
    /// The policy by which a client chooses a route.
    pub routing: Routing,
    /// The cost model of routes, for the routing policies that estimate a route's time.
    pub costs: Costs,
    /// The settings of the pings that measure round-trip times and loads.
    pub pings: Pings,
    /// The settings by which a client avoids peers that have failed.
    pub bans: Bans,
    /// The policy that says whether peers push their results to the next hop or the client relays them.
    pub forwarding: Forwarding,
    /// The policy that says whether a client sends its prompt whole or in chunks.
    pub prefill: Prefill,
    /// The settings of the failure detector.
    pub detection: Detection,
    /// The policy by which a client continues a request after a peer has failed.
    pub recovery: Recovery,
    /// The number of retries and the waits between them.
    pub retry: Retry,
    /// The order in which a peer computes waiting steps, and how many of them are one job.
    pub scheduling: Scheduling,
    /// The batching delay: the time that an idle peer waits for more steps, after a pushed step has arrived, before it
    /// begins a job. A peer sends the results of one job as one message for each step, and these arrive at the next
    /// peer one after another. Without the delay, the next peer would begin a job with the first of them and compute
    /// the others separately.
    pub batch_wait: Duration,
    /// The policy of a peer for a new session that finds no room in its KV cache.
    pub admission: Admission,
    /// The limits on a session's lifetime.
    pub lifetime: Lifetime,
    /// The source of the speed that a peer announces.
    pub speeds: Speeds,
    /// The settings of the DHT.
    pub dht: Kademlia,
    /// The rules by which peers without fixed blocks choose their blocks.
    pub placement: Placement,
}

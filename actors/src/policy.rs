//! The policies by which the nodes of a swarm work together. A scenario chooses them, and what-if runs change them.
mod lifetime;
mod prefill;
mod recovery;
mod speeds;

pub use lifetime::Lifetime;
pub use prefill::Prefill;
pub use recovery::{Detection, Recovery, Retry};
pub use speeds::{Probe, Speeds};

use crate::dht::Kademlia;
use crate::message::Forwarding;
use crate::peer::{Admission, Scheduling};
use crate::placement::Placement;
use crate::route::{Bans, Costs, Pings, Routing};
use crate::time::Duration;
use serde::{Deserialize, Serialize};

/// The policies of a swarm, the same for all of its nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policies {
    pub routing: Routing,
    /// The cost model of routes, for the routing policies that estimate a route's time.
    pub costs: Costs,
    pub pings: Pings,
    pub bans: Bans,
    pub forwarding: Forwarding,
    pub prefill: Prefill,
    pub detection: Detection,
    pub recovery: Recovery,
    pub retry: Retry,
    pub scheduling: Scheduling,
    /// The batching delay: the time that an idle peer waits for more steps, after a pushed step has arrived, before it
    /// begins a job. A peer sends the results of one job as one message for each step, and these arrive at the next
    /// peer one after another. Without the delay, the next peer would begin a job with the first of them and compute
    /// the others separately.
    pub batch_wait: Duration,
    pub admission: Admission,
    /// The limits on a session's lifetime.
    pub lifetime: Lifetime,
    pub speeds: Speeds,
    pub dht: Kademlia,
    /// The placement of peers that choose their blocks.
    pub placement: Placement,
}

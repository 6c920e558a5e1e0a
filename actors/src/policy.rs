//! How the nodes of a swarm work together: what a scenario may choose, and what-ifs change.
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
    /// How a route's time is estimated, for the routings that do.
    pub costs: Costs,
    pub pings: Pings,
    pub bans: Bans,
    pub forwarding: Forwarding,
    pub prefill: Prefill,
    pub detection: Detection,
    pub recovery: Recovery,
    pub retry: Retry,
    pub scheduling: Scheduling,
    /// How long an idle peer waits for more steps before it begins a job with those that have come. What one job computed
    /// leaves in a message for each step, and those come one after another: whoever begins with the first of them computes
    /// the others apart.
    pub batch_wait: Duration,
    pub admission: Admission,
    /// Of sessions.
    pub lifetime: Lifetime,
    pub speeds: Speeds,
    pub dht: Kademlia,
    /// Of peers that choose their blocks.
    pub placement: Placement,
}

//! What goes wrong in a run, and when: crashes, stalls, partitions, churn.
//!
//! `on`, `from`, `to` name hosts: a group (`"t4"`), one of its hosts counted from 0 (`"t4[2]"`), or a site.
use crate::raw::{Raw, options};
use crate::schema::delay;
use crate::units::Time;
use actors::time::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A fault that is injected.
///
/// `on`, `from`, `to` and the groups of a partition name a host group (`"t4"`), one of its hosts counted from 0
/// (`"t4[2]"`), or a site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Event")]
pub enum ScheduledFault {
    /// Kills the process of each host. Nobody is told.
    Crash {
        /// A host group, one host of it, or a site.
        on: String,
        /// The time of the crash.
        at: When,
        /// The time from the crash until the host starts again with empty caches. Without it, only a `Restart` starts the
        /// host again.
        #[serde(default)]
        back: Option<Time>,
    },
    /// Starts hosts that have crashed or left again, with empty caches.
    Restart {
        /// A host group, one host of it, or a site.
        on: String,
        /// The time of the restart.
        at: When,
    },
    /// Peers announce their departure, finish their sessions and open no new ones.
    Leave {
        /// A host group, one host of it, or a site.
        on: String,
        /// The time of the announcement.
        at: When,
    },
    /// Hosts are absent from the start and join later.
    Join {
        /// A host group, one host of it, or a site.
        on: String,
        /// The time at which the hosts start.
        at: When,
    },
    /// Stops hosts and continues them later. Their state is kept.
    Stall {
        /// A host group, one host of it, or a site.
        on: String,
        /// The time at which the hosts stop.
        at: When,
        /// How long the hosts stand still.
        #[serde(rename = "for")]
        lasts: Time,
    },
    /// Makes devices or links slower for a while.
    Degrade {
        /// The devices or the links.
        what: Part,
        /// The factor by which jobs or transfers take longer.
        by: f64,
        /// The time at which it begins.
        at: When,
        /// How long it lasts.
        #[serde(rename = "for")]
        lasts: Time,
    },
    /// Cuts the network between groups of hosts. Hosts that no group names reach all others. Messages that are sent
    /// meanwhile arrive when the partition is over, as over TCP.
    Partition {
        /// The groups: each a list of host groups, hosts or sites.
        groups: Vec<Vec<String>>,
        /// The time at which it begins.
        at: When,
        /// How long it lasts.
        #[serde(rename = "for")]
        lasts: Time,
    },
    /// Each host goes away and comes back, again and again.
    Churn {
        /// A host group, one host of it, or a site.
        on: String,
        /// How long hosts stay and how long they are away.
        lives: Lives,
        /// The time after the barrier's release from which on no host goes away any more.
        until: Time,
        /// How a host goes away.
        #[serde(default)]
        by: Going,
    },
    /// Each step that reaches a peer after the barrier's release crashes the peer's host with a probability.
    StepFailures {
        /// A host group, one host of it, or a site.
        on: String,
        /// The probability, from 0 to 1.
        rate: f64,
        /// The time from a crash until the host starts again with empty caches.
        back: Time,
        /// The largest number of crashes of each host.
        #[serde(default = "thousand")]
        most: u32,
    },
}

/// The part that a `Degrade` makes slower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Part {
    /// The devices of a host group, one host of it, or a site: jobs take longer.
    Device(String),
    /// The path from one host group or site to another, with both network interfaces: delays are longer and bandwidths
    /// smaller.
    Link {
        /// A host group, one host of it, or a site.
        from: String,
        /// A host group, one host of it, or a site.
        to: String,
        /// Whether the opposite direction becomes slower as well.
        #[serde(default)]
        both: bool,
    },
}

/// How long hosts stay and how long they are away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Lives {
    /// Exponentially distributed times.
    Exponential {
        /// The mean time that a host stays.
        mean_up: Time,
        /// The mean time that a host is away.
        mean_down: Time,
    },
    /// Weibull-distributed times.
    Weibull {
        /// The mean time that a host stays.
        mean_up: Time,
        /// The mean time that a host is away.
        mean_down: Time,
        /// The shape parameter. Below 1, many times are short and a few are long.
        shape: f64,
    },
    /// Given absences. Each names a host of `on`.
    Trace(Vec<Away>),
    /// Given absences from a CSV file with the columns `host`, `from` and `till`, as in `peer[2],10 s,12.5 s`.
    File(String),
}

/// The absence of a host. Times count from the barrier's release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Away {
    /// One host of a group, as `peer[2]`.
    pub host: String,
    /// The time at which the host goes away.
    pub from: Time,
    /// The time at which the host comes back.
    pub till: Time,
}

/// How a host goes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Going {
    /// Its process is killed.
    #[default]
    Crash,
    /// It announces its departure and finishes its sessions.
    Leave,
}

/// The time of a fault: `"5 s"` after the barrier's release, `Start("5 s")` after the start of the run, or `Steps(12)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct When(Raw);

/// The time of a fault.
#[derive(Deserialize, JsonSchema)]
#[serde(rename = "When")]
pub(crate) enum Written {
    /// A time after the start of the run.
    Start(Time),
    /// `Steps(12)`: when the host's twelfth step reaches it, counted from the barrier's release or from its own restart.
    Steps(u64),
}

/// A `When` that has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Start(Duration),
    Release(Duration),
    Steps(u64),
}

impl When {
    pub fn text(&self) -> &str {
        self.0.text()
    }

    pub(crate) fn resolve(&self) -> Result<Due, delay::Fault> {
        let text = self.text();
        if !text.starts_with(|c: char| c.is_alphabetic()) {
            let after: Time = options().from_str(text).map_err(delay::Fault::Written)?;
            return Ok(Due::Release(after.duration()));
        }
        match options().from_str(text).map_err(delay::Fault::Written)? {
            Written::Start(after) => Ok(Due::Start(after.duration())),
            Written::Steps(0) => Err(delay::Fault::Meaning("the step is 0, but steps are counted from 1".to_owned())),
            Written::Steps(count) => Ok(Due::Steps(count)),
        }
    }
}

fn thousand() -> u32 {
    1000
}

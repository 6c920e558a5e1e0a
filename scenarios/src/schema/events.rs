//! The faults that a scenario injects into a run, and their times: crashes, stalls, partitions, churn.
//!
//! `on`, `from`, `to` name hosts: a group (`"t4"`), one of its hosts counted from 0 (`"t4[2]"`), or a site.
use crate::raw::{Raw, options};
use crate::schema::delay;
use crate::units::Time;
use actors::time::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A fault that is injected into a run.
///
/// `on`, `from`, `to` and the groups of a partition name a host group (`"t4"`), one of its hosts counted from 0
/// (`"t4[2]"`), or a site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Event")]
pub enum ScheduledFault {
    /// Kills the process of each host, without any announcement.
    Crash {
        /// The affected hosts: a host group, one host of a group, or a site.
        on: String,
        /// The time of the crash.
        at: When,
        /// The time from the crash until the host starts again with empty caches. Without it, only a `Restart` starts
        /// the host again.
        #[serde(default)]
        back: Option<Time>,
    },
    /// Restarts hosts that have crashed or left. Their caches are then empty.
    Restart {
        /// The affected hosts: a host group, one host of a group, or a site.
        on: String,
        /// The time of the restart.
        at: When,
    },
    /// Peers announce their departure, finish their sessions and open no new ones.
    Leave {
        /// The affected hosts: a host group, one host of a group, or a site.
        on: String,
        /// The time of the announcement.
        at: When,
    },
    /// Hosts are absent at the start of the run and join later.
    Join {
        /// The affected hosts: a host group, one host of a group, or a site.
        on: String,
        /// The time at which the hosts start.
        at: When,
    },
    /// Stops hosts and continues them later. Their state is kept.
    Stall {
        /// The affected hosts: a host group, one host of a group, or a site.
        on: String,
        /// The time at which the hosts stop.
        at: When,
        /// How long the hosts are stopped.
        #[serde(rename = "for")]
        lasts: Time,
    },
    /// Makes devices or links slower for a while.
    Degrade {
        /// The devices or the links that become slower.
        what: Part,
        /// The factor by which the jobs of the devices or the transfers of the links take longer.
        by: f64,
        /// The time at which the slowdown begins.
        at: When,
        /// How long the slowdown lasts.
        #[serde(rename = "for")]
        lasts: Time,
    },
    /// Cuts the network between groups of hosts. A host that is in no group reaches all hosts. Messages that are sent
    /// between groups during the partition arrive after its end, as over TCP.
    Partition {
        /// The groups of the partition. Each is a list of host groups, single hosts or sites.
        groups: Vec<Vec<String>>,
        /// The time at which the partition begins.
        at: When,
        /// How long the partition lasts.
        #[serde(rename = "for")]
        lasts: Time,
    },
    /// Each host crashes or leaves and returns, again and again.
    Churn {
        /// The affected hosts: a host group, one host of a group, or a site.
        on: String,
        /// How long hosts are present and how long they are absent.
        lives: Lives,
        /// The end of the churn, as a time after the barrier's release. No absence begins later.
        until: Time,
        /// How a host becomes absent.
        #[serde(default)]
        by: Going,
    },
    /// Each step that reaches a peer after the barrier's release crashes the peer's host with the probability `rate`.
    StepFailures {
        /// The affected hosts: a host group, one host of a group, or a site.
        on: String,
        /// The probability that a step crashes the host, above 0 and at most 1.
        rate: f64,
        /// The time from a crash until the host starts again with empty caches.
        back: Time,
        /// The largest number of crashes of each host. After them, no step crashes the host.
        #[serde(default = "thousand")]
        most: u32,
    },
}

/// The devices or links that a `Degrade` makes slower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Part {
    /// The devices of a host group, of one host of a group, or of a site. Their jobs take longer.
    Device(String),
    /// The paths from one host group or site to another, including the network interfaces of their hosts. Delays become
    /// longer and bandwidths smaller.
    Link {
        /// The sending hosts: a host group, one host of a group, or a site.
        from: String,
        /// The receiving hosts: a host group, one host of a group, or a site.
        to: String,
        /// Whether the opposite direction becomes slower as well.
        #[serde(default)]
        both: bool,
    },
}

/// How long hosts are present and how long they are absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Lives {
    /// Exponentially distributed times of presence and of absence.
    Exponential {
        /// The mean time for which a host is present.
        mean_up: Time,
        /// The mean time for which a host is absent.
        mean_down: Time,
    },
    /// Weibull-distributed times of presence and of absence.
    Weibull {
        /// The mean time for which a host is present.
        mean_up: Time,
        /// The mean time for which a host is absent.
        mean_down: Time,
        /// The shape parameter of both distributions. Below 1, many times are short and a few are long.
        shape: f64,
    },
    /// A list of absences. Each is the absence of one of the hosts that `on` names.
    Trace(Vec<Away>),
    /// A CSV file of absences with the columns `host`, `from` and `till`, as in `peer[2],10 s,12.5 s`.
    File(String),
}

/// The absence of a host. Times count from the barrier's release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Away {
    /// The absent host, as `peer[2]`.
    pub host: String,
    /// The time at which the absence begins.
    pub from: Time,
    /// The time at which the host returns.
    pub till: Time,
}

/// How a host becomes absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Going {
    /// The process of the host is killed.
    #[default]
    Crash,
    /// The peers of the host announce their departure and finish their sessions.
    Leave,
}

/// The time of a fault: `"5 s"` means 5 s after the barrier's release, `Start("5 s")` means 5 s after the start of the
/// run, and `Steps(12)` means the arrival of the host's twelfth step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct When(Raw);

/// The time of a fault.
#[derive(Deserialize, JsonSchema)]
#[serde(rename = "When")]
pub(crate) enum Written {
    /// A time after the start of the run.
    Start(Time),
    /// The arrival of a step at the host: `Steps(12)` is the twelfth step after the barrier's release, or after the
    /// host's last restart if that is later.
    Steps(u64),
}

/// A parsed `When`.
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

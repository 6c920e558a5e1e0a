//! The faults of a plan. Random faults are sampled when the plan is made, so that the live run and the simulation
//! inject the same faults.
use super::Plan;
use actors::id::HostId;
use actors::record::{Event, FaultEvent, FaultKind};
use actors::time::{Duration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    pub at: When,
    pub what: What,
}

/// The time or the step at which a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// The fault happens at this time after the start of the run, even if the barrier has not been released.
    Start(Duration),
    /// The fault happens at this time after the barrier's release.
    Release(Duration),
    /// The fault happens when the `count`-th step (counted from 1) reaches `host`. Steps are counted from the barrier's
    /// release, or from the host's last start if that is later. The step is lost with the host. If a host has several
    /// such faults, they happen one after another: each counts steps from the host's restart after the fault before it.
    Steps { host: HostId, count: u64 },
}

impl When {
    /// The sort key of a plan's faults: faults after the start by time, then faults after the release by time, then
    /// faults at steps by host. Faults with equal keys keep their order.
    pub fn key(&self) -> (u8, u64) {
        match self {
            When::Start(after) => (0, after.0),
            When::Release(after) => (1, after.0),
            When::Steps { host, .. } => (2, u64::from(host.0)),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// The host's process is killed, and its connections break. `back` is set only for a crash at a step: the host
    /// restarts when this time has passed. A crash at a time has a separate `Restart` fault instead.
    Crash { host: HostId, back: Option<Duration> },
    /// A host that has crashed or left restarts with empty state.
    Restart { host: HostId },
    /// The host's peers announce that they leave, accept no new sessions and finish the open ones. Then the host's
    /// process ends.
    Leave { host: HostId },
    /// A host that was not present at the start joins.
    Join { host: HostId },
    /// The host's process is stopped for the time `lasts` and keeps its state. No node is notified.
    Stall { host: HostId, lasts: Duration },
    /// A job that a device of the host begins during the fault takes `by` times as long.
    SlowDevice { host: HostId, by: f64, lasts: Duration },
    /// The paths from each host of `from` to each host of `to` become slower, including the NICs. For messages sent
    /// during the fault, delays are multiplied by `by` and bandwidths are divided by `by`.
    SlowLink { from: Vec<HostId>, to: Vec<HostId>, by: f64, lasts: Duration },
    /// Messages between hosts of different groups wait until the partition ends. A host that is in no group reaches all
    /// hosts.
    Partition { groups: Vec<Vec<HostId>>, lasts: Duration },
}

impl What {
    /// The host that the fault affects, if it affects exactly one.
    pub fn host(&self) -> Option<HostId> {
        match *self {
            What::Crash { host, .. }
            | What::Restart { host }
            | What::Leave { host }
            | What::Join { host }
            | What::Stall { host, .. }
            | What::SlowDevice { host, .. } => Some(host),
            What::SlowLink { .. } | What::Partition { .. } => None,
        }
    }

    pub fn kind(&self) -> FaultKind {
        match self {
            What::Crash { .. } => FaultKind::Crash,
            What::Restart { .. } => FaultKind::Restart,
            What::Leave { .. } => FaultKind::Leave,
            What::Join { .. } => FaultKind::Join,
            What::Stall { .. } => FaultKind::Stall,
            What::SlowDevice { .. } => FaultKind::SlowDevice,
            What::SlowLink { .. } => FaultKind::SlowLink,
            What::Partition { .. } => FaultKind::Partition,
        }
    }

    /// The hosts that the fault affects.
    pub fn hosts(&self) -> Vec<HostId> {
        match self {
            What::SlowLink { from, to, .. } => from.iter().chain(to).copied().collect(),
            What::Partition { groups, .. } => groups.iter().flatten().copied().collect(),
            _ => self.host().into_iter().collect(),
        }
    }

    /// The duration of the fault. `None` for a fault that has no end of its own, such as a crash.
    pub fn lasts(&self) -> Option<Duration> {
        match *self {
            What::Stall { lasts, .. }
            | What::SlowDevice { lasts, .. }
            | What::SlowLink { lasts, .. }
            | What::Partition { lasts, .. } => Some(lasts),
            What::Crash { .. } | What::Restart { .. } | What::Leave { .. } | What::Join { .. } => None,
        }
    }
}

impl Plan {
    /// The hosts that are absent at the start of the run and join later.
    pub fn late_hosts(&self) -> BTreeSet<HostId> {
        let joins = |fault: &Fault| match fault.what {
            What::Join { host } => Some(host),
            _ => None,
        };
        self.faults.iter().filter_map(joins).collect()
    }

    /// Returns the event that a run records when it injects a fault.
    pub fn fault_event(&self, at: Timestamp, what: &What) -> Event {
        self.fault_event_at(at, what.kind(), &what.hosts(), what.lasts())
    }

    /// Returns the event that a run records for a fault of the given kind at the given hosts.
    pub fn fault_event_at(&self, at: Timestamp, kind: FaultKind, hosts: &[HostId], lasts: Option<Duration>) -> Event {
        let nodes = self.nodes().filter(|(_, node)| hosts.contains(&node.host)).map(|(id, _)| id).collect();
        Event::FaultEvent(Box::new(FaultEvent { at, fault: kind, nodes, lasts }))
    }
}

//! What goes wrong in a run: drawn, counted and put in order, so that both worlds carry out the same.
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

/// When a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// This long after the start of the run, whether or not the barrier has been released.
    Start(Duration),
    /// This long after the barrier's release.
    Release(Duration),
    /// As the `count`-th step (counted from 1) since the release, or since the host's last start if that is later,
    /// reaches `host`; the step is lost with it. Several of one host come one after another, each counting anew.
    Steps { host: HostId, count: u64 },
}

impl When {
    /// The order of a plan's faults: those from the start by time, those from the release by time, those of steps by
    /// host; what has the same key keeps its order.
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
    /// The host's process is killed. Who has a connection to it is told that it is gone. `back` is of a crash at a step
    /// alone: so much later the host starts again; at a time, a `Restart` of its own says that.
    Crash { host: HostId, back: Option<Duration> },
    /// A host that has crashed or left starts again, empty.
    Restart { host: HostId },
    /// The host's peer says goodbye. In the simulation it finishes what it has begun; live, its process ends at once.
    Leave { host: HostId },
    /// A host that has not been there joins.
    Join { host: HostId },
    /// The host does nothing for so long, and loses nothing: neither it nor anybody else is told.
    Stall { host: HostId, lasts: Duration },
    /// Jobs that the host's device begins meanwhile take `by` times as long.
    SlowDevice { host: HostId, by: f64, lasts: Duration },
    /// For what is sent meanwhile on the way from one host to another, NICs included, delays are `by` times as long and
    /// bandwidths as small.
    SlowLink { from: Vec<HostId>, to: Vec<HostId>, by: f64, lasts: Duration },
    /// What is sent between hosts of different groups waits until it is over. A host that no group names reaches all.
    Partition { groups: Vec<Vec<HostId>>, lasts: Duration },
}

impl What {
    /// The host that it befalls, if it is one.
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

    pub fn mishap(&self) -> FaultKind {
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

    /// The hosts that it befalls.
    pub fn hosts(&self) -> Vec<HostId> {
        match self {
            What::SlowLink { from, to, .. } => from.iter().chain(to).copied().collect(),
            What::Partition { groups, .. } => groups.iter().flatten().copied().collect(),
            _ => self.host().into_iter().collect(),
        }
    }

    /// How long it lasts, if it ends by itself.
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
    /// The hosts that are not there when the run starts: they join later.
    pub fn late_hosts(&self) -> BTreeSet<HostId> {
        let joins = |fault: &Fault| match fault.what {
            What::Join { host } => Some(host),
            _ => None,
        };
        self.faults.iter().filter_map(joins).collect()
    }

    /// What a world records as it carries a fault out.
    pub fn fault_event(&self, at: Timestamp, what: &What) -> Event {
        self.befell(at, what.mishap(), &what.hosts(), what.lasts())
    }

    /// Likewise, of something that befalls some hosts.
    pub fn befell(&self, at: Timestamp, mishap: FaultKind, hosts: &[HostId], lasts: Option<Duration>) -> Event {
        let nodes = self.nodes().filter(|(_, node)| hosts.contains(&node.host)).map(|(id, _)| id).collect();
        Event::FaultEvent(Box::new(FaultEvent { at, fault: mishap, nodes, lasts }))
    }
}

//! What the plan wants to go wrong in a live run, by the moment it is due.
use actors::id::HostId;
use actors::time::{Duration, Timestamp};
use scenarios::plan::{Plan, What, When};
use std::collections::BTreeMap;

/// Something that the conductor does to a host's process.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultAction {
    Crash(HostId),
    Leave(HostId),
    /// A first process, or another one.
    Begin(HostId),
    Stall(HostId, Duration),
    Resume(HostId),
    /// Blocks are lost for good, and what had passed them has arrived.
    GiveUp,
}

impl FaultAction {
    /// What lasts without anybody's doing, the hosts look up for themselves.
    fn of(what: &What) -> Option<FaultAction> {
        match *what {
            What::Crash { host, .. } => Some(FaultAction::Crash(host)),
            What::Restart { host } | What::Join { host } => Some(FaultAction::Begin(host)),
            What::Leave { host } => Some(FaultAction::Leave(host)),
            What::Stall { host, lasts } => Some(FaultAction::Stall(host, lasts)),
            What::SlowDevice { .. } | What::SlowLink { .. } | What::Partition { .. } => None,
        }
    }
}

/// Deeds in the order of their moments, and in that of the plan where these are the same.
pub struct FaultSchedule {
    due: BTreeMap<(Timestamp, usize), FaultAction>,
    /// Those that count from the barrier's release.
    later: Vec<(Duration, FaultAction)>,
    count: usize,
}

impl FaultSchedule {
    pub fn of(plan: &Plan, started: Timestamp) -> FaultSchedule {
        let mut schedule = FaultSchedule { due: BTreeMap::new(), later: Vec::new(), count: 0 };
        for fault in &plan.faults {
            match (fault.at, FaultAction::of(&fault.what)) {
                (When::Start(after), Some(action)) => schedule.add(started + after, action),
                (When::Release(after), Some(action)) => schedule.later.push((after, action)),
                // The host itself counts its steps.
                (When::Steps { .. }, _) | (_, None) => {}
            }
        }
        schedule
    }

    pub fn release(&mut self, at: Timestamp) {
        for (after, action) in std::mem::take(&mut self.later) {
            self.add(at + after, action);
        }
    }

    pub fn add(&mut self, at: Timestamp, action: FaultAction) {
        self.due.insert((at, self.count), action);
        self.count += 1;
    }

    /// Whether a process of the host is to begin yet.
    pub fn begins(&self, host: HostId) -> bool {
        self.due
            .values()
            .chain(self.later.iter().map(|(_, action)| action))
            .any(|action| *action == FaultAction::Begin(host))
    }

    /// When the next is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// The next that is due by now.
    pub fn take(&mut self, now: Timestamp) -> Option<FaultAction> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

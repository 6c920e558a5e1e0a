//! The schedule by which the run controller injects the plan's faults into a live run, ordered by due time.
use actors::id::HostId;
use actors::time::{Duration, Timestamp};
use scenarios::plan::{Plan, What, When};
use std::collections::BTreeMap;

/// An action of the run controller on a host's process.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultAction {
    Crash(HostId),
    Leave(HostId),
    /// Start a process of the host: the first one, or that of the next incarnation.
    Begin(HostId),
    Stall(HostId, Duration),
    Resume(HostId),
    /// End the run: some blocks are lost for good, and the responses that had passed those blocks have arrived.
    GiveUp,
}

impl FaultAction {
    /// Returns the action that starts a fault. Returns `None` for a partition, slow link or slow device, which the
    /// hosts apply by themselves.
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

/// Fault actions ordered by due time; actions due at the same time keep the plan's order.
pub struct FaultSchedule {
    due: BTreeMap<(Timestamp, usize), FaultAction>,
    /// The actions whose due times count from the barrier's release. They are kept here until the release is known.
    later: Vec<(Duration, FaultAction)>,
    count: usize,
}

impl FaultSchedule {
    /// Creates the schedule of a plan for a run that started at `started`.
    pub fn of(plan: &Plan, started: Timestamp) -> FaultSchedule {
        let mut schedule = FaultSchedule { due: BTreeMap::new(), later: Vec::new(), count: 0 };
        for fault in &plan.faults {
            match (fault.at, FaultAction::of(&fault.what)) {
                (When::Start(after), Some(action)) => schedule.add(started + after, action),
                (When::Release(after), Some(action)) => schedule.later.push((after, action)),
                // A crash after a number of steps: the host's process counts its steps and kills itself.
                (When::Steps { .. }, _) | (_, None) => {}
            }
        }
        schedule
    }

    /// Sets the time of the barrier's release, and schedules the faults whose due times count from it.
    pub fn release(&mut self, at: Timestamp) {
        for (after, action) in std::mem::take(&mut self.later) {
            self.add(at + after, action);
        }
    }

    /// Adds an action that is due at `at`.
    pub fn add(&mut self, at: Timestamp, action: FaultAction) {
        self.due.insert((at, self.count), action);
        self.count += 1;
    }

    /// Whether a start of a process of `host` is still scheduled.
    pub fn begins(&self, host: HostId) -> bool {
        self.due
            .values()
            .chain(self.later.iter().map(|(_, action)| action))
            .any(|action| *action == FaultAction::Begin(host))
    }

    /// Returns the due time of the next action.
    pub fn next(&self) -> Option<Timestamp> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// Removes and returns the first action that is due at `now` or was due earlier.
    pub fn take(&mut self, now: Timestamp) -> Option<FaultAction> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

//! What the plan wants to go wrong in a live run, by the moment it is due.
use actors::id::HostId;
use actors::time::{Moment, Span};
use scenarios::plan::{Plan, What, When};
use std::collections::BTreeMap;

/// Something that the conductor does to a host's process.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    Crash(HostId),
    Leave(HostId),
    /// A first process, or another one.
    Begin(HostId),
    Stall(HostId, Span),
    Resume(HostId),
    /// Blocks are lost for good, and what had passed them has arrived.
    GiveUp,
}

impl Deed {
    /// What lasts without anybody's doing, the hosts look up for themselves.
    fn of(what: &What) -> Option<Deed> {
        match *what {
            What::Crash { host, .. } => Some(Deed::Crash(host)),
            What::Restart { host } | What::Join { host } => Some(Deed::Begin(host)),
            What::Leave { host } => Some(Deed::Leave(host)),
            What::Stall { host, lasts } => Some(Deed::Stall(host, lasts)),
            What::SlowDevice { .. } | What::SlowLink { .. } | What::Partition { .. } => None,
        }
    }
}

/// Deeds in the order of their moments, and in that of the plan where these are the same.
pub struct Agenda {
    due: BTreeMap<(Moment, usize), Deed>,
    /// Those that count from the barrier's release.
    later: Vec<(Span, Deed)>,
    count: usize,
}

impl Agenda {
    pub fn of(plan: &Plan, started: Moment) -> Agenda {
        let mut agenda = Agenda { due: BTreeMap::new(), later: Vec::new(), count: 0 };
        for fault in &plan.faults {
            match (fault.at, Deed::of(&fault.what)) {
                (When::Start(after), Some(deed)) => agenda.add(started + after, deed),
                (When::Release(after), Some(deed)) => agenda.later.push((after, deed)),
                // The host itself counts its steps.
                (When::Steps { .. }, _) | (_, None) => {}
            }
        }
        agenda
    }

    pub fn release(&mut self, at: Moment) {
        for (after, deed) in std::mem::take(&mut self.later) {
            self.add(at + after, deed);
        }
    }

    pub fn add(&mut self, at: Moment, deed: Deed) {
        self.due.insert((at, self.count), deed);
        self.count += 1;
    }

    /// Whether a process of the host is to begin yet.
    pub fn begins(&self, host: HostId) -> bool {
        self.due.values().chain(self.later.iter().map(|(_, deed)| deed)).any(|deed| *deed == Deed::Begin(host))
    }

    /// When the next is due.
    pub fn next(&self) -> Option<Moment> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// The next that is due by now.
    pub fn take(&mut self, now: Moment) -> Option<Deed> {
        let first = self.due.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

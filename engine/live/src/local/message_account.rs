//! Counts of the messages that a process has sent and received, for each other host.
//!
//! A count is a number in a table, so counting costs a hop next to nothing. Each count belongs to one incarnation of
//! the other host; the next incarnation's count starts at 0.
use actors::id::HostId;
use actors::invariants::message_account::Tally;

/// The counts of messages for each host, including this process's own host, by host id.
pub(super) struct Counts(Vec<Count>);

#[derive(Clone)]
struct Count {
    tally: Tally,
    /// The number of messages that have arrived, including messages that are held until their delivery times.
    arrived: u64,
}

impl Counts {
    /// Creates counts of 0. `lives` has the present incarnation of each host, by host id.
    pub fn of(lives: impl Iterator<Item = u32>) -> Counts {
        let count = |(host, incarnation)| Count { tally: Tally::of(HostId(host), incarnation), arrived: 0 };
        Counts((0..).zip(lives).map(count).collect())
    }

    fn change(&mut self, there: HostId, change: impl FnOnce(&mut Count)) {
        if let Some(count) = self.0.get_mut(there.0 as usize) {
            change(count);
        }
    }

    /// Counts a message from a node of this process to a node of the host `there`.
    pub fn sent(&mut self, there: HostId) {
        self.change(there, |count| count.tally.sent += 1);
    }

    /// Counts a message that cannot be sent because the host `there` is lost.
    pub fn lost(&mut self, there: HostId) {
        self.change(there, |count| count.tally.lost += 1);
    }

    /// Counts a message that arrived from an incarnation of the host `there`, if that incarnation is the present one.
    pub fn arrived(&mut self, there: HostId, incarnation: u32) {
        self.change(there, |count| count.arrived += u64::from(count.tally.incarnation == incarnation));
    }

    /// Counts a message that was delivered to a node of this process, if it came from the present incarnation of the
    /// host `there`.
    pub fn delivered(&mut self, there: HostId, incarnation: u32) {
        self.change(there, |count| count.tally.delivered += u64::from(count.tally.incarnation == incarnation));
    }

    /// Marks the connection to the host's present incarnation as lost.
    pub fn broke(&mut self, there: HostId) {
        self.change(there, |count| count.tally.broken = true);
    }

    /// Starts new counts if the host has a new incarnation.
    pub fn began(&mut self, there: HostId, incarnation: u32) {
        self.change(there, |count| {
            if count.tally.incarnation != incarnation {
                *count = Count { tally: Tally::of(there, incarnation), arrived: 0 };
            }
        });
    }

    /// Returns the counts for all hosts, except for hosts without any count. `waiting` returns the number of messages
    /// that still wait to be sent to a host.
    pub fn tallies(&self, waiting: impl Fn(HostId) -> u64) -> Vec<Tally> {
        let tally = |count: &Count| Tally {
            waiting: waiting(count.tally.there),
            held: count.arrived - count.tally.delivered,
            ..count.tally
        };
        let counted = |tally: &Tally| *tally != Tally::of(tally.there, tally.incarnation);
        self.0.iter().map(tally).filter(counted).collect()
    }
}

//! The messages that a process has sent and been given, counted for each other host.
//!
//! A count is a number in a table, so it costs a hop nothing. It is of one of the other host's processes: its next one
//! begins at 0.
use actors::id::HostId;
use actors::invariants::message_account::Tally;

/// By host id, this process's own among them.
pub(super) struct Counts(Vec<Count>);

#[derive(Clone)]
struct Count {
    tally: Tally,
    /// Of letters: of these, those that nodes here were not given yet wait for their instants.
    arrived: u64,
}

impl Counts {
    /// Of other hosts in these lives, by host id.
    pub fn of(lives: impl Iterator<Item = u32>) -> Counts {
        let count = |(host, incarnation)| Count { tally: Tally::of(HostId(host), incarnation), arrived: 0 };
        Counts((0..).zip(lives).map(count).collect())
    }

    fn change(&mut self, there: HostId, change: impl FnOnce(&mut Count)) {
        if let Some(count) = self.0.get_mut(there.0 as usize) {
            change(count);
        }
    }

    /// A node here has something for a node there.
    pub fn sent(&mut self, there: HostId) {
        self.change(there, |count| count.tally.sent += 1);
    }

    /// It has no way to go.
    pub fn lost(&mut self, there: HostId) {
        self.change(there, |count| count.tally.lost += 1);
    }

    pub fn arrived(&mut self, there: HostId, incarnation: u32) {
        self.change(there, |count| count.arrived += u64::from(count.tally.incarnation == incarnation));
    }

    /// A node here is given what has arrived.
    pub fn delivered(&mut self, there: HostId, incarnation: u32) {
        self.change(there, |count| count.tally.delivered += u64::from(count.tally.incarnation == incarnation));
    }

    /// The connection to the host's present process is lost.
    pub fn broke(&mut self, there: HostId) {
        self.change(there, |count| count.tally.broken = true);
    }

    /// From now on another process of the host is meant.
    pub fn began(&mut self, there: HostId, incarnation: u32) {
        self.change(there, |count| {
            if count.tally.incarnation != incarnation {
                *count = Count { tally: Tally::of(there, incarnation), arrived: 0 };
            }
        });
    }

    /// What is not 0; `waiting` says what waits here for a host.
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

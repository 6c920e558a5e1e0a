//! The hosts of a plan, found by the names that a scenario uses.
use crate::plan;

/// A host of the plan, and the name of its group.
pub(super) struct Placed<'a> {
    pub group: &'a str,
    pub host: plan::Host,
}

pub(super) struct Computers<'a> {
    pub machines: Vec<plan::Machine>,
    /// The hosts of the plan. The first one is the orchestrator's.
    pub hosts: Vec<Placed<'a>>,
}

impl Computers<'_> {
    /// Returns the ids of the hosts that `name` means: all hosts of a group in order, or one member of a group, as in
    /// `gpu[0]`.
    pub fn of(&self, name: &str) -> impl Iterator<Item = u32> {
        let (group, member) = match member(name) {
            Some((group, index)) => (group, Some(index)),
            None => (name, None),
        };
        let hosts = (0u32..).zip(&self.hosts).filter(move |(_, placed)| placed.group == group).map(|(id, _)| id);
        let (skipped, taken) = member.map_or((0, usize::MAX), |index| (index as usize, 1));
        hosts.skip(skipped).take(taken)
    }
}

/// Splits the name of a member of a group, as in `gpu[0]`, into the group and the member's index, counted from 0.
pub(super) fn member(name: &str) -> Option<(&str, u32)> {
    let (group, index) = name.strip_suffix(']')?.rsplit_once('[')?;
    Some((group, index.parse().ok()?))
}

/// Returns the group in a name of hosts: `gpu` for both `gpu` and `gpu[0]`.
pub(super) fn group_of(name: &str) -> &str {
    member(name).map_or(name, |(group, _)| group)
}

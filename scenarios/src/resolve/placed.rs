//! Hosts of a plan by the names of a scenario.
use crate::plan;

/// A host of the plan, and the name of its group.
pub(super) struct Placed<'a> {
    pub group: &'a str,
    pub host: plan::Host,
}

pub(super) struct Computers<'a> {
    pub machines: Vec<plan::Machine>,
    /// The hosts. The first one is the orchestrator's.
    pub hosts: Vec<Placed<'a>>,
}

impl Computers<'_> {
    /// The ids of a group's hosts, in order, or the id of one host, if the name is that of a member, as in `gpu[0]`.
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

/// The group of a host's name and the host's index in it, counted from 0: `gpu[0]`.
pub(super) fn member(name: &str) -> Option<(&str, u32)> {
    let (group, index) = name.strip_suffix(']')?.rsplit_once('[')?;
    Some((group, index.parse().ok()?))
}

/// The group in a name of hosts: `gpu` for `gpu` and for `gpu[0]`.
pub(super) fn group_of(name: &str) -> &str {
    member(name).map_or(name, |(group, _)| group)
}

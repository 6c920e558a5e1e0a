//! The simulated network: the link model of every host's NICs and of every path in use.
pub(crate) mod contacts;
pub(crate) mod fair;
mod paths;

use actors::id::HostId;
use actors::time::Timestamp;
use links::{Framing, LinkTable, Passage, Stage};
use paths::Paths;
use scenarios::plan::Plan;

/// The links, paths and NICs of one simulation.
pub struct Network {
    links: LinkTable,
    framing: Framing,
    egress: Vec<Stage>,
    ingress: Vec<Stage>,
    /// For each host, which of its NICs have no effect. This is kept apart from the NICs in two bytes per host, because
    /// every message reads it.
    free: Vec<Free>,
    paths: Paths,
}

/// For each NIC of a host, whether it has neither delay nor bandwidth limit.
#[derive(Clone, Copy)]
struct Free {
    egress: bool,
    ingress: bool,
}

impl Network {
    pub fn new(plan: &Plan) -> Network {
        Network::with_bound(plan, paths::BOUND)
    }

    /// Creates the network of `plan`, which drops idle paths whenever it holds at least `bound` paths.
    fn with_bound(plan: &Plan, bound: usize) -> Network {
        let hosts = || plan.hosts.iter().zip(0..);
        let egress: Vec<Stage> = hosts().map(|(host, id)| Stage::egress(&host.egress, plan.seed, id)).collect();
        let ingress: Vec<Stage> = hosts().map(|(host, id)| Stage::ingress(&host.ingress, plan.seed, id)).collect();
        let free = |(egress, ingress): (&Stage, &Stage)| Free { egress: egress.is_free(), ingress: ingress.is_free() };
        Network {
            links: LinkTable::of(plan),
            framing: Framing::of(&plan.network.tcp),
            free: egress.iter().zip(&ingress).map(free).collect(),
            egress,
            ingress,
            paths: Paths::new(plan.hosts.len(), bound),
        }
    }

    /// Lets a message leave through the egress NIC of `from` and cross the path to `to`, with connection set-up if the
    /// two hosts have no connection yet. The result is the message's state before the ingress NIC of `to`.
    #[inline]
    pub fn depart(&mut self, now: Timestamp, from: HostId, to: HostId, bytes: u64) -> Passage {
        let Network { links, paths, egress, free, .. } = self;
        let (path, handshake) = paths.get(links, now, from, to);
        let host = from.0 as usize;
        let nic = if free[host].egress { None } else { Some(&mut egress[host]) };
        path.depart(links, (from, to), nic, now, bytes, handshake)
    }

    /// Whether the ingress NIC of `to` has no effect, so that [`Network::arrive`] can be skipped.
    #[inline]
    pub fn receives_freely(&self, to: HostId) -> bool {
        self.free[to.0 as usize].ingress
    }

    /// Passes a message through the ingress NIC of `to`. The message's first byte has reached this NIC.
    pub fn arrive(&mut self, to: HostId, passage: &mut Passage, bytes: u64) {
        self.ingress[to.0 as usize].pass(passage, self.framing.bytes(bytes));
    }

    /// Returns the memory in bytes that is used by the paths, and by the record of the pairs of hosts that have
    /// communicated.
    pub fn bytes(&self) -> usize {
        self.paths.bytes()
    }
}

#[cfg(test)]
mod tests;

//! Which hosts hold each block, so that a run ends when some blocks are lost for good.
//!
//! Without this, every request that is left would try until it times out. A run goes on all the same where the scenario
//! says so: with `recovery: Off` requests fail at once and the run comes to its own end, and with a retry policy without a
//! limit clients wait on purpose.
use crate::outcome::Outcome;
use actors::id::{BlockRange, HostId};
use actors::policy::Recovery;
use scenarios::plan::{Plan, Role};
use std::collections::BTreeMap;

/// The peers of each block that are there or will be, and the hosts that are gone for good.
pub struct Holders {
    /// By block.
    peers: Vec<u32>,
    /// Each with the reason.
    gone: BTreeMap<HostId, String>,
    ends_run: bool,
}

impl Holders {
    pub fn of(plan: &Plan) -> Holders {
        let mut peers = vec![0; plan.model.shape.layers as usize];
        for (_, node) in plan.peers() {
            let held = held(&node.role, peers.len());
            peers[held].iter_mut().for_each(|count| *count += 1);
        }
        let ends_run = plan.policies.recovery != Recovery::Off && plan.policies.retry.limit < u32::MAX;
        Holders { peers, gone: BTreeMap::new(), ends_run }
    }

    /// A host is gone for good. Whether that is the end of the run: a block of it has no peer any more.
    pub fn lose(&mut self, plan: &Plan, host: HostId, why: String) -> bool {
        if self.gone.insert(host, why).is_some() {
            return false;
        }
        let mut last = false;
        for (_, node) in plan.peers().filter(|(_, node)| node.host == host) {
            let held = held(&node.role, self.peers.len());
            for count in &mut self.peers[held] {
                *count -= 1;
                last |= *count == 0;
            }
        }
        last && self.ends_run
    }

    /// The outcome of a run that ends because blocks are lost, if any are.
    pub fn outcome(&self, plan: &Plan) -> Option<Outcome> {
        let mut blocks: Vec<BlockRange> = Vec::new();
        for block in (0..).zip(&self.peers).filter(|(_, count)| **count == 0).map(|(block, _)| block) {
            match blocks.last_mut() {
                Some(range) if range.end == block => range.end += 1,
                _ => blocks.push(BlockRange { start: block, end: block + 1 }),
            }
        }
        let had = |host: &HostId| {
            let roles = plan.peers().filter(|(_, node)| node.host == *host).map(|(_, node)| &node.role);
            let mut held = roles.flat_map(|role| held(role, self.peers.len()));
            held.any(|block| self.peers[block] == 0)
        };
        let hosts = self.gone.iter().filter(|(host, _)| had(host));
        let hosts = hosts.map(|(host, why)| (plan.host(*host).name.clone(), why.clone())).collect();
        (!blocks.is_empty()).then_some(Outcome::BlocksLost { blocks, hosts })
    }
}

/// The blocks that a peer may come to hold: all of them, if it chooses.
fn held(role: &Role, layers: usize) -> std::ops::Range<usize> {
    match role {
        Role::Peer { chooses: true, .. } => 0..layers,
        Role::Peer { blocks, .. } => {
            let end = (blocks.end as usize).min(layers);
            (blocks.start as usize).min(end)..end
        }
        Role::Orchestrator | Role::Bootstrap | Role::Client => 0..0,
    }
}

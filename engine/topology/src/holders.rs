//! A count of the peers that can still serve each block. A run ends when the last host with a block is gone for good.
//!
//! Without this check, every remaining request would retry until it times out. A run continues in two cases: with
//! `recovery: Off` its requests fail at once and it ends normally, and with a retry policy without a limit its clients
//! are meant to wait.
use crate::outcome::Outcome;
use actors::id::{BlockRange, HostId};
use actors::policy::Recovery;
use scenarios::plan::{Plan, Role};
use std::collections::BTreeMap;

/// The number of peers that hold each block and are present or may still join, and the hosts that are gone for good.
pub struct Holders {
    /// The number of peers that may hold each block, indexed by block.
    peers: Vec<u32>,
    /// The hosts that are gone for good, each with the reason.
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

    /// Records that the host is gone for good. Returns whether the run has to end: the host had the last peer of a
    /// block, and the policies do not let the run continue without that block.
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

    /// Returns the outcome of a run that ends because blocks are lost, or `None` if every block has a peer.
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

/// Returns the blocks that a peer may hold: all blocks if the peer chooses its own.
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

//! A plan with a spare for every peer, for tests and benchmarks of failures.
use actors::id::BlockRange;
use scenarios::plan::{Plan, Role};

/// Changes a plan with four peers of two blocks each: each half of the blocks gets two peers, of which the one with the
/// lower id is used first.
pub fn doubled(mut plan: Plan) -> Plan {
    // No pings: round trips measured on one machine would make the choice of peers random.
    (plan.policies.pings.fanout, plan.policies.pings.next) = (0, 0);
    let mut peers = 0;
    for node in &mut plan.nodes {
        if let Role::Peer { blocks, .. } = &mut node.role {
            let start = 4 * (peers / 2);
            *blocks = BlockRange { start, end: start + 4 };
            peers += 1;
        }
    }
    assert_eq!(peers, 4, "the plan has four peers");
    plan
}

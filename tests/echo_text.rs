//! Tests that an echo model gives the same text however its blocks are distributed over peers, and another text if any
//! part of its input differs.
#[path = "support/nano.rs"]
mod nano;

use actors::id::{BlockRange, RequestId};
use actors::message::Forwarding;
use actors::record::Event;
use scenarios::plan::{Plan, Role, Weights, Workload};
use simulator::{HORIZON, run};

const WORK: Workload = Workload { micro_batches: 2, batch: 2, prompt: 9, generate: 6 };

/// Returns a plan with eight blocks and routes of `hops` peers. There are always four peers, so that every client keeps
/// its node id.
fn plan(hops: u32, forwarding: Forwarding, seed: u64) -> Plan {
    let mut plan = nano::plan(4, 2, forwarding, WORK);
    plan.model.weights = Weights::Echo;
    plan.seed.0 = seed;
    let each = 8 / hops;
    for (peer, node) in (0..).zip(plan.nodes.iter_mut().filter(|node| matches!(node.role, Role::Peer { .. }))) {
        if let Role::Peer { blocks, .. } = &mut node.role {
            let start = peer * hops / 4 * each;
            *blocks = BlockRange { start, end: start + each };
        }
    }
    plan
}

/// Returns the tokens of each timed request, ordered by client and request.
fn texts(plan: &Plan) -> Vec<(RequestId, Vec<u32>)> {
    let text = |event| match event {
        Event::Ended(ended) if !ended.request.is_warmup() => Some((ended.request, ended.output)),
        _ => None,
    };
    let mut texts: Vec<_> = run(plan, HORIZON).events.into_iter().filter_map(text).collect();
    texts.sort();
    texts
}

#[test]
fn the_text_is_the_same_over_one_two_and_four_peers_relayed_and_pushed() {
    let whole = texts(&plan(1, Forwarding::Relay, 1));
    assert_eq!(whole.len(), 4, "two requests of two clients");
    assert!(whole.iter().all(|(_, text)| text.len() == 6));
    for hops in [1, 2, 4] {
        for forwarding in [Forwarding::Relay, Forwarding::Push] {
            assert_eq!(whole, texts(&plan(hops, forwarding, 1)), "{hops} hops, {forwarding:?}");
        }
    }
    assert_ne!(whole, texts(&plan(1, Forwarding::Relay, 2)));
}

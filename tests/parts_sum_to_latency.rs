//! Tests that the parts of every step sum exactly to its duration, and the parts of every request to its latency.
#[path = "support/nano.rs"]
mod nano;

use actors::message::Forwarding;
use actors::record::Event;
use actors::time::Duration;
use live::Options;
use rows::RunRows;
use scenarios::plan::{Distribution, Link, Plan, Workload};
use simulator::HORIZON;
use std::sync::atomic::AtomicBool;

/// Returns a plan with many effects at once: two clients use two peers, over jittery links with limited bandwidth.
/// `forwarding` is relay or push.
fn plan(forwarding: Forwarding, generate: u32) -> Plan {
    let mut plan = nano::plan(2, 2, forwarding, Workload { micro_batches: 2, batch: 2, prompt: 40, generate });
    let delay = Distribution::LogNormal { median: Duration::from_micros(300), sigma: 0.4 };
    plan.network.default = Link::new(delay, Some(20e6));
    for host in &mut plan.hosts {
        host.egress = Link::new(Distribution::Constant(Duration::from_micros(100)), Some(15e6));
        host.ingress = Link::new(Distribution::Constant(Duration::ZERO), Some(10e6));
    }
    plan
}

fn check(events: &[Event], world_knows_network: bool) {
    let fold = RunRows::of(events);
    assert!(!fold.tokens.is_empty());
    for token in &fold.tokens {
        assert_eq!(token.parts.sum(), token.seen - token.began, "{token:?}");
        assert!(!token.suspect, "{token:?}");
        if world_knows_network {
            let network = token.network.expect("a simulation knows the network's parts");
            assert_eq!(network.sum(), token.parts.network);
            assert_eq!(network.other, 0, "in a simulation nothing else takes time: {token:?}");
        }
    }
    for request in &fold.requests {
        assert_eq!(request.parts.sum(), request.e2el, "{request:?}");
        assert_eq!(request.e2el, request.ended - request.sent);
    }
}

#[test]
fn in_the_simulation_down_to_the_network() {
    for forwarding in [Forwarding::Relay, Forwarding::Push] {
        for generate in [0, 1, 5] {
            check(&simulator::run(&plan(forwarding, generate), HORIZON).events, true);
        }
    }
}

#[test]
fn live() {
    let options = Options::new(env!("CARGO_BIN_EXE_swarmbench"));
    let plan = plan(Forwarding::Relay, 4);
    check(&live::run(&plan, &options, &AtomicBool::new(false)).expect("it begins").events, false);
}

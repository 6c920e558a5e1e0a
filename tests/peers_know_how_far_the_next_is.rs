//! Tests, live and simulated, that peers measure and announce the round trips to the peers of the next hop, and that
//! clients route by these round trips.
#[path = "support/doubled.rs"]
mod doubled;
#[path = "support/nano.rs"]
mod nano;

use actors::id::{HostId, NodeId};
use actors::message::Forwarding;
use actors::record::{Event, Purpose};
use actors::time::Duration;
use live::Options;
use scenarios::plan::{Between, Distribution, Hosts, Link, Plan, Workload};
use simulator::HORIZON;
use std::sync::atomic::AtomicBool;
use topology::outcome::Run;

/// Returns a plan in which the first peer is far from the third peer and near to the fourth. The third has the lower
/// id. All peers are equally far from the client.
fn plan(next: u32) -> Plan {
    let work = Workload { micro_batches: 200, batch: 1, prompt: 4, generate: 4 };
    let mut plan = doubled::doubled(nano::plan(4, 1, Forwarding::Push, work));
    let only = |host| Hosts::only(HostId(host));
    let far = Link::new(Distribution::Constant(Duration::from_millis(20)), None);
    for (from, to) in [(1, 3), (3, 1), (2, 3), (3, 2), (2, 4), (4, 2)] {
        plan.network.between.push(Between { from: only(from), to: only(to), link: far.clone() });
    }
    plan.network.shape = true;
    plan.policies.pings.next = next;
    let dht = &mut plan.policies.dht;
    (dht.announce, dht.expiry) = (Duration::from_millis(250), Duration::from_secs(10));
    dht.refresh = Duration::from_millis(200);
    plan
}

/// Returns the route of the last request.
fn last_route(run: &Run) -> Vec<NodeId> {
    assert!(run.outcome.is_ok(), "{}", run.outcome);
    let ended = |event: &Event| match event {
        Event::Ended(ended) => Some((ended.request, ended.route.clone())),
        _ => None,
    };
    run.events.iter().filter_map(ended).max_by_key(|(request, _)| request.index).expect("a request").1
}

fn looked_onward(run: &Run) -> usize {
    let probes = |event: &&Event| matches!(event, Event::Looked(looked) if looked.purpose == Purpose::NextHopProbe);
    run.events.iter().filter(probes).count()
}

fn peer(plan: &Plan, host: u32) -> NodeId {
    plan.peers().find(|(_, node)| node.host == HostId(host)).expect("a peer").0
}

#[test]
fn the_nearer_of_two_is_taken_in_both_worlds() {
    let (blind, seeing) = (plan(0), plan(5));
    let options = Options::new(env!("CARGO_BIN_EXE_swarmbench"));
    let by_ids = [peer(&blind, 1), peer(&blind, 3)];
    let nearer = [peer(&seeing, 1), peer(&seeing, 4)];
    let simulated = simulator::run(&blind, HORIZON);
    assert_eq!((last_route(&simulated), looked_onward(&simulated)), (by_ids.to_vec(), 0), "who knows nothing");
    let simulated = simulator::run(&seeing, HORIZON);
    assert_eq!(last_route(&simulated), nearer);
    assert!(looked_onward(&simulated) > 1, "again and again");
    let measured = live::run(&seeing, &options, &AtomicBool::new(false)).expect("it begins");
    assert_eq!(last_route(&measured), nearer);
    assert!(looked_onward(&measured) > 1);
}

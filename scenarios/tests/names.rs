//! Tests that messages for people name nodes and hosts as the scenario does, not by number.
use actors::id::{HostId, NodeId, RequestId, SessionId};
use actors::message::{Failure, Refusal};
use actors::record::Abort;
use actors::seed::Seed;
use proptest::prelude::{prop_assert_eq, proptest};
use scenarios::plan::Plan;
use scenarios::{Overrides, load};
use std::sync::LazyLock;

fn plan() -> Plan {
    let quickstart = load("quickstart").expect("it is in the library");
    quickstart.cells(&Overrides::default()).expect("a sweep")[0].plan(Seed(1), 0).expect("a plan")
}

#[test]
fn numbers_of_nodes_and_hosts_become_names() {
    let plan = plan();
    let (peer, client) = (plan.called(NodeId(3)), plan.called(NodeId(4)));
    assert!(peer.starts_with("peer") && client.starts_with("client"), "{peer} {client}");
    let why = Abort::WarmupFailed { client: NodeId(4), why: Failure::Refused(NodeId(3), Refusal::CacheFull) };
    let said = format!(
        "the warm-up of {client} failed: {peer} refused the request: the KV cache of the peer has no room for the \
         session"
    );
    assert_eq!(plan.in_words(&why.to_string()), said);
    let missing = Abort::NotPresent { missing: 1, expected: 4, such_as: NodeId(0) };
    assert!(plan.in_words(&missing.to_string()).ends_with("among them the orchestrator"));
    let session = SessionId::new(RequestId { client: NodeId(4), index: 2 }, 1);
    let debug = plan.in_words(&format!("{session:?} {:?}", HostId(1)));
    let host = &plan.host(HostId(1)).name;
    assert_eq!(debug, format!("SessionId(RequestId {{ client: {client}, index: 2 }}, number 1) {host}"));
}

#[test]
fn peers_of_one_host_are_told_apart() {
    let mut plan = plan();
    let (first, second) = (plan.called(NodeId(2)), plan.called(NodeId(3)));
    assert!(first != second && !first.contains('/'), "{first} {second}");
    plan.nodes[3].host = plan.nodes[2].host;
    assert_eq!((plan.called(NodeId(2)), plan.called(NodeId(3))), (first.clone(), format!("{first}/1")));
}

#[test]
fn what_names_nobody_stays_as_it_is() {
    let plan = plan();
    for text in
        ["", "node", "node x", "NodeId(", "NodeId(3", "node 999999", "anode 3", "HostId(77777777777777)", "é node "]
    {
        assert_eq!(plan.in_words(text), text);
    }
}

static PLAN: LazyLock<Plan> = LazyLock::new(plan);

proptest! {
    #[test]
    fn a_text_without_numbers_is_kept(text in "[a-zNH(){} é]{0,40}") {
        prop_assert_eq!(PLAN.in_words(&text), text);
    }
}

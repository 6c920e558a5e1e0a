//! Tests that a peer that is told to leave finishes its open sessions, accepts no new sessions, and ends, while the
//! other peers continue without it, in live and in simulated runs.
#[path = "support/doubled.rs"]
mod doubled;
#[path = "support/nano.rs"]
mod nano;

use actors::dht::State;
use actors::id::{HostId, NodeId, RequestId, SessionId};
use actors::limits;
use actors::message::Forwarding;
use actors::record::{Ended, Event, FaultKind, Reserved, Serving};
use actors::time::{Duration, Timestamp};
use live::Options;
use scenarios::plan::{Fault, Plan, Weights, What, When, Workload};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use topology::outcome::Run;

/// The host of the second half of the blocks on every route while it is available. The next host is the spare for that
/// half.
const LEAVER: HostId = HostId(3);
const SPARE: HostId = HostId(4);

/// Returns a plan in which a peer is told to leave, and to start again as soon as it has left.
fn plan(test: &str, micro_batches: u32, forwarding: Forwarding) -> Plan {
    let work = Workload { micro_batches, batch: 1, prompt: 8, generate: 100 };
    let mut plan = doubled::doubled(nano::plan(4, 2, forwarding, work));
    plan.hosts.iter_mut().for_each(|host| host.name = format!("{test}-{}", host.name));
    let at = |ms| When::Release(Duration::from_millis(ms));
    plan.faults = vec![
        Fault { at: at(5), what: What::Leave { host: LEAVER } },
        Fault { at: at(6), what: What::Restart { host: LEAVER } },
    ];
    plan
}

fn calm(mut plan: Plan) -> Plan {
    plan.faults.clear();
    plan
}

fn peer_on(plan: &Plan, host: HostId) -> NodeId {
    plan.peers().find(|(_, node)| node.host == host).expect("it holds a peer").0
}

/// Returns the peer's KV cache reservations and releases, in order of time.
fn reservations(run: &Run, peer: NodeId) -> Vec<Reserved> {
    let of = |event: &Event| match event {
        Event::Reserved(reserved) if reserved.peer == peer => Some(*reserved),
        _ => None,
    };
    let mut all: Vec<Reserved> = run.events.iter().filter_map(of).collect();
    all.sort_by_key(|reserved| reserved.at);
    all
}

fn servings(run: &Run, peer: NodeId) -> Vec<Serving> {
    let of = |event: &Event| match event {
        Event::Serving(serving) if serving.peer == peer => Some((**serving).clone()),
        _ => None,
    };
    let mut all: Vec<Serving> = run.events.iter().filter_map(of).collect();
    all.sort_by_key(|serving| serving.at);
    all
}

fn left_at(run: &Run) -> Timestamp {
    let left = |event: &Event| match event {
        Event::FaultEvent(struck) if struck.fault == FaultKind::Leave => Some(struck.at),
        _ => None,
    };
    run.events.iter().find_map(left).expect("it was told to leave")
}

fn texts(run: &Run) -> Vec<(RequestId, Vec<u32>)> {
    let ended = run.events.iter().filter_map(|event| if let Event::Ended(it) = event { Some(&**it) } else { None });
    let mut texts: Vec<_> = ended.map(|Ended { request, output, .. }| (*request, output.clone())).collect();
    texts.sort();
    texts
}

/// Compares a run with the same run without faults. `heard` is the longest time that the order to leave may take to
/// reach the peer.
fn leaves_in_order(plan: &Plan, run: &Run, calm: &Run, heard: Duration) {
    assert!(run.outcome.is_ok() && calm.outcome.is_ok(), "{} {}", run.outcome, calm.outcome);
    assert_eq!(texts(run), texts(calm));
    let (leaver, told) = (peer_on(plan, LEAVER), left_at(run));

    // The process that leaves has ended before its successor begins.
    let offline = servings(run, leaver).into_iter().find(|it| it.at >= told && it.state == State::Offline);
    let goodbye = offline.expect("it says goodbye").at;
    assert!(goodbye.since(told) <= heard, "{}", goodbye.since(told));
    let again = servings(run, leaver).into_iter().find(|it| it.at > goodbye && it.state != State::Offline);
    let again = again.expect("its next process comes up").at;
    assert!(again.since(goodbye) + heard >= limits::FAREWELL, "it stays until its goodbye was heard");

    // The peer finishes its open sessions, and accepts no new ones.
    let before = reservations(run, leaver).into_iter().filter(|it| it.at < again);
    let (until, after): (Vec<_>, Vec<_>) = before.partition(|it| it.at <= goodbye);
    let mut held: BTreeSet<SessionId> = BTreeSet::new();
    for reserved in &until {
        match reserved.bytes {
            Some(_) => held.insert(reserved.session),
            None => held.remove(&reserved.session),
        };
    }
    assert!(!held.is_empty(), "it held something when it was told");
    assert!(after.iter().all(|it| it.bytes.is_none()), "it opens nothing more");
    let given_back: BTreeSet<SessionId> = after.iter().map(|it| it.session).collect();
    assert_eq!(given_back, held, "and what it held came to its end before it ended");
    let moved = |event: &Event| matches!(event, Event::Failover(failover) if failover.replayed > 0);
    assert!(!run.events.iter().any(moved), "nobody had to be given again what it held");

    // The other peers continue without the peer that has left.
    let spare = peer_on(plan, SPARE);
    let served = |event: &Event| match event {
        Event::Served(hop) if hop.peer == spare => hop.received > goodbye,
        _ => false,
    };
    assert!(run.events.iter().any(served), "its spare serves from then on");
}

#[test]
fn a_simulated_peer_leaves_in_order() {
    for forwarding in [Forwarding::Relay, Forwarding::Push] {
        let mut plan = plan("sim", 300, forwarding);
        plan.model.weights = Weights::Echo;
        let run = |plan: &Plan| simulator::run(plan, simulator::HORIZON);
        leaves_in_order(&plan, &run(&plan), &run(&calm(plan.clone())), Duration::ZERO);
    }
}

#[test]
fn a_live_peer_leaves_in_order() {
    let plan = plan("leaves", 60, Forwarding::Push);
    let options = Options::new(env!("CARGO_BIN_EXE_swarmbench"));
    let run = |plan: &Plan| live::run(plan, &options, &AtomicBool::new(false)).expect("the run begins");
    leaves_in_order(&plan, &run(&plan), &run(&calm(plan.clone())), Duration::from_millis(400));
}

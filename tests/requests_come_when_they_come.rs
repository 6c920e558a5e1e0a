//! Tests an open workload, live and simulated. Each request must be sent when it is due, regardless of earlier
//! requests, and take the route that the plan gives it. It must be shed if its client has the maximum number of
//! requests in flight.
#[path = "support/nano.rs"]
mod nano;

use actors::id::{NodeId, RequestId};
use actors::message::{Failure, Forwarding};
use actors::record::{Ended, Event};
use actors::route::Routing;
use actors::time::{Duration, Timestamp};
use live::Options;
use scenarios::plan::{Arrival, Open, Plan, Workload};
use simulator::HORIZON;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use topology::outcome::{Outcome, Run};

/// Returns a plan with twelve requests of growing lengths for two clients. The requests arrive `gap` apart.
fn plan(gap: Duration, in_flight: u32) -> Plan {
    let longest = Workload { micro_batches: 0, batch: 1, prompt: 12, generate: 3 };
    let mut plan = nano::plan(2, 2, Forwarding::Push, longest);
    let clients: Vec<NodeId> = plan.clients().map(|(id, _)| id).collect();
    let peers: Vec<NodeId> = plan.peers().map(|(id, _)| id).collect();
    let arrival = |index: u32| Arrival {
        client: clients[index as usize % clients.len()],
        at: Duration(gap.0 * u64::from(index)),
        prompt: 1 + index,
        generate: index % 4,
        route: peers.clone(),
    };
    plan.policies.routing = Routing::Replay;
    plan.open = Some(Open { arrivals: (0..12).map(arrival).collect(), horizon: Duration(gap.0 * 12), in_flight });
    plan
}

/// Returns the ends of the timed requests, and the time of the barrier's release.
fn ends(run: &Run) -> (BTreeMap<RequestId, Ended>, Timestamp) {
    let Outcome::Done(drained) = &run.outcome else { panic!("{}", run.outcome) };
    let (mut ends, mut released) = (BTreeMap::new(), Timestamp::default());
    for event in &run.events {
        match event {
            Event::Ended(ended) if !ended.request.is_warmup() => {
                assert!(ends.insert(ended.request, (**ended).clone()).is_none(), "a request ends exactly once");
            }
            Event::Released { at } => released = *at,
            _ => {}
        }
    }
    assert_eq!(drained.requests as usize, ends.len());
    (ends, released)
}

#[track_caller]
fn check(plan: &Plan, run: &Run, late: Duration) {
    let (ends, released) = ends(run);
    let arrivals = &plan.open.as_ref().expect("an open workload").arrivals;
    assert_eq!(ends.len(), arrivals.len());
    let mut counts: BTreeMap<NodeId, u32> = BTreeMap::new();
    for arrival in arrivals {
        let index = counts.entry(arrival.client).or_default();
        *index += 1;
        let ended = &ends[&RequestId { client: arrival.client, index: *index }];
        assert_eq!(ended.outcome, Ok(()));
        assert_eq!((ended.prompt, ended.generated), (arrival.prompt, arrival.generate));
        assert_eq!(ended.route, arrival.route);
        assert!(ended.intended.since(released + arrival.at) <= late, "due {:?} after its time", ended.intended);
        assert!(ended.sent >= ended.intended && ended.sent.since(ended.intended) <= late);
    }
}

#[test]
fn simulated_to_the_nanosecond() {
    let plan = plan(Duration::from_micros(10), 64);
    let run = simulator::run(&plan, HORIZON);
    check(&plan, &run, Duration::ZERO);
}

#[test]
fn live_and_never_early() {
    let plan = plan(Duration::from_millis(20), 64);
    let options = Options::new(env!("CARGO_BIN_EXE_swarmbench"));
    let run = live::run(&plan, &options, &AtomicBool::new(false)).expect("it begins");
    // A busy machine may delay timers. Therefore only two things are checked: the order, and that no request is sent
    // early.
    check(&plan, &run, Duration::from_secs(5));
}

#[test]
fn what_a_client_has_no_room_for_is_shed() {
    let plan = plan(Duration::ZERO, 2);
    let run = simulator::run(&plan, HORIZON);
    assert!(run.outcome.is_ok(), "to shed is no failure: {}", run.outcome.label());
    let (ends, _) = ends(&run);
    let shed = ends.values().filter(|ended| ended.outcome == Err(Failure::Shed)).count();
    assert_eq!((ends.len(), shed), (12, 8), "two of six at once for each of two clients");
    assert!(ends.values().all(|ended| ended.outcome.is_ok() || ended.at == ended.sent && ended.generated == 0));
}

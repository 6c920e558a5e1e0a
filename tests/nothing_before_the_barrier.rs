//! Tests, live and simulated, that no timed request begins before every client is warm and the orchestrator has
//! released the barrier, and that no client warms up if the plan has no warm-up.
#[path = "support/nano.rs"]
mod nano;

use actors::message::Forwarding;
use actors::record::Event;
use actors::time::Timestamp;
use live::Options;
use scenarios::plan::{Plan, Workload};
use simulator::HORIZON;
use std::sync::atomic::AtomicBool;

const CLIENTS: u32 = 3;

fn plan() -> Plan {
    let work = Workload { micro_batches: 3, batch: 1, prompt: 7, generate: 3 };
    nano::plan(2, CLIENTS, Forwarding::Relay, work)
}

fn without_warm_up() -> Plan {
    Plan { warm_up: false, ..plan() }
}

/// Checks the events of a run in which `warmed` clients warm up.
fn check(events: &[Event], warmed: u32) {
    let released: Vec<Timestamp> =
        events.iter().filter_map(|event| if let Event::Released { at } = event { Some(*at) } else { None }).collect();
    let [released] = released[..] else { panic!("one barrier, not {}", released.len()) };
    let (mut ready, mut warm, mut timed) = (0, 0, 0);
    for event in events {
        match event {
            Event::Ready { at, .. } => {
                assert!(*at <= released);
                ready += 1;
            }
            Event::Ended(ended) if ended.request.is_warmup() => {
                assert!(ended.at <= released && ended.generate == 1, "a warm-up is one token, before the barrier");
                warm += 1;
            }
            Event::Ended(ended) => {
                assert!(ended.sent >= released, "{ended:?} began before {released:?}");
                timed += 1;
            }
            Event::Stepped(step) if !step.request.is_warmup() => assert!(step.began >= released),
            Event::Served(hop) if !hop.request.is_warmup() => assert!(hop.started >= released),
            _ => {}
        }
    }
    assert_eq!((ready, warm, timed), (warmed, warmed, 3 * CLIENTS));
}

#[test]
fn in_the_simulation() {
    check(&simulator::run(&plan(), HORIZON).events, CLIENTS);
    check(&simulator::run(&without_warm_up(), HORIZON).events, 0);
}

#[test]
fn live() {
    let options = Options::new(env!("CARGO_BIN_EXE_swarmbench"));
    let run = |plan: &Plan| live::run(plan, &options, &AtomicBool::new(false)).expect("it begins").events;
    check(&run(&plan()), CLIENTS);
    check(&run(&without_warm_up()), 0);
}

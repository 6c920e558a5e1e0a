//! Tests live and simulated runs in which no peer holds some blocks any more. If no peer will ever hold them again, the
//! run must end and name the lost blocks. Otherwise it must continue.
#[path = "support/nano.rs"]
mod nano;

use actors::id::{BlockRange, HostId};
use actors::message::Forwarding;
use actors::policy::Recovery;
use actors::record::Event;
use actors::time::Duration;
use live::Options;
use scenarios::plan::{Fault, Plan, Role, What, When, Workload};
use simulator::{self, HORIZON};
use std::sync::atomic::AtomicBool;
use topology::outcome::{Outcome, Run};

/// The only host that holds the first half of the blocks.
const PEER: HostId = HostId(1);

fn plan(test: &str, faults: Vec<Fault>) -> Plan {
    let work = Workload { micro_batches: 40, batch: 1, prompt: 4, generate: 20 };
    let mut plan = nano::plan(2, 1, Forwarding::Relay, work);
    plan.hosts.iter_mut().for_each(|host| host.name = format!("{test}-{}", host.name));
    plan.faults = faults;
    plan
}

/// Returns a crash in the middle of a request, after some completed requests. `back` is the time until the host
/// restarts.
fn at_a_step(back: Option<Duration>) -> Fault {
    Fault { at: When::Steps { host: PEER, count: 130 }, what: What::Crash { host: PEER, back } }
}

fn live(plan: &Plan) -> Run {
    live::run(plan, &Options::new(env!("CARGO_BIN_EXE_swarmbench")), &AtomicBool::new(false)).expect("it begins")
}

fn finished(run: &Run) -> usize {
    let ok = |event: &&Event| matches!(event, Event::Ended(it) if it.outcome.is_ok() && !it.request.is_warmup());
    run.events.iter().filter(ok).count()
}

/// Asserts that the run ended because of lost blocks, that it kept the earlier requests, and that its error names the
/// lost blocks, the host and the reason.
fn expect_lost(run: &Run, host: &str, because: &str) {
    let Outcome::BlocksLost { blocks, hosts } = &run.outcome else { panic!("{}", run.outcome) };
    assert_eq!(blocks, &[BlockRange { start: 0, end: 2 }]);
    assert_eq!(hosts.len(), 1, "{hosts:?}");
    assert_eq!(hosts[0].0, host);
    let said = run.outcome.to_string();
    assert!(said.contains("Blocks(0, 2)") && said.contains(host) && said.contains(because), "{said}");
    assert_eq!(run.outcome.label(), "blocks_lost");
    assert!((3..40).contains(&finished(run)), "{} requests are kept", finished(run));
}

#[test]
fn a_crash_of_the_only_holder_ends_the_run_in_both_worlds() {
    let plan = plan("crash", vec![at_a_step(None)]);
    expect_lost(&simulator::run(&plan, HORIZON), "crash-peer0", "the scenario crashed the host at a step");
    expect_lost(&live(&plan), "crash-peer0", "the scenario removed the host");
}

#[test]
fn a_leave_of_the_only_holder_ends_the_run_in_both_worlds() {
    let mut plan = plan("leave", vec![at_a_step(None)]);
    plan.workload.micro_batches = 4_000;
    plan.faults[0] = Fault { at: When::Release(Duration::from_millis(300)), what: What::Leave { host: PEER } };
    for run in [simulator::run(&plan, HORIZON), live(&plan)] {
        assert!(matches!(run.outcome, Outcome::BlocksLost { .. }), "{}", run.outcome);
        assert!(run.outcome.to_string().contains("`leave-peer0` does not come back"), "{}", run.outcome);
        assert!(finished(&run) > 0);
    }
}

#[test]
fn a_holder_that_comes_back_is_waited_for() {
    let plan = plan("back", vec![at_a_step(Some(Duration::from_millis(200)))]);
    for run in [simulator::run(&plan, HORIZON), live(&plan)] {
        assert!(run.outcome.is_ok(), "{}", run.outcome);
        assert_eq!(finished(&run), 40);
    }
}

#[test]
fn a_run_goes_on_as_long_as_one_holder_is_left() {
    let mut plan = plan("spare", vec![at_a_step(None)]);
    // In this plan each of the two hosts holds all blocks.
    for node in &mut plan.nodes[2..4] {
        let Role::Peer { blocks, .. } = &mut node.role else { panic!("a peer") };
        *blocks = BlockRange { start: 0, end: 4 };
    }
    let run = simulator::run(&plan, HORIZON);
    assert!(run.outcome.is_ok(), "{}", run.outcome);
}

#[test]
fn a_scenario_that_asks_to_wait_or_to_fail_gets_that() {
    let mut waits = plan("waits", vec![at_a_step(None)]);
    waits.policies.retry.limit = u32::MAX;
    let mut fails = plan("fails", vec![at_a_step(None)]);
    fails.policies.recovery = Recovery::Off;
    for plan in [waits, fails] {
        let run = simulator::run(&plan, HORIZON);
        let Outcome::Done(drained) = &run.outcome else { panic!("{}", run.outcome) };
        assert_eq!(drained.requests, 40, "every request has an end");
        assert!(drained.failed > 30, "{drained:?}");
    }
}

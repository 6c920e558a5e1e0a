//! Tests live runs with child processes, real TCP and real transformer blocks: the generated tokens must not depend on
//! the route.
#[path = "support/nano.rs"]
mod nano;

use actors::message::{Forwarding, WireType};
use actors::record::{Ended, Event, Served, Stepped};
use actors::time::Duration;
use live::{Options, run};
use scenarios::plan::{Distribution, Link, Plan, Workload};
use std::sync::atomic::AtomicBool;
use topology::outcome::{Outcome, Run};

const WORK: Workload = Workload { micro_batches: 2, batch: 2, prompt: 5, generate: 4 };

fn live(plan: &Plan) -> Run {
    run(plan, &Options::new(env!("CARGO_BIN_EXE_swarmbench")), &AtomicBool::new(false)).expect("the run begins")
}

/// Returns the ends of all requests in order, including warm-ups.
fn ended(run: &Run) -> Vec<&Ended> {
    let all = run.events.iter();
    let mut ended: Vec<&Ended> =
        all.filter_map(|it| if let Event::Ended(it) = it { Some(&**it) } else { None }).collect();
    ended.sort_by_key(|ended| ended.request);
    ended
}

fn outputs(run: &Run) -> Vec<Vec<u32>> {
    ended(run).into_iter().map(|ended| ended.output.clone()).collect()
}

fn steps(run: &Run) -> Vec<Stepped> {
    run.events.iter().filter_map(|event| if let Event::Stepped(step) = event { Some(*step) } else { None }).collect()
}

fn served(run: &Run) -> Vec<Served> {
    run.events.iter().filter_map(|event| if let Event::Served(hop) = event { Some(*hop) } else { None }).collect()
}

#[test]
fn every_request_is_served_with_the_tokens_it_asked_for() {
    let run = live(&nano::plan(2, 2, Forwarding::Relay, WORK));
    let Outcome::Done(drained) = &run.outcome else { panic!("{}", run.outcome) };
    assert_eq!((drained.requests, drained.failed, drained.total_tokens), (4, 0, 2 * 2 * 2 * 4));
    let ended = ended(&run);
    assert_eq!(ended.len(), 2 * 3, "with the warm-ups");
    assert!(
        ended.iter().all(|ended| ended.generated == ended.generate && ended.output.len() as u32 == ended.generated)
    );
    // Each timed request has a prefill and three decode steps, and each warm-up has one prefill; every step has two
    // hops.
    assert_eq!(served(&run).len(), 2 * (4 * 4 + 2));
}

#[test]
fn tokens_do_not_depend_on_the_way_they_take() {
    let relay = live(&nano::plan(2, 1, Forwarding::Relay, WORK));
    let push = live(&nano::plan(2, 1, Forwarding::Push, WORK));
    let mut one_host = nano::plan(2, 1, Forwarding::Relay, WORK);
    // All three nodes are in one process, so their messages go through mailboxes.
    let host = one_host.nodes[2].host;
    one_host.nodes.iter_mut().skip(2).for_each(|node| node.host = host);
    let together = live(&one_host);
    assert!(outputs(&relay).iter().any(|output| output.len() == 4));
    assert_eq!(outputs(&relay), outputs(&push));
    assert_eq!(outputs(&relay), outputs(&together));
}

#[test]
fn half_precision_on_the_wire_is_served_as_well() {
    for wire in [WireType::F16, WireType::Bf16, WireType::Int8 { block: 64 }] {
        let mut plan = nano::plan(2, 1, Forwarding::Push, WORK);
        plan.model.wire = wire;
        let run = live(&plan);
        assert!(run.outcome.is_ok(), "{wire:?}: {}", run.outcome);
    }
}

#[test]
fn a_request_for_no_token_ends_when_its_prefill_returns() {
    let run = live(&nano::plan(2, 1, Forwarding::Relay, Workload { generate: 0, ..WORK }));
    let Outcome::Done(drained) = &run.outcome else { panic!("{}", run.outcome) };
    assert_eq!((drained.requests, drained.failed, drained.total_tokens), (2, 0, 0));
    assert!(drained.latency_sum > Duration::ZERO);
}

#[test]
fn a_prefill_of_many_chunks_comes_through() {
    // The activation has 8 x 300 x 64 values, which are 614 KB: three chunks of a frame.
    let work = Workload { micro_batches: 1, batch: 8, prompt: 300, generate: 2 };
    let run = live(&nano::plan(2, 2, Forwarding::Relay, work));
    let Outcome::Done(drained) = &run.outcome else { panic!("{}", run.outcome) };
    assert_eq!((drained.failed, drained.total_tokens), (0, 2 * 8 * 2));
}

#[test]
fn a_shaped_link_costs_what_the_model_says_and_little_more() {
    let mut plan = nano::plan(2, 1, Forwarding::Relay, Workload { generate: 6, ..WORK });
    let delay = Duration::from_millis(15);
    plan.network.shape = true;
    plan.network.default = Link::new(Distribution::Constant(delay), None);
    let run = live(&plan);
    assert!(run.outcome.is_ok(), "{}", run.outcome);
    let compute = |step: &Stepped| {
        let hops = served(&run).into_iter().filter(|hop| (hop.session, hop.position) == (step.session, step.position));
        hops.map(|hop| hop.finished.since(hop.started)).sum::<Duration>()
    };
    let decode: Vec<_> = steps(&run).into_iter().filter(|step| step.tokens == 1).collect();
    assert_eq!(decode.len(), 2 * 5);
    let over = decode
        .iter()
        .map(|step| {
            let whole = step.seen.since(step.began);
            // With relay over two peers, a step crosses the path four times.
            assert!(whole >= Duration(4 * delay.0), "{whole} is less than four times {delay}");
            whole - Duration(4 * delay.0) - compute(step) - step.client
        })
        .min()
        .expect("ten steps");
    // The minimum is taken because it is the step that other work of the machine has disturbed least.
    assert!(over < Duration::from_millis(4), "four ways cost {over} too much");
    let carried = run.events.iter().filter(|event| matches!(event, Event::Carried(it) if it.propagation == delay));
    assert_eq!(carried.count(), 4 * (2 * 6 + 1), "each way of each step is accounted for");
}

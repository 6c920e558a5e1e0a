//! A live run: child processes, real TCP, real transformer blocks, and no child left behind.
#[path = "support/nano.rs"]
mod nano;

use actors::message::Forwarding;
use actors::record::Event;
use engine::live::{Options, run};
use engine::outcome::{Outcome, Run};
use scenarios::plan::{Plan, Workload};
use std::sync::atomic::AtomicBool;

const WORK: Workload = Workload { micro_batches: 2, batch: 2, prompt: 5, generate: 4 };

fn live(plan: &Plan) -> Run {
    run(plan, &Options::new(env!("CARGO_BIN_EXE_swarmbench")), &AtomicBool::new(false)).expect("the run begins")
}

fn outputs(run: &Run) -> Vec<Vec<u32>> {
    let mut ended: Vec<_> = run
        .events
        .iter()
        .filter_map(|event| if let Event::Ended(ended) = event { Some(ended) } else { None })
        .collect();
    ended.sort_by_key(|ended| ended.request);
    ended.into_iter().map(|ended| ended.output.clone()).collect()
}

#[test]
fn every_request_is_served_with_the_tokens_it_asked_for() {
    let run = live(&nano::plan(2, 2, Forwarding::Relay, WORK));
    let Outcome::Done(drained) = &run.outcome else { panic!("{}", run.outcome) };
    assert_eq!((drained.requests, drained.failed, drained.total_tokens), (4, 0, 2 * 2 * 2 * 4));
}

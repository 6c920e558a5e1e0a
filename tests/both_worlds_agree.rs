//! Tests that a live run and a simulation of the same plan generate the same number of tokens over the same routes.
#[path = "support/nano.rs"]
mod nano;

use actors::id::{NodeId, RequestId};
use actors::message::Forwarding;
use actors::record::Event;
use live::Options;
use scenarios::plan::Workload;
use simulator::HORIZON;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use topology::outcome::{Outcome, Run};

/// The work done for a request, without its times.
#[derive(Debug, PartialEq)]
struct RequestTrace {
    tokens: u32,
    route: Vec<NodeId>,
    /// The steps as (hop, position, new tokens), sorted.
    steps: Vec<(u16, u32, u32)>,
}

fn traces(run: &Run) -> BTreeMap<RequestId, RequestTrace> {
    let Outcome::Done(drained) = &run.outcome else { panic!("{}", run.outcome) };
    assert_eq!(drained.failed, 0);
    let mut traces = BTreeMap::new();
    for event in &run.events {
        if let Event::Ended(ended) = event {
            let trace = RequestTrace { tokens: ended.generated, route: ended.route.clone(), steps: Vec::new() };
            traces.insert(ended.request, trace);
        }
    }
    for event in &run.events {
        if let Event::Served(hop) = event {
            let trace = traces.get_mut(&hop.request).expect("a step of a request");
            trace.steps.push((hop.hop, hop.position, hop.tokens));
        }
    }
    traces.values_mut().for_each(|trace| trace.steps.sort());
    traces
}

#[test]
fn the_same_tokens_by_the_same_routes() {
    let options = Options::new(env!("CARGO_BIN_EXE_swarmbench"));
    for (forwarding, generate) in [(Forwarding::Relay, 5), (Forwarding::Push, 3), (Forwarding::Push, 0)] {
        let plan = nano::plan(3, 2, forwarding, Workload { micro_batches: 2, batch: 2, prompt: 6, generate });
        let simulated = traces(&simulator::run(&plan, HORIZON));
        let measured = traces(&live::run(&plan, &options, &AtomicBool::new(false)).expect("it begins"));
        assert_eq!(simulated.len(), 2 * 3);
        assert_eq!(simulated, measured);
    }
}

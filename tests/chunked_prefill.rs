//! Tests, live and simulated, that a prompt that is sent in chunks gives the same text as a prompt that is sent whole,
//! even if peers fail meanwhile.
#[path = "support/doubled.rs"]
mod doubled;
#[path = "support/nano.rs"]
mod nano;

use actors::id::HostId;
use actors::message::Forwarding;
use actors::policy::{Prefill, Recovery};
use actors::record::{Ended, Event, Served, Stepped};
use actors::time::Duration;
use live::{self, Options};
use scenarios::plan::{Fault, Plan, Weights, What, When, Workload};
use simulator::{self, HORIZON};
use std::sync::atomic::AtomicBool;
use topology::outcome::{Outcome, Run};

const WORK: Workload = Workload { micro_batches: 2, batch: 2, prompt: 21, generate: 5 };

fn timed(run: &Run) -> Vec<&Ended> {
    let mut ended: Vec<&Ended> = run
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Ended(ended) if !ended.request.is_warmup() => Some(&**ended),
            _ => None,
        })
        .collect();
    ended.sort_by_key(|ended| ended.request);
    ended
}

fn texts(run: &Run) -> Vec<Vec<u32>> {
    let Outcome::Done(drained) = &run.outcome else { panic!("{}", run.outcome) };
    assert_eq!(drained.failed, 0);
    timed(run).into_iter().map(|ended| ended.output.clone()).collect()
}

fn served(run: &Run) -> Vec<Served> {
    let served = |event: &Event| match event {
        Event::Served(served) if !served.request.is_warmup() => Some(*served),
        _ => None,
    };
    run.events.iter().filter_map(served).collect()
}

fn prefills(run: &Run) -> Vec<Stepped> {
    let first = |event: &Event| match event {
        Event::Stepped(step) if step.output == 1 && !step.request.is_warmup() => Some(*step),
        _ => None,
    };
    run.events.iter().filter_map(first).collect()
}

/// Returns a plan with an echo model. Its text changes if a KV cache lacks a token, has it twice or has it in the wrong
/// place.
fn echo(forwarding: Forwarding, prefill: Prefill) -> Plan {
    let mut plan = nano::plan(3, 2, forwarding, WORK);
    plan.model.weights = Weights::Echo;
    plan.policies.prefill = prefill;
    plan
}

#[test]
fn chunks_of_any_size_give_the_same_text() {
    let whole = texts(&simulator::run(&echo(Forwarding::Relay, Prefill::Whole), HORIZON));
    assert!(whole.len() == 4 && whole.iter().all(|text| text.len() == 5));
    for forwarding in [Forwarding::Relay, Forwarding::Push] {
        for tokens in [1, 8, 20, 21, 64] {
            let run = simulator::run(&echo(forwarding, Prefill::Chunked { tokens }), HORIZON);
            assert_eq!(whole, texts(&run), "{forwarding:?}, chunks of {tokens}");
            let longest = served(&run).iter().map(|served| served.tokens).max();
            assert_eq!(longest, Some(tokens.min(21)));
            assert!(
                prefills(&run).iter().all(|step| (step.position, step.tokens) == (0, 21)),
                "one step of the request"
            );
        }
    }
}

#[test]
fn a_peer_that_fails_between_chunks_is_replaced_without_a_trace() {
    let doubled = |prefill, recovery, forwarding| {
        let mut plan = doubled::doubled(nano::plan(4, 1, forwarding, WORK));
        plan.model.weights = Weights::Echo;
        (plan.policies.prefill, plan.policies.recovery) = (prefill, recovery);
        plan
    };
    let whole = texts(&simulator::run(&doubled(Prefill::Whole, Recovery::Replay, Forwarding::Relay), HORIZON));
    for recovery in [Recovery::Replay, Recovery::Restart, Recovery::Cacheless] {
        for forwarding in [Forwarding::Relay, Forwarding::Push] {
            let mut plan = doubled(Prefill::Chunked { tokens: 4 }, recovery, forwarding);
            // The peer crashes with the third of six chunks.
            for host in [HostId(1), HostId(3)] {
                let what = What::Crash { host, back: Some(Duration::from_millis(5)) };
                plan.faults.push(Fault { at: When::Steps { host, count: 3 }, what });
            }
            let run = simulator::run(&plan, HORIZON);
            assert_eq!(whole, texts(&run), "{recovery:?}, {forwarding:?}");
            let failovers = run.events.iter().filter(|event| matches!(event, Event::Failover(_))).count();
            assert!(failovers > 0, "{recovery:?}, {forwarding:?}: nothing failed");
        }
    }
}

#[test]
fn a_real_model_says_the_same() {
    let live = |prefill| {
        let mut plan = nano::plan(2, 1, Forwarding::Push, WORK);
        plan.policies.prefill = prefill;
        live::run(&plan, &Options::new(env!("CARGO_BIN_EXE_swarmbench")), &AtomicBool::new(false)).expect("it begins")
    };
    let (whole, chunked) = (live(Prefill::Whole), live(Prefill::Chunked { tokens: 8 }));
    assert_eq!(texts(&whole), texts(&chunked));
    let lengths: Vec<u32> = served(&chunked).iter().filter(|hop| hop.peer.0 == 2).map(|hop| hop.tokens).collect();
    assert_eq!(lengths[..3], [8, 8, 5], "chunks of the first prompt");
}

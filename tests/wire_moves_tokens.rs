//! Measures how smaller number formats of activations on the wire change the output: prints the share of greedy tokens
//! that stay the same.
#[path = "support/nano.rs"]
mod nano;

use actors::id::RequestId;
use actors::message::{Forwarding, WireType};
use actors::record::Event;
use live::Options;
use scenarios::plan::Workload;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use topology::outcome::Outcome;

const WORK: Workload = Workload { micro_batches: 8, batch: 1, prompt: 12, generate: 8 };

fn texts(wire: WireType) -> BTreeMap<RequestId, Vec<u32>> {
    let mut plan = nano::plan(2, 1, Forwarding::Push, WORK);
    plan.model.wire = wire;
    let options = Options::new(env!("CARGO_BIN_EXE_swarmbench"));
    let run = live::run(&plan, &options, &AtomicBool::new(false)).expect("it begins");
    let Outcome::Done(_) = &run.outcome else { panic!("{}", run.outcome) };
    let text = |event| match event {
        Event::Ended(ended) if !ended.request.is_warmup() => Some((ended.request, ended.output)),
        _ => None,
    };
    run.events.into_iter().filter_map(text).collect()
}

/// Returns the share of all tokens that are unchanged, and the share of first tokens that are unchanged. Only first
/// tokens have the same context for certain.
fn kept(whole: &BTreeMap<RequestId, Vec<u32>>, packed: &BTreeMap<RequestId, Vec<u32>>) -> (f64, f64) {
    let pairs = || whole.iter().map(|(request, text)| (text, &packed[request]));
    let all: Vec<bool> = pairs().flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| a == b)).collect();
    let first: Vec<bool> = pairs().map(|(a, b)| a[0] == b[0]).collect();
    let share = |equal: &[bool]| equal.iter().filter(|equal| **equal).count() as f64 / equal.len() as f64;
    (share(&all), share(&first))
}

#[test]
fn fewer_bits_move_more_tokens() {
    let whole = texts(WireType::F32);
    assert_eq!(whole.values().map(Vec::len).sum::<usize>(), 64);
    let mut shares = Vec::new();
    for wire in [WireType::F32, WireType::F16, WireType::Int8 { block: 16 }, WireType::Int8 { block: 64 }] {
        let (all, first) = kept(&whole, &texts(wire));
        println!(
            "{wire:?}: {} bytes a token of 64; {all:.3} of all tokens stay, {first:.3} of the first",
            wire.row_bytes(64)
        );
        shares.push(first);
    }
    assert_eq!(shares[0], 1.0, "the same on the wire gives the same text");
    assert!(shares[1] >= 0.9, "halves keep first tokens: {shares:?}");
    assert!(shares[2] >= 0.6, "so does int8 with a scale for every 16 values, mostly: {shares:?}");
}

//! Measures how long a client waits for its next token when a peer of its route is killed by `kill -9` in the middle of
//! a generation.
//!
//! Each run is live, with real processes: one client, a route of two peers, and a spare for each peer. The last peer of
//! the route kills itself (SIGKILL) when a step arrives in the middle of a generation. The client then continues with
//! the spare, to which the earlier inputs are sent again. The reported figure is the longest time between two tokens of
//! a request. It includes the kill, its detection, the replay and the next token.
//!
//! Run with `cargo bench --bench failover`, or with a number of runs after `--`.
#[path = "../tests/support/doubled.rs"]
mod doubled;
#[path = "../tests/support/nano.rs"]
mod nano;

use actors::id::HostId;
use actors::message::Forwarding;
use actors::record::{Event, Stepped};
use actors::time::Duration;
use live::{Options, run};
use scenarios::plan::{Fault, What, When, Workload};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

/// The default number of runs. A thousand runs would give more exact quantiles, but take ten minutes.
const RUNS: usize = 200;

fn main() {
    let runs = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(RUNS).max(1);
    let mut gaps: Vec<Duration> = (0..runs).map(|run| gap(run as u64)).collect();
    gaps.sort_unstable();
    let quantile = |q: f64| gaps[((gaps.len() - 1) as f64 * q).round() as usize].as_millis_f64();
    println!(
        "next token after kill -9 of a mid-route peer, {runs} runs: p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
        quantile(1.0)
    );
}

/// Returns the longest time between two tokens in a run in which the last peer of the route is killed.
fn gap(run_number: u64) -> Duration {
    let work = Workload { micro_batches: 1, batch: 1, prompt: 16, generate: 64 };
    let mut plan = doubled::doubled(nano::plan(4, 1, Forwarding::Relay, work));
    let host = HostId(3);
    // The step at which the peer is killed differs from run to run.
    let at = When::Steps { host, count: 8 + run_number % 48 };
    plan.faults = vec![Fault { at, what: What::Crash { host, back: None } }];
    let ran = run(&plan, &Options::new(env!("CARGO_BIN_EXE_swarmbench")), &AtomicBool::new(false)).expect("it begins");
    assert!(ran.outcome.is_ok(), "{}", ran.outcome);
    let mut tokens: BTreeMap<_, Vec<Stepped>> = BTreeMap::new();
    for event in &ran.events {
        if let Event::Stepped(step) = event
            && !step.request.is_warmup()
        {
            tokens.entry(step.request).or_default().push(*step);
        }
    }
    let spare = plan.peers().nth(3).expect("four peers").0;
    let taken_over = ran.events.iter().any(|event| matches!(event, Event::Served(hop) if hop.peer == spare));
    assert!(taken_over, "the spare has served");
    let waits = tokens.values().flat_map(|steps| steps.windows(2).map(|pair| pair[1].seen.since(pair[0].seen)));
    waits.max().expect("many tokens")
}

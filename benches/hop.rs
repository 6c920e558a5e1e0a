//! Measures the cost of a live hop apart from its computation: a tiny model over real processes and real TCP on one
//! machine.
//!
//! The cost of a hop is the time of a decode step, minus the compute times that its peers have recorded, minus the
//! client's own compute time, divided by the number of hops. It contains everything between the timestamps of two
//! devices, including wake-ups and core leases. There are one client and two peers of two blocks each, with hidden size
//! 64. The first steps are left out as warm-up. The last lines of the output are the results, in microseconds.
#[path = "../tests/support/nano.rs"]
mod nano;

use actors::id::RequestId;
use actors::message::Forwarding;
use actors::record::{Event, Served};
use actors::time::Duration;
use live::{Options, run};
use scenarios::plan::Workload;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use topology::outcome::Run;

const PEERS: u32 = 2;
const WORK: Workload = Workload { micro_batches: 4, batch: 1, prompt: 8, generate: 600 };
/// The number of decode steps at the start of each request that are left out as warm-up.
const WARMUP: u32 = 50;

fn main() {
    let measured = [("push", Forwarding::Push), ("relay", Forwarding::Relay)].map(|(name, forwarding)| {
        let plan = nano::plan(PEERS, 1, forwarding, WORK);
        let options = Options::new(env!("CARGO_BIN_EXE_swarmbench"));
        let run = run(&plan, &options, &AtomicBool::new(false)).expect("the run begins");
        assert!(run.outcome.is_ok(), "{}", run.outcome);
        let parts = Parts::of(&run);
        parts.print(name);
        (name, parts)
    });
    for (name, parts) in measured {
        let (p50, p99) = (quantile(&parts.hop, 0.5), quantile(&parts.hop, 0.99));
        println!("hop {name} p50_us={p50:.1} p99_us={p99:.1} steps={}", parts.hop.len());
        if name == "relay" {
            println!("hop p50_us={p50:.1} p99_us={p99:.1}");
        }
    }
}

/// The parts of each decode step's time, in microseconds.
#[derive(Default)]
struct Parts {
    hop: Vec<f64>,
    step: Vec<f64>,
    /// For each hop, the duration of the job on the peer's device.
    peer_compute: Vec<f64>,
    /// For each hop, the time from the step's arrival at the peer until the peer's device begins.
    peer_queue: Vec<f64>,
    /// For each hop, the time from the end of the device's job until the peer sends the result.
    peer_return: Vec<f64>,
    /// For each step, the duration of both jobs of the client: embedding and LM head.
    client_compute: Vec<f64>,
    client_queue: Vec<f64>,
    /// For each step, the time outside of the client's device and of the peers, divided by the number of hops.
    network: Vec<f64>,
}

impl Parts {
    fn of(run: &Run) -> Parts {
        let mut served: BTreeMap<(RequestId, u32), Vec<Served>> = BTreeMap::new();
        for event in &run.events {
            if let Event::Served(hop) = event {
                served.entry((hop.request, hop.position)).or_default().push(*hop);
            }
        }
        let mut parts = Parts::default();
        for event in &run.events {
            let Event::Stepped(step) = event else { continue };
            if step.request.is_warmup() || step.tokens > 1 || step.output < WARMUP {
                continue;
            }
            let hops = served.remove(&(step.request, step.position)).unwrap_or_default();
            assert_eq!(hops.len() as u32, PEERS, "every step has all of its hops");
            let compute: Duration = hops.iter().map(|hop| hop.finished.since(hop.started)).sum();
            let resident: Duration = hops.iter().map(|hop| hop.sent.since(hop.received)).sum();
            let whole = step.seen.since(step.began);
            let each = f64::from(PEERS);
            parts.hop.push(micros(whole - compute - step.client) / each);
            parts.step.push(micros(whole));
            parts.network.push(micros(whole - resident - step.client - step.client_queue) / each);
            parts.client_compute.push(micros(step.client));
            parts.client_queue.push(micros(step.client_queue));
            for hop in hops {
                parts.peer_compute.push(micros(hop.finished.since(hop.started)));
                parts.peer_queue.push(micros(hop.started.since(hop.received)));
                parts.peer_return.push(micros(hop.sent.since(hop.finished)));
            }
        }
        assert!(parts.hop.len() >= 200, "too few steps to speak of: {}", parts.hop.len());
        parts
    }

    fn print(&self, name: &str) {
        let rows = [
            ("step, whole", &self.step),
            ("peer: to its device", &self.peer_queue),
            ("peer: compute", &self.peer_compute),
            ("peer: back from its device", &self.peer_return),
            ("client: to its device, both jobs", &self.client_queue),
            ("client: compute, both jobs", &self.client_compute),
            ("the rest, a hop", &self.network),
        ];
        println!("{name}: microseconds {:>22} {:>8}", "p50", "p99");
        for (what, values) in rows {
            println!("  {what:<33} {:>8.1} {:>8.1}", quantile(values, 0.5), quantile(values, 0.99));
        }
    }
}

fn micros(span: Duration) -> f64 {
    span.0 as f64 / 1e3
}

/// Returns the `q`-quantile of `values` by the nearest-rank method.
fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() as f64 * q).ceil() as usize).clamp(1, sorted.len()) - 1]
}

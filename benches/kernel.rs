//! Measures the cost of an event in the simulation's own loop, with its links and its real `Handler`s, and compares it
//! with the cost in a bare loop over a heap.
//!
//! The load is a ring of N actors with N messages in flight: each actor passes every message to its neighbour over a
//! link with a random delay. The bare loop does the same with a binary heap, the message inline in the event, and one
//! random draw for the delay; it has no actors, no links and no trace. The last lines of the output are the figures:
//! CPU nanoseconds per message, the best of several runs that alternate between the two loops.
//!
//! The line `network` measures the simulated network alone. Each of 10,000 clients exchanges two small messages with
//! 1,300 of 2,000 peers, as lookups in a DHT do: nanoseconds per message between hosts that have not communicated yet,
//! nanoseconds per message between the last 50,000 pairs again, and the memory that remains for a pair of hosts.
#[path = "../tests/support/ring.rs"]
mod ring;

use actors::id::HostId;
use actors::seed::{Seed, mix};
use actors::time::{Duration as Span, Timestamp};
use criterion::{Criterion, Throughput};
use rand::RngExt;
use ring::LONGEST_DELAY;
use scenarios::Overrides;
use scenarios::plan::{Distribution, Link, Network as PlannedNetwork, Plan, Tcp};
use simulator::network::Network;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn ours(plan: &Plan, messages: u64) -> Duration {
    let mut simulation = ring::turning(plan);
    let until = simulation.delivered() + messages;
    let clock = Instant::now();
    black_box(simulation.resume(until));
    clock.elapsed()
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: u64,
    sequence: u64,
    to: u32,
    message: [u64; 6],
}

fn bare(count: u32, messages: u64) -> Duration {
    let mut stream = Seed(1).stream("bare", 0, 0);
    let mut seen = vec![0u64; count as usize];
    let mut heap = BinaryHeap::new();
    let mut sequence = 0;
    for to in 0..count {
        heap.push(Reverse(Event { at: u64::from(to), sequence, to, message: [sequence; 6] }));
        sequence += 1;
    }
    let mut clock = Instant::now();
    for done in 0..messages + u64::from(count) {
        if done == u64::from(count) {
            clock = Instant::now();
        }
        let Reverse(event) = heap.pop().expect("as many messages as actors");
        let place = &mut seen[event.to as usize];
        *place = mix(*place ^ event.at);
        let at = event.at + stream.random_range(1..=LONGEST_DELAY.0);
        heap.push(Reverse(Event { at, sequence, to: (event.to + 1) % count, message: event.message }));
        sequence += 1;
    }
    black_box(&seen);
    clock.elapsed()
}

fn figures(count: u32, messages: u64) {
    let plan = ring::plan(count);
    let best = |times: &[Duration]| times.iter().min().expect("some runs").as_nanos() as f64 / messages as f64;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        with.push(ours(&plan, messages));
        without.push(bare(count, messages));
    }
    let (ours_ns, bare_ns) = (best(&with), best(&without));
    println!("ring actors={count} ours_ns={ours_ns:.1} bare_ns={bare_ns:.1} ratio={:.2}", ours_ns / bare_ns);
}

fn network() {
    const PEERS: u32 = 2_000;
    const CLIENTS: u32 = 10_000;
    const PEERS_OF_CLIENT: u32 = 1_300;
    const REUSED: u64 = 50_000;
    let mut plan = ring::plan(PEERS + CLIENTS);
    let tcp = Tcp { initial_window: Some(14_480), idle_restart: true, header: 66, ..Tcp::PIPE };
    plan.network =
        PlannedNetwork { tcp, ..PlannedNetwork::of(Link::new(Distribution::Constant(Span::from_millis(40)), None)) };
    for host in &mut plan.hosts {
        host.egress = Link::new(Distribution::ZERO, Some(1.25e7));
        host.ingress = host.egress.clone();
    }
    let mut network = Network::new(&plan);
    let mut now = Timestamp(0);
    let mut exchange = |network: &mut Network, pair: u64| {
        let (client, round) = (pair as u32 % CLIENTS, pair as u32 / CLIENTS);
        let (client, peer) = (HostId(PEERS + client), HostId((client * 7 + round * 3) % PEERS));
        for (from, to) in [(client, peer), (peer, client)] {
            let mut passage = network.depart(now, from, to, 200);
            network.arrive(to, &mut passage, 200);
            black_box(passage);
            now = now + Span::from_micros(5);
        }
    };
    let pairs = u64::from(CLIENTS * PEERS_OF_CLIENT);
    let clock = Instant::now();
    (0..pairs).for_each(|pair| exchange(&mut network, pair));
    let fresh_ns = clock.elapsed().as_nanos() as f64 / (2 * pairs) as f64;
    let bytes = network.bytes() as f64;
    let clock = Instant::now();
    for _ in 0..20 {
        (pairs - REUSED..pairs).for_each(|pair| exchange(&mut network, pair));
    }
    let reused_ns = clock.elapsed().as_nanos() as f64 / (20 * 2 * REUSED) as f64;
    let each = bytes / pairs as f64;
    println!("network pairs={pairs} fresh_ns={fresh_ns:.0} reused_ns={reused_ns:.0} bytes_per_pair={each:.1}");
}

/// Returns the first plan of the library scenario `internet-scale` with about `peers` peers, `clients` clients and
/// `rate` requests per second.
fn internet(peers: u32, clients: u32, rate: f64) -> Plan {
    let mut set = vec![("workload.clients".to_owned(), clients.to_string())];
    for (group, share) in [0.4, 0.2, 0.2, 0.15, 0.05].iter().enumerate() {
        set.push((format!("hosts.{group}.count"), (f64::from(peers) * share).round().to_string()));
    }
    set.push(("workload.rate".to_owned(), format!("\"{rate} /s\"")));
    let overrides = Overrides { set, ..Overrides::default() };
    let cells = scenarios::load("internet-scale").and_then(|loaded| loaded.cells(&overrides)).expect("its cells");
    cells[0].plan(Seed(1), 0).expect("a plan")
}

fn swarm(peers: u32, clients: u32, rate: f64, most: u64) {
    let plan = internet(peers, clients, rate);
    let clock = Instant::now();
    let run = simulator::run_into(&plan, most, &mut ());
    let ns = clock.elapsed().as_nanos() as f64 / run.delivered as f64;
    println!("swarm peers={peers} clients={clients} events={} ns_per_event={ns:.0}", run.delivered);
}

fn main() {
    let only = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    if only.is_empty() || "ring".contains(&only) {
        ring_against_bare();
    }
    if only.is_empty() || "network".contains(&only) {
        network();
    }
    for peers in [50, 500, 2_000] {
        if only.is_empty() || format!("swarm-{peers}").contains(&only) {
            swarm(peers, 1_000, 2.0, 10_000_000);
        }
    }
}

fn ring_against_bare() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut group = criterion.benchmark_group("ring");
    for count in [1_000, 100_000] {
        let plan = ring::plan(count);
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("ours/{count}"), |bench| {
            bench.iter_custom(|messages| ours(&plan, messages));
        });
        group.bench_function(format!("bare/{count}"), |bench| bench.iter_custom(|messages| bare(count, messages)));
    }
    group.finish();
    criterion.final_summary();
    figures(1_000, 4_000_000);
    figures(100_000, 2_000_000);
}

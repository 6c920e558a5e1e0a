//! What an event costs: the simulation's own loop, its links and its real `Handler`s, against a bare heap loop.
//!
//! A ring of N actors with N messages in flight: each passes what it gets to its neighbour over a link with a random
//! delay. The bare loop does the same with a binary heap, the message inline in the event, and one draw for the delay; it
//! has no actors, no links and no trace. The last lines are the figures: CPU nanoseconds a message, best of several runs
//! taken in turns.
use actix::{Actor, Handler};
use actors::id::{BlockRange, HostId, NodeId, SessionId};
use actors::message::{Activation, Letter, Message, Step, WireType};
use actors::seed::{Seed, mix};
use actors::time::Span;
use actors::world::{Effect, Parcel, Seat, SimContext, World};
use criterion::{Criterion, Throughput};
use engine::sim::Simulation;
use rand::RngExt;
use scenarios::plan::{Cost, Device, Distribution, Executor, Host, Link, Machine, Model, Network, Node, Plan, Role};
use scenarios::plan::{Roofline, Weights, Workload};
use scenarios::shape::{Arch, Shape, WeightType};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::time::{Duration, Instant};

const LONGEST_DELAY: Span = Span::from_millis(1);

/// An actor of the ring: one `Handler`, one message on.
struct Runner {
    me: NodeId,
    next: NodeId,
    seen: u64,
}

impl Actor for Runner {
    type Context = SimContext;
}

impl Handler<Letter<Step>> for Runner {
    type Result = ();

    fn handle(&mut self, letter: Letter<Step>, world: &mut SimContext) {
        let (next, seen) = (self.next, &mut self.seen);
        world.act(self.me, |now, out| {
            *seen = mix(*seen ^ now.0);
            out.push(Effect::Send { to: next, message: Message::Step(letter.body) });
        });
    }
}

impl Seat for Runner {
    fn start(&mut self, world: &mut SimContext) {
        let (next, step) = (self.next, step(self.me));
        world.act(self.me, |_, out| out.push(Effect::Send { to: next, message: Message::Step(step) }));
    }

    fn deliver(&mut self, from: NodeId, parcel: Parcel, world: &mut SimContext) {
        let Parcel::Message(Message::Step(body)) = parcel else { unreachable!("a ring carries steps") };
        self.handle(Letter { from, body }, world);
    }
}

fn step(node: NodeId) -> Step {
    let activation = Activation { tokens: 1, batch: 1, hidden: 64, dtype: WireType::F32, data: None };
    Step { session: SessionId::new(node, 1), position: 0, hop: 0, activation }
}

/// `count` hosts with a runner each; every path has a uniform delay and no limit.
fn ring(count: u32) -> Plan {
    let shape =
        Shape { arch: Arch::Opt, layers: 1, hidden: 64, heads: 1, kv_heads: 1, ffn: 256, vocab: 1, max_positions: 1 };
    let roofline = Roofline { flops: 1.0, bandwidth: 1.0, per_block: Span::ZERO, per_job: Span::ZERO };
    let cost = Cost { roofline, table: None, first_job: Span::ZERO };
    let host = |name: u32| Host {
        name: name.to_string(),
        site: String::new(),
        machine: 0,
        device: Device { name: String::new(), executor: Executor::Elsewhere, cost: cost.clone() },
        egress: Link::FREE,
        ingress: Link::FREE,
    };
    let blocks = BlockRange { start: 0, end: 1 };
    let role = Role::Peer { blocks, cache_bytes: 0, inference_rps: 1.0 };
    Plan {
        scenario: "ring".to_owned(),
        cell: 0,
        repeat: 0,
        seed: Seed(1),
        model: Model {
            shape,
            block_type: WeightType::F32,
            ends_type: WeightType::F32,
            wire: WireType::F32,
            cache_value_bytes: 4,
            weights: Weights::Random { seed: 1 },
        },
        machines: vec![Machine { name: String::new(), leases: None }],
        hosts: (0..count).map(host).collect(),
        nodes: (0..count).map(|id| Node { host: HostId(id), role: role.clone() }).collect(),
        network: Network {
            default: Link { delay: Distribution::Uniform { low: Span(1), high: LONGEST_DELAY }, bandwidth: None },
            between: Vec::new(),
            shape: false,
        },
        routing: Default::default(),
        forwarding: Default::default(),
        workload: Workload { micro_batches: 1, batch: 1, prompt: 1, generate: 1 },
        timeout: Span::ZERO,
        muster: Span::ZERO,
    }
}

/// The first round sets up connections, so it runs before the clock.
fn ours(plan: &Plan, messages: u64) -> Duration {
    let count = plan.nodes.len() as u32;
    let runner = |id| Box::new(Runner { me: NodeId(id), next: NodeId((id + 1) % count), seen: 0 }) as Box<dyn Seat>;
    let mut simulation = Simulation::new(plan, (0..count).map(runner).collect()).unrecorded();
    let warm = 3 * u64::from(count);
    simulation.run(warm);
    let clock = Instant::now();
    black_box(simulation.resume(warm + messages));
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
    let plan = ring(count);
    let best = |times: &[Duration]| times.iter().min().expect("some runs").as_nanos() as f64 / messages as f64;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        with.push(ours(&plan, messages));
        without.push(bare(count, messages));
    }
    let (ours_ns, bare_ns) = (best(&with), best(&without));
    println!("ring actors={count} ours_ns={ours_ns:.1} bare_ns={bare_ns:.1} ratio={:.2}", ours_ns / bare_ns);
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut group = criterion.benchmark_group("ring");
    for count in [1_000, 100_000] {
        let plan = ring(count);
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

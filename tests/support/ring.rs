//! A ring of actors for the benchmark of the simulation kernel and for its allocation test: N hosts with one actor
//! each. Each actor passes every message to its neighbour, over a link with a random delay and through a real
//! `Handler`.
use actix::{Actor, Handler};
use actors::id::{BlockRange, HostId, NodeId, RequestId, SessionId};
use actors::message::{Activation, Inbound, Message, Step, WireType};
use actors::seed::{Seed, mix};
use actors::time::Duration;
use actors::world::{ActorSlot, Delivery, Effect, SimContext, World};
use scenarios::plan::{Cost, Device, Distribution, Executor, Host, Link, Machine, Model, Network, Node, Plan, Role};
use scenarios::plan::{Roofline, Weights, Workload};
use scenarios::shape::{Arch, Shape, WeightType};
use simulator::Simulation;

pub const LONGEST_DELAY: Duration = Duration::from_millis(1);

/// An actor of the ring. Its only `Handler` passes each message on.
struct Runner {
    me: NodeId,
    next: NodeId,
    seen: u64,
}

impl Actor for Runner {
    type Context = SimContext;
}

impl Handler<Inbound<Step>> for Runner {
    type Result = ();

    fn handle(&mut self, inbound: Inbound<Step>, world: &mut SimContext) {
        let (next, seen) = (self.next, &mut self.seen);
        world.act(self.me, |now, out| {
            *seen = mix(*seen ^ now.0);
            out.push(Effect::Send { to: next, message: Message::Step(inbound.body) });
        });
    }
}

impl ActorSlot for Runner {
    fn start(&mut self, world: &mut SimContext) {
        let (next, step) = (self.next, step(self.me));
        world.act(self.me, |_, out| out.push(Effect::Send { to: next, message: Message::Step(step) }));
    }

    fn deliver(&mut self, from: NodeId, delivery: Delivery, world: &mut SimContext) {
        let Delivery::Message(Message::Step(body)) = delivery else { unreachable!("a ring carries steps") };
        self.handle(Inbound { from, body }, world);
    }
}

fn step(node: NodeId) -> Step {
    let activation = Activation { tokens: 1, batch: 1, hidden: 64, dtype: WireType::F32, data: None };
    Step { session: SessionId::new(RequestId { client: node, index: 1 }, 0), position: 0, activation }
}

/// Returns a plan with `count` hosts and one actor on each. Every path has a uniformly distributed delay and no
/// bandwidth limit.
pub fn plan(count: u32) -> Plan {
    let shape =
        Shape { arch: Arch::Opt, layers: 1, hidden: 64, heads: 1, kv_heads: 1, ffn: 256, vocab: 1, max_positions: 1 };
    let roofline = Roofline { flops: 1.0, bandwidth: 1.0, per_block: Duration::ZERO, per_job: Duration::ZERO };
    let cost = Cost::of(roofline);
    let host = |name: u32| Host {
        name: name.to_string(),
        site: String::new(),
        machine: 0,
        device: Device { name: String::new(), executor: Executor::Elsewhere, cost: cost.clone() },
        also: Vec::new(),
        egress: Link::FREE,
        ingress: Link::FREE,
    };
    let blocks = BlockRange { start: 0, end: 1 };
    let role =
        Role::Peer { blocks, chooses: false, cache_bytes: 0, inference_rps: 1.0, forward_rps: 1.0, network_rps: 1.0 };
    Plan {
        scenario: "ring".to_owned(),
        cell: 0,
        repeat: 0,
        seed: Seed(1),
        chance: Seed(1),
        model: Model {
            shape,
            block_type: WeightType::F32,
            client_type: WeightType::F32,
            wire: WireType::F32,
            cache_value_bytes: 4,
            weights: Weights::Random { seed: 1 },
        },
        machines: vec![Machine { name: String::new(), leases: None }],
        hosts: (0..count).map(host).collect(),
        nodes: (0..count).map(|id| Node { host: HostId(id), device: 0, role: role.clone() }).collect(),
        network: Network::of(Link::new(Distribution::Uniform { low: Duration(1), high: LONGEST_DELAY }, None)),
        policies: Default::default(),
        workload: Workload { micro_batches: 1, batch: 1, prompt: 1, generate: 1 },
        tokens: Default::default(),
        open: None,
        objectives: Default::default(),
        timeout: Duration::ZERO,
        ready_within: Duration::ZERO,
        warm_up: true,
        faults: Vec::new(),
    }
}

/// Returns a simulation of the ring after three rounds of messages. These have set up all connections and grown all
/// queues.
pub fn turning(plan: &Plan) -> Simulation<'_> {
    let count = plan.nodes.len() as u32;
    let runner =
        |id| Box::new(Runner { me: NodeId(id), next: NodeId((id + 1) % count), seen: 0 }) as Box<dyn ActorSlot>;
    let mut simulation = Simulation::new(plan, (0..count).map(runner).collect()).unrecorded();
    simulation.run(3 * u64::from(count));
    simulation
}

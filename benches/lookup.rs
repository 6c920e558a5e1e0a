//! Measures the number of hops of a DHT lookup in swarms of up to 10,000 nodes, driven by the simulation's kernel.
//!
//! Every node is the real DHT node, alone on its host. The nodes join one after another through the first node, as in a
//! growing swarm. Then randomly chosen nodes look up randomly chosen keys. The hops of a lookup are the successive
//! queries that led to the node nearest to the key.
//!
//! The benchmark prints a line for each size. If the number of hops grew faster than the logarithm of the size, the
//! column `hops / log2 n` would grow with the size.
use actors::dht::key::Key;
use actors::dht::node::{Config, Node};
use actors::id::NodeId;
use actors::message::{Message, Timer};
use actors::record::{Event, Looked, Purpose};
use actors::seed::Seed;
use actors::time::Duration;
use actors::world::{ActorSlot, Delivery, Effect, SimContext, World};
use rand::RngExt;
use scenarios::plan::{Distribution, Link, Network, Plan};
use simulator::Simulation;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

#[path = "../tests/support/ring.rs"]
#[allow(dead_code, reason = "its plan of many hosts is wanted here, its runners are not")]
mod ring;

const SIZES: [u32; 6] = [30, 100, 300, 1_000, 3_000, 10_000];
/// The number of lookups in a swarm of each size.
const LOOKUPS: u32 = 2_000;
/// The time between the joins of two nodes.
const APART: Duration = Duration::from_millis(20);
const SEED: Seed = Seed(1);

/// A DHT node without any other role. It joins at a given time and then looks up its share of the keys.
struct Lone {
    me: NodeId,
    node: Node,
    /// The time from the start until this node joins.
    joins: Duration,
    /// The time from the start by which all nodes have joined.
    settled: Duration,
    keys: Vec<Key>,
    seen: Rc<RefCell<Vec<Looked>>>,
}

impl Lone {
    fn act(&mut self, world: &mut SimContext, act: impl FnOnce(&mut Node, actors::time::Timestamp, &mut Vec<Effect>)) {
        let (node, seen) = (&mut self.node, &self.seen);
        world.act(self.me, |now, out| {
            act(node, now, out);
            for effect in out.iter() {
                if let Effect::Record(Event::Looked(looked)) = effect
                    && looked.purpose == Purpose::Find
                {
                    seen.borrow_mut().push((**looked).clone());
                }
            }
            out.retain(|effect| !matches!(effect, Effect::Record(_)));
        });
    }
}

impl ActorSlot for Lone {
    fn start(&mut self, world: &mut SimContext) {
        let wake = |after, timer| Effect::Wake { after, timer };
        let (joins, settled) = (self.joins, self.settled);
        world.act(self.me, |_, out| out.extend([wake(joins, Timer::Announce), wake(settled, Timer::Place)]));
    }

    fn deliver(&mut self, from: NodeId, delivery: Delivery, world: &mut SimContext) {
        match delivery {
            Delivery::Message(Message::Rpc(rpc)) => {
                self.act(world, |node, now, out| drop(node.on_rpc(now, from, *rpc, out)));
            }
            Delivery::Message(Message::Ping(ping)) => self.act(world, |_, _, out| out.push(Effect::pong(from, ping))),
            Delivery::Message(Message::Pong(pong)) => {
                self.act(world, |node, now, out| _ = node.on_pong(now, from, pong.nonce, out));
            }
            Delivery::Woken(woken) => match woken.0 {
                Timer::Announce => self.act(world, |node, now, out| drop(node.join(now, out))),
                Timer::Place => {
                    let keys = std::mem::take(&mut self.keys);
                    self.act(world, |node, now, out| keys.iter().for_each(|key| drop(node.find(now, &[*key], out))));
                }
                _ => self.act(world, |node, now, out| drop(node.on_woken(now, out))),
            },
            other => unreachable!("the DHT does not {other:?}"),
        }
    }
}

fn plan(count: u32) -> Plan {
    let delay = Distribution::Uniform { low: Duration::from_millis(10), high: Duration::from_millis(80) };
    Plan { network: Network::of(Link::new(delay, None)), ..ring::plan(count) }
}

/// Returns the number of hops of each lookup in a swarm of `count` nodes, in ascending order.
fn hops(count: u32) -> Vec<u16> {
    let plan = plan(count);
    let mut stream = SEED.stream("lookups", u64::from(count), 0);
    let mut keys: Vec<Vec<Key>> = vec![Vec::new(); count as usize];
    for _ in 0..LOOKUPS {
        keys[stream.random_range(0..count as usize)].push(Key(stream.random()));
    }
    let seen = Rc::new(RefCell::new(Vec::new()));
    let settled = Duration(u64::from(count) * APART.0) + Duration::from_secs(30);
    let seats = (0..count).map(NodeId).zip(keys).map(|(me, keys)| {
        let bootstrap = Some(NodeId(0));
        let config = Config { me, bootstrap, seed: SEED, rules: plan.policies.dht, client: false };
        let joins = Duration(u64::from(me.0) * APART.0);
        Box::new(Lone { me, node: Node::new(config), joins, settled, keys, seen: seen.clone() }) as Box<dyn ActorSlot>
    });
    let seats = seats.collect();
    Simulation::new(&plan, seats).unrecorded().run(u64::MAX);
    let mut hops: Vec<u16> = seen.borrow().iter().map(|looked| looked.hops).collect();
    assert_eq!(hops.len(), LOOKUPS as usize, "every lookup ends");
    hops.sort_unstable();
    hops
}

fn main() {
    // `cargo test` also runs this benchmark, but only as a smoke test, for which two sizes are enough.
    let sizes = if std::env::args().any(|argument| argument == "--bench") { &SIZES[..] } else { &SIZES[..2] };
    println!("{:>7} {:>10} {:>9} {:>14} {:>9}", "nodes", "mean hops", "p99 hops", "hops / log2 n", "took s");
    for &count in sizes {
        let clock = Instant::now();
        let hops = hops(count);
        let mean = hops.iter().map(|hops| f64::from(*hops)).sum::<f64>() / hops.len() as f64;
        let p99 = hops[hops.len() * 99 / 100];
        let per_doubling = mean / f64::from(count).log2();
        println!("{count:>7} {mean:>10.2} {p99:>9} {per_doubling:>14.3} {:>9.1}", clock.elapsed().as_secs_f64());
    }
}

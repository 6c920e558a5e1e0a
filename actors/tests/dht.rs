//! Tests of several DHT nodes together: which nodes store a record, which nodes find it, and whether it survives dead
//! nodes.
use actors::announce::{Announce, Load};
use actors::dht::key::Key;
use actors::dht::node::{Config, Done, Node};
use actors::dht::rpc::{Body, Rpc};
use actors::dht::{Kademlia, Record, State};
use actors::id::{BlockRange, NodeId};
use actors::limits;
use actors::message::Message;
use actors::record::{Event, Looked};
use actors::seed::{Seed, Stream};
use actors::time::{Duration, Timestamp};
use actors::world::Effect;
use proptest::prelude::{ProptestConfig, prop_assert, prop_assert_eq, proptest};
use rand::RngExt;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A network of nodes, with messages in flight that have random delays. A node that is `None` is dead, and messages to
/// it are lost.
struct Swarm {
    seed: Seed,
    rules: Kademlia,
    nodes: Vec<Option<Node>>,
    under_way: BTreeMap<(Timestamp, u64), Delivery>,
    sequence: u64,
    now: Timestamp,
    stream: Stream,
    done: Vec<(NodeId, Done)>,
    looked: Vec<Looked>,
}

enum Delivery {
    Message { from: NodeId, to: NodeId, message: Message },
    Woken(NodeId),
}

impl Swarm {
    /// Returns a swarm of `size` full nodes, which have joined one after another through the first.
    fn new(size: u32, seed: u64, rules: Kademlia) -> Swarm {
        let mut swarm = Swarm {
            seed: Seed(seed),
            rules,
            nodes: Vec::new(),
            under_way: BTreeMap::new(),
            sequence: 0,
            now: Timestamp(0),
            stream: Seed(seed).stream("delays", 0, 0),
            done: Vec::new(),
            looked: Vec::new(),
        };
        for _ in 0..size {
            swarm.arrive(false);
        }
        swarm
    }

    fn arrive(&mut self, client: bool) -> NodeId {
        let me = NodeId(self.nodes.len() as u32);
        let config = Config { me, bootstrap: Some(NodeId(0)), seed: self.seed, rules: self.rules, client };
        self.nodes.push(Some(Node::new(config)));
        if !client {
            self.with(me, |node, now, out| node.join(now, out));
            self.settle(Duration::from_secs(4));
        }
        me
    }

    fn with(&mut self, me: NodeId, act: impl FnOnce(&mut Node, Timestamp, &mut Vec<Effect>) -> Vec<Done>) {
        let Some(node) = &mut self.nodes[me.0 as usize] else { return };
        let mut out = Vec::new();
        self.done.extend(act(node, self.now, &mut out).into_iter().map(|done| (me, done)));
        for effect in out {
            let (after, delivery) = match effect {
                Effect::Send { to, message } => (
                    Duration::from_millis(self.stream.random_range(1..80)),
                    Delivery::Message { from: me, to, message },
                ),
                Effect::Wake { after, .. } => (after, Delivery::Woken(me)),
                Effect::Record(Event::Looked(looked)) => {
                    self.looked.push(*looked);
                    continue;
                }
                other => panic!("the DHT does not {other:?}"),
            };
            self.sequence += 1;
            self.under_way.insert((self.now + after, self.sequence), delivery);
        }
    }

    /// Delivers all messages and timers that are due within `time`.
    fn settle(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(((at, _), _)) = self.under_way.first_key_value() {
            if *at > until {
                break;
            }
            let ((at, _), delivery) = self.under_way.pop_first().expect("it was just there");
            self.now = at;
            match delivery {
                Delivery::Woken(me) => self.with(me, |node, now, out| node.on_woken(now, out)),
                Delivery::Message { from, to, message: Message::Rpc(rpc) } => {
                    self.with(to, |node, now, out| node.on_rpc(now, from, *rpc, out));
                }
                Delivery::Message { from, to, message: Message::Ping(ping) } => {
                    self.with(to, |_, _, out| {
                        out.push(Effect::pong(from, ping));
                        Vec::new()
                    });
                }
                Delivery::Message { from, to, message: Message::Pong(pong) } => self.with(to, |node, now, out| {
                    assert!(node.on_pong(now, from, pong.nonce, out));
                    Vec::new()
                }),
                Delivery::Message { message, .. } => panic!("{} is not of the DHT", message.kind()),
            }
        }
        self.now = until;
    }

    /// Delivers messages and timers until an operation has ended with a result for which `end` is true. Panics after
    /// 100 s of virtual time.
    fn settle_until(&mut self, end: impl Fn(&Done) -> bool) {
        for _ in 0..1000 {
            if self.done.iter().any(|(_, done)| end(done)) {
                return;
            }
            self.settle(Duration::from_millis(100));
        }
        panic!("a lookup does not end");
    }

    fn alive(&self) -> Vec<NodeId> {
        let alive = |(id, node): (u32, &Option<Node>)| node.is_some().then_some(NodeId(id));
        (0..).zip(&self.nodes).filter_map(alive).collect()
    }

    fn kill(&mut self, node: NodeId) {
        self.nodes[node.0 as usize] = None;
    }

    fn key(&self, node: NodeId) -> Key {
        Key::of_node(self.seed, node)
    }

    fn announce(&mut self, peer: NodeId, keys: &[Key]) -> usize {
        let record = record(peer, self.now);
        let lives = self.rules.expiry;
        self.done.clear();
        self.with(peer, |node, now, out| node.announce(now, keys, record, lives, out));
        self.settle_until(|done| matches!(done, Done::Announced { .. }));
        let kept = |(_, done): &(NodeId, Done)| match done {
            Done::Announced { kept, .. } => Some(*kept),
            _ => None,
        };
        self.done.iter().find_map(kept).expect("an announcement ends")
    }

    fn find(&mut self, asker: NodeId, keys: &[Key]) -> (Vec<NodeId>, Looked) {
        self.done.clear();
        self.looked.clear();
        self.with(asker, |node, now, out| node.find(now, keys, out));
        self.settle_until(|done| matches!(done, Done::Found(_)));
        let found = |(node, done): &(NodeId, Done)| match done {
            Done::Found(records) if *node == asker => Some(records.iter().map(|record| record.peer()).collect()),
            _ => None,
        };
        let looked = self.looked.iter().find(|looked| looked.node == asker).expect("it is recorded");
        (self.done.iter().find_map(found).expect("a lookup ends"), looked.clone())
    }

    fn holders(&self, key: Key) -> Vec<NodeId> {
        let holds = |node: &NodeId| {
            let node = self.nodes[node.0 as usize].as_ref().expect("it is alive");
            node.store().under(self.now, key).next().is_some()
        };
        self.alive().into_iter().filter(holds).collect()
    }
}

fn record(peer: NodeId, at: Timestamp) -> Arc<Record> {
    let announce = Announce {
        peer,
        blocks: BlockRange { start: 0, end: 4 },
        inference_rps: 1.0,
        load: Load::default(),
        next: Vec::new(),
    };
    Arc::new(Record { announce, state: State::Online, throughput: 1.0, version: at })
}

/// Returns rules with small buckets, so that the routing tables of small networks have several levels.
fn rules() -> Kademlia {
    Kademlia { k: 8, replicas: 4, ..Kademlia::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_record_is_kept_by_the_nodes_nearest_to_its_key_and_found_by_everybody(size in 2..70u32, seed in 0..1000u64) {
        let mut swarm = Swarm::new(size, seed, rules());
        let client = swarm.arrive(true);
        let (peer, key) = (NodeId(size / 2), Key::of_block("model", 7));
        prop_assert_eq!(swarm.announce(peer, &[key]), 4.min(size as usize));
        let mut nearest: Vec<NodeId> = (0..size).map(NodeId).collect();
        nearest.sort_by_key(|node| swarm.key(*node).distance(key));
        nearest.truncate(4);
        nearest.sort();
        prop_assert_eq!(swarm.holders(key), nearest);
        for asker in [NodeId(0), NodeId(size - 1), client] {
            prop_assert_eq!(swarm.find(asker, &[key]).0, [peer]);
        }
        let knows_client = |node: &Option<Node>| node.as_ref().is_some_and(|node| node.table().contact(client).is_some());
        prop_assert!(!swarm.nodes.iter().any(knows_client), "who only looks up is in nobody's table");
    }

    #[test]
    fn while_a_replica_lives_its_record_is_found(size in 20..60u32, seed in 0..1000u64) {
        let mut swarm = Swarm::new(size, seed, Kademlia { expiry: Duration::from_secs(100_000), ..rules() });
        let (peer, key) = (NodeId(3), Key::of_block("model", 1));
        swarm.announce(peer, &[key]);
        // Nodes die without notice, and new ones join, until one holder is left, fewer than two thirds of the original
        // number of nodes are alive, or only node 0 and the peer hold the record.
        let mut stream = Seed(seed).stream("churn", 0, 0);
        while swarm.holders(key).len() > 1 {
            let mortal: Vec<NodeId> = swarm.alive().into_iter().filter(|node| node.0 != 0 && *node != peer).collect();
            let victim = mortal[stream.random_range(0..mortal.len())];
            if swarm.holders(key) != [victim] {
                swarm.kill(victim);
            }
            if stream.random_bool(0.3) {
                swarm.arrive(false);
            }
            let alive = swarm.alive();
            if 3 * alive.len() < 2 * size as usize || (swarm.holders(key).iter().all(|holder| holder.0 == 0 || *holder == peer)) {
                break;
            }
        }
        let client = swarm.arrive(true);
        for asker in [swarm.alive()[1], client] {
            prop_assert_eq!(swarm.find(asker, &[key]).0, [peer]);
        }
    }
}

#[test]
fn who_is_dead_is_forgotten_and_who_announces_again_is_not() {
    let mut swarm = Swarm::new(12, 1, rules());
    let key = Key::of_block("model", 0);
    swarm.announce(NodeId(5), &[key]);
    swarm.announce(NodeId(6), &[key]);
    swarm.kill(NodeId(5));
    swarm.settle(Duration::from_secs(60));
    swarm.announce(NodeId(6), &[key]);
    assert_eq!(swarm.find(NodeId(1), &[key]).0, [NodeId(5), NodeId(6)]);
    swarm.settle(Duration::from_secs(60));
    assert_eq!(swarm.find(NodeId(1), &[key]).0, [NodeId(6)], "two periods after its last word");
}

#[test]
fn who_comes_back_is_found_again() {
    let mut swarm = Swarm::new(12, 1, rules());
    let key = Key::of_block("model", 0);
    swarm.announce(NodeId(5), &[key]);
    swarm.kill(NodeId(5));
    swarm.settle(Duration::from_secs(200));
    assert!(swarm.find(NodeId(1), &[key]).0.is_empty());
    let config = Config { me: NodeId(5), bootstrap: Some(NodeId(0)), seed: swarm.seed, rules: rules(), client: false };
    swarm.nodes[5] = Some(Node::new(config));
    swarm.with(NodeId(5), |node, now, out| node.join(now, out));
    swarm.settle(Duration::from_secs(10));
    assert!(swarm.announce(NodeId(5), &[key]) > 0);
    assert_eq!(swarm.find(NodeId(1), &[key]).0, [NodeId(5)]);
}

#[test]
fn all_blocks_of_a_model_are_looked_up_together() {
    let mut swarm = Swarm::new(16, 4, Kademlia::default());
    let keys: Vec<Key> = (0..96).map(|block| Key::of_block("model", block)).collect();
    for peer in 1..9 {
        let from = 12 * (peer as usize - 1);
        swarm.announce(NodeId(peer), &keys[from..from + 12]);
    }
    let client = swarm.arrive(true);
    let (found, looked) = swarm.find(client, &keys);
    assert_eq!(found, (1..9).map(NodeId).collect::<Vec<_>>());
    assert_eq!((looked.keys, looked.hops), (96, 2));
    assert!(looked.asked <= 3 * 16, "{} questions for 96 keys of 16 nodes", looked.asked);
    assert!(looked.took < Duration::from_millis(5 * 160), "{} for a few round trips", looked.took);
    let (_, alone) = swarm.find(client, &keys[..1]);
    assert!(looked.asked <= 2 * alone.asked);
}

#[test]
fn the_silent_cost_a_timeout_and_leave_the_table() {
    let mut swarm = Swarm::new(10, 2, Kademlia { alpha: 1, ..rules() });
    let key = Key::of_block("model", 0);
    swarm.announce(NodeId(3), &[key]);
    for node in [NodeId(7), NodeId(8)] {
        swarm.kill(node);
    }
    let (found, looked) = swarm.find(NodeId(1), &[key]);
    assert_eq!(found, [NodeId(3)]);
    assert_eq!(looked.silent, 2);
    assert!(looked.took >= Duration::from_secs(3) && looked.took < Duration::from_secs(7), "{}", looked.took);
    let table = swarm.nodes[1].as_ref().expect("it lives").table();
    assert!(table.contact(NodeId(7)).is_none() && table.contact(NodeId(2)).is_some());
    // A node that is reported as unreachable is removed from the routing table at once.
    swarm.kill(NodeId(9));
    swarm.with(NodeId(1), |node, now, out| node.on_gone(now, NodeId(9), out));
    let table = swarm.nodes[1].as_ref().expect("it lives").table();
    assert!(table.contact(NodeId(9)).is_none());
}

#[test]
fn nobody_speaks_for_another_and_floods_are_cut_short() {
    let config = Config { me: NodeId(0), bootstrap: None, seed: Seed(1), rules: rules(), client: false };
    let (mut node, mut out) = (Node::new(config), Vec::new());
    let rpc = |body| Rpc { id: 1, key: None, body };
    let keys: Vec<Key> = (0..1000).map(Key).collect();
    let lives = Duration(u64::MAX);
    let store = |peer| rpc(Body::Store { record: record(NodeId(peer), Timestamp(0)), lives, keys: keys.clone() });
    node.on_rpc(Timestamp(0), NodeId(2), store(1), &mut out);
    assert!(node.store().is_empty());
    node.on_rpc(Timestamp(0), NodeId(1), store(1), &mut out);
    assert_eq!(node.store().len(), limits::DHT_KEYS_PER_CALL);
    let longest = node.store().under(Timestamp(0), keys[0]).map(|(_, lives)| lives).next();
    assert_eq!(longest, Some(limits::DHT_LIFE));
    node.on_rpc(Timestamp(0), NodeId(2), rpc(Body::FindValue { targets: keys.clone() }), &mut out);
    let Some(Effect::Send { to: NodeId(2), message: Message::Rpc(answer) }) = out.last() else { panic!("no answer") };
    let Body::Values { held, .. } = answer.body.clone() else { panic!("{}", answer.kind()) };
    assert_eq!((held.records.len(), held.keys.len()), (1, limits::DHT_KEYS_PER_CALL));
    // Answers to requests that were never sent change nothing.
    let sent = out.len();
    node.on_rpc(Timestamp(0), NodeId(2), rpc(Body::Stored { kept: 1 }), &mut out);
    node.on_rpc(Timestamp(0), NodeId(2), rpc(Body::Values { contacts: Vec::new(), held }), &mut out);
    assert_eq!(out.len(), sent);
}

//! Tests of nodes with hostile messages. A node that gets any well-formed messages from any senders must neither panic
//! nor exceed its KV cache budget.
use actors::announce::{Announce, Load};
use actors::client::{self, Asked, Workload};
use actors::dht::bootstrap;
use actors::dht::key::Key;
use actors::dht::node;
use actors::dht::record::Held;
use actors::dht::rpc::{Body, Rpc};
use actors::dht::table::Contact;
use actors::dht::{Record, State};
use actors::id::{BlockRange, NodeId, RequestId, SessionId};
use actors::message::{
    Activation, Close, Computed, Failure, Finished, Go, Gone, Job, Latency, Message, Next, NotFinite, Open, Opened,
    Output, Ping, Pong, Present, Ready, Refusal, Refused, Reroute, Returned, Step, Warm, WireType, Woken, Work,
};
use actors::orchestrator;
use actors::peer::{self, presence};
use actors::placement::Speed;
use actors::policy::{Policies, Recovery};
use actors::seed::{Seed, Stream};
use actors::time::{Duration, Timestamp};
use actors::world::Effect;
use proptest::prelude::{ProptestConfig, any, prop_assert, proptest};
use rand::RngExt;
use std::sync::Arc;

const ORCHESTRATOR: NodeId = NodeId(0);
const BOOTSTRAP: NodeId = NodeId(1);
const PEER: NodeId = NodeId(2);
const CLIENT: NodeId = NodeId(4);
const LAYERS: u32 = 4;
const BUDGET: u64 = 4096;

/// A generator of random messages that are well-formed and often almost valid. Most numbers are small or close to the
/// limits of their type.
struct Liar(Stream);

impl Liar {
    fn of(&mut self, count: u32) -> u32 {
        self.0.random_range(0..count)
    }

    fn number(&mut self) -> u32 {
        match self.of(8) {
            0 => u32::MAX,
            1 => u32::MAX - self.of(4),
            2 => 1 << self.of(32),
            3 => self.0.random(),
            _ => self.of(6),
        }
    }

    fn long(&mut self) -> u64 {
        match self.of(4) {
            0 => u64::MAX,
            1 => self.0.random(),
            _ => u64::from(self.number()),
        }
    }

    fn real(&mut self) -> f64 {
        match self.of(6) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => -1.0,
            3 => 0.0,
            4 => f64::MIN_POSITIVE,
            _ => 100.0,
        }
    }

    fn node(&mut self) -> NodeId {
        NodeId(if self.of(8) == 0 { self.number() } else { self.of(6) })
    }

    fn session(&mut self) -> SessionId {
        match self.of(8) {
            0 => SessionId::from_raw(self.long()),
            _ => SessionId::new(RequestId { client: NodeId(3 + self.of(2)), index: self.of(3) }, self.of(4) as u16),
        }
    }

    fn blocks(&mut self) -> BlockRange {
        match self.of(3) {
            0 => BlockRange { start: self.number(), end: self.number() },
            1 => BlockRange { start: 0, end: LAYERS },
            _ => BlockRange { start: self.of(LAYERS), end: self.of(LAYERS + 1) },
        }
    }

    fn activation(&mut self) -> Activation {
        let dtype = if self.of(2) == 0 { WireType::F32 } else { WireType::Int8 { block: self.of(3) as u16 } };
        Activation { tokens: self.number(), batch: self.of(3) as u16, hidden: self.number() as u16, dtype, data: None }
    }

    fn step(&mut self) -> Step {
        Step { session: self.session(), position: self.number(), activation: self.activation() }
    }

    fn load(&mut self) -> Load {
        let (cache_tokens, sessions) = (self.number(), self.number());
        Load { cache_tokens, sessions, step: self.number(), busy: self.number() as u16 }
    }

    fn keys(&mut self) -> Vec<Key> {
        let count = self.of(4) * self.of(80);
        (0..count).map(|_| Key::of_node(Seed(1), self.node())).chain(Key::of_blocks(LAYERS)).collect()
    }

    fn contacts(&mut self) -> Vec<Contact> {
        let contact = |node| Contact { key: Key::of_node(Seed(1), node), node };
        (0..self.of(5)).map(|_| self.node()).collect::<Vec<_>>().into_iter().map(contact).collect()
    }

    fn record(&mut self) -> Arc<Record> {
        let state = [State::Online, State::Joining, State::Offline][self.of(3) as usize];
        let next = (0..self.of(3)).map(|_| (self.node(), Duration(self.long()))).collect();
        let (peer, blocks, load) = (self.node(), self.blocks(), self.load());
        let announce = Announce { peer, blocks, inference_rps: self.real(), load, next };
        Arc::new(Record { announce, state, throughput: self.real(), version: Timestamp(self.long()) })
    }

    fn rpc(&mut self) -> Message {
        let body = match self.of(6) {
            0 => Body::FindNode { targets: self.keys() },
            1 => Body::FindValue { targets: self.keys() },
            2 => Body::Nodes { contacts: self.contacts() },
            3 => {
                let keys = (0..self.of(3)).map(|_| self.number() as u16).collect();
                let held =
                    Held { records: (0..self.of(5)).map(|_| self.record()).collect(), keys, pairs: self.number() };
                Body::Values { contacts: self.contacts(), held }
            }
            4 => Body::Store { record: self.record(), lives: Duration(self.long()), keys: self.keys() },
            _ => Body::Stored { kept: self.number() as u16 },
        };
        let key = (self.of(2) == 0).then(|| Key::of_node(Seed(1), self.node()));
        let id = if self.of(8) == 0 { self.number() } else { self.of(12) };
        Message::Rpc(Box::new(Rpc { id, key, body }))
    }

    fn refusal(&mut self) -> Refusal {
        match self.of(6) {
            0 => Refusal::Busy,
            1 => Refusal::CacheFull,
            2 => Refusal::NotKept,
            3 => Refusal::UnknownSession,
            4 => Refusal::NotFinite(NotFinite::After(self.number())),
            _ => Refusal::DeviceFailed,
        }
    }

    fn open(&mut self) -> Open {
        let next = (self.of(2) == 0).then(|| Next { peer: self.node(), session: self.session() });
        Open {
            session: self.session(),
            blocks: self.blocks(),
            hop: self.number() as u16,
            next,
            batch: self.number(),
            max_length: self.number(),
            cached: self.of(4) > 0,
            keep: self.of(2) == 0,
            wanted: self.number(),
        }
    }

    fn message(&mut self) -> Message {
        let request = RequestId { client: self.node(), index: self.number() };
        let took = if self.of(2) == 0 { Ok(Duration(self.long())) } else { Err(Failure::Timeout) };
        match self.of(20) {
            0 => Message::Present(Present),
            1 => Message::Warm(Warm),
            2 => Message::Ready(Ready { warmed: if self.of(4) > 0 { Ok(()) } else { Err(Failure::NoRoute) } }),
            3 => Message::Go(Go),
            4 => Message::Latency(Latency { request, took, tokens: self.number() }),
            5 => Message::Finished(Finished { at: Timestamp(self.long()) }),
            6..=8 => self.rpc(),
            9 => Message::Open(Box::new(self.open())),
            10 => Message::Opened(Opened { session: self.session(), load: self.load() }),
            11 | 12 => Message::Step(self.step()),
            13 => Message::Returned(Returned(self.step())),
            14 => {
                let next = Next { peer: self.node(), session: self.session() };
                Message::Reroute(Box::new(Reroute { session: self.session(), next, from: self.number() }))
            }
            15 => Message::Close(Close { session: self.session() }),
            16 => {
                let session = (self.of(4) > 0).then(|| self.session());
                Message::Refused(Refused { session, why: self.refusal() })
            }
            17 => Message::Ping(Ping { nonce: self.long() }),
            18 => Message::Pong(Pong { nonce: self.long(), load: self.load() }),
            _ => Message::Gone(Gone),
        }
    }
}

/// A node under test. It gets messages as its implementation of the actor traits would pass them on.
enum Node {
    Orchestrator(orchestrator::Core),
    Bootstrap(Box<bootstrap::Core>),
    Peer(Box<peer::Core>),
    Client(Box<client::Core>),
}

fn dht(me: NodeId, client: bool) -> node::Config {
    node::Config { me, bootstrap: Some(BOOTSTRAP), seed: Seed(1), rules: Policies::default().dht, client }
}

fn nodes(policies: &Policies) -> Vec<Node> {
    let blocks = BlockRange { start: 0, end: LAYERS };
    let place = presence::Config {
        dht: dht(PEER, false),
        layers: LAYERS,
        blocks,
        chooses: None,
        speed: Speed { inference_rps: 100.0, forward_rps: 100.0, network_rps: 100.0 },
        pings: policies.pings,
    };
    let (peers, clients) = (vec![PEER], vec![CLIENT]);
    vec![
        Node::Orchestrator(orchestrator::Core::new(orchestrator::Config {
            me: ORCHESTRATOR,
            peers,
            clients,
            ready_within: Duration::from_secs(60),
            warm_up: true,
        })),
        Node::Bootstrap(Box::new(bootstrap::Core::new(dht(BOOTSTRAP, false)))),
        Node::Peer(Box::new(peer::Core::new(peer::Config {
            me: PEER,
            orchestrator: ORCHESTRATOR,
            place,
            cache_bytes: BUDGET,
            cache_bytes_per_token_block: 8,
            policies: policies.clone(),
        }))),
        Node::Client(Box::new(client::Core::new(client::Config {
            me: CLIENT,
            orchestrator: ORCHESTRATOR,
            dht: dht(CLIENT, true),
            blocks,
            warm_up: Asked { batch: 1, prompt: 2, generate: 1 },
            workload: Workload::Closed { requests: 3, asked: Asked { batch: 1, prompt: 2, generate: 3 } },
            policies: policies.clone(),
            timeout: Duration::from_secs(600),
            seed: Seed(1),
            prompts: None,
            stops: Vec::new(),
        }))),
    ]
}

impl Node {
    fn me(&self) -> NodeId {
        match self {
            Node::Orchestrator(core) => core.me(),
            Node::Bootstrap(core) => core.me(),
            Node::Peer(core) => core.me(),
            Node::Client(core) => core.me(),
        }
    }

    fn start(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        match self {
            Node::Orchestrator(core) => core.on_start(now, out),
            Node::Bootstrap(core) => core.on_start(now, out),
            Node::Peer(core) => core.on_start(now, out),
            Node::Client(core) => core.on_start(now, out),
        }
    }

    fn hear(&mut self, now: Timestamp, from: NodeId, message: Message, out: &mut Vec<Effect>) {
        match (self, message) {
            (Node::Orchestrator(core), Message::Present(body)) => core.on_present(now, from, body, out),
            (Node::Orchestrator(core), Message::Ready(body)) => core.on_ready(now, from, body, out),
            (Node::Orchestrator(core), Message::Latency(body)) => core.on_latency(now, from, body, out),
            (Node::Orchestrator(core), Message::Finished(body)) => core.on_finished(now, from, body, out),
            (Node::Orchestrator(core), Message::Ping(body)) => core.on_ping(now, from, body, out),
            (Node::Bootstrap(core), Message::Rpc(body)) => core.on_rpc(now, from, *body, out),
            (Node::Bootstrap(core), Message::Ping(body)) => core.on_ping(now, from, body, out),
            (Node::Bootstrap(core), Message::Pong(body)) => core.on_pong(now, from, body, out),
            (Node::Bootstrap(core), Message::Gone(body)) => core.on_gone(now, from, body, out),
            (Node::Peer(core), Message::Rpc(body)) => core.on_rpc(now, from, *body, out),
            (Node::Peer(core), Message::Open(body)) => core.on_open(now, from, *body, out),
            (Node::Peer(core), Message::Step(body)) => core.on_step(now, from, body, out),
            (Node::Peer(core), Message::Reroute(body)) => core.on_reroute(now, from, *body, out),
            (Node::Peer(core), Message::Close(body)) => core.on_close(now, from, body, out),
            (Node::Peer(core), Message::Ping(body)) => core.on_ping(now, from, body, out),
            (Node::Peer(core), Message::Pong(body)) => core.on_pong(now, from, body, out),
            (Node::Peer(core), Message::Gone(body)) => core.on_gone(now, from, body, out),
            (Node::Client(core), Message::Warm(body)) => core.on_warm(now, from, body, out),
            (Node::Client(core), Message::Go(body)) => core.on_go(now, from, body, out),
            (Node::Client(core), Message::Rpc(body)) => core.on_rpc(now, from, *body, out),
            (Node::Client(core), Message::Opened(body)) => core.on_opened(now, from, body, out),
            (Node::Client(core), Message::Returned(body)) => core.on_returned(now, from, body, out),
            (Node::Client(core), Message::Refused(body)) => core.on_refused(now, from, body, out),
            (Node::Client(core), Message::Ping(body)) => core.on_ping(now, from, body, out),
            (Node::Client(core), Message::Pong(body)) => core.on_pong(now, from, body, out),
            (Node::Client(core), Message::Gone(body)) => core.on_gone(now, from, body, out),
            // `actor_impls` handles the messages that a node does not accept.
            _ => {}
        }
    }

    fn woken(&mut self, now: Timestamp, woken: Woken, out: &mut Vec<Effect>) {
        let me = self.me();
        match self {
            Node::Orchestrator(core) => core.on_woken(now, me, woken, out),
            Node::Bootstrap(core) => core.on_woken(now, me, woken, out),
            Node::Peer(core) => core.on_woken(now, me, woken, out),
            Node::Client(core) => core.on_woken(now, me, woken, out),
        }
    }

    fn computed(&mut self, now: Timestamp, done: Computed, out: &mut Vec<Effect>) {
        let me = self.me();
        match self {
            Node::Peer(core) => core.on_computed(now, me, done, out),
            Node::Client(core) => core.on_computed(now, me, done, out),
            Node::Orchestrator(_) | Node::Bootstrap(_) => {}
        }
    }
}

/// Returns the result of a device's job in a simulation that computes sizes but no values. Returns `None` for a job
/// without a result.
fn compute(now: Timestamp, job: Job) -> Option<Computed> {
    let hidden = |tokens, batch| Activation { tokens, batch, hidden: 8, dtype: WireType::F32, data: None };
    let output = match job.work {
        Work::Load { .. } => Output::Loaded,
        Work::Embed { batch, tokens, .. } => Output::Hidden(hidden(tokens, batch)),
        Work::Blocks(piece) => Output::Hidden(piece.input),
        Work::Batch(pieces) => Output::Batch(pieces.into_iter().map(|piece| piece.input).collect()),
        Work::Head { .. } => Output::Tokens(None),
        Work::Benchmark { .. } => Output::Benchmarked,
        Work::Release { .. } => return None,
    };
    Some(Computed { ticket: job.ticket, started: now, finished: now, output: Ok(output) })
}

/// Calls `what` with a node, and completes at once the jobs that the node gives to its device. Timers are added to
/// `timers`, and the messages that the node sends are dropped. Returns the number of these messages.
fn act(
    node: &mut Node,
    now: Timestamp,
    timers: &mut Vec<(NodeId, Woken)>,
    what: impl FnOnce(&mut Node, &mut Vec<Effect>),
) -> usize {
    let mut out = Vec::new();
    what(node, &mut out);
    let (mut at, mut sent) = (0, 0);
    while at < out.len() {
        match out[at].clone() {
            Effect::Compute(job) => {
                if let Some(done) = compute(now, job) {
                    node.computed(now, done, &mut out);
                }
            }
            Effect::Wake { timer, .. } => timers.push((node.me(), Woken(timer))),
            Effect::Send { .. } => sent += 1,
            Effect::Record(_) => {}
        }
        at += 1;
    }
    sent
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn nodes_outlive_whatever_they_are_told(seed in any::<u64>(), told in 50..400u32, recovery in 0..4usize) {
        let recovery = [Recovery::Replay, Recovery::Restart, Recovery::Cacheless, Recovery::Off][recovery];
        let policies = Policies { recovery, ..Policies::default() };
        let (mut liar, mut now, mut timers) = (Liar(Seed(seed).stream("liar", 0, 0)), Timestamp(0), Vec::new());
        let mut nodes = nodes(&policies);
        for node in &mut nodes {
            act(node, now, &mut timers, |node, out| node.start(now, out));
        }
        for _ in 0..told {
            now = now + Duration::from_millis(u64::from(liar.of(2000)));
            let (from, message) = (liar.node(), liar.message());
            for node in &mut nodes {
                let message = message.clone();
                let sent = act(node, now, &mut timers, |node, out| node.hear(now, from, message, out));
                prop_assert!(sent < 2000, "one message makes {sent}");
                if let Node::Peer(core) = node {
                    prop_assert!(core.cache_used() <= BUDGET);
                }
            }
            if liar.of(4) == 0 && !timers.is_empty() {
                let (whose, woken) = timers.swap_remove(liar.of(timers.len() as u32) as usize);
                let node = nodes.iter_mut().find(|node| node.me() == whose).expect("it set it");
                act(node, now, &mut timers, |node, out| node.woken(now, woken, out));
            }
        }
    }
}

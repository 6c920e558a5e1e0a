//! Synthetic events of plausible runs, the input of this crate's tests.
use actors::dht::State;
use actors::id::{BlockRange, HostId, NodeId, RequestId, SessionId};
use actors::message::{Failure, WireType};
use actors::policy::Policies;
use actors::record::{Carried, Drained, Ended, Event, Looked, Purpose, Served, Serving, Stepped};
use actors::seed::{Seed, mix};
use actors::time::{Duration, Timestamp};
use scenarios::cell::CellKey;
use scenarios::plan::{
    Cost, Device, Distribution, Executor, Host, Link, Machine, Model, Network, Node, Plan, Role, Roofline, Weights,
    Workload,
};
use scenarios::shape::{Arch, Shape, WeightType};

/// The parameters of a synthetic run.
#[derive(Clone, Copy, Debug)]
pub struct Sketch {
    pub clients: u32,
    pub peers: u32,
    pub micro_batches: u32,
    pub batch: u32,
    pub prompt: u32,
    pub generate: u32,
    pub delay: Duration,
    /// Bytes per second.
    pub bandwidth: f64,
    /// The seed of the random durations.
    pub seed: u64,
    /// Whether the run has `Carried` events, as simulations do.
    pub carried: bool,
    /// Whether the last client's last request fails.
    pub fails: bool,
}

impl Default for Sketch {
    fn default() -> Sketch {
        Sketch {
            clients: 3,
            peers: 2,
            micro_batches: 2,
            batch: 1,
            prompt: 16,
            generate: 4,
            delay: Duration::from_millis(10),
            bandwidth: 1.25e8,
            seed: 1,
            carried: true,
            fails: false,
        }
    }
}

impl Sketch {
    pub fn plan(&self, cell: u32, repeat: u32) -> Plan {
        let device = Device {
            name: "cpu".to_owned(),
            executor: Executor::Cpu { threads: 1 },
            cost: Cost::of(Roofline {
                flops: 1e12,
                bandwidth: 1e11,
                per_block: Duration::ZERO,
                per_job: Duration::ZERO,
            }),
        };
        let host = Host {
            name: "h".to_owned(),
            site: "lan".to_owned(),
            machine: 0,
            device,
            also: Vec::new(),
            egress: Link::FREE,
            ingress: Link::FREE,
        };
        let link = Link::new(Distribution::Constant(self.delay), Some(self.bandwidth));
        let peer = Role::Peer {
            blocks: BlockRange { start: 0, end: 4 },
            chooses: false,
            cache_bytes: 1 << 30,
            inference_rps: 100.0,
            forward_rps: 100.0,
            network_rps: 100.0,
        };
        let roles = [Role::Orchestrator, Role::Bootstrap]
            .into_iter()
            .chain((0..self.peers).map(|_| peer.clone()))
            .chain((0..self.clients).map(|_| Role::Client));
        Plan {
            scenario: "made-up".to_owned(),
            cell,
            repeat,
            seed: Seed(self.seed),
            chance: Seed(self.seed),
            model: Model {
                shape: Shape {
                    arch: Arch::Opt,
                    layers: 4 * self.peers,
                    hidden: 1024,
                    heads: 16,
                    kv_heads: 16,
                    ffn: 4096,
                    vocab: 1000,
                    max_positions: 2048,
                },
                block_type: WeightType::F32,
                client_type: WeightType::F32,
                wire: WireType::F16,
                cache_value_bytes: 2,
                weights: Weights::Random { seed: 1 },
            },
            machines: vec![Machine { name: "here".to_owned(), leases: None }],
            hosts: vec![host],
            nodes: roles.map(|role| Node { host: HostId(0), device: 0, role }).collect(),
            network: Network::of(link),
            policies: Policies::default(),
            workload: Workload {
                micro_batches: self.micro_batches,
                batch: self.batch,
                prompt: self.prompt,
                generate: self.generate,
            },
            tokens: Default::default(),
            open: None,
            objectives: Default::default(),
            timeout: Duration::from_secs(600),
            ready_within: Duration::from_secs(60),
            warm_up: true,
            faults: Vec::new(),
        }
    }

    /// Returns all events of a run of the plan.
    pub fn events(&self) -> Vec<Event> {
        let mut run = Run { sketch: *self, draws: 0, events: Vec::new() };
        let client = |at: u32| NodeId(2 + self.peers + at);
        let mut release = Timestamp(0);
        for at in 0..self.peers {
            let blocks = BlockRange { start: 4 * at, end: 4 * at + 4 };
            let (peer, at) = (NodeId(2 + at), Timestamp(1000 * u64::from(at)));
            run.events.push(Event::Serving(Box::new(Serving { peer, at, blocks, state: State::Online })));
        }
        for at in 0..self.clients {
            run.events.push(Event::Looked(Box::new(Looked {
                node: client(at),
                purpose: Purpose::Find,
                at: Timestamp(4_000_000),
                took: Duration(3_000_000),
                keys: 4 * self.peers,
                hops: 2,
                asked: 5,
                silent: 0,
                found: self.peers,
            })));
            let end = run.request(client(at), 0, Timestamp(1_000_000), 1, false);
            run.events.push(Event::Ready { client: client(at), at: end });
            release = release.max(end);
        }
        run.events.push(Event::Released { at: release });
        let mut drained = Drained {
            at: release,
            wall: Duration::ZERO,
            requests: 0,
            failed: 0,
            shed: 0,
            total_tokens: 0,
            latency_sum: Duration::ZERO,
        };
        for at in 0..self.clients {
            let mut now = release + Duration::from_micros(50 * u64::from(at));
            for index in 1..=self.micro_batches {
                let fails = self.fails && at + 1 == self.clients && index == self.micro_batches;
                let end = run.request(client(at), index, now, self.generate, fails);
                drained.requests += 1;
                drained.failed += u32::from(fails);
                let generated = if fails { self.generate / 2 } else { self.generate };
                drained.total_tokens += u64::from(self.batch * generated);
                if !fails {
                    drained.latency_sum += end.since(now);
                }
                now = end;
            }
            run.events.push(Event::Finished { client: client(at), at: now });
            drained.wall = Duration(drained.wall.0.max(now.since(release).0));
        }
        drained.at = release + drained.wall;
        run.events.push(Event::Drained(Box::new(drained)));
        run.events
    }
}

struct Run {
    sketch: Sketch,
    draws: u64,
    events: Vec<Event>,
}

impl Run {
    /// Returns a random duration from `span` to 1.2 times `span`.
    fn about(&mut self, span: Duration) -> Duration {
        self.draws += 1;
        let share = mix(self.sketch.seed ^ mix(self.draws)) % 1000;
        Duration(span.0 + span.0 * share / 5000)
    }

    fn request(&mut self, client: NodeId, index: u32, sent: Timestamp, generate: u32, fails: bool) -> Timestamp {
        let request = RequestId { client, index };
        let session = SessionId::new(request, 0);
        let (discovery, sessions) =
            (Duration(if index == 0 { 3_000_000 } else { 0 }), self.about(Duration::from_millis(4)));
        let steps = if fails { generate / 2 } else { generate.max(1) };
        let (mut now, mut position, mut setup) = (sent, 0, discovery + sessions);
        for step in 0..steps {
            let tokens = if step == 0 { self.sketch.prompt } else { 1 };
            let output = if generate == 0 { 0 } else { step + 1 };
            now = self.step((session, request), (position, tokens, output), (now, setup));
            position += tokens;
            setup = Duration::ZERO;
        }
        let at = if fails { now + Duration::from_millis(7) } else { now };
        self.events.push(Event::Ended(Box::new(Ended {
            request,
            session,
            intended: sent,
            sent,
            at,
            batch: self.sketch.batch,
            prompt: self.sketch.prompt,
            generate,
            generated: if generate == 0 { 0 } else { steps },
            discovery,
            sessions,
            route: (0..self.sketch.peers).map(|peer| NodeId(2 + peer)).collect(),
            outcome: if fails { Err(Failure::Timeout) } else { Ok(()) },
            output: Vec::new(),
        })));
        at
    }

    fn step(
        &mut self,
        (session, request): (SessionId, RequestId),
        (position, tokens, output): (u32, u32, u32),
        (began, setup): (Timestamp, Duration),
    ) -> Timestamp {
        let batch = self.sketch.batch as u16;
        let client = self.about(Duration::from_micros(300 + 10 * u64::from(tokens * self.sketch.batch)));
        let client_queue = Duration::from_micros(20);
        let mut now = began + setup + client + client_queue;
        for hop in 0..self.sketch.peers {
            let peer = NodeId(2 + hop);
            now = self.way((session, position), (request.client, peer), tokens, now);
            let queue = self.about(Duration::from_micros(400 * u64::from(self.sketch.clients - 1)));
            let compute = self.about(Duration::from_micros(5_000 + 60 * u64::from(tokens * self.sketch.batch)));
            let (started, finished) = (now + queue, now + queue + compute);
            self.events.push(Event::Served(Served {
                session,
                request,
                position,
                tokens,
                batch,
                hop: hop as u16,
                peer,
                blocks: BlockRange { start: 4 * hop, end: 4 * hop + 4 },
                cached: true,
                received: now,
                started,
                finished,
                sent: finished,
                queued: 0,
            }));
            now = self.way((session, position), (peer, request.client), tokens, finished);
        }
        self.events.push(Event::Stepped(Stepped {
            session,
            request,
            position,
            tokens,
            batch,
            output,
            began,
            seen: now,
            setup,
            client_queue,
            client,
            embedding: Duration::ZERO,
            recovery: Duration::ZERO,
        }));
        now
    }

    fn way(
        &mut self,
        (session, position): (SessionId, u32),
        (from, to): (NodeId, NodeId),
        tokens: u32,
        now: Timestamp,
    ) -> Timestamp {
        let bytes = 64 + 2048 * u64::from(tokens * self.sketch.batch);
        let transmit = Duration::from_secs_f64(bytes as f64 / self.sketch.bandwidth);
        let propagation = self.about(self.sketch.delay);
        let queue = Duration::from_micros(15);
        if self.sketch.carried {
            self.events.push(Event::Carried(Carried {
                session,
                position,
                tokens,
                from,
                to,
                bytes,
                queue,
                transmit,
                propagation,
            }));
        }
        now + queue + transmit + propagation
    }
}

/// Returns the key of a cell.
#[allow(dead_code, reason = "each test file is a crate of its own, and not every one names cells")]
pub fn key(index: u32, values: &[(&str, &str)]) -> CellKey {
    CellKey { index, values: values.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect() }
}

//! Generates a random swarm from a seed: its model, peers, clients, policies, network and faults.
use actors::id::{BlockRange, HostId, NodeId};
use actors::message::{Forwarding, WireType};
use actors::placement::Placement;
use actors::policy::{Admission, Detection, Lifetime, Policies, Prefill, Recovery, Retry, Scheduling};
use actors::route::{Bans, Routing, Weight};
use actors::seed::{Seed, Stream};
use actors::time::Duration;
use rand::RngExt;
use scenarios::plan::{
    Arrival, Cost, Device, Distribution, Executor, Fault, Host, Link, Machine, Model, Network, Node, Open, Plan, Role,
    Roofline, Sharing, Weights, What, When, Workload,
};
use scenarios::shape::{Arch, Shape, WeightType};
use std::collections::{BTreeMap, BTreeSet};

/// A random swarm, and the properties that make a failed request acceptable.
#[derive(Clone, Debug)]
pub struct Drawn {
    pub plan: Plan,
    /// Whether some blocks may be without a serving peer for longer than clients retry.
    pub uncovered: bool,
    /// Whether a peer's cache may have no room for a session for longer than clients retry.
    pub tight: bool,
    pub lost_clients: BTreeSet<NodeId>,
}

impl Drawn {
    /// Whether the request timeout is so short that requests may time out without any fault.
    pub fn hurries(&self) -> bool {
        self.plan.timeout < PATIENT
    }

    /// Whether peers choose their blocks. Whether all blocks are covered then depends on when each peer checks its
    /// placement.
    pub fn chooses(&self) -> bool {
        self.plan.peers().any(|(_, node)| matches!(node.role, Role::Peer { chooses: true, .. }))
    }
}

/// Generates the random swarm of a seed.
pub fn draw(seed: u64) -> Drawn {
    let mut chance = Chance::new(Seed(seed).stream("soak", 0, 0));
    let layers = chance.of(2..=9);
    let mut peers: Vec<BlockRange> = Vec::new();
    // The peers hold two to four copies of the model. Each copy is cut into block ranges of its own, so each block has
    // at least two peers.
    for _ in 0..chance.of(2..=4) {
        let mut start = 0;
        while start < layers {
            let end = (start + chance.of(1..=layers)).min(layers);
            peers.push(BlockRange { start, end });
            start = end;
        }
    }
    let clients = chance.of(1..=4);
    let mut plan = plan(seed, layers, &peers, clients, &mut chance);
    draw_bounds(&mut plan, &mut Chance::new(Seed(seed).stream("soak bounds", 0, 0)));
    let mut drawn_faults = Faults { faults: Vec::new(), uncovered: false, lost_clients: BTreeSet::new() };
    drawn_faults.draw(&plan, &peers, layers, &mut chance);
    let Faults { mut faults, uncovered, lost_clients } = drawn_faults;
    faults.sort_by_key(|fault| fault.at.key());
    plan.faults = faults;
    // A request may fail if the faults outlast the clients' retries. Shorter faults do not excuse a failed request.
    let uncovered = uncovered || troubled(&plan) > shortest_patience(&plan.policies.retry);
    let tight = draw_caches(&mut plan, &mut chance);
    Drawn { plan, uncovered, tight, lost_clients }
}

/// In some swarms, limits the lifetime of sessions, and in some, the duration of requests.
fn draw_bounds(plan: &mut Plan, chance: &mut Chance) {
    let seconds = |chance: &mut Chance| chance.span(Duration::from_secs(10), Duration::from_secs(60));
    if chance.is(15) && plan.policies.recovery != Recovery::Off {
        let longest = if chance.is(50) { seconds(chance) } else { Duration::ZERO };
        plan.policies.lifetime = Lifetime { idle: seconds(chance), longest };
    }
    if chance.is(10) {
        plan.timeout = seconds(chance);
    }
}

/// Returns the total time for which the faults hinder hosts and links in the worst case, in which no two faults
/// overlap.
fn troubled(plan: &Plan) -> Duration {
    let mut crashed = BTreeMap::new();
    let mut sum = Duration::ZERO;
    for fault in &plan.faults {
        match (&fault.what, fault.at) {
            (What::Stall { lasts, .. } | What::Partition { lasts, .. } | What::SlowLink { lasts, .. }, _) => {
                sum += *lasts
            }
            (What::Crash { back: Some(back), .. }, _) => sum += *back,
            (What::Crash { host, back: None }, When::Release(at)) => _ = crashed.insert(*host, at),
            (What::Restart { host }, When::Release(at)) => {
                sum += crashed.remove(host).map_or(Duration::ZERO, |since| at - since);
            }
            _ => {}
        }
    }
    sum
}

/// Returns the shortest time for which a client retries one token: the sum of its waits if each is as short as the
/// jitter allows.
fn shortest_patience(retry: &Retry) -> Duration {
    (1..retry.limit).map(|count| retry.wait(count, 0)).fold(Duration::ZERO, |sum, wait| sum + wait)
}

/// In some swarms, limits each peer's KV cache to little more than one session of each client. Returns whether it did
/// so.
fn draw_caches(plan: &mut Plan, chance: &mut Chance) -> bool {
    if !chance.is(20) {
        return false;
    }
    let longest = u64::from(plan.longest() + 1) * u64::from(plan.workload.batch) * plan.cache_bytes_per_token_block();
    let sessions = plan.clients().count() as u64 + u64::from(chance.of(0..=2));
    for node in &mut plan.nodes {
        if let Role::Peer { blocks, cache_bytes, .. } = &mut node.role {
            *cache_bytes = longest * u64::from(blocks.len()) * sessions;
        }
    }
    true
}

/// The random stream that generates a seed's swarm.
pub(super) struct Chance(Stream);

impl Chance {
    pub fn new(stream: Stream) -> Chance {
        Chance(stream)
    }

    pub fn of(&mut self, range: std::ops::RangeInclusive<u32>) -> u32 {
        self.0.random_range(range)
    }

    /// Returns true with a probability of `percent`.
    pub fn is(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    /// Returns a random duration between `least` and `most`. Its logarithm is uniformly distributed.
    pub fn span(&mut self, least: Duration, most: Duration) -> Duration {
        let (least, most) = ((least.0.max(1) as f64).ln(), (most.0.max(1) as f64).ln());
        Duration(self.0.random_range(least..=most).exp() as u64)
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.0.random_range(0..of.len())].clone()
    }
}

pub(super) const MS: Duration = Duration::from_millis(1);

/// A request timeout that is so long that no request reaches it.
const PATIENT: Duration = Duration::from_secs(1800);

fn plan(seed: u64, layers: u32, peers: &[BlockRange], clients: u32, chance: &mut Chance) -> Plan {
    let shape = Shape {
        arch: Arch::Opt,
        layers,
        hidden: 64,
        heads: 4,
        kv_heads: 4,
        ffn: 256,
        vocab: 50_000,
        max_positions: 2048,
    };
    let shared = chance.is(20);
    let (mut hosts, mut nodes) = (Vec::new(), Vec::new());
    hosts.push(host("orchestrator".to_owned(), 0, chance));
    nodes.push(Node { host: HostId(0), device: 0, role: Role::Orchestrator });
    nodes.push(Node { host: HostId(0), device: 0, role: Role::Bootstrap });
    // Peers that choose their blocks all hold the same number of blocks. The block ranges that were drawn above then
    // only decide which hosts may fail.
    let chooses = chance.is(12);
    let roles = peers.iter().map(|&blocks| Role::Peer {
        blocks: if chooses { BlockRange { start: 0, end: blocks.len() } } else { blocks },
        chooses,
        cache_bytes: 1 << 30,
        inference_rps: 100.0,
        forward_rps: 100.0,
        network_rps: 100.0,
    });
    // Two or three successive peers may share one host process, on one device or each on a device of its own.
    let together = if chance.is(25) { chance.of(2..=3) } else { 1 };
    let mut slot = |role, fresh: bool, chance: &mut Chance| {
        let id = hosts.len() as u32 - u32::from(!fresh);
        if fresh {
            hosts.push(host(format!("host-{id}"), if shared { 0 } else { id }, chance));
        }
        let home = &mut hosts[id as usize];
        if !fresh && chance.is(50) {
            home.also.push(device(chance));
        }
        let device = chance.of(0..=home.also.len() as u32);
        nodes.push(Node { host: HostId(id), device, role });
    };
    for (index, role) in (0..).zip(roles) {
        slot(role, index % together == 0 || chance.is(25), chance);
    }
    for _ in 0..clients {
        slot(Role::Client, true, chance);
    }
    let machine = |leases| move |id: u32| Machine { name: format!("machine-{id}"), leases };
    let count = if shared { 1 } else { hosts.len() as u32 };
    let leases = if shared { Some(chance.of(1..=3)) } else { None };
    let machines = (0..count).map(machine(leases)).collect();
    let mut network = Network::of(link(chance));
    network.sharing = if chance.is(15) { Sharing::Fair } else { Sharing::Fifo };
    let workload = Workload {
        micro_batches: chance.of(1..=3),
        batch: chance.of(1..=3),
        prompt: chance.of(1..=24),
        generate: chance.of(0..=24),
    };
    let mut policies = policies(chance);
    if chooses {
        // Blocks that no peer has chosen at first are covered once peers check their placement again. Clients need many
        // retries to wait for that.
        policies.retry.limit = 60;
        if policies.recovery == Recovery::Off {
            policies.recovery = Recovery::Replay;
        }
    }
    let open = chance.is(30).then(|| open(&nodes, &workload, chance));
    Plan {
        scenario: "soak".to_owned(),
        cell: 0,
        repeat: 0,
        seed: Seed(seed).derive("swarm", 0, 0),
        chance: Seed(seed).derive("swarm", 0, 0),
        model: Model {
            shape,
            block_type: WeightType::F32,
            client_type: WeightType::F32,
            wire: chance.one(&[WireType::F32, WireType::F16, WireType::Int8 { block: 16 }]),
            cache_value_bytes: 4,
            weights: Weights::Echo,
        },
        machines,
        hosts,
        nodes,
        network,
        policies,
        workload,
        tokens: Default::default(),
        objectives: Default::default(),
        open,
        timeout: PATIENT,
        ready_within: Duration::from_secs(60),
        warm_up: true,
        faults: Vec::new(),
    }
}

/// Generates requests with arrival times. No request is longer than `longest`.
fn open(nodes: &[Node], longest: &Workload, chance: &mut Chance) -> Open {
    let clients = (0u32..).zip(nodes).filter(|(_, node)| node.role == Role::Client).map(|(id, _)| NodeId(id));
    let clients: Vec<NodeId> = clients.collect();
    let (mut at, mut arrivals) = (Duration::ZERO, Vec::new());
    for _ in 0..chance.of(1..=12) {
        at += chance.span(MS, Duration::from_secs(3));
        let (prompt, generate) = (chance.of(1..=longest.prompt), chance.of(0..=longest.generate));
        arrivals.push(Arrival { client: chance.one(&clients), at, prompt, generate, route: Vec::new() });
    }
    Open { arrivals, horizon: at, in_flight: chance.of(1..=4) }
}

fn device(chance: &mut Chance) -> Device {
    let per_block = chance.span(Duration::from_micros(50), Duration::from_millis(20));
    let roofline = Roofline { flops: 1e10, bandwidth: 1e10, per_block, per_job: Duration::from_micros(100) };
    Device { name: "drawn".to_owned(), executor: Executor::Elsewhere, cost: Cost::of(roofline) }
}

fn host(name: String, machine: u32, chance: &mut Chance) -> Host {
    let device = device(chance);
    let nic = |chance: &mut Chance| if chance.is(30) { link(chance) } else { Link::FREE };
    let (egress, ingress) = (nic(chance), nic(chance));
    Host { name, site: "here".to_owned(), machine, device, also: Vec::new(), egress, ingress }
}

fn link(chance: &mut Chance) -> Link {
    let delay = chance.span(Duration::from_micros(20), Duration::from_millis(80));
    let delay = match chance.of(0..=2) {
        0 => Distribution::Constant(delay),
        1 => Distribution::Uniform { low: Duration::ZERO, high: delay },
        _ => Distribution::LogNormal { median: delay, sigma: 0.5 },
    };
    let bandwidth = chance.one(&[None, Some(1e5), Some(1e6), Some(1e8)]);
    Link::new(delay, bandwidth)
}

fn policies(chance: &mut Chance) -> Policies {
    let routings = [
        Routing::MinLatency,
        Routing::LoadAware,
        Routing::Random(Weight::Span),
        Routing::Random(Weight::Throughput),
        Routing::RoundRobin(Weight::Throughput),
    ];
    let recovery = match chance.of(0..=19) {
        0..=11 => Recovery::Replay,
        12..=15 => Recovery::Cacheless,
        16..=18 => Recovery::Restart,
        _ => Recovery::Off,
    };
    let detection = match recovery {
        // Without recovery, a false alarm of the failure detector makes a request fail, so the detector keeps its
        // defaults.
        Recovery::Off => Detection::default(),
        _ => Detection {
            heartbeat: chance.span(MS, Duration::from_secs(2)),
            missed: chance.of(1..=6),
            step_timeout: chance.span(Duration::from_secs(30), Duration::from_secs(600)),
            ..Detection::default()
        },
    };
    Policies {
        routing: chance.one(&routings),
        forwarding: chance.one(&[Forwarding::Relay, Forwarding::Push]),
        prefill: match chance.is(30) {
            true => Prefill::Chunked { tokens: chance.of(1..=16) },
            false => Prefill::Whole,
        },
        recovery,
        detection,
        retry: match chance.is(50) {
            true => Retry::default(),
            false => Retry { limit: 60, first: chance.span(MS, Duration::from_secs(1)), ..Retry::default() },
        },
        bans: Bans { first: chance.span(MS, Duration::from_secs(30)), growth: 2.0 },
        scheduling: scheduling(chance),
        admission: match chance.is(30) {
            true => Admission::Wait(chance.span(Duration::from_millis(100), Duration::from_secs(5))),
            false => Admission::Refuse,
        },
        placement: Placement {
            period: chance.span(Duration::from_secs(1), Duration::from_secs(30)),
            quality: 0.75,
            delay: chance.span(MS, Duration::from_secs(5)),
        },
        batch_wait: if chance.is(20) {
            chance.span(Duration::from_micros(10), Duration::from_millis(50))
        } else {
            Duration::ZERO
        },
        ..Policies::default()
    }
}

pub(super) fn scheduling(chance: &mut Chance) -> Scheduling {
    match chance.of(0..=7) {
        0..=2 => Scheduling::Fifo,
        3 => Scheduling::DecodeFirst,
        4 => Scheduling::Split { whole: chance.of(1..=24) },
        5 | 6 => Scheduling::Continuous { tokens: chance.of(1..=64), steps: chance.of(1..=8) },
        _ => Scheduling::PrefillThenDecode { tokens: chance.of(1..=64) },
    }
}

struct Faults {
    faults: Vec<Fault>,
    uncovered: bool,
    lost_clients: BTreeSet<NodeId>,
}

impl Faults {
    fn draw(&mut self, plan: &Plan, peers: &[BlockRange], layers: u32, chance: &mut Chance) {
        // If peers choose their blocks, a crash may leave blocks without a peer until other peers have moved to them.
        self.uncovered |= plan.peers().any(|(_, node)| matches!(node.role, Role::Peer { chooses: true, .. }));
        // For each block, the number of its peers that are present during the whole run or return soon after a crash.
        let mut lasting = vec![0u32; layers as usize];
        let blocks = |span: BlockRange| span.start as usize..span.end as usize;
        for span in peers {
            lasting[blocks(*span)].iter_mut().for_each(|count| *count += 1);
        }
        // A fault of a host affects all peers on it, so they are grouped by host.
        let mut hosts: BTreeMap<HostId, Vec<u32>> = BTreeMap::new();
        for ((_, node), span) in plan.peers().zip(peers) {
            let holds = hosts.entry(node.host).or_insert_with(|| vec![0; layers as usize]);
            holds[blocks(*span)].iter_mut().for_each(|count| *count += 1);
        }
        let busy = chance.of(0..=60);
        for (host, holds) in hosts {
            if !chance.is(busy) {
                continue;
            }
            let others = |lasting: &[u32]| lasting.iter().zip(&holds).all(|(all, own)| *own == 0 || all > own);
            let spared = others(&lasting);
            let mut gone = || lasting.iter_mut().zip(&holds).for_each(|(all, own)| *all -= own);
            match chance.of(0..=9) {
                0..=3 => self.crash(host, chance),
                4 | 5 => self.crash_at_steps(host, chance),
                // The host crashes or leaves and never comes back.
                6 if spared || chance.is(10) => {
                    let at = self.time(chance);
                    let how = chance.one(&[What::Crash { host, back: None }, What::Leave { host }]);
                    self.push(at, how);
                    gone();
                    self.uncovered |= !spared;
                }
                7 if spared => {
                    gone();
                    let at = self.time(chance);
                    self.push(at, What::Join { host });
                }
                _ => {
                    let lasts = chance.span(MS, Duration::from_secs(20));
                    let at = self.time(chance);
                    self.push(at, What::Stall { host, lasts });
                }
            }
        }
        self.draw_ways(plan, chance);
        if chance.is(5) {
            let clients: Vec<NodeId> = plan.clients().map(|(id, _)| id).collect();
            let client = chance.one(&clients);
            self.lost_clients.insert(client);
            let at = self.time(chance);
            self.push(at, What::Crash { host: plan.node(client).host, back: None });
        }
    }

    /// Adds random slow links, slow devices and partitions, each with an end.
    fn draw_ways(&mut self, plan: &Plan, chance: &mut Chance) {
        let others: Vec<HostId> = (1..plan.hosts.len() as u32).map(HostId).collect();
        for _ in 0..chance.of(0..=3) {
            let (at, lasts) = (self.time(chance), chance.span(MS, Duration::from_secs(20)));
            let by = f64::from(chance.of(2..=30));
            let some = |chance: &mut Chance| others.iter().copied().filter(|_| chance.is(50)).collect::<Vec<_>>();
            let what = match chance.of(0..=2) {
                0 => What::SlowDevice { host: chance.one(&others), by, lasts },
                1 => What::SlowLink { from: some(chance), to: some(chance), by, lasts },
                _ => {
                    let one = some(chance);
                    let rest = others.iter().copied().filter(|host| !one.contains(host)).collect();
                    What::Partition { groups: vec![one, rest], lasts }
                }
            };
            self.push(at, what);
        }
    }

    fn time(&self, chance: &mut Chance) -> When {
        When::Release(chance.span(MS, Duration::from_secs(20)))
    }

    fn push(&mut self, at: When, what: What) {
        self.faults.push(Fault { at, what });
    }

    /// Adds random crashes of `host`, each followed by a restart.
    fn crash(&mut self, host: HostId, chance: &mut Chance) {
        let mut at = Duration::ZERO;
        for _ in 0..chance.of(1..=4) {
            at += chance.span(MS, Duration::from_secs(10));
            self.push(When::Release(at), What::Crash { host, back: None });
            at += chance.span(MS, Duration::from_secs(10));
            self.push(When::Release(at), What::Restart { host });
        }
    }

    fn crash_at_steps(&mut self, host: HostId, chance: &mut Chance) {
        for _ in 0..chance.of(1..=4) {
            let count = u64::from(chance.of(1..=30));
            let back = Some(chance.span(MS, Duration::from_secs(10)));
            self.push(When::Steps { host, count }, What::Crash { host, back });
        }
    }
}

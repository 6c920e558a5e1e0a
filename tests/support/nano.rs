//! Plans of a tiny model for live tests and benchmarks: a few hosts on one machine, with real weights generated from a
//! seed.
use actors::id::{BlockRange, HostId};
use actors::message::{Forwarding, WireType};
use actors::policy::Policies;
use actors::seed::Seed;
use actors::time::Duration;
use scenarios::plan::{
    Cost, Device, Executor, Host, Link, Machine, Model, Network, Node, Plan, Role, Roofline, Weights, Workload,
};
use scenarios::shape::{Arch, Shape, WeightType};

/// Returns a plan with an OPT model of hidden size 64, `peers` peers of two blocks each, and `clients` clients. Each
/// node is on its own host.
pub fn plan(peers: u32, clients: u32, forwarding: Forwarding, workload: Workload) -> Plan {
    let shape = Shape {
        arch: Arch::Opt,
        layers: 2 * peers,
        hidden: 64,
        heads: 4,
        kv_heads: 4,
        ffn: 256,
        vocab: 512,
        max_positions: 2048,
    };
    let mut hosts = vec![host("orchestrator".to_owned())];
    let mut nodes =
        [Role::Orchestrator, Role::Bootstrap].map(|role| Node { host: HostId(0), device: 0, role }).to_vec();
    for peer in 0..peers {
        nodes.push(Node {
            host: HostId(hosts.len() as u32),
            device: 0,
            role: Role::Peer {
                blocks: BlockRange { start: 2 * peer, end: 2 * peer + 2 },
                cache_bytes: 1 << 30,
                chooses: false,
                inference_rps: 1000.0,
                forward_rps: 1000.0,
                network_rps: 1000.0,
            },
        });
        hosts.push(host(format!("peer{peer}")));
    }
    for client in 0..clients {
        nodes.push(Node { host: HostId(hosts.len() as u32), device: 0, role: Role::Client });
        hosts.push(host(format!("client{client}")));
    }
    Plan {
        scenario: "nano".to_owned(),
        cell: 0,
        repeat: 0,
        seed: Seed(7),
        chance: Seed(7),
        model: Model {
            shape,
            block_type: WeightType::F32,
            client_type: WeightType::F32,
            wire: WireType::F32,
            cache_value_bytes: 4,
            weights: Weights::Random { seed: 11 },
        },
        machines: vec![Machine { name: "here".to_owned(), leases: Some(1) }],
        hosts,
        nodes,
        network: Network::of(Link::FREE),
        policies: Policies { forwarding, ..Policies::default() },
        workload,
        tokens: Default::default(),
        open: None,
        objectives: Default::default(),
        timeout: Duration::from_secs(60),
        ready_within: Duration::from_secs(30),
        warm_up: true,
        faults: Vec::new(),
    }
}

fn host(name: String) -> Host {
    let roofline = Roofline { flops: 1e10, bandwidth: 1e10, per_block: Duration::ZERO, per_job: Duration::ZERO };
    let cost = Cost::of(roofline);
    Host {
        name,
        site: "here".to_owned(),
        machine: 0,
        device: Device { name: "cpu".to_owned(), executor: Executor::Cpu { threads: 1 }, cost },
        also: Vec::new(),
        egress: Link::FREE,
        ingress: Link::FREE,
    }
}

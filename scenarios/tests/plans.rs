//! Tests that a plan makes explicit everything that its scenario leaves open.
use actors::id::{HostId, NodeId};
use actors::message::WireType;
use actors::route::Routing;
use actors::seed::Seed;
use actors::time::Duration;
use scenarios::plan::{Distribution, Executor, Plan, Role};
use scenarios::shape::{Arch, WeightType};
use scenarios::{Loaded, Overrides};

const SCENARIO: &str = r#"Scenario(
    version: 1,
    name: "plans",
    model: Model(shape: Opt("125m")),
    hosts: [
        Host(name: "a", count: 3, site: "eu", device: Preset("t4")),
        Host(name: "b", count: 2, site: "us", device: Preset("l4")),
        Host(name: "client", site: "us", device: Preset("cpu-8")),
    ],
    peers: [Peers(on: "a"), Peers(on: "b")],
    workload: Closed(on: "client", clients: 2, prompt: 8, generate: 4),
)"#;

fn plan(set: &[(&str, &str)]) -> Plan {
    let set = set.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    let loaded = Loaded::read("plans.ron", SCENARIO.to_owned()).unwrap_or_else(|error| panic!("{error}"));
    let cells = loaded.cells(&Overrides { set, ..Overrides::default() }).unwrap_or_else(|error| panic!("{error}"));
    cells[0].plan(Seed(1), 0).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn blocks_are_split_over_all_even_groups() {
    let spans: Vec<_> = plan(&[])
        .peers()
        .filter_map(|(_, node)| match node.role {
            Role::Peer { blocks, .. } => Some((node.host.0, blocks.start, blocks.end)),
            _ => None,
        })
        .collect();
    assert_eq!(spans, [(1, 0, 3), (2, 3, 6), (3, 6, 8), (4, 8, 10), (5, 10, 12)]);
}

#[test]
fn peers_may_sit_on_one_host_of_a_group() {
    let peers = r#"[Peers(on: "a[2]", span: Blocks(0, 4)), Peers(on: "a[0]"), Peers(on: "a[1]"), Peers(on: "b")]"#;
    let plan = plan(&[("peers", peers), ("hosts.1.count", "1"), ("swarm.routing", r#"Fixed(["a[2]", "b[0]"])"#)]);
    let hosts: Vec<_> = plan.peers().map(|(_, node)| plan.host(node.host).name.as_str()).collect();
    assert_eq!(hosts, ["a[2]", "a[0]", "a[1]", "b"]);
    // The host of a group of one is named like the group, but the name of a member is also accepted.
    assert_eq!(plan.policies.routing, Routing::Fixed(vec![NodeId(2), NodeId(5)]));
}

#[test]
fn a_prompt_in_chunks_is_held_against_a_frame_by_its_chunks() {
    let long = [("model.shape", "Llama(\"3-70b\")"), ("swarm.cache", "999 GiB"), ("workload.prompt", "126000")];
    assert_eq!(plan(&[&long[..], &[("swarm.prefill", "Chunked(tokens: 512)")]].concat()).workload.prompt, 126_000);
}

#[test]
fn hosts_have_machines_of_their_own_unless_they_name_one() {
    let apart = plan(&[]);
    let names: Vec<&str> = apart.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["orchestrator", "a[0]", "a[1]", "a[2]", "b[0]", "b[1]", "client[0]", "client[1]"]);
    assert_eq!(apart.machines.len(), 8);
    assert!(apart.machines.iter().all(|machine| machine.leases.is_none()));
    let shared = plan(&[("machines", "[Machine(name: \"rack\", leases: Off)]"), ("hosts.0.machine", "rack")]);
    assert_eq!((shared.machines.len(), shared.machines[0].leases), (6, None));
    assert!(shared.hosts[1..4].iter().all(|host| host.machine == 0) && shared.hosts[0].machine != 0);
    assert_eq!(shared.hosts[0].device.executor, Executor::Elsewhere);
}

#[test]
fn the_last_link_that_names_a_path_decides() {
    let links = r#"[
        Between(from: "eu", to: "us", both: true, delay: "40 ms", bandwidth: "100 Mbit/s"),
        Between(from: "a", to: "client", delay: "5 ms"),
    ]"#;
    let network = plan(&[("network.links", links)]).network;
    let path = |from, to| network.link(HostId(from), HostId(to));
    let delay = |from, to| path(from, to).delay.clone();
    let constant = |ms| Distribution::Constant(Duration::from_millis(ms));
    assert_eq!(
        (delay(1, 4), delay(4, 1), delay(1, 6), delay(6, 1)),
        (constant(40), constant(40), constant(5), constant(40))
    );
    assert_eq!((path(1, 2), path(0, 1)), (&network.default, &network.default), "what no entry names has the default");
    assert_eq!((path(1, 4).bandwidth, path(1, 6).bandwidth), (Some(12.5e6), None));
}

#[test]
fn the_wire_follows_the_blocks_unless_it_is_chosen() {
    let types = |set: &[(&str, &str)]| {
        let model = plan(set).model;
        (model.block_type, model.client_type, model.wire, model.cache_value_bytes)
    };
    assert_eq!(types(&[]), (WeightType::F32, WeightType::F32, WireType::F32, 4));
    assert_eq!(types(&[("model.dtype", "Int8")]), (WeightType::Int8, WeightType::F32, WireType::F16, 2));
    let chosen = types(&[("model.dtype", "F16"), ("model.ends", "F16"), ("model.wire", "F32")]);
    assert_eq!(chosen, (WeightType::F16, WeightType::F16, WireType::F32, 4));
}

#[test]
fn another_family_keeps_the_four_dimensions() {
    let own = plan(&[]).model.shape;
    let bloom = plan(&[("model.run_as", "Bloom")]).model.shape;
    let four = |shape: &scenarios::shape::Shape| (shape.hidden, shape.heads, shape.layers, shape.vocab);
    assert_eq!((bloom.arch, four(&bloom), bloom.ffn), (Arch::Bloom, four(&own), 3072));
    let llama = plan(&[("model.run_as", "Llama")]).model.shape;
    assert_eq!((four(&llama), llama.ffn, llama.kv_heads), (four(&own), 2048, 12));
}

#[test]
fn a_faster_device_announces_more() {
    let speed = |set: &[(&str, &str)]| {
        let speeds = plan(set);
        let first = speeds.peers().next().map(|(_, node)| node.role.clone());
        match first {
            Some(Role::Peer { inference_rps, .. }) => inference_rps,
            _ => panic!("peers() gives peers"),
        }
    };
    assert!(speed(&[("hosts.0.device", "Preset(\"a100\")")]) > speed(&[]));
    let measured =
        "Custom(flops: \"1 TFLOP/s\", bandwidth: \"100 GB/s\", table: Table(decode: [(1, \"4 ms\"), (4, \"5 ms\")]))";
    assert!((speed(&[("hosts.0.device", measured)]) - 250.0).abs() < 1e-9);
    let cpu = plan(&[("hosts.0.device", "Cpu(threads: 2, bandwidth: \"20 GB/s\", first_job: \"1 s\")")]);
    let device = &cpu.hosts[1].device;
    assert_eq!(device.executor, Executor::Cpu { threads: 2 });
    assert_eq!((device.cost.roofline.bandwidth, device.cost.first_job), (20e9, Duration::from_secs(1)));
}

//! Tests that every built-in scenario can be loaded, swept and planned, and begins with its question and its expected
//! answer.
use actors::id::HostId;
use actors::message::Forwarding;
use actors::seed::Seed;
use actors::time::Duration;
use scenarios::library::LIBRARY;
use scenarios::plan::{Distribution, Executor, Plan, Role};
use scenarios::shape::{Arch, WeightType};
use scenarios::{Loaded, Overrides, live_obstacles, load};
use std::collections::BTreeSet;
use std::path::Path;

fn library(name: &str) -> Loaded {
    load(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn plans(name: &str) -> Vec<Plan> {
    let cells = library(name).cells(&Overrides::default()).expect("a sweep");
    cells.iter().map(|cell| cell.plan(Seed(7), 0).expect("a plan")).collect()
}

#[test]
fn every_file_is_in_the_table_and_opens_with_its_question() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("library");
    let files: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("the library")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .collect();
    let table: BTreeSet<String> = LIBRARY.iter().map(|(name, _)| format!("{name}.ron")).collect();
    assert_eq!(files, table);
    for (name, text) in LIBRARY {
        assert!(text.starts_with("// Question: ") && text.contains("\n// Expected: "), "{name}");
        assert_eq!(library(name).scenario().name, name);
    }
}

#[test]
fn every_cell_of_every_scenario_has_a_plan_and_nothing_to_warn_of() {
    for (name, _) in LIBRARY {
        let summary = library(name).check(&Overrides::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        // Two warnings are expected. The `helix` scenarios repeat requests of Helix' authors that are longer than LLaMA
        // 30B's context of 2048 tokens. In `internet-scale`, with thousands of peers, no peer has room for all requests
        // at once.
        let expected = |text: &str| match name {
            "internet-scale" => text.contains("may be open at once"),
            _ => name.starts_with("helix") && text.contains("context ends at 2048"),
        };
        let unexpected: Vec<_> = summary.warnings.iter().filter(|warning| !expected(&warning.text)).collect();
        assert!(unexpected.is_empty(), "{name}: {unexpected:?}");
        let keys: BTreeSet<_> = summary.cells.iter().map(|cell| &cell.key.values).collect();
        assert_eq!(keys.len(), summary.cells.len(), "{name}: a cell comes twice");
    }
}

#[test]
fn quickstart_runs_in_both_worlds() {
    let plans = plans("quickstart");
    assert_eq!(plans.len(), 6);
    for plan in &plans {
        assert_eq!(live_obstacles(plan), Vec::<String>::new());
        assert_eq!((plan.peers().count(), plan.clients().count()), (2, 2));
        assert_eq!((plan.machines.len(), plan.machines[0].leases), (1, Some(1)));
        assert!(plan.hosts.iter().all(|host| host.machine == 0));
        assert!(matches!(plan.network.default.delay, Distribution::Uniform { .. }), "another seed gives other bytes");
    }
}

#[test]
fn a_plan_seats_the_orchestrator_and_the_bootstrap_node_first() {
    for plan in ["quickstart", "flexgen-petals-opt30b"].into_iter().flat_map(plans) {
        assert_eq!((&plan.nodes[0].role, plan.nodes[0].host), (&Role::Orchestrator, HostId(0)));
        assert_eq!((&plan.nodes[1].role, plan.nodes[1].host), (&Role::Bootstrap, HostId(0)));
        let order: Vec<bool> = plan.nodes.iter().skip(2).map(|node| node.role == Role::Client).collect();
        assert!(order.is_sorted(), "peers come before clients");
        let used: BTreeSet<u32> = plan.nodes.iter().map(|node| node.host.0).collect();
        assert_eq!(used, (0..plan.hosts.len() as u32).collect(), "every host holds a node");
    }
}

#[test]
fn flexgen_opt30b_is_the_benchmark_of_the_paper() {
    let loaded = library("flexgen-petals-opt30b");
    assert_eq!(loaded.repeats(&Overrides::default()).expect("repeats"), 3);
    let plans = plans("flexgen-petals-opt30b");
    // 3 networks x 2 batches x (3 prompts with 32 new tokens, and 5 more answer lengths with a prompt of 512)
    assert_eq!(plans.len(), 3 * 2 * (3 + 5));
    for plan in &plans {
        let shape = &plan.model.shape;
        assert_eq!((shape.arch, shape.layers, shape.hidden), (Arch::Bloom, 48, 7168));
        assert_eq!((shape.heads, shape.vocab, plan.model.block_type), (56, 50_272, WeightType::Int8));
        assert_eq!((plan.peers().count(), plan.clients().count()), (4, 6));
        assert_eq!(plan.workload.micro_batches, 2);
        assert_eq!(plan.policies.forwarding, Forwarding::Relay);
        for (_, node) in plan.peers() {
            let Role::Peer { blocks, .. } = node.role else { unreachable!("peers() gives peers") };
            let host = plan.host(node.host);
            assert_eq!((blocks.len(), host.device.executor.clone()), (12, Executor::Elsewhere));
            assert!(matches!(host.egress.delay, Distribution::Constant(delay) if delay >= Duration::from_millis(10)));
            assert_eq!(host.ingress.delay, Distribution::Constant(Duration::ZERO));
        }
        for (_, node) in plan.clients() {
            assert_eq!(plan.host(node.host).egress.delay, Distribution::Constant(Duration::ZERO));
        }
        assert!(live_obstacles(plan)[0].contains("hosts.0.device=Cpu"));
    }
    let networks: BTreeSet<String> = plans.iter().map(|plan| format!("{:?}", plan.hosts[1].egress)).collect();
    assert_eq!(networks.len(), 3);
    let lengths = |prompt| {
        let of_prompt = plans.iter().filter(|plan| plan.workload.prompt == prompt);
        of_prompt.map(|plan| plan.workload.generate).collect::<BTreeSet<_>>()
    };
    assert_eq!(lengths(512), BTreeSet::from([0, 4, 8, 16, 24, 32]));
    assert_eq!((lengths(256), lengths(1024)), (BTreeSet::from([32]), BTreeSet::from([32])));
}

#[test]
fn its_siblings_differ_by_model_and_peers() {
    for (name, peers, layers, hidden, blocks) in
        [("flexgen-petals-opt6.7b", 1, 32, 4096, 32), ("flexgen-petals-opt175b", 24, 96, 12_288, 4)]
    {
        let plan = &plans(name)[0];
        assert_eq!((plan.model.shape.layers, plan.model.shape.hidden), (layers, hidden));
        assert_eq!(plan.peers().count(), peers);
        let spans = plan.peers().filter_map(|(_, node)| match node.role {
            Role::Peer { blocks, .. } => Some(blocks.len()),
            _ => None,
        });
        assert!(spans.into_iter().all(|span| span == blocks), "{name}");
    }
}

#[test]
fn an_adaptation_says_what_it_maps() {
    let summary = library("flexgen-petals-opt30b").check(&Overrides::default()).expect("it is whole");
    let [adapted] = summary.adapted.as_slice() else { panic!("one model in all cells") };
    assert_eq!(adapted.cells.len(), summary.cells.len());
    let said = adapted.to_string();
    assert!(said.starts_with("Opt is run as Bloom in cells 0 to 47\n"), "{said}");
    let flops = adapted.distances.iter().filter(|(distance, _)| distance.measure == "FLOPs a token");
    let cells = flops.flat_map(|(_, cells)| cells).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(cells.len(), summary.cells.len(), "each cell has its work");
    assert!(library("quickstart").check(&Overrides::default()).expect("it is whole").adapted.is_empty());
}

#[test]
fn the_swarm_of_the_internet_is_spread_over_all_regions() {
    let plan = &plans("internet-scale")[0];
    assert_eq!((plan.peers().count(), plan.clients().count()), (2000, 10_000));
    let sites = &plan.network.sites;
    assert_eq!((sites.names.len(), sites.links.len()), (34, 34 * 34), "33 regions, and the orchestrator");
    for (is_client, least) in [(false, 2000 / 33), (true, 10_000 / 33)] {
        for region in 1..34 {
            let nodes = plan.nodes().filter(|(_, node)| match node.role {
                Role::Client => is_client,
                Role::Peer { .. } => !is_client,
                _ => false,
            });
            let here = nodes.filter(|(_, node)| sites.of[node.host.0 as usize] == region).count();
            assert!((least..=least + 5).contains(&here), "{here} in {}", sites.names[region as usize]);
        }
    }
    let varies = |at: usize| matches!(sites.links[at].delay, Distribution::LogNormal { sigma, .. } if sigma > 0.0);
    assert!((1..34).flat_map(|from| (1..34).map(move |to| from * 34 + to)).all(varies));
    let requests = plan.requests();
    assert!((9_500..10_700).contains(&requests), "about one for each client: {requests}");
    let leaving = plan.faults.iter().filter(|fault| fault.what.kind().label() == "crash").count();
    assert!((30..150).contains(&leaving), "some tens of peers go while requests come: {leaving}");
}

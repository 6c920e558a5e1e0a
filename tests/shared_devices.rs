//! Tests that peers which share a device alternate on it, and that devices of one host compute in parallel, live and
//! simulated alike.
use actors::id::NodeId;
use actors::record::{Ended, Event, Served};
use actors::seed::Seed;
use actors::time::Duration;
use live::{self, Options};
use scenarios::plan::{Fault, Plan, Role, Weights, What, When};
use scenarios::{Overrides, live_obstacles};
use simulator::{self, HORIZON};
use std::sync::atomic::AtomicBool;
use topology::outcome::{Outcome, Run};

/// Returns a plan for four clients and two peers on one host, without core leases. Each peer has two blocks.
fn plan(set: &[(&str, &str)]) -> Plan {
    let ours = [
        ("hosts.0.count", "1"),
        ("peers.0.count", "2"),
        ("machines.0.leases", "Off"),
        ("workload.clients", "4"),
        ("workload.prompt", "48"),
        ("workload.generate", "6"),
        ("swarm.forwarding", "Push"),
    ];
    // A setting in `set` replaces the setting in `ours` with the same path.
    let kept = ours.iter().filter(|(path, _)| set.iter().all(|(other, _)| other != path));
    let set = kept.chain(set).map(|(path, value)| (path.to_string(), value.to_string())).collect();
    let cells = scenarios::load("quickstart").expect("it is there").cells(&Overrides { set, ..Overrides::default() });
    cells.expect("a cell")[0].plan(Seed(5), 0).expect("a plan")
}

const TWO: (&str, &str) = ("hosts.0.also", "[Cpu(threads: 1)]");

fn simulated(plan: &Plan) -> Run {
    simulator::run(plan, HORIZON)
}

fn lived(plan: &Plan) -> Run {
    assert_eq!(live_obstacles(plan), Vec::<String>::new());
    let options = Options::new(env!("CARGO_BIN_EXE_swarmbench"));
    live::run(plan, &options, &AtomicBool::new(false)).expect("the run begins")
}

fn texts(run: &Run) -> Vec<Vec<u32>> {
    let Outcome::Done(drained) = &run.outcome else { panic!("{}", run.outcome) };
    assert_eq!(drained.failed, 0);
    let ended = |event: &Event| match event {
        Event::Ended(ended) if !ended.request.is_warmup() => Some((**ended).clone()),
        _ => None,
    };
    let mut ended: Vec<Ended> = run.events.iter().filter_map(ended).collect();
    ended.sort_by_key(|ended| ended.request);
    ended.into_iter().map(|ended| ended.output).collect()
}

/// Returns the number of pairs of jobs, one of each peer, that were computed at the same time.
fn overlaps(run: &Run, one: NodeId, other: NodeId) -> usize {
    let of = |peer: NodeId| {
        run.events.iter().filter_map(move |event| match event {
            Event::Served(hop) if hop.peer == peer => Some(*hop),
            _ => None,
        })
    };
    let (ones, others): (Vec<Served>, Vec<Served>) = (of(one).collect(), of(other).collect());
    assert!(ones.len() > 20 && others.len() > 20, "both have worked");
    let meets = |a: &&Served, b: &Served| a.started < b.finished && b.started < a.finished;
    others.iter().map(|b| ones.iter().filter(|a| meets(a, b)).count()).sum()
}

fn peers(plan: &Plan) -> (NodeId, NodeId) {
    let peers: Vec<NodeId> = plan.peers().map(|(id, _)| id).collect();
    (peers[0], peers[1])
}

#[test]
fn peers_of_a_host_take_its_devices_in_turn() {
    let devices = |plan: &Plan| plan.peers().map(|(_, node)| (node.host.0, node.device)).collect::<Vec<_>>();
    assert_eq!(devices(&plan(&[])), [(1, 0), (1, 0)]);
    assert_eq!(devices(&plan(&[TWO])), [(1, 0), (1, 1)]);
    assert_eq!(devices(&plan(&[TWO, ("peers.0.device", "1")])), [(1, 1), (1, 1)]);
    let four = plan(&[TWO, ("hosts.0.count", "2")]);
    assert_eq!(devices(&four), [(1, 0), (1, 1), (2, 0), (2, 1)]);
    let firsts = four.peers().map(|(_, node)| match node.role {
        Role::Peer { blocks, .. } => blocks.start,
        _ => panic!("a peer"),
    });
    assert_eq!(firsts.collect::<Vec<_>>(), [0, 1, 2, 3], "spans follow each other within a host");
}

#[test]
fn a_shared_device_does_one_job_at_a_time_and_two_devices_do_two() {
    for world in [simulated, lived] {
        let (one, two) = (plan(&[]), plan(&[TWO]));
        let (a, b) = peers(&one);
        let (shared, apart) = (world(&one), world(&two));
        assert_eq!(overlaps(&shared, a, b), 0);
        assert!(overlaps(&apart, a, b) > 0, "four clients keep two devices busy");
        assert_eq!(texts(&shared), texts(&apart));
    }
}

#[test]
fn two_devices_of_a_host_take_turns_at_its_machines_cores() {
    let plan = plan(&[TWO, ("machines.0.leases", "1")]);
    let (a, b) = peers(&plan);
    for world in [simulated, lived] {
        assert_eq!(overlaps(&world(&plan), a, b), 0);
    }
}

/// Tests that two peers that share a device take as long as one peer that has the blocks and the work of both.
#[test]
fn two_peers_on_a_device_take_as_long_as_one_with_their_blocks() {
    let wall = |plan: &Plan| match simulated(plan).outcome {
        Outcome::Done(drained) => drained.wall.as_secs_f64(),
        other => panic!("{other}"),
    };
    // With these settings only the computation of blocks takes time.
    let free =
        [("network", "Network()"), ("hosts.1.device", "Custom(flops: \"1000 TFLOP/s\", bandwidth: \"1000 TB/s\")")];
    let device = ("hosts.0.device", "Custom(flops: \"1 TFLOP/s\", bandwidth: \"1 TB/s\", per_block: \"2 ms\")");
    let with = |more: &[(&str, &str)]| wall(&plan(&[&free[..], &[device], more].concat()));
    let (one, shared) = (with(&[("peers.0.count", "1")]), with(&[]));
    assert!((shared / one - 1.0).abs() < 0.02, "{shared} s against {one} s");
    let two = with(&[("hosts.0.also", "[Custom(flops: \"1 TFLOP/s\", bandwidth: \"1 TB/s\", per_block: \"2 ms\")]")]);
    assert!((two / one - 0.5).abs() < 0.1, "{two} s on two devices against {one} s");
}

#[test]
fn a_host_that_crashes_takes_all_its_devices_along_and_gives_back_their_turns() {
    let mut plan = plan(&[TWO, ("machines.0.leases", "2"), ("workload.micro_batches", "12")]);
    plan.model.weights = Weights::Echo;
    let whole = texts(&simulated(&plan));
    let (a, _) = peers(&plan);
    let host = plan.node(a).host;
    for at in [3, 11, 19] {
        let at = When::Release(Duration::from_millis(at));
        plan.faults = vec![Fault { at, what: What::Crash { host, back: None } }];
        plan.faults.push(Fault { at: When::Release(Duration::from_millis(200)), what: What::Restart { host } });
        let run = simulated(&plan);
        assert_eq!(texts(&run), whole, "the text is that without faults");
        let (a, b) = peers(&plan);
        assert!(overlaps(&run, a, b) > 0, "both leases are there after the crash");
    }
}

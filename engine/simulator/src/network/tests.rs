//! Tests that dropping idle paths bounds the memory and does not change the passages of messages.
use super::Network;
use actors::id::HostId;
use actors::seed::Seed;
use actors::time::{Duration, Timestamp};
use links::Passage;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use scenarios::plan::{Distribution, Drawn, Host, Link, Plan, Tcp};
use scenarios::{Loaded, Overrides};

/// A scenario with two hosts and the orchestrator's host.
const HOSTS: &str = r#"Scenario(
    version: 1,
    name: "hosts",
    model: (shape: Opt("125m")),
    hosts: [(name: "peer", device: Preset("t4")), (name: "client", device: Preset("cpu-8"))],
    peers: [(on: "peer")],
    workload: Closed(on: "client", clients: 1, prompt: 1, generate: 1),
)"#;

/// Returns a plan of `count` hosts with `link` between any two of them. `nic` is the bandwidth of each NIC.
fn plan(count: usize, link: Link, nic: Option<f64>, tcp: Tcp) -> Plan {
    let hosts = Loaded::read("hosts", HOSTS.to_owned()).expect("a scenario");
    let cells = hosts.cells(&Overrides::default()).expect("a cell");
    let mut plan = cells[0].plan(Seed(5), 0).expect("a plan");
    let nic = Link::new(Distribution::ZERO, nic);
    let host = Host { egress: nic.clone(), ingress: nic, ..plan.hosts[1].clone() };
    plan.hosts = vec![host; count];
    plan.network = scenarios::plan::Network { tcp, ..scenarios::plan::Network::of(link) };
    plan
}

fn slow_start() -> Tcp {
    Tcp { initial_window: Some(14_480), idle_restart: true, header: 66, ..Tcp::PIPE }
}

/// Sends messages and returns their passages, and the number of paths at the end. A message is (time since the message
/// before, sending host, receiving host, bytes).
fn passages(network: &mut Network, messages: &[(u64, u32, u32, u64)]) -> (Vec<Passage>, usize) {
    let mut now = Timestamp(0);
    let passage = |&(gap, from, to, bytes): &(u64, u32, u32, u64)| {
        now = now + Duration(gap);
        network.depart(now, HostId(from), HostId(to), bytes)
    };
    (messages.iter().map(passage).collect(), network.paths.len())
}

proptest! {
    #[test]
    fn messages_do_not_notice_that_idle_paths_were_dropped(
        messages in proptest::collection::vec((0..400_000_000u64, 0..9u32, 0..9u32, 1..60_000u64), 1..200),
        (drawn, bandwidth, idle_restart) in (any::<bool>(), proptest::option::of(1e5..1e9f64), any::<bool>()),
        nic in proptest::option::of(1e5..1e9f64),
    ) {
        let delay = Distribution::Uniform { low: Duration::ZERO, high: Duration::from_millis(200) };
        let drawn = if drawn { Drawn::PerPair } else { Drawn::PerMessage };
        let delay = if drawn == Drawn::PerPair { delay } else { Distribution::Constant(Duration::from_millis(40)) };
        let plan = plan(9, Link { drawn, ..Link::new(delay, bandwidth) }, nic, Tcp { idle_restart, ..slow_start() });
        let (kept, all) = passages(&mut Network::new(&plan), &messages);
        let (dropped, left) = passages(&mut Network::with_bound(&plan, 4), &messages);
        prop_assert_eq!(kept, dropped);
        prop_assert!(left <= all);
    }

    #[test]
    fn messages_of_a_connection_keep_their_order_although_paths_are_dropped(
        messages in proptest::collection::vec((0..40_000_000u64, 0..4u32, 0..4u32, 1..60_000u64), 1..200),
        sigma in 0.0..2.0f64,
    ) {
        let delay = Distribution::LogNormal { median: Duration::from_millis(20), sigma };
        let plan = plan(4, Link::new(delay, None), Some(1e7), slow_start());
        let (passages, _) = passages(&mut Network::with_bound(&plan, 2), &messages);
        let mut last = [[Timestamp(0); 4]; 4];
        for (passage, (_, from, to, _)) in passages.iter().zip(&messages) {
            let last = &mut last[*from as usize][*to as usize];
            prop_assert!(passage.last >= *last);
            *last = passage.last;
        }
    }
}

#[test]
fn idle_pairs_take_bits_and_no_paths() {
    const HOSTS: u32 = 1_000;
    const BOUND: usize = 1 << 10;
    let delay = Distribution::Constant(Duration::from_millis(40));
    let mut network =
        Network::with_bound(&plan(HOSTS as usize, Link::new(delay, None), Some(1e7), slow_start()), BOUND);
    let (mut now, mut pairs, mut most) = (Timestamp(0), 0, 0);
    for from in 0..HOSTS {
        for to in (0..HOSTS).filter(|to| *to != from) {
            let bytes = network.depart(now, HostId(from), HostId(to), 200).transmit();
            assert!(bytes > Duration::ZERO, "the NIC has a bandwidth limit");
            now = now + Duration::from_millis(1);
            (pairs, most) = (pairs + 1, most.max(network.paths.len()));
        }
    }
    assert!(most <= BOUND, "{most} paths");
    let bytes = network.bytes() as f64 / f64::from(pairs);
    assert!(bytes < 0.5, "{bytes} bytes for an idle pair");
}

#[test]
fn busy_paths_are_kept_and_looked_through_ever_more_seldom() {
    const HOSTS: u32 = 100;
    let delay = Distribution::Constant(Duration::from_millis(40));
    let mut network = Network::with_bound(&plan(HOSTS as usize, Link::new(delay, None), None, Tcp::PIPE), 16);
    for (from, to) in (0..HOSTS).flat_map(|from| (0..HOSTS).map(move |to| (from, to))) {
        network.depart(Timestamp(0), HostId(from), HostId(to), 200);
    }
    assert_eq!(network.paths.len(), (HOSTS * HOSTS) as usize, "no message has been delivered");
    let now = Timestamp(0) + Duration::from_secs(1);
    let second = network.depart(now, HostId(0), HostId(1), 200);
    assert_eq!(second.propagation, Duration::from_millis(40), "the connection exists");
}

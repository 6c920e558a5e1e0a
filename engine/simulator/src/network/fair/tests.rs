//! Tests of fluid transfers: their shares of the bandwidth, the sums of their parts, and their order.
use super::*;
use actors::seed::Seed;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use scenarios::plan::{Distribution, Network, Sharing, Tcp};
use scenarios::{Loaded, Overrides};

/// A scenario with four hosts and the orchestrator's host, which carries no transfer.
const HOSTS: &str = r#"Scenario(
    version: 1,
    name: "hosts",
    model: (shape: Opt("125m")),
    hosts: [(name: "peer", count: 3, device: Preset("t4")), (name: "client", device: Preset("cpu-8"))],
    peers: [(on: "peer")],
    workload: Closed(on: "client", clients: 1, prompt: 1, generate: 1),
)"#;

/// Returns a plan of hosts with the given (egress, ingress) bandwidths in bytes per second. The delay between any two
/// hosts is 10 ms.
fn plan(nics: &[(Option<f64>, Option<f64>)], tcp: Tcp) -> Plan {
    let hosts = Loaded::read("hosts", HOSTS.to_owned()).expect("a scenario");
    let cells = hosts.cells(&Overrides::default()).expect("a cell");
    let mut plan = cells[0].plan(Seed(5), 0).expect("a plan");
    plan.hosts.remove(0);
    let delay = Distribution::Constant(Duration::from_millis(10));
    plan.network = Network { tcp, sharing: Sharing::Fair, ..Network::of(Link::new(delay, None)) };
    for (host, &(egress, ingress)) in plan.hosts.iter_mut().zip(nics) {
        host.egress.bandwidth = egress;
        host.ingress.bandwidth = ingress;
    }
    plan
}

/// Sends each message at its time. Returns the messages' indices and passages in the order in which the messages
/// arrive.
fn run(plan: &Plan, messages: &[(u64, u32, u32, u64)]) -> Vec<(usize, Passage)> {
    let mut fair = Fair::new(plan);
    let (mut done, mut offered) = (Vec::new(), 0);
    loop {
        let offer = messages.get(offered).map(|message| Timestamp(message.0));
        match (offer, fair.next()) {
            (Some(at), next) if next.is_none_or(|next| at <= next) => {
                let (_, from, to, bytes) = messages[offered];
                fair.offer(at, (HostId(from), HostId(to)), bytes, offered);
                offered += 1;
            }
            (_, Some(next)) => done.extend(fair.take(next).into_iter().map(|(passage, message)| (message, passage))),
            (_, None) => return done,
        }
    }
}

fn seconds(passage: &Passage) -> f64 {
    passage.last.0 as f64 / 1e9
}

#[test]
fn two_transfers_share_a_nic_and_the_rest_is_the_longer_ones() {
    let plan = plan(&[(Some(1e6), None), (None, None), (None, None)], Tcp::OFF);
    let done = run(&plan, &[(0, 0, 1, 1_000_000), (0, 0, 2, 3_000_000)]);
    assert_eq!(done[0].0, 0);
    assert!((seconds(&done[0].1) - 2.01).abs() < 1e-6, "half of the NIC: {}", seconds(&done[0].1));
    assert!((seconds(&done[1].1) - 4.01).abs() < 1e-6, "then all of it: {}", seconds(&done[1].1));
    let alone = done[1].1;
    assert_eq!((alone.transmit(), alone.propagation), (Duration::from_secs(3), Duration::from_millis(10)));
}

#[test]
fn who_is_held_up_elsewhere_leaves_its_share_to_others() {
    // Host 1 receives 0.2 MB/s, so the other flow gets 0.8 MB/s of the sender's 1 MB/s.
    let plan = plan(&[(Some(1e6), None), (None, Some(2e5)), (None, None)], Tcp::OFF);
    let done = run(&plan, &[(0, 0, 1, 200_000), (0, 0, 2, 800_000)]);
    for (_, passage) in done {
        assert!((seconds(&passage) - 1.01).abs() < 1e-6, "{}", seconds(&passage));
    }
}

proptest! {
    #[test]
    fn parts_sum_order_is_kept_and_nothing_is_faster_than_its_nic(
        messages in proptest::collection::vec((0..40_000_000u64, 0..4u32, 1..4u32, 1..400_000u64), 1..40),
        slow_start: bool,
        limits in proptest::collection::vec(any::<[bool; 2]>(), 4),
    ) {
        const RATE: f64 = 2e6;
        let nics: Vec<_> = limits.iter().map(|[out, inward]| (out.then_some(RATE), inward.then_some(RATE))).collect();
        let initial_window = slow_start.then_some(14_480);
        let plan = plan(&nics, Tcp { initial_window, idle_restart: slow_start, ..Tcp::PIPE });
        let mut now = 0;
        let messages: Vec<_> = messages
            .into_iter()
            .map(|(gap, from, step, bytes)| {
                now += gap;
                (now, from, (from + step) % 4, bytes)
            })
            .collect();
        let mut done = run(&plan, &messages);
        prop_assert_eq!(done.len(), messages.len());
        done.sort_by_key(|(message, _)| *message);
        let mut last: BTreeMap<(u32, u32), Timestamp> = BTreeMap::new();
        let mut sent = [0u64; 4];
        for (message, passage) in &done {
            let (at, from, to, bytes) = messages[*message];
            prop_assert_eq!(passage.sent, Timestamp(at));
            prop_assert_eq!(passage.last.since(passage.sent), passage.queue + passage.propagation + passage.transmit());
            let before = last.insert((from, to), passage.last).unwrap_or_default();
            prop_assert!(passage.last >= before, "a connection keeps its order");
            sent[from as usize] += bytes;
        }
        for (host, sent) in sent.iter().enumerate().filter(|(host, _)| nics[*host].0.is_some()) {
            let end = done.iter().filter(|(message, _)| messages[*message].1 == host as u32).map(|(_, passage)| passage.last);
            if let Some(end) = end.max() {
                prop_assert!(end.0 as f64 / 1e9 >= *sent as f64 / RATE, "host {host} sent faster than its NIC");
            }
        }
    }
}

//! Tests of the order, the sums and the speed of messages that cross links.
use super::{Passage, Path, Stage, Way};
use actors::seed::Seed;
use actors::time::{Duration, Timestamp};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use scenarios::plan::{Distribution, Link, Tcp};

fn link(delay_ms: u64, bandwidth: Option<f64>) -> Link {
    Link::new(Distribution::Constant(Duration::from_millis(delay_ms)), bandwidth)
}

/// Returns a path from host 0 to host 1 over `link` whose way back has no delay.
fn path(link: &Link, nic: &Link, ingress: &Link, tcp: &Tcp) -> Path {
    let free = &Link::FREE;
    Path::new(&Way { there: [nic, link, ingress], back: [free; 3], from: 0, to: 1 }, tcp, Seed(3))
}

#[test]
fn the_slowest_stage_sets_the_transfer_time() {
    let nic = link(10, Some(1e6));
    let mut path = path(&link(1, Some(10e6)), &nic, &Link::FREE, &Tcp::PIPE);
    let passage = path.depart(&mut Stage::egress(&nic, Seed(1), 0), Timestamp(0), 1000, Duration::ZERO);
    assert_eq!(passage.last, Timestamp(0) + Duration::from_millis(10 + 1 + 1));
    assert_eq!(passage.transmit(), Duration::from_millis(1));
}

#[test]
fn a_connection_costs_a_round_trip_unless_nothing_of_tcp_is_modelled() {
    let (there, back, free) = (link(30, None), link(50, None), &Link::FREE);
    let way = Way { there: [free, &there, free], back: [free, &back, free], from: 0, to: 1 };
    assert_eq!(Path::new(&way, &Tcp::PIPE, Seed(1)).handshake(), Duration::from_millis(80));
    assert_eq!(Path::new(&way, &Tcp::OFF, Seed(1)).handshake(), Duration::ZERO);
}

#[test]
fn a_stalling_connection_leaves_its_nic_to_others() {
    let nic = link(0, Some(1.25e7));
    let slow = Tcp { initial_window: Some(14_480), ..Tcp::PIPE };
    let mut egress = Stage::egress(&nic, Seed(3), 0);
    let mut stalling = path(&link(50, None), &nic, &Link::FREE, &slow);
    let mut other = path(&link(50, None), &nic, &Link::FREE, &slow);
    let large = stalling.depart(&mut egress, Timestamp(0), 1_000_000, Duration::ZERO);
    assert!(large.last.since(Timestamp(0)) > Duration::from_millis(80 + 50 + 200), "{:?}", large.last);
    let small = other.depart(&mut egress, Timestamp(0), 1_250, Duration::ZERO);
    assert_eq!(small.last, Timestamp(0) + Duration::from_micros(80_000 + 100 + 50_000));
}

proptest! {
    #[test]
    fn messages_keep_their_order_and_parts_sum_to_the_whole(
        messages in proptest::collection::vec((0..5_000_000u64, 1..200_000u64), 1..60),
        sigma in 0.0..2.0f64,
        bandwidth in 1e5..1e9f64,
        (slow_start, windowed, header, loss) in (any::<bool>(), any::<bool>(), 0..100u64, 0.0..0.1f64),
        lossy in any::<bool>(),
    ) {
        let tcp = Tcp {
            header,
            initial_window: slow_start.then_some(14_480),
            idle_restart: slow_start,
            window: windowed.then_some(50_000),
            ..Tcp::PIPE
        };
        let jittery = Distribution::LogNormal { median: Duration::from_millis(5), sigma };
        let middle = Link { loss: if lossy { loss } else { 0.0 }, ..Link::new(jittery, Some(2e6)) };
        let (nic, inward) = (link(1, Some(bandwidth)), link(0, Some(bandwidth * 0.7)));
        let (mut egress, mut ingress) = (Stage::egress(&nic, Seed(3), 0), Stage::ingress(&inward, Seed(3), 1));
        let mut path = path(&middle, &nic, &inward, &tcp);
        let (mut now, mut last, mut sent) = (Timestamp(0), Timestamp(0), 0);
        for (gap, bytes) in messages {
            now = now + Duration(gap);
            sent += bytes;
            let mut passage: Passage = path.depart(&mut egress, now, bytes, Duration::ZERO);
            ingress.pass(&mut passage, super::Framing::of(&tcp).bytes(bytes));
            prop_assert!(passage.last >= last);
            prop_assert_eq!(passage.last.since(now), passage.queue + passage.propagation + passage.transmit());
            let rate = bandwidth.min(2e6).min(bandwidth * 0.7);
            prop_assert!(passage.last.since(now).as_secs_f64() >= bytes as f64 / rate - 1e-8);
            prop_assert!(passage.last.0 as f64 / 1e9 >= sent as f64 / rate - 1e-6, "faster than the bandwidth");
            last = passage.last;
        }
    }
}

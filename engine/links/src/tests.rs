//! Tests of messages that cross links (their order, the sums of their parts, and the cost of a message). Paths are
//! compared with a simpler model of a path that keeps all of its state from the start.
use super::tcp::{self, Held, Sender};
use super::{LinkTable, Passage, Path, Stage};
use crate::draw::Delay;
use actors::id::HostId;
use actors::seed::{Seed, SmallStream};
use actors::time::{Duration, Timestamp};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use scenarios::plan::{Between, Distribution, Drawn, Hosts, Link, Network, Tcp};

const A: HostId = HostId(0);
const B: HostId = HostId(1);

fn link(delay_ms: u64, bandwidth: Option<f64>) -> Link {
    Link::new(Distribution::Constant(Duration::from_millis(delay_ms)), bandwidth)
}

/// Returns the links between the hosts A and B: `there` from A to B, and `back` from B to A. `nics` has the egress and
/// the ingress NIC of each host.
fn links(there: &Link, back: &Link, nics: [(&Link, &Link); 2], tcp: &Tcp, seed: Seed) -> LinkTable {
    let back = Between { from: Hosts::only(B), to: Hosts::only(A), link: back.clone() };
    let network = Network { between: vec![back], tcp: *tcp, ..Network::of(there.clone()) };
    LinkTable::new(nics.into_iter(), &network, seed)
}

/// Returns the path from A over `nic`, `link` and `ingress` to B. The direction from B to A has no delay.
fn path(link: &Link, nic: &Link, ingress: &Link, tcp: &Tcp) -> (LinkTable, Path) {
    let free = &Link::FREE;
    let mut links = links(link, free, [(nic, free), (free, ingress)], tcp, Seed(3));
    let path = Path::new(&mut links, A, B);
    (links, path)
}

#[test]
fn the_slowest_stage_sets_the_transfer_time() {
    let nic = link(10, Some(1e6));
    let (links, mut path) = path(&link(1, Some(10e6)), &nic, &Link::FREE, &Tcp::PIPE);
    let mut egress = Stage::egress(&nic, Seed(1), 0);
    let passage = path.depart(&links, (A, B), Some(&mut egress), Timestamp(0), 1000, Duration::ZERO);
    assert_eq!(passage.last, Timestamp(0) + Duration::from_millis(10 + 1 + 1));
    assert_eq!(passage.transmit(), Duration::from_millis(1));
}

#[test]
fn a_connection_costs_a_round_trip_unless_nothing_of_tcp_is_modelled() {
    let (there, back, free) = (link(30, None), link(50, None), &Link::FREE);
    let handshake = |tcp| {
        let mut links = links(&there, &back, [(free, free); 2], tcp, Seed(1));
        Path::new(&mut links, A, B).handshake(&links, A, B)
    };
    assert_eq!(handshake(&Tcp::PIPE), Duration::from_millis(80));
    assert_eq!(handshake(&Tcp::OFF), Duration::ZERO);
}

#[test]
fn a_stalling_connection_leaves_its_nic_to_others() {
    let nic = link(0, Some(1.25e7));
    let slow = Tcp { initial_window: Some(14_480), ..Tcp::PIPE };
    let mut egress = Stage::egress(&nic, Seed(3), 0);
    let (links, mut stalling) = path(&link(50, None), &nic, &Link::FREE, &slow);
    let (_, mut other) = path(&link(50, None), &nic, &Link::FREE, &slow);
    let large = stalling.depart(&links, (A, B), Some(&mut egress), Timestamp(0), 1_000_000, Duration::ZERO);
    assert!(large.last.since(Timestamp(0)) > Duration::from_millis(80 + 50 + 200), "{:?}", large.last);
    let small = other.depart(&links, (A, B), Some(&mut egress), Timestamp(0), 1_250, Duration::ZERO);
    assert_eq!(small.last, Timestamp(0) + Duration::from_micros(80_000 + 100 + 50_000));
}

/// A simple model of a path that keeps all of its state from the start: its link as a stage, and a TCP sender if any
/// effect of TCP is modelled.
struct Eager {
    stage: Stage,
    round_trip: Vec<Delay>,
    sender: Option<Sender>,
    tcp: Tcp,
    delivered: Timestamp,
}

impl Eager {
    /// Returns the path from A to B. `there` and `back` are the egress NIC, the link and the ingress NIC of each
    /// direction.
    fn new(there: [&Link; 3], back: [&Link; 3], tcp: &Tcp, seed: Seed) -> Eager {
        let stream = |name: &str| seed.small_stream(name, 0, 1);
        let delays = |links: [&Link; 3], from, to| {
            [
                Delay::of_nic(links[0], seed, "egress", from),
                between(links[1], seed),
                Delay::of_nic(links[2], seed, "ingress", to),
            ]
        };
        let round_trip: Vec<Delay> = delays(there, 0, 1).into_iter().chain(delays(back, 1, 0)).collect();
        let draws = &mut stream("round trip");
        let first = round_trip.iter().map(|delay| delay.draw(draws)).sum();
        let ns_per_byte = there.iter().map(|link| super::ns_per_byte(link)).fold(0.0, f64::max);
        let loss = 1.0 - there.iter().map(|link| 1.0 - link.loss).product::<f64>();
        let sender =
            (tcp::is_windowed(tcp) || loss > 0.0).then(|| Sender::new(tcp, ns_per_byte, first, loss, stream("loss")));
        let (delay, free) = (between(there[1], seed), Timestamp::default());
        let stage = Stage { delay, ns_per_byte: super::ns_per_byte(there[1]), free, stream: stream("path") };
        Eager { stage, round_trip, sender, tcp: *tcp, delivered: free }
    }

    fn handshake(&mut self) -> Duration {
        let stream: &mut SmallStream = &mut self.stage.stream;
        let delays = self.round_trip.iter().map(|delay| delay.draw(stream));
        if self.tcp.handshake { delays.sum() } else { Duration::ZERO }
    }

    fn depart(&mut self, nic: &mut Stage, now: Timestamp, payload: u64, handshake: Duration) -> Passage {
        let bytes = super::Framing::of(&self.tcp).bytes(payload);
        let mut passage = Passage::begin(now);
        passage.propagate(handshake);
        nic.pass(&mut passage, bytes);
        if let Some(sender) = &mut self.sender {
            let Held { start, wait, transmit } = sender.send(passage.first, payload);
            passage.wait_until(start);
            passage.last = passage.last.max(start + transmit);
            passage.hold(wait);
        }
        self.stage.pass(&mut passage, bytes);
        passage.hold(self.delivered.since(passage.last));
        self.delivered = passage.last;
        passage
    }
}

/// Returns the delay of a link between the hosts A and B. A delay that is drawn once per pair of hosts becomes a
/// constant.
fn between(link: &Link, seed: Seed) -> Delay {
    match link.drawn {
        Drawn::PerMessage => Delay::with_jitter(link),
        Drawn::PerPair => {
            let once = Delay::new(&link.delay).draw(&mut seed.small_stream("path once", 0, 1));
            Delay::with_jitter(&Link { delay: Distribution::Constant(once), ..link.clone() })
        }
    }
}

fn any_link() -> impl Strategy<Value = Link> {
    let constant = (0..20u64).prop_map(|ms| Distribution::Constant(Duration::from_millis(ms)));
    let drawn = prop_oneof![
        (1..20u64).prop_map(|ms| Distribution::LogNormal { median: Duration::from_millis(ms), sigma: 0.7 }),
        (0..9u64).prop_map(|ms| Distribution::Uniform { low: Duration::ZERO, high: Duration::from_millis(ms) }),
        (1..9u64).prop_map(|ms| Distribution::Pareto { scale: Duration::from_millis(ms), shape: 0.2 }),
    ];
    let delay = || prop_oneof![2 => constant.clone(), 1 => drawn.clone()];
    let once = prop_oneof![Just(Drawn::PerMessage), Just(Drawn::PerPair)];
    let jitter = prop_oneof![2 => Just(Distribution::ZERO), 1 => delay()];
    let loss = prop_oneof![4 => Just(0.0), 1 => 0.0..0.1f64];
    (delay(), once, jitter, proptest::option::of(1e5..1e9f64), loss)
        .prop_map(|(delay, drawn, jitter, bandwidth, loss)| Link { delay, drawn, jitter, bandwidth, loss })
}

fn any_tcp() -> impl Strategy<Value = Tcp> {
    let window = || proptest::option::of(1_000..40_000u64);
    (any::<bool>(), 0..100u64, window(), any::<bool>(), window()).prop_map(
        |(handshake, header, initial_window, idle_restart, window)| Tcp {
            handshake,
            header,
            initial_window,
            idle_restart,
            window,
            ..Tcp::PIPE
        },
    )
}

/// Generates messages as (nanoseconds since the message before, bytes). Most are small, some exceed any window, and
/// some follow a long idle time.
fn any_messages() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let gap = prop_oneof![6 => 0..50_000_000u64, 1 => 0..20_000_000_000u64];
    let bytes = prop_oneof![3 => 1..2_000u64, 2 => 1..50_000u64, 1 => 1..400_000u64];
    proptest::collection::vec((gap, bytes), 1..60)
}

proptest! {
    #[test]
    fn a_path_has_the_delays_of_one_that_keeps_everything_from_the_start(
        [there, back, egress, ingress, out, inward] in [any_link(), any_link(), any_link(), any_link(), any_link(), any_link()],
        tcp in any_tcp(),
        (messages, seed, opens) in (any_messages(), any::<u64>(), any::<bool>()),
    ) {
        let seed = Seed(seed);
        let mut links = links(&there, &back, [(&egress, &inward), (&out, &ingress)], &tcp, seed);
        let mut eager = Eager::new([&egress, &there, &ingress], [&out, &back, &inward], &tcp, seed);
        let mut path = Path::new(&mut links, A, B);
        let nic = || Stage::egress(&egress, seed, 0);
        let (mut nic, mut other) = (nic(), nic());
        let mut handshake = Duration::ZERO;
        if opens {
            handshake = path.handshake(&links, A, B);
            prop_assert_eq!(handshake, eager.handshake());
        }
        let mut now = Timestamp(0);
        for (gap, bytes) in messages {
            now = now + Duration(gap);
            let passage = path.depart(&links, (A, B), Some(&mut nic), now, bytes, handshake);
            prop_assert_eq!(passage, eager.depart(&mut other, now, bytes, handshake));
            handshake = Duration::ZERO;
        }
    }

    #[test]
    fn a_path_that_is_made_again_while_idle_has_the_delays_of_the_one_before(
        (there, back, egress, ingress) in (any_link(), any_link(), any_link(), any_link()),
        tcp in any_tcp(),
        messages in any_messages(),
    ) {
        // No delay or loss is random here: a path that is made again would draw other random values, which is the only
        // allowed difference.
        let constant = |link: Link| Link { drawn: Drawn::PerPair, jitter: Distribution::ZERO, loss: 0.0, ..link };
        let (there, back, egress, ingress) = (constant(there), constant(back), constant(egress), constant(ingress));
        let mut links = links(&there, &back, [(&egress, &Link::FREE), (&Link::FREE, &ingress)], &tcp, Seed(2));
        let nic = || Stage::egress(&egress, Seed(2), 0);
        let (mut nic, mut other) = (nic(), nic());
        let (mut kept, mut dropped) = (Path::new(&mut links, A, B), Path::new(&mut links, A, B));
        let mut now = Timestamp(0);
        for (gap, bytes) in messages {
            now = now + Duration(gap);
            if dropped.is_idle(now) {
                dropped = Path::again(&mut links, A, B, now);
            }
            let passage = kept.depart(&links, (A, B), Some(&mut nic), now, bytes, Duration::ZERO);
            prop_assert_eq!(passage, dropped.depart(&links, (A, B), Some(&mut other), now, bytes, Duration::ZERO));
        }
    }

    #[test]
    fn a_delay_that_is_drawn_once_is_the_same_for_both_directions_and_jitter_comes_on_top(seed: u64, a in 0..50u32, b in 0..50u32) {
        let uniform = |low, high| Distribution::Uniform { low: Duration::from_millis(low), high: Duration::from_millis(high) };
        let link = Link { drawn: Drawn::PerPair, ..Link::new(uniform(1, 100), None) };
        let table = |link: Link| {
            let free = &Link::FREE;
            LinkTable::new(std::iter::repeat_n((free, free), 50), &Network::of(link), Seed(seed))
        };
        let delay = |links: &mut LinkTable, from, to| Path::new(links, HostId(from), HostId(to)).propagation(links);
        let mut links = table(link.clone());
        let there = delay(&mut links, a, b);
        prop_assert_eq!(there, delay(&mut links, b, a));
        let mut links = table(Link { jitter: uniform(0, 3), ..link });
        let mut path = Path::new(&mut links, HostId(a), HostId(b));
        for _ in 0..20 {
            let drawn = path.propagation(&links);
            prop_assert!(drawn >= there && drawn <= there + Duration::from_millis(3));
        }
    }

    #[test]
    fn a_path_that_is_made_again_draws_anew(seed: u64, now in 1..u64::MAX) {
        let delay = Distribution::Uniform { low: Duration::ZERO, high: Duration::from_secs(1000) };
        let free = &Link::FREE;
        let mut links = links(&Link::new(delay, None), free, [(free, free); 2], &Tcp::PIPE, Seed(seed));
        let draw = |links: &LinkTable, mut path: Path| path.propagation(links);
        let first = Path::new(&mut links, A, B);
        let again = [Path::again(&mut links, A, B, Timestamp(now)), Path::again(&mut links, A, B, Timestamp(now - 1))];
        let first = draw(&links, first);
        let again = again.map(|path| draw(&links, path));
        prop_assert!(first != again[0] && first != again[1] && again[0] != again[1]);
    }

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
        let (links, mut path) = path(&middle, &nic, &inward, &tcp);
        let (mut now, mut last, mut sent) = (Timestamp(0), Timestamp(0), 0);
        for (gap, bytes) in messages {
            now = now + Duration(gap);
            sent += bytes;
            let mut passage: Passage = path.depart(&links, (A, B), Some(&mut egress), now, bytes, Duration::ZERO);
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

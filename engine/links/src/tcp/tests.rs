//! Tests of slow start against its closed formula, of windows against the rate that they allow, and of loss against its
//! formula.
use super::*;
use actors::seed::Seed;
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

fn sender(tcp: Tcp, bandwidth: f64, round_trip: Duration, loss: f64) -> Sender {
    Sender::new(&tcp, 1e9 / bandwidth, round_trip, loss, Seed(1).small_stream("loss", 0, 1))
}

const SLOW: Tcp = Tcp { initial_window: Some(14_480), ..Tcp::PIPE };

/// Returns the transfer time in seconds by Kurose and Ross: n / B + P (R + S / B) - (2^P - 1) w / B, with P = min(Q, K
/// - 1), where n bytes need K windows, and Q windows would stall if n were infinite.
fn closed_form(bytes: f64, segment: f64, window: f64, bandwidth: f64, round_trip: f64) -> f64 {
    let k = (bytes / window + 1.0).log2().ceil();
    let q = ((1.0 + round_trip * bandwidth / segment) * segment / window).log2().floor() + 1.0;
    let p = q.min(k - 1.0).max(0.0);
    bytes / bandwidth + p * (round_trip + segment / bandwidth) - (2f64.powf(p) - 1.0) * window / bandwidth
}

proptest! {
    #[test]
    fn slow_start_takes_what_the_closed_formula_says(
        bytes in 1_448..50_000_000u64, bandwidth in 1e5..1e9f64, round_trip_us in 10..500_000u64, segments in 1..40u64,
    ) {
        let tcp = Tcp { initial_window: Some(segments * 1_448), ..Tcp::PIPE };
        let round_trip = Duration::from_micros(round_trip_us);
        let held = sender(tcp, bandwidth, round_trip, 0.0).send(Timestamp(5), bytes);
        let expected = closed_form(bytes as f64, 1_448.0, (segments * 1_448) as f64, bandwidth, round_trip.as_secs_f64());
        let took = (held.wait + held.transmit).as_secs_f64();
        prop_assert!((took - expected).abs() < 1e-6 + 1e-9 * expected, "{took} s, not {expected} s");
    }

    #[test]
    fn a_long_transfer_is_as_fast_as_its_window_allows(window in 10_000..1_000_000u64, round_trip_ms in 1..200u64) {
        let tcp = Tcp { window: Some(window), ..Tcp::PIPE };
        let round_trip = Duration::from_millis(round_trip_ms);
        let bytes = 200 * window;
        let held = sender(tcp, 1e12, round_trip, 0.0).send(Timestamp(0), bytes);
        let rate = bytes as f64 / (held.wait + held.transmit).as_secs_f64();
        let limit = window as f64 / round_trip.as_secs_f64();
        prop_assert!(rate <= limit * 1.006 && rate >= limit * 0.99, "{rate} B/s, the window allows {limit}");
    }

    #[test]
    fn a_connection_takes_one_message_after_another(
        messages in proptest::collection::vec((0..50_000_000u64, 1..400_000u64), 1..40), loss in 0.0..0.2f64,
    ) {
        let mut sender = sender(Tcp { window: Some(100_000), idle_restart: true, ..SLOW }, 1e7, Duration::from_millis(30), loss);
        let (mut now, mut free) = (Timestamp(0), Timestamp(0));
        for (gap, bytes) in messages {
            now = now + Duration(gap);
            let held = sender.send(now, bytes);
            prop_assert_eq!(held.start, now.max(free));
            free = held.start + held.wait + held.transmit;
            prop_assert!(sender.window >= 1_448 && sender.window <= sender.most);
        }
    }
}

#[test]
fn headers_come_with_each_segment() {
    let framing = Framing::of(&Tcp { header: 66, ..Tcp::PIPE });
    assert_eq!([1, 1_448, 1_449, 14_480].map(|bytes| framing.bytes(bytes)), [67, 1_514, 1_581, 15_140]);
    assert_eq!(Framing::of(&Tcp::PIPE).bytes(14_480), 14_480);
}

#[test]
fn a_grown_window_stalls_no_more_until_the_connection_has_rested() {
    let mut sender = sender(Tcp { idle_restart: true, ..SLOW }, 1.25e7, Duration::from_millis(100), 0.0);
    let first = sender.send(Timestamp(0), 7_000_000);
    assert!(first.wait > Duration::from_millis(500), "{}", first.wait);
    let next = sender.send(sender.free, 7_000_000);
    assert_eq!(next.wait, Duration::ZERO);
    // After an idle time of one timeout (300 ms) the window is half as large, which is still more than the 1.25 MB in
    // flight. After twenty timeouts it is the initial window again.
    let soon = sender.free + Duration::from_millis(310);
    assert_eq!(sender.send(soon, 7_000_000).wait, Duration::ZERO);
    let late = sender.free + Duration::from_secs(6);
    assert_eq!(sender.send(late, 7_000_000).wait, first.wait);
}

#[test]
fn small_messages_do_not_grow_the_window() {
    let mut sender = sender(SLOW, 1.25e7, Duration::from_millis(100), 0.0);
    for message in 0..1000 {
        sender.send(Timestamp(message * 1_000_000), 2_000);
    }
    assert_eq!(sender.window, 14_480);
}

#[test]
fn losses_come_as_often_as_they_should_and_cost_a_round_trip_or_a_timeout() {
    const MESSAGES: u64 = 100_000;
    let (loss, round_trip) = (0.01, Duration::from_millis(50));
    let mut sender = sender(Tcp::PIPE, 1e12, round_trip, loss);
    let (mut repeated, mut timed_out) = (0, 0);
    for message in 0..MESSAGES {
        // The message has 10 segments, of which the last 3 are the tail.
        let wait = sender.repeat(10 * 1_448);
        sender.window = sender.most;
        timed_out += u64::from(wait >= sender.timeout);
        repeated += u64::from(wait == round_trip || wait == sender.timeout + round_trip);
        assert!(
            wait == Duration::ZERO || wait == round_trip || wait >= Duration::from_millis(250),
            "message {message}: {wait}"
        );
    }
    let share = |count: u64| count as f64 / MESSAGES as f64;
    assert!((share(timed_out) - (1.0 - 0.99f64.powi(3))).abs() < 0.003, "{}", share(timed_out));
    assert!((share(repeated) - (1.0 - 0.99f64.powi(7))).abs() < 0.004, "{}", share(repeated));
    // Mathis et al. 1997 give the rate mss / R x sqrt(3/2) / sqrt(p) for a long transfer.
    assert_eq!(sender.most, (1_448.0 * 1.5f64.sqrt() / loss.sqrt()) as u64);
}

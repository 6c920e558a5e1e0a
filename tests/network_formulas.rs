//! Tests that each network setting of a scenario changes a simulation as the setting's formula states. Each setting is
//! changed by its path, as a user would change it. The effect is checked in the steps of the requests.
//!
//! The scenario has one client and one peer. Their computation takes negligible time. A step is therefore two frames,
//! one in each direction.
use actors::record::{Event, Served, Stepped};
use actors::seed::Seed;
use scenarios::{Loaded, Overrides};
use simulator::{HORIZON, run};
use std::path::PathBuf;
use topology::outcome::Run;

const WIRE: &str = r#"#![enable(implicit_some, unwrap_newtypes)]
Scenario(
    version: 1,
    name: "wire",
    model: Model(shape: Custom(arch: Opt, layers: 1, hidden: 1024, heads: 8, vocab: 256, max_positions: 4096)),
    hosts: [
        Host(name: "peer", site: "there", device: Custom(flops: "1000000 TFLOP/s", bandwidth: "1000000 TB/s")),
        Host(name: "client", site: "here", device: Custom(flops: "1000000 TFLOP/s", bandwidth: "1000000 TB/s")),
    ],
    peers: [Peers(on: "peer")],
    swarm: Swarm(cache: "4 GiB", pings: Pings(fanout: 0)),
    network: Network(tcp: Off),
    workload: Closed(on: "client", clients: 1, micro_batches: 2, batch: 1, prompt: 250, generate: 1001),
)
"#;

/// Returns the bytes of a frame with `tokens` tokens: its header, and 1024 values of 4 bytes for each token.
fn frame(tokens: u32) -> f64 {
    64.0 + 4096.0 * f64::from(tokens)
}

fn simulate_in(folder: Option<PathBuf>, set: &[(&str, &str)], seed: u64) -> Run {
    let path = folder.map_or(PathBuf::from("wire.ron"), |folder| folder.join("wire.ron"));
    let loaded = match path.parent().filter(|parent| parent.is_dir() && !parent.as_os_str().is_empty()) {
        Some(_) => {
            std::fs::write(&path, WIRE).expect("it is written");
            scenarios::load(path.to_str().expect("a plain path"))
        }
        None => Loaded::read("wire.ron", WIRE.to_owned()),
    };
    let set = set.iter().map(|(path, value)| (path.to_string(), value.to_string())).collect();
    let cells = loaded.expect("it reads").cells(&Overrides { set, ..Overrides::default() });
    let plan = cells.unwrap_or_else(|why| panic!("{why}"))[0].plan(Seed(seed), 0).unwrap_or_else(|why| panic!("{why}"));
    let run = run(&plan, HORIZON);
    assert!(run.outcome.is_ok(), "{}", run.outcome);
    run
}

fn simulate(set: &[(&str, &str)]) -> Run {
    simulate_in(None, set, 1)
}

/// Returns the duration of each decode step of the timed requests, in seconds.
fn decodes(run: &Run) -> Vec<f64> {
    steps(run).filter(|step| !step.request.is_warmup() && step.output > 1).map(|step| took(&step)).collect()
}

fn steps(run: &Run) -> impl Iterator<Item = Stepped> {
    run.events.iter().filter_map(|event| if let Event::Stepped(step) = event { Some(*step) } else { None })
}

/// Returns the duration of a step without the opening of its sessions, in seconds.
fn took(step: &Stepped) -> f64 {
    (step.seen.since(step.began) - step.setup).as_secs_f64()
}

/// Returns the duration of the prefill of request `index` of the first client, in seconds.
fn prefill(run: &Run, index: u32) -> f64 {
    let first = steps(run).find(|step| step.request.index == index && step.output <= 1);
    took(&first.expect("it has a prefill"))
}

#[track_caller]
fn near(found: f64, expected: f64, share: f64) {
    assert!((found - expected).abs() <= share * expected.abs() + 1e-6, "{found} s, and the formula says {expected} s");
}

fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64)
}

#[test]
fn a_step_has_the_mean_and_the_variance_of_two_delays() {
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::write(folder.path().join("rtt.csv"), "rtt_ms\n10\n20\n30\n100\n").expect("it is written");
    // Each case is a delay of one direction with its mean (ms) and its variance (ms^2).
    let gamma_half = std::f64::consts::PI.sqrt() / 2.0;
    let normal = (0.25f64 / 2.0).exp();
    let cases = [
        ("20 ms".to_owned(), 20.0, 0.0),
        ("Uniform(low: \"5 ms\", high: \"15 ms\")".to_owned(), 10.0, 100.0 / 12.0),
        ("Normal(mean: \"30 ms\", std: \"3 ms\")".to_owned(), 30.0, 9.0),
        (
            "LogNormal(median: \"10 ms\", sigma: 0.5)".to_owned(),
            10.0 * normal,
            100.0 * 0.25f64.exp() * (0.25f64.exp() - 1.0),
        ),
        ("Gamma(shape: 4, scale: \"5 ms\")".to_owned(), 20.0, 100.0),
        ("Pareto(scale: \"10 ms\", shape: 6)".to_owned(), 12.0, 100.0 * 6.0 / (25.0 * 4.0)),
        ("Weibull(scale: \"10 ms\", shape: 2)".to_owned(), 10.0 * gamma_half, 100.0 * (1.0 - gamma_half * gamma_half)),
        ("Empirical(file: \"rtt.csv\", column: \"rtt_ms\", round_trip: true)".to_owned(), 20.0, 312.5),
    ];
    for (delay, mean, variance) in cases {
        let run = simulate_in(Some(folder.path().to_owned()), &[("network.default.delay", &delay)], 1);
        let (found, spread) = moments(&decodes(&run));
        println!(
            "{delay}: mean {:.3} ms of {:.3}, variance {:.2} of {:.2}",
            found * 1e3,
            2.0 * mean,
            spread * 1e6,
            2.0 * variance
        );
        near(found * 1e3, 2.0 * mean, 0.03);
        assert!((spread * 1e6 - 2.0 * variance).abs() <= 0.2 * 2.0 * variance + 1e-9, "{delay}: {spread}");
    }
}

#[test]
fn what_is_drawn_once_stays_and_jitter_comes_on_top() {
    let once = [
        ("network.default.delay", "Uniform(low: \"5 ms\", high: \"150 ms\")"),
        ("network.default.drawn", "PerPair"),
        ("network.default.jitter", "Uniform(low: \"0 ms\", high: \"2 ms\")"),
    ];
    let least = |seed| {
        let steps = decodes(&simulate_in(None, &once, seed));
        let (least, most) = steps.iter().fold((f64::MAX, 0f64), |(a, b), step| (a.min(*step), b.max(*step)));
        assert!(most - least < 4e-3 && most - least > 3e-3, "from {least} to {most}");
        near(moments(&steps).0 - 2e-3, least, 0.01);
        least
    };
    let drawn: Vec<f64> = (1..=4).map(least).collect();
    let (least, most) = drawn.iter().fold((f64::MAX, 0f64), |(a, b), step| (a.min(*step), b.max(*step)));
    assert!(most - least > 50e-3, "each seed draws its own: {drawn:?}");
}

#[test]
fn sites_are_half_a_round_trip_apart() {
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::write(folder.path().join("sites.csv"), "ms,here,there\nhere,1,84\nthere,84,2\n").expect("it is written");
    let step = |set: &[(&str, &str)]| moments(&decodes(&simulate_in(Some(folder.path().to_owned()), set, 1))).0;
    near(step(&[("network.rtt", "Csv(\"sites.csv\")")]), 84e-3, 1e-3);
    let regions = [("network.rtt", "Regions(\"aws-2019\")"), ("hosts.0.site", "Tokyo"), ("hosts.1.site", "Virginia")];
    let far = step(&regions);
    assert!((0.14..0.18).contains(&far), "Tokyo and Virginia are {far} s apart");
}

/// Each step of the client is a round trip, because its peer computes in no time.
#[test]
fn round_trips_between_regions_have_the_median_and_the_90th_percentile_of_the_table() {
    // The medians and 90th percentiles are the means of both directions in the table, in ms.
    for (from, to, median, p90) in [
        ("ap-southeast-2", "eu-west-1", 255.665, 259.115),
        ("us-west-2", "me-south-1", 238.895, 269.005),
        ("ap-east-1", "ap-east-2", 18.495, 32.625),
    ] {
        let one = [("hosts.0.site", from), ("hosts.1.site", to)];
        // With two clients on two sites, the first client has the same round trips.
        let both = format!("[{to:?}, \"eu-south-2\"]");
        let spread =
            [("hosts.0.site", from), ("hosts.1.site", "None"), ("hosts.1.sites", &both), ("workload.clients", "2")];
        for set in [&one[..], &spread[..]] {
            let run = simulate(&[&[("network.rtt", "Regions(\"aws-2025\")")], set].concat());
            let first = steps(&run).map(|step| step.request.client).min().expect("a client");
            let decodes = steps(&run).filter(|step| step.request.client == first && step.output > 1);
            let mut pings: Vec<f64> = decodes.map(|step| took(&step) * 1e3).collect();
            pings.sort_by(f64::total_cmp);
            let quantile = |share: f64| pings[(share * pings.len() as f64) as usize];
            println!("{from} to {to}: {} pings, {} and {} ms", pings.len(), quantile(0.5), quantile(0.9));
            near(quantile(0.5), median, 0.03);
            near(quantile(0.9), p90, 0.05);
        }
    }
}

#[test]
fn the_slowest_of_nics_and_path_sets_the_time_of_its_direction() {
    let there = frame(250) / 1.25e6;
    // A limit of 10 Mbit/s on the client's egress NIC or the peer's ingress NIC slows only the request. On the peer's
    // egress NIC or the client's ingress NIC it slows only the reply. On the path it slows both.
    let ten = "Link(bandwidth: \"10 Mbit/s\")";
    for (path, ways) in [
        ("hosts.1.egress", 1.0),
        ("hosts.1.ingress", 1.0),
        ("hosts.0.egress", 1.0),
        ("hosts.0.ingress", 1.0),
        ("network.default", 2.0),
    ] {
        near(prefill(&simulate(&[(path, ten)]), 1), ways * there, 1e-3);
    }
    // The bytes of a frame pass all NICs and links concurrently, so only the slowest of these counts.
    near(
        prefill(
            &simulate(&[
                ("hosts.1.egress", ten),
                ("hosts.0.ingress", ten),
                ("network.links", "[Between(from: \"here\", to: \"there\", bandwidth: \"20 Mbit/s\")]"),
            ]),
            1,
        ),
        there,
        1e-3,
    );
}

/// Returns the times from the first step of two clients until a peer has received each client's prompt, in seconds.
fn meetings(sharing: &str, same_nic: bool) -> Vec<f64> {
    let narrow = if same_nic { "hosts.0.ingress" } else { "network.default" };
    let set = [
        ("workload.clients", "2"),
        ("workload.generate", "1"),
        ("workload.micro_batches", "1"),
        ("network.sharing", sharing),
        (narrow, "Link(bandwidth: \"10 Mbit/s\")"),
    ];
    let run = simulate(&set);
    let began = steps(&run).filter(|step| !step.request.is_warmup()).map(|step| step.began + step.setup).min();
    let began = began.expect("both have steps");
    let hops = run.events.iter().filter_map(|event| if let Event::Served(hop) = event { Some(*hop) } else { None });
    let mut met: Vec<Served> = hops.filter(|hop| !hop.request.is_warmup()).collect();
    met.sort_by_key(|hop| hop.received);
    met.iter().map(|hop| hop.received.since(began).as_secs_f64()).collect()
}

#[test]
fn transfers_that_meet_at_a_nic_queue_or_share_it() {
    let alone = frame(250) / 1.25e6;
    for (sharing, first) in [("Fifo", 1.0), ("Fair", 2.0)] {
        let met = meetings(sharing, true);
        near(met[0], first * alone, 0.01);
        near(met[1], 2.0 * alone, 0.01);
        // Separate paths do not affect each other.
        let apart = meetings(sharing, false);
        near(apart[0], alone, 0.01);
        near(apart[1], alone, 0.01);
    }
}

/// Simulates a path with a round trip of 100 ms and these TCP settings.
fn over(tcp: &str) -> Run {
    simulate(&[("network.default.delay", "50 ms"), ("network.tcp", tcp), ("workload.generate", "3")])
}

const PLAIN: &str = "handshake: false, slow_start: false, idle_restart: false, window: \"0 B\", header: \"0 B\"";

fn plain_but(but: &str) -> String {
    let field = but.split(':').next().unwrap_or_default();
    let plain: Vec<&str> = PLAIN.split(", ").filter(|part| !part.starts_with(field)).collect();
    format!("Tcp({}, {but})", plain.join(", "))
}

#[test]
fn connecting_costs_a_round_trip_once() {
    let cold = |run: &Run| {
        let ended = run.events.iter().find_map(|event| match event {
            Event::Ended(ended) if ended.request.is_warmup() => Some(ended.at.since(ended.sent).as_secs_f64()),
            _ => None,
        });
        ended.expect("a warm-up")
    };
    let (off, on) = (over(&format!("Tcp({PLAIN})")), over(&plain_but("handshake: true")));
    // The client makes one handshake with the peer, and one with the bootstrap node if it was not connected to it
    // before.
    let trips = (cold(&on) - cold(&off)) / 0.1;
    assert!((trips - trips.round()).abs() < 1e-6 && (1.0..=2.0).contains(&trips.round()), "{trips} round trips");
    near(prefill(&on, 1), prefill(&off, 1), 0.0);
}

#[test]
fn a_window_that_begins_small_stalls_a_round_trip_for_each_doubling() {
    // Each direction has a delay of 50 ms. In addition, the sender stalls for one round trip after each window but the
    // last. The windows are 14,480 bytes, 28,960 bytes, and so on.
    let stalls = |bytes: f64, window: f64| (bytes / window + 1.0).log2().ceil() - 1.0;
    for segments in [10.0, 2.0, 40.0] {
        let run = over(
            &plain_but("slow_start: true")
                .replace("slow_start: true", &format!("slow_start: true, initial_window: {segments}")),
        );
        near(prefill(&run, 0), 0.1 + 2.0 * 0.1 * stalls(frame(250), segments * 1448.0), 1e-3);
    }
    near(prefill(&over(&format!("Tcp({PLAIN})")), 0), 0.1, 1e-3);
}

#[test]
fn an_idle_connection_begins_anew_where_that_is_switched_on() {
    let rested = |restart: bool| {
        let tcp = plain_but("slow_start: true").replace("idle_restart: false", &format!("idle_restart: {restart}"));
        let busy = "Custom(flops: \"1000000 TFLOP/s\", bandwidth: \"1000000 TB/s\", per_block: \"20 s\")";
        let run = simulate(&[
            ("network.default.delay", "50 ms"),
            ("network.tcp", &tcp),
            ("workload.generate", "3"),
            ("hosts.0.device", busy),
        ]);
        (prefill(&run, 0) - 20.0, prefill(&run, 1) - 20.0)
    };
    let (first, again) = rested(true);
    near(again, first, 1e-3);
    let (first, again) = rested(false);
    near(first, 0.1 + 2.0 * 0.1 * 6.0, 1e-3);
    // Without the restart, the window keeps the size to which the warm-up has grown it: 64 initial windows. The prompt
    // fills this window and needs a second one.
    near(again, 0.1 + 2.0 * 0.1, 1e-3);
}

#[test]
fn a_window_limits_the_rate_to_itself_over_the_round_trip() {
    // The sender waits for an acknowledgement after every window but the last.
    let window = 65_536.0;
    let stalls = (frame(250) / window).ceil() - 1.0;
    near(prefill(&over(&plain_but("window: \"64 KiB\"")), 1), 0.1 + 2.0 * 0.1 * stalls, 1e-3);
    near(prefill(&over(&plain_but("window: \"3 MiB\"")), 1), 0.1, 1e-3);
}

#[test]
fn what_is_lost_comes_after_its_timeout() {
    // A frame of one token has at most three segments, so only the timeout repeats them: R + 200 ms, which doubles each
    // time.
    let (p, timeout) = (0.02f64, 0.3);
    let tail = 1.0 - (1.0 - p).powi(3);
    let expected = 0.1 + 2.0 * timeout * tail / (1.0 - 2.0 * tail);
    let set = [
        ("network.default", "Link(delay: \"50 ms\", loss: 0.02)"),
        ("network.tcp", &format!("Tcp({PLAIN})")),
        ("workload.micro_batches", "8"),
    ];
    near(moments(&decodes(&simulate(&set))).0, expected, 0.1);
    let none = [set[0], ("network.default.loss", "0"), set[1]];
    near(moments(&decodes(&simulate(&none))).0, 0.1, 1e-3);
}

#[test]
fn headers_are_paid_for_each_segment() {
    let slow = ("network.default.bandwidth", "1 Mbit/s");
    let step = |tcp: &str| moments(&decodes(&simulate(&[slow, ("network.tcp", tcp), ("workload.generate", "21")]))).0;
    let segments = (frame(1) / 1448.0).ceil();
    near(step(&format!("Tcp({PLAIN})")), 2.0 * frame(1) * 8e-6, 1e-3);
    near(step(&plain_but("header: \"66 B\"")), 2.0 * (frame(1) + 66.0 * segments) * 8e-6, 1e-3);
}

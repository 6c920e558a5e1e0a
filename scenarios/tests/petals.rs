//! Tests that `swarm: Petals` matches Petals (bigscience-workshop/petals at 22afba6): every constant of Petals is a
//! field, and has its value in the plan.
use actors::id::BlockRange;
use actors::message::Forwarding;
use actors::policy::{Admission, Policies, Prefill, Probe, Recovery, Scheduling, Speeds};
use actors::route::Routing;
use actors::seed::Seed;
use actors::time::Duration;
use scenarios::plan::{Plan, Role};
use scenarios::{Loaded, Overrides, load};

fn plan(sets: &[(&str, &str)]) -> Plan {
    let quickstart = load("quickstart").expect("it is in the library");
    first(&quickstart, sets)
}

fn first(scenario: &Loaded, sets: &[(&str, &str)]) -> Plan {
    let set = sets.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    let cells = scenario.cells(&Overrides { set, ..Overrides::default() }).expect("a sweep");
    cells[0].plan(Seed(1), 0).expect("a plan")
}

fn petals(more: &[(&str, &str)]) -> Plan {
    plan(&[&[("swarm", "Petals")], more].concat())
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn sessions_and_failures() {
    let Policies { forwarding, prefill, detection, bans, retry, recovery, lifetime, .. } = petals(&[]).policies;
    // Petals' servers push activations to the next server since 2023, and its clients send the whole prompt in one
    // message.
    assert_eq!((forwarding, prefill), (Forwarding::Push, Prefill::Whole));
    assert_eq!(detection.open_timeout, s(5), "a stream is opened within");
    assert_eq!((detection.missed, detection.step_timeout), (0, s(180)), "nothing but the request's timeout notices");
    assert_eq!((bans.first, bans.growth), (s(15), 2.0));
    assert_eq!(recovery, Recovery::Replay);
    let waits: Vec<Duration> = (1..=8).map(|count| retry.wait(count, 12345 << 40)).collect();
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60].map(s), "after a first try at once");
    assert_eq!(retry.limit, u32::MAX, "there is no limit");
    assert_eq!((lifetime.idle, lifetime.longest), (s(300), s(1800)));
}

#[test]
fn routes() {
    let Policies { routing, costs, pings, dht, .. } = petals(&[]).policies;
    assert_eq!(routing, Routing::MinLatency);
    assert_eq!((costs.overhead, costs.short_cache), (Duration::from_millis(18), s(10)));
    assert_eq!((costs.unknown_rtt, costs.longest_rtt), (Duration::from_millis(150), s(5)));
    assert_eq!(costs.unknown_rps, 300.0);
    assert_eq!((pings.fanout, pings.middle, pings.next), (3, 5, 5));
    assert_eq!((pings.smoothing, pings.expiry), (0.2, s(300)));
    assert_eq!(dht.refresh, s(60), "how old a view may be");
}

#[test]
fn announcements_and_placement() {
    let Policies { dht, placement, speeds, .. } = petals(&[]).policies;
    assert_eq!((dht.announce, dht.expiry), (s(60), s(120)));
    // The command line of Petals' server has 120 s and 240 s as defaults. The defaults of its Python class are 60 s and
    // 120 s.
    let slower = petals(&[("swarm.dht.announce", "120 s"), ("swarm.dht.expiry", "240 s")]).policies.dht;
    assert_eq!((slower.announce, slower.expiry), (s(120), s(240)));
    assert_eq!((placement.period, placement.quality), (s(60), 0.75));
    let probe = |tokens, steps| Probe { tokens, steps, most: Duration::ZERO };
    assert_eq!(speeds, Speeds::Measured { decode: probe(1, 100), forward: probe(1024, 10) });
}

/// Returns the number of tokens per second that a peer announces as the throughput of its network.
fn network_rps(plan: &Plan) -> f64 {
    let Role::Peer { network_rps, .. } = plan.peers().next().expect("a peer").1.role else { unreachable!("a peer") };
    network_rps
}

#[test]
fn throughput_of_the_network() {
    let plan = petals(&[]);
    // An unknown bandwidth counts as 100 Mbit/s, and an activation value has 16 bits.
    let hidden = f64::from(plan.model.shape.hidden);
    assert_eq!(network_rps(&plan), 100e6 / 16.0 / hidden);
    let relayed = petals(&[("peers.0.relayed", "true")]);
    assert_eq!(network_rps(&relayed), 0.2 * network_rps(&plan));
    let known = petals(&[
        ("hosts.0.egress", "Link(bandwidth: \"1 Gbit/s\")"),
        ("hosts.0.ingress", "Link(bandwidth: \"40 Mbit/s\")"),
    ]);
    assert_eq!(network_rps(&known), 40e6 / 16.0 / hidden, "the lesser way");
}

#[test]
fn execution_and_caches() {
    let cache = |plan: &Plan| match plan.peers().next().expect("a peer").1.role {
        Role::Peer { cache_bytes, blocks: BlockRange { start, end }, .. } => {
            cache_bytes / plan.cache_bytes_per_token_block() / u64::from(end - start)
        }
        _ => unreachable!("peers() gives peers"),
    };
    let plan = petals(&[]);
    assert_eq!(plan.policies.scheduling, Scheduling::Split { whole: 128 });
    assert_eq!(plan.policies.admission, Admission::Refuse);
    assert_eq!(cache(&plan), 4096);
    let grouped = "Custom(arch: Llama, layers: 4, hidden: 256, heads: 8, kv_heads: 2, vocab: 2048)";
    assert_eq!(cache(&petals(&[("model.shape", grouped)])), 16_384);
}

#[test]
fn what_is_written_goes_over_the_preset() {
    let plan = plan(&[("swarm", "Petals(detection: Detection(missed: 3))"), ("swarm.retry.limit", "4")]);
    let Policies { detection, retry, .. } = plan.policies;
    assert_eq!((detection.missed, detection.step_timeout), (3, s(180)));
    assert_eq!((retry.limit, retry.first), (4, s(1)));
}

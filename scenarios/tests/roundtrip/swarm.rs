//! Arbitrary swarms, with every policy and its fields.
use super::text;
use actors::dht::Search;
use actors::message::Forwarding;
use actors::policy::{Prefill, Recovery, Scheduling};
use actors::route::Weight;
use proptest::collection;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use scenarios::schema::{
    Admission, Bans, Cache, Costs, Detection, Kademlia, Lifetime, Limit, Pings, Placement, Probe, Retry, Routing,
    Speeds, Swarm, Throughput,
};
use scenarios::units::{Rate, Size, Time};

pub fn swarm() -> impl Strategy<Value = Swarm> {
    let weight = || prop_oneof![Just(Weight::Span), Just(Weight::Throughput)];
    let routing = prop_oneof![
        Just(Routing::MinLatency),
        Just(Routing::LoadAware),
        weight().prop_map(Routing::Random),
        weight().prop_map(Routing::RoundRobin),
        collection::vec(text(), 0..3).prop_map(Routing::Fixed),
        Just(Routing::Replay),
    ];
    let time = || any::<u64>().prop_map(Time);
    let number = || prop_oneof![Just(0.0), Just(0.1), Just(300.0), -1e300..1e300];
    let costs = (time(), time(), time(), time(), number(), number()).prop_map(
        |(overhead, unknown_rtt, longest_rtt, short_cache, unknown_rps, load)| Costs {
            overhead,
            unknown_rtt,
            longest_rtt,
            short_cache,
            unknown_rps,
            load,
        },
    );
    let pings =
        (any::<[u32; 3]>(), time(), number(), time()).prop_map(|([fanout, next, middle], every, smoothing, expiry)| {
            Pings { fanout, every, next, middle, smoothing, expiry }
        });
    let bans = (time(), number()).prop_map(|(first, growth)| Bans { first, growth });
    let forwarding = prop_oneof![Just(Forwarding::Relay), Just(Forwarding::Push)];
    let prefill = prop_oneof![Just(Prefill::Whole), any::<u32>().prop_map(|tokens| Prefill::Chunked { tokens }),];
    let scheduling = prop_oneof![
        Just(Scheduling::Fifo),
        Just(Scheduling::DecodeFirst),
        any::<u32>().prop_map(|whole| Scheduling::Split { whole }),
        any::<(u32, u32)>().prop_map(|(tokens, steps)| Scheduling::Continuous { tokens, steps }),
        any::<u32>().prop_map(|tokens| Scheduling::PrefillThenDecode { tokens }),
    ];
    let admission = prop_oneof![Just(Admission::Refuse), any::<u64>().prop_map(|ns| Admission::Wait(Time(ns)))];
    let search = prop_oneof![Just(Search::Latest), Just(Search::First)];
    let dht = (any::<[u16; 4]>(), search, any::<[u64; 4]>()).prop_map(
        |([k, alpha, parallel, replicas], search, [timeout, announce, expiry, refresh])| Kademlia {
            k,
            alpha,
            parallel,
            replicas,
            search,
            timeout: Time(timeout),
            announce: Time(announce),
            expiry: Time(expiry),
            refresh: Time(refresh),
        },
    );
    let placement =
        (time(), number(), time()).prop_map(|(period, quality, delay)| Placement { period, quality, delay });
    let detection =
        (time(), any::<u32>(), time(), time()).prop_map(|(heartbeat, missed, step_timeout, open_timeout)| Detection {
            heartbeat,
            missed,
            step_timeout,
            open_timeout,
        });
    let recovery =
        prop_oneof![Just(Recovery::Replay), Just(Recovery::Restart), Just(Recovery::Cacheless), Just(Recovery::Off)];
    let limit = prop_oneof![any::<u32>().prop_map(Limit::Of), Just(Limit::Off)];
    let retry =
        (limit, time(), time(), number()).prop_map(|(limit, first, most, jitter)| Retry { limit, first, most, jitter });
    let lifetime = (time(), time()).prop_map(|(idle, longest)| Lifetime { idle, longest });
    let probe = || (any::<[u32; 2]>(), time()).prop_map(|([tokens, steps], most)| Probe { tokens, steps, most });
    let speeds = prop_oneof![
        Just(Speeds::Told),
        (probe(), probe()).prop_map(|(decode, forward)| Speeds::Measured { decode, forward })
    ];
    let throughput = (speeds, number(), any::<u64>()).prop_map(|(speeds, relayed, unknown)| Throughput {
        speeds,
        relayed,
        unknown: Rate(unknown),
    });
    let cache = prop_oneof![
        any::<u64>().prop_map(|bytes| Cache::Bytes(Size(bytes))),
        any::<[u32; 2]>().prop_map(|[full, grouped]| Cache::Tokens { full, grouped })
    ];
    let failing = (detection, recovery, retry);
    (
        routing,
        costs,
        pings,
        bans,
        (forwarding, prefill),
        cache,
        failing,
        (scheduling, time(), admission, lifetime, throughput),
        (dht, placement),
    )
        .prop_map(
            |(
                routing,
                costs,
                pings,
                bans,
                (forwarding, prefill),
                cache,
                (detection, recovery, retry),
                (scheduling, batch_wait, admission, lifetime, throughput),
                (dht, placement),
            )| {
                Swarm {
                    dht,
                    placement,
                    routing,
                    detection,
                    recovery,
                    retry,
                    costs,
                    pings,
                    bans,
                    forwarding,
                    prefill,
                    scheduling,
                    batch_wait,
                    admission,
                    lifetime,
                    throughput,
                    cache,
                }
            },
        )
}

//! Tests that any scenario that is printed and read again is the same scenario.
#[path = "roundtrip/swarm.rs"]
mod swarm;

use actors::message::WireType;
use indexmap::IndexMap;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::{collection, option};
use scenarios::chart::Chart;
use scenarios::plan::{Drawn, Sharing};
use scenarios::raw::Raw;
use scenarios::schema::{
    Away, Between, BlockSpan, Columns, Device, Going, Host, Limit, Link, Lives, Machine, Measure, Model, Network, Part,
    Peers, Process, RoundTrips, Scenario, ScheduledFault, Shape, Slo, Spread, Sweep, Table, Transport, Weights, When,
    Workload,
};
use scenarios::shape::{Arch, WeightType};
use scenarios::tokens::{Prompts, Sampling};
use scenarios::units::{Frequency, Rate, Size, Time, Work};
use swarm::swarm;

fn text() -> impl Strategy<Value = String> + Clone {
    "[a-zA-Z0-9 é\"\\\\,()\\[\\]{}:/-]{0,12}"
}

fn delay() -> impl Strategy<Value = &'static str> + Clone {
    prop_oneof![
        Just("\"10 ms\""),
        Just("Uniform(low: \"1 ms\", high: \"2 ms\")"),
        Just("LogNormal(median: \"1 s\", sigma: 0.5)"),
        Just("Pareto(scale: \"1 s\", shape: 1.5)"),
        Just("Empirical(file: \"a.csv\", column: \"rtt_ms\", round_trip: true)"),
    ]
}

fn link() -> impl Strategy<Value = Link> + Clone {
    (delay(), delay(), any::<bool>(), option::of(any::<u64>()), 0.0..0.5f64).prop_map(
        |(delay, jitter, once, bandwidth, loss)| {
            let read = |text: &str| ron::from_str(text).expect("a delay");
            let drawn = if once { Drawn::PerPair } else { Drawn::PerMessage };
            Link { delay: read(delay), drawn, jitter: read(jitter), bandwidth: bandwidth.map(Rate), loss }
        },
    )
}

fn transport() -> impl Strategy<Value = Transport> + Clone {
    let on = (any::<[bool; 3]>(), any::<u32>(), any::<[u64; 4]>());
    let tcp = on.prop_map(|([handshake, slow_start, idle_restart], initial_window, [window, mss, header, timeout])| {
        Transport::Tcp {
            handshake,
            slow_start,
            initial_window,
            idle_restart,
            window: Size(window),
            mss: Size(mss),
            header: Size(header),
            least_timeout: Time(timeout),
        }
    });
    prop_oneof![Just(Transport::Off), tcp]
}

fn shape() -> impl Strategy<Value = Shape> {
    let arch = || prop_oneof![Just(Arch::Opt), Just(Arch::Bloom), Just(Arch::Llama)];
    prop_oneof![
        text().prop_map(Shape::Opt),
        text().prop_map(Shape::Llama),
        (arch(), any::<[u32; 5]>(), option::of(any::<u32>()), option::of(any::<u32>())).prop_map(
            |(arch, [layers, hidden, heads, vocab, max_positions], kv_heads, ffn)| Shape::Custom {
                arch,
                layers,
                hidden,
                heads,
                kv_heads,
                ffn,
                vocab,
                max_positions
            }
        ),
    ]
}

fn model() -> impl Strategy<Value = Model> {
    let dtype = || prop_oneof![Just(WeightType::F32), Just(WeightType::Bf16), Just(WeightType::Int4)];
    let weights = prop_oneof![
        any::<u64>().prop_map(|seed| Weights::Random { seed }),
        text().prop_map(Weights::Dir),
        Just(Weights::Echo)
    ];
    (
        shape(),
        option::of(Just(Arch::Bloom)),
        dtype(),
        dtype(),
        option::of(prop_oneof![Just(WireType::F16), (0..999u16).prop_map(|block| WireType::Int8 { block })]),
        weights,
    )
        .prop_map(|(shape, run_as, dtype, ends, wire, weights)| Model {
            shape,
            run_as,
            dtype,
            client_dtype: ends,
            wire,
            weights,
        })
}

fn device() -> impl Strategy<Value = Device> {
    let point = || (any::<u32>(), any::<u64>().prop_map(Time));
    let table = || {
        (collection::vec(point(), 0..3), collection::vec(point(), 0..3), any::<u64>())
            .prop_map(|(prefill, decode, per_job)| Table { prefill, decode, per_job: Time(per_job) })
    };
    prop_oneof![
        text().prop_map(Device::Preset),
        (any::<u32>(), text()).prop_map(|(ordinal, like)| Device::Cuda { ordinal, like }),
        text().prop_map(Device::Profile),
        (any::<u32>(), option::of(any::<u64>()), option::of(table()), option::of(text())).prop_map(
            |(threads, base, table, profile)| Device::Cpu {
                threads,
                flops: base.map(Work),
                bandwidth: base.map(Rate),
                per_block: base.map(Time),
                per_job: None,
                first_job: base.map(Time),
                table,
                profile,
            }
        ),
        (any::<[u64; 5]>(), option::of(table())).prop_map(
            |([flops, bandwidth, per_block, per_job, first_job], table)| {
                Device::Custom {
                    flops: Work(flops),
                    bandwidth: Rate(bandwidth),
                    per_block: Time(per_block),
                    per_job: Time(per_job),
                    first_job: Time(first_job),
                    table,
                }
            }
        ),
    ]
}

fn spread() -> impl Strategy<Value = Spread> {
    prop_oneof![Just(Spread::All), collection::vec(text(), 0..3).prop_map(Spread::Over)]
}

fn host() -> impl Strategy<Value = Host> {
    (
        text(),
        option::of(any::<u32>()),
        (option::of(text()), option::of(spread())),
        option::of(text()),
        (device(), collection::vec(device(), 0..3)),
        (0.01..100.0f64, any::<u64>()),
        link(),
        link(),
    )
        .prop_map(|(name, count, (site, sites), machine, (device, also), (slow, per_job), egress, ingress)| Host {
            name,
            count,
            site,
            sites,
            machine,
            device,
            also,
            slow,
            per_job: Time(per_job),
            egress,
            ingress,
        })
}

fn network() -> impl Strategy<Value = Network> {
    let between = (text(), text(), any::<bool>(), link()).prop_map(|(from, to, both, link)| Between {
        from,
        to,
        both,
        delay: link.delay,
        drawn: link.drawn,
        jitter: link.jitter,
        bandwidth: link.bandwidth,
        loss: link.loss,
    });
    let rtt =
        prop_oneof![Just(RoundTrips::Off), text().prop_map(RoundTrips::Regions), text().prop_map(RoundTrips::Csv)];
    let sharing = prop_oneof![Just(Sharing::Fifo), Just(Sharing::Fair)];
    (link(), rtt, (option::of(text()), collection::vec(between, 0..3)), transport(), sharing, any::<bool>()).prop_map(
        |(default, rtt, (profile, links), tcp, sharing, shape)| Network {
            default,
            rtt,
            profile,
            links,
            tcp,
            sharing,
            shape,
        },
    )
}

fn when() -> impl Strategy<Value = When> {
    let texts = prop_oneof![Just("\"5 s\""), Just("Start(\"1.5 min\")"), Just("Steps(12)")];
    texts.prop_map(|text| {
        let options = ron::Options::default().with_default_extension(ron::extensions::Extensions::UNWRAP_NEWTYPES);
        options.from_str(text).expect("a time")
    })
}

fn lives() -> impl Strategy<Value = Lives> {
    let time = || any::<u64>().prop_map(Time);
    let away = (text(), time(), time()).prop_map(|(host, from, till)| Away { host, from, till });
    prop_oneof![
        (time(), time()).prop_map(|(mean_up, mean_down)| Lives::Exponential { mean_up, mean_down }),
        (time(), time(), any::<u32>()).prop_map(|(mean_up, mean_down, eighths)| Lives::Weibull {
            mean_up,
            mean_down,
            shape: f64::from(eighths) / 8.0
        }),
        collection::vec(away, 0..3).prop_map(Lives::Trace),
        text().prop_map(Lives::File),
    ]
}

fn scheduled() -> impl Strategy<Value = ScheduledFault> {
    let time = || any::<u64>().prop_map(Time);
    let part = || {
        prop_oneof![
            text().prop_map(Part::Device),
            (text(), text(), any::<bool>()).prop_map(|(from, to, both)| Part::Link { from, to, both }),
        ]
    };
    let groups = collection::vec(collection::vec(text(), 0..3), 0..3);
    let going = prop_oneof![Just(Going::Crash), Just(Going::Leave)];
    prop_oneof![
        (text(), when(), option::of(time())).prop_map(|(on, at, back)| ScheduledFault::Crash { on, at, back }),
        (text(), when()).prop_map(|(on, at)| ScheduledFault::Restart { on, at }),
        (text(), when()).prop_map(|(on, at)| ScheduledFault::Leave { on, at }),
        (text(), when()).prop_map(|(on, at)| ScheduledFault::Join { on, at }),
        (text(), when(), time()).prop_map(|(on, at, lasts)| ScheduledFault::Stall { on, at, lasts }),
        (part(), any::<u32>(), when(), time()).prop_map(|(what, by, at, lasts)| ScheduledFault::Degrade {
            what,
            by: f64::from(by) / 8.0,
            at,
            lasts
        }),
        (groups, when(), time()).prop_map(|(groups, at, lasts)| ScheduledFault::Partition { groups, at, lasts }),
        (text(), lives(), time(), going).prop_map(|(on, lives, until, by)| ScheduledFault::Churn {
            on,
            lives,
            until,
            by
        }),
        (text(), any::<u32>(), time(), any::<u32>()).prop_map(|(on, rate, back, most)| ScheduledFault::StepFailures {
            on,
            rate: f64::from(rate) / 8.0,
            back,
            most
        }),
    ]
}

fn sweep() -> impl Strategy<Value = Sweep> {
    let raw = || {
        prop_oneof![Just("1"), Just("\"2 ms\""), Just("Link(delay: \"a, b\" /* ) */)"), Just("Push // so\n")]
            .prop_map(|text| Raw::new(text).expect("it is RON"))
    };
    let axes = collection::vec((text(), collection::vec(raw(), 0..3)), 0..3);
    let cases = collection::vec(collection::vec((text(), raw()), 0..3), 0..3);
    (any::<u32>(), axes, cases).prop_map(|(repeat, axes, cases)| Sweep {
        repeat,
        axes: IndexMap::from_iter(axes),
        cases: cases.into_iter().map(IndexMap::from_iter).collect(),
    })
}

fn workload() -> impl Strategy<Value = Workload> {
    let closed = (text(), any::<[u32; 5]>()).prop_map(|(on, [clients, micro_batches, batch, prompt, generate])| {
        Workload::Closed { on, clients, micro_batches, batch, prompt, generate }
    });
    let lengths = || {
        prop_oneof![Just("512"), Just("Uniform(low: 1, high: 9)"), Just("LogNormal(median: 300.5, sigma: 1)")]
            .prop_map(|text| ron::from_str(text).expect("lengths"))
    };
    let process = prop_oneof![
        Just(Process::Constant),
        Just(Process::Poisson),
        (0.1..10.0f64).prop_map(|cv| Process::Gamma { cv })
    ];
    let ramp = collection::vec(any::<[u64; 2]>().prop_map(|[at, rate]| (Time(at), Frequency(rate))), 0..3);
    let first = (text(), any::<[u32; 3]>(), any::<u64>(), process, ramp, option::of(any::<u64>()));
    let open = (first, option::of(any::<u32>()), lengths(), lengths(), option::of(any::<u32>())).prop_map(
        |((on, [clients, batch, in_flight], rate, process, ramp, duration), requests, prompt, generate, longest)| {
            let (rate, duration) = (Frequency(rate), duration.map(Time));
            Workload::Open {
                on,
                clients,
                rate,
                process,
                ramp,
                duration,
                requests,
                batch,
                prompt,
                generate,
                longest,
                in_flight,
            }
        },
    );
    let columns = proptest::sample::select(vec![
        Columns::Ours,
        Columns::Azure2023,
        Columns::Azure2024,
        Columns::BurstGpt,
        Columns::Mooncake,
        Columns::QwenBailian,
    ]);
    let columns = (columns, collection::vec(text(), 0..2));
    let first = (text(), text(), any::<[u32; 3]>(), columns, any::<u64>(), option::of(any::<u64>()));
    let trace = (first, option::of(any::<u32>()), 0.1..10.0f64, option::of(any::<u32>())).prop_map(
        |((on, file, [clients, batch, in_flight], (columns, ignore), skip, duration), limit, speed, longest)| {
            let (skip, duration) = (Time(skip), duration.map(Time));
            Workload::Trace {
                on,
                clients,
                file,
                columns,
                ignore,
                skip,
                duration,
                limit,
                speed,
                batch,
                longest,
                in_flight,
            }
        },
    );
    prop_oneof![closed, open, trace]
}

fn measure() -> impl Strategy<Value = Measure> {
    let slo = any::<u64>().prop_map(|time| [Slo::Ttft(Time(time)), Slo::Tpot(Time(time)), Slo::E2el(Time(time))]);
    (any::<[u64; 2]>(), any::<bool>(), collection::vec(slo, 0..2), option::of(0.0..1.0f64)).prop_map(
        |([timeout, ready_within], warm_up, slo, slo_share)| {
            let slo = slo.into_iter().flatten().collect();
            Measure { timeout: Time(timeout), ready_within: Time(ready_within), warm_up, slo, slo_share }
        },
    )
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let machines = collection::vec((text(), prop_oneof![Just(Limit::Off), any::<u32>().prop_map(Limit::Of)]), 0..2);
    let span = prop_oneof![
        Just(BlockSpan::Even),
        any::<(u32, u32)>().prop_map(|(start, end)| BlockSpan::Blocks(start, end)),
        any::<u32>().prop_map(|blocks| BlockSpan::Capacity { blocks })
    ];
    let seats = (any::<u32>(), option::of(any::<u32>()));
    let peers = (text(), seats, span, any::<bool>()).prop_map(|(on, (count, device), span, relayed)| Peers {
        on,
        count,
        device,
        span,
        relayed,
    });
    let peers = collection::vec(peers, 0..3);
    let report = prop_oneof![
        Just(vec![]),
        text().prop_map(|path| vec![
            Chart::LatencyVs(path.clone()),
            Chart::Only(path.clone(), Box::new(Chart::Pareto(path.clone()))),
            Chart::Discovery(path),
            Chart::Breakdown,
            Chart::Coverage,
            Chart::Timeline,
            Chart::Gantt,
            Chart::Utilisation
        ])
    ];
    let prompts = prop_oneof![
        Just(Prompts::Random),
        collection::vec(collection::vec(any::<u32>(), 0..3), 0..3).prop_map(Prompts::Ids),
        collection::vec(text(), 0..3).prop_map(Prompts::Texts),
        text().prop_map(Prompts::Lines),
    ];
    let sampling = (0f32..9.0, option::of(any::<u32>()), option::of(0f32..1.0))
        .prop_map(|(temperature, top_k, top_p)| Sampling { temperature, top_k, top_p });
    let first = (text(), model(), machines, collection::vec(host(), 0..3), peers, swarm());
    let events = collection::vec(scheduled(), 0..4);
    let second = (network(), (workload(), prompts, sampling), events, measure(), sweep(), report);
    (first, second).prop_map(
        |(
            (name, model, machines, hosts, peers, swarm),
            (network, (workload, prompts, sampling), events, measure, sweep, report),
        )| {
            let machine = |(name, leases)| Machine { name, leases };
            Scenario {
                version: 1,
                description: name.clone(),
                name,
                model,
                machines: machines.into_iter().map(machine).collect(),
                hosts,
                peers,
                swarm,
                network,
                workload,
                prompts,
                sampling,
                events,
                measure,
                sweep,
                report,
            }
        },
    )
}

proptest! {
    #[test]
    fn printed_and_read_again_it_is_the_same(scenario in scenario()) {
        let text = scenario.to_ron().expect("it is printed");
        let read = Scenario::from_ron(&text);
        prop_assert_eq!(read.as_ref(), Ok(&scenario), "{}", text);
    }
}

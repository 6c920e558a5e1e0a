//! Tests that the parts of a latency sum exactly to the latency, whatever the clocks of hosts show and in whatever
//! order the events arrive.
mod synthetic;

use actors::id::{BlockRange, NodeId, RequestId, SessionId};
use actors::record::{Event, FaultEvent, FaultKind, Looked, Served, Stepped};
use actors::time::{Duration, Timestamp};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use reports::measures::{Measures, Verdict};
use rows::RunRows;
use synthetic::Sketch;

fn sketches() -> impl Strategy<Value = Sketch> {
    let sizes = (1..4u32, 1..4u32, 1..4u32, 1..3u32);
    (sizes, 0..6u32, any::<u64>(), any::<bool>(), any::<bool>()).prop_map(
        |((clients, peers, micro_batches, batch), generate, seed, carried, fails)| Sketch {
            clients,
            peers,
            micro_batches,
            batch,
            generate,
            seed,
            carried,
            fails: fails && generate > 1,
            ..Sketch::default()
        },
    )
}

/// Generates steps with timestamps that contradict each other.
fn wild_steps() -> impl Strategy<Value = Vec<Event>> {
    let step =
        (0..1_000_000u64, 0..1_000_000u64, 0..400_000u64, 0..400_000u64, [any::<u32>(), any::<u32>(), any::<u32>()]);
    proptest::collection::vec(step, 1..12).prop_map(|steps| {
        let request = RequestId { client: NodeId(5), index: 1 };
        let session = SessionId::new(request, 0);
        let events = steps.into_iter().enumerate().flat_map(|(at, (began, seen, setup, client, [a, b, c]))| {
            let (position, blocks) = (at as u32, BlockRange { start: 0, end: 2 });
            let [received, started, finished] = [a, b, c].map(|at| Timestamp(u64::from(at % 1_000_000)));
            let stepped = Stepped {
                session,
                request,
                position,
                tokens: 1,
                batch: 1,
                output: at as u32 + 1,
                began: Timestamp(began),
                seen: Timestamp(seen),
                setup: Duration(setup),
                client_queue: Duration(setup / 2),
                client: Duration(client),
                embedding: Duration::ZERO,
                recovery: Duration(client / 3),
            };
            let served = Served {
                session,
                request,
                position,
                tokens: 1,
                batch: 1,
                hop: 0,
                peer: NodeId(2),
                blocks,
                cached: true,
                received,
                started,
                finished,
                sent: finished,
                queued: 0,
            };
            [Event::Stepped(stepped), Event::Served(served)]
        });
        events.collect()
    })
}

fn check_sums(fold: &RunRows) -> Result<(), proptest::test_runner::TestCaseError> {
    for row in &fold.tokens {
        prop_assert_eq!(row.parts.sum(), row.took);
        if let Some(network) = row.network {
            prop_assert_eq!(network.sum(), row.parts.network);
        }
    }
    for row in &fold.requests {
        prop_assert_eq!(row.parts.sum() + row.unfinished, row.e2el);
        if let Some(network) = row.network {
            prop_assert_eq!(network.sum(), row.parts.network);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_parts_of_sound_runs_sum_to_the_whole_with_nothing_left(sketch in sketches()) {
        let fold = RunRows::of(&sketch.events());
        check_sums(&fold)?;
        prop_assert!(fold.requests.iter().all(|row| !row.suspect && (row.unfinished == 0 || !row.ok())));
        let judgement = Measures::of(&fold, &sketch.plan(0, 0)).judgement;
        let expected = if sketch.fails { Verdict::Suspect } else { Verdict::Valid };
        // With few steps, random computing times may look like those of peers that are not warm.
        let jitter = judgement.reasons.iter().all(|reason| reason.starts_with("the peers were not warm"));
        prop_assert!(judgement.verdict == expected || jitter, "{:?}", judgement);
    }

    #[test]
    fn parts_are_cut_and_the_row_is_suspect_where_clocks_disagree(events in wild_steps()) {
        let fold = RunRows::of(&events);
        check_sums(&fold)?;
        for row in fold.tokens {
            let inside = |event: &Event| matches!(event, Event::Served(hop) if hop.position == row.position
                && hop.received <= hop.started && hop.started <= hop.finished);
            prop_assert!(row.suspect || (row.began <= row.seen && events.iter().any(inside)));
        }
    }

    #[test]
    fn the_order_of_the_events_does_not_show(sketch in sketches(), seed in any::<u64>()) {
        let events = sketch.events();
        let mut shuffled: Vec<(u64, Event)> =
            events.iter().enumerate().map(|(at, e)| (actors::seed::mix(seed ^ at as u64), e.clone())).collect();
        shuffled.sort_by_key(|(order, _)| *order);
        let shuffled: Vec<Event> = shuffled.into_iter().map(|(_, event)| event).collect();
        prop_assert_eq!(RunRows::of(&events), RunRows::of(&shuffled));
    }
}

#[test]
fn a_client_that_was_lost_with_its_record_is_not_blamed_for_the_barrier() {
    let sketch = Sketch::default();
    let plan = sketch.plan(0, 0);
    let lost = plan.clients().next().expect("a client").0;
    let mut events = sketch.events();
    events.retain(|event| match event {
        Event::Stepped(stepped) => stepped.request.client != lost,
        Event::Ended(ended) => ended.request.client != lost,
        Event::Finished { client, .. } => *client != lost,
        _ => true,
    });
    let fold = RunRows::of(&events);
    let released = fold.rare.released.expect("a release").0;
    let rows: Vec<_> = fold.timed().filter(|row| row.request.client == lost).collect();
    assert!(!rows.is_empty() && rows.iter().all(|row| row.outcome == "cut" && row.sent >= released), "{rows:?}");
    let measures = Measures::of(&fold, &plan);
    let reasons = &measures.judgement.reasons;
    assert!(reasons.iter().all(|reason| !reason.contains("start of the timed run")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.starts_with("clients were lost during the run")), "{reasons:?}");
    assert!(measures.get("barrier_skew_ms").expect("two clients") < 1_000.0);
}

#[test]
fn a_request_for_no_token_ends_with_its_prefill() {
    let sketch = Sketch { generate: 0, ..Sketch::default() };
    let fold = RunRows::of(&sketch.events());
    let measures = Measures::of(&fold, &sketch.plan(0, 0));
    assert!(fold.timed().all(|row| row.ttft.is_none() && row.tpot.is_none() && row.e2el == row.parts.sum()));
    assert_eq!(measures.get("total_tokens"), Some(0.0));
    assert_eq!(measures.get("throughput_tokens_per_s"), Some(0.0));
    assert!(measures.get("mean_latency_ms").is_some_and(|ms| ms > 40.0));
    assert_eq!((measures.get("ttft_mean_ms"), measures.get("cold_start_ratio")), (None, None));
    assert_eq!(measures.judgement.verdict, Verdict::Valid, "{:?}", measures.judgement);
}

#[test]
fn one_request_of_one_token_has_a_latency_and_no_gaps() {
    let sketch = Sketch { clients: 1, micro_batches: 1, generate: 1, ..Sketch::default() };
    let measures = Measures::of(&RunRows::of(&sketch.events()), &sketch.plan(0, 0));
    let get = |column| measures.get(column);
    assert_eq!((get("e2el_count"), get("e2el_std_ms"), get("tpot_mean_ms")), (Some(1.0), None, None));
    assert_eq!((get("e2el_p50_ms"), get("ttft_mean_ms")), (None, get("mean_latency_ms")));
    assert!(measures.withheld.contains(&("e2el_p50_ms".to_owned(), 6)));
}

#[test]
fn the_four_figures_are_the_contracts() {
    let sketch = Sketch { clients: 3, micro_batches: 2, batch: 2, generate: 4, ..Sketch::default() };
    let fold = RunRows::of(&sketch.events());
    let measures = Measures::of(&fold, &sketch.plan(0, 0));
    let drained = fold.rare.drained.as_ref().expect("the run ended");
    let get = |column: &str| measures.get(column).unwrap_or_else(|| panic!("no {column}"));
    assert_eq!(get("total_tokens"), f64::from(3 * 2 * 2 * 4));
    assert!((get("throughput_tokens_per_s") - drained.throughput()).abs() < 1e-9);
    assert!((get("output_throughput_tokens_per_s") - drained.throughput()).abs() < 1e-9);
    assert!((get("mean_latency_ms") - 1e3 * drained.mean_latency_s().expect("some")).abs() < 1e-9);
    let split = get("cold_start_discovery_ms") + get("cold_start_sessions_ms") + get("cold_start_first_compute_ms");
    assert!((get("cold_start_ms") - split).abs() < 1e-6);
    assert!((get("cold_start_ms") / get("ttft_mean_ms") - get("cold_start_ratio")).abs() < 1e-9);
    let parts = ["setup", "client_queue", "client", "peer_queue", "compute", "network"];
    let sum: f64 = parts.iter().map(|part| get(&format!("part_{part}_ms"))).sum();
    assert!((sum - get("mean_latency_ms")).abs() < 1e-6);
    assert_eq!((get("barrier_skew_ms"), get("concurrency_peak")), (0.1, 3.0));
}

#[test]
fn figures_that_do_not_add_up_make_a_run_invalid() {
    let sketch = Sketch::default();
    let judge = |events: &[Event]| Measures::of(&RunRows::of(events), &sketch.plan(0, 0)).judgement;
    let whole = sketch.events();
    let without = |wanted: fn(&Event) -> bool| {
        let at = whole.iter().rposition(wanted).expect("there");
        whole.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, e)| e.clone()).collect::<Vec<Event>>()
    };
    assert_eq!(judge(&whole).verdict, Verdict::Valid, "{:?}", judge(&whole));
    for gap in [
        without(|event| matches!(event, Event::Stepped(step) if step.output == 2)),
        without(|event| matches!(event, Event::Ended(_))),
        without(|event| matches!(event, Event::Drained(_))),
    ] {
        assert_eq!(judge(&gap).verdict, Verdict::Invalid, "{:?}", judge(&gap));
    }
    let twice: Vec<Event> =
        whole.iter().chain(whole.iter().filter(|e| matches!(e, Event::Ended(_)))).cloned().collect();
    assert_eq!(judge(&twice).verdict, Verdict::Invalid);
}

#[test]
fn peers_that_were_slow_at_first_are_not_warm_and_slow_peers_that_came_first_are() {
    let sketch = Sketch { micro_batches: 3, ..Sketch::default() };
    let judged = |spoil: &dyn Fn(&mut rows::HopRow)| {
        let mut fold = RunRows::of(&sketch.events());
        fold.hops.iter_mut().filter(|hop| hop.request.index == 1).for_each(spoil);
        let judgement = Measures::of(&fold, &sketch.plan(0, 0)).judgement;
        judgement.reasons.iter().any(|reason| reason.starts_with("the peers were not warm"))
    };
    assert!(judged(&|hop| hop.compute *= 3), "the same peers were slower");
    assert!(!judged(&|hop| (hop.compute, hop.peer) = (hop.compute * 3, NodeId(77))), "another peer is slower");
}

#[test]
fn discovery_is_the_clients_lookups_and_coverage_what_peers_say() {
    let sketch = Sketch::default();
    let mut events = sketch.events();
    let of = |events: &[Event]| Measures::of(&RunRows::of(events), &sketch.plan(0, 0));
    let plain = of(&events);
    let get = |measures: &Measures, name: &str| measures.get(name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!((get(&plain, "discovery_count"), get(&plain, "discovery_mean_ms")), (3.0, 3.0));
    assert_eq!((get(&plain, "lookup_hops_mean"), get(&plain, "lookup_questions_mean")), (2.0, 5.0));
    assert_eq!((get(&plain, "coverage_mean"), get(&plain, "holes"), get(&plain, "hole_s")), (1.0, 0.0, 0.0));
    // A peer's own lookups do not count as the clients'. The second of two peers crashes halfway and is not replaced.
    let (released, end) = RunRows::of(&events).rare.window().expect("it was released");
    let halfway = Timestamp((released.0 + end.0) / 2);
    let crash = FaultEvent { at: halfway, fault: FaultKind::Crash, nodes: vec![NodeId(3)], lasts: None };
    events.push(Event::FaultEvent(Box::new(crash)));
    let looked = events.iter().find_map(|event| match event {
        Event::Looked(looked) => Some(Looked { node: NodeId(2), took: Duration(9), ..(**looked).clone() }),
        _ => None,
    });
    events.push(Event::Looked(Box::new(looked.expect("clients look up"))));
    let holed = of(&events);
    assert_eq!(get(&holed, "discovery_mean_ms"), 3.0);
    assert_eq!((get(&holed, "coverage_min"), get(&holed, "holes")), (0.5, 1.0));
    assert!((get(&holed, "coverage_mean") - 0.75).abs() < 1e-6);
    assert!((get(&holed, "hole_s") - end.since(halfway).as_secs_f64()).abs() < 1e-9);
}

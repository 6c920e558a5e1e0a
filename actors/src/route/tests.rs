//! Property tests of routes over random swarms, a comparison of the shortest path with all paths, and examples.
mod plain;

use super::shortest::{Estimate, shortest};
use super::{Ask, Bans, Costs, Known, Pings, Routing, View, Weight};
use crate::announce::{Announce, Load};
use crate::dht::{Record, State};
use crate::id::{BlockRange, NodeId};
use crate::message::Hop;
use crate::time::{Duration, Timestamp};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::{collection, option, sample};
use std::sync::Arc;

const BLOCKS: BlockRange = BlockRange { start: 0, end: 16 };
const NOW: Timestamp = Timestamp(1_000_000_000);

fn announce(peer: u32, start: u32, end: u32, inference_rps: f64) -> Announce {
    let blocks = BlockRange { start, end };
    Announce { peer: NodeId(peer), blocks, inference_rps, load: Load::default(), next: Vec::new() }
}

fn record(announce: Announce) -> Arc<Record> {
    Arc::new(Record { announce, state: State::Online, throughput: 1.0, version: NOW })
}

fn records(announced: impl IntoIterator<Item = Announce>) -> Vec<Arc<Record>> {
    announced.into_iter().map(record).collect()
}

fn ask(blocks: BlockRange) -> Ask<'static> {
    Ask { blocks, cache_tokens: 100, draw: 7, without: &[], given: None }
}

fn choose(view: &mut View, routing: &Routing, ask: &Ask<'_>) -> Option<Vec<Hop>> {
    view.choose(NOW, routing, &Costs::default(), &Pings::default(), ask)
}

fn peers(route: &[Hop]) -> Vec<u32> {
    route.iter().map(|hop| hop.peer.0).collect()
}

/// One peer of a random swarm: its announcement, its round trip, and whether it is banned.
#[derive(Clone, Debug)]
struct Drawn {
    announce: Announce,
    rtt: Option<Duration>,
    banned: bool,
}

fn swarm(most: usize) -> impl Strategy<Value = Vec<Drawn>> {
    let rtt = || (0..400u64).prop_map(Duration::from_millis);
    let next = || collection::vec(((0..most as u32).prop_map(NodeId), rtt()), 0..4);
    let load = (any::<bool>(), 0..5u32, 0..100_000u32, 0..1000u16).prop_map(|(short, sessions, step, busy)| Load {
        cache_tokens: if short { 50 } else { 5000 },
        sessions,
        step,
        busy,
    });
    let peer = (0..20u32, 1..12u32, prop_oneof![Just(0.0), 1.0..1e4f64], load, next());
    let known = (option::of((0..600u64).prop_map(Duration::from_millis)), any::<bool>());
    collection::vec((peer, known), 0..most).prop_map(|peers| {
        let drawn = peers.into_iter().enumerate().map(|(id, ((start, len, rps, load, next), (rtt, banned)))| {
            let announce = Announce { load, next, ..announce(id as u32, start, start + len, rps) };
            Drawn { announce, rtt, banned }
        });
        drawn.collect()
    })
}

fn view_of(swarm: &[Drawn]) -> View {
    let mut view = View::default();
    view.refresh(NOW, records(swarm.iter().map(|peer| peer.announce.clone())));
    for peer in swarm {
        if let Some(rtt) = peer.rtt {
            view.measured(NOW, peer.announce.peer, rtt, &Pings::default());
        }
        if peer.banned {
            view.ban(NOW, peer.announce.peer, &Bans::default());
        }
    }
    view
}

fn routing() -> impl Strategy<Value = Routing> {
    let weight = || prop_oneof![Just(Weight::Span), Just(Weight::Throughput)];
    prop_oneof![
        Just(Routing::MinLatency),
        Just(Routing::LoadAware),
        weight().prop_map(Routing::Random),
        weight().prop_map(Routing::RoundRobin),
    ]
}

/// Returns the estimated time of a route in seconds, as the sum of the terms that Petals uses.
fn seconds(swarm: &[Drawn], route: &[Hop]) -> f64 {
    let costs = Costs::default();
    let one_way = |rtt: Option<Duration>| rtt.unwrap_or(costs.unknown_rtt).min(costs.longest_rtt).as_secs_f64() / 2.0;
    let mut sum = 0.0;
    let mut before: Option<&Drawn> = None;
    for hop in route {
        let peer = &swarm[hop.peer.0 as usize];
        let there = match before {
            None => peer.rtt,
            Some(before) => before.announce.next.iter().find(|(to, _)| *to == hop.peer).map(|(_, rtt)| *rtt),
        };
        let rps = if peer.announce.inference_rps > 0.0 { peer.announce.inference_rps } else { costs.unknown_rps };
        let short = if peer.announce.load.cache_tokens < 100 { 10.0 } else { 0.0 };
        sum += one_way(there) + 0.018 + short + f64::from(hop.blocks.len()) / rps;
        before = Some(peer);
    }
    sum + one_way(before.and_then(|last| last.rtt))
}

/// Stores in `best` the least estimated time over all routes that follow each peer to the end of its block range.
fn least(swarm: &[Drawn], route: &mut Vec<Hop>, block: u32, best: &mut Option<f64>) {
    if block == BLOCKS.end {
        let here = seconds(swarm, route);
        *best = Some(best.map_or(here, |best| best.min(here)));
        return;
    }
    for peer in swarm.iter().filter(|peer| peer.announce.blocks.contains(block)) {
        let end = peer.announce.blocks.end.min(BLOCKS.end);
        route.push(Hop { peer: peer.announce.peer, blocks: BlockRange { start: block, end } });
        least(swarm, route, end, best);
        route.pop();
    }
}

proptest! {
    #[test]
    fn a_route_covers_every_block_once_and_exists_whenever_it_can(swarm in swarm(24), routing in routing()) {
        let covered = (0..16).all(|block| swarm.iter().any(|peer| peer.announce.blocks.contains(block)));
        let route = choose(&mut view_of(&swarm), &routing, &ask(BLOCKS));
        prop_assert_eq!(covered, route.is_some());
        let mut next = 0;
        for hop in route.into_iter().flatten() {
            let span = swarm[hop.peer.0 as usize].announce.blocks;
            prop_assert_eq!(hop.blocks.start, next);
            prop_assert!(hop.blocks.end > next && span.contains(next) && hop.blocks.end <= span.end);
            next = hop.blocks.end;
        }
        prop_assert!(!covered || next == 16);
    }

    #[test]
    fn a_banned_peer_serves_only_what_nobody_else_holds(swarm in swarm(24), routing in routing()) {
        let free = |block| swarm.iter().any(|peer| !peer.banned && peer.announce.blocks.contains(block));
        for hop in choose(&mut view_of(&swarm), &routing, &ask(BLOCKS)).into_iter().flatten() {
            if swarm[hop.peer.0 as usize].banned {
                prop_assert!((hop.blocks.start..hop.blocks.end).all(|block| !free(block)), "{:?}", hop);
            }
        }
    }

    #[test]
    fn no_route_is_shorter_than_the_shortest(swarm in swarm(8)) {
        let swarm: Vec<Drawn> = swarm.into_iter().map(|peer| Drawn { banned: false, ..peer }).collect();
        let route = choose(&mut view_of(&swarm), &Routing::MinLatency, &ask(BLOCKS));
        let mut best = None;
        least(&swarm, &mut Vec::new(), 0, &mut best);
        prop_assert_eq!(best.is_some(), route.is_some());
        if let (Some(best), Some(route)) = (best, route) {
            prop_assert!((seconds(&swarm, &route) - best).abs() < 1e-9, "{} is not {best}", seconds(&swarm, &route));
        }
    }

    #[test]
    fn the_fast_search_takes_the_route_of_the_plain_one(swarm in swarm(60), by_load: bool, draw: u64) {
        let view = view_of(&swarm);
        let (ask, costs, pings) = (Ask { draw, ..ask(BLOCKS) }, Costs::default(), Pings::default());
        let estimate = Estimate { ask: &ask, costs: &costs, pings: &pings, now: NOW, by_load };
        let peers: Vec<Known<'_>> = view.present().collect();
        prop_assert_eq!(shortest(&peers, &estimate), plain::plain(&peers, &estimate));
    }

    #[test]
    fn whoever_is_out_of_the_question_is_not_taken(swarm in swarm(24), routing in routing(), out in any::<sample::Index>()) {
        let Some(out) = (!swarm.is_empty()).then(|| out.get(&swarm).announce.peer) else { return Ok(()) };
        let without = [out];
        let asked = Ask { without: &without, ..ask(BLOCKS) };
        let route = choose(&mut view_of(&swarm), &routing, &asked);
        prop_assert!(route.into_iter().flatten().all(|hop| hop.peer != out));
    }
}

#[test]
fn fewer_hops_and_faster_peers_win() {
    let mut view = View::default();
    let all = [announce(1, 0, 4, 100.0), announce(2, 4, 8, 100.0), announce(3, 4, 8, 900.0), announce(4, 0, 2, 5000.0)];
    view.refresh(NOW, records(all));
    let route = choose(&mut view, &Routing::MinLatency, &ask(BlockRange { start: 0, end: 8 })).expect("covered");
    assert_eq!(peers(&route), [1, 3]);
}

/// With four replicas of the whole model, `MinLatency` sends all clients to one replica; `LoadAware` and `Random` use
/// all four.
#[test]
fn only_the_herd_crowds_one_of_four_replicas() {
    let blocks = BlockRange { start: 0, end: 8 };
    let taken = |routing: Routing| {
        let mut counts = [0; 4];
        for client in 0..40u64 {
            let mut view = View::default();
            view.refresh(NOW, records((0..4).map(|peer| announce(peer, 0, 8, 100.0))));
            let asked = Ask { draw: crate::seed::mix(client), ..ask(blocks) };
            counts[peers(&choose(&mut view, &routing, &asked).expect("covered"))[0] as usize] += 1;
        }
        counts
    };
    assert_eq!(taken(Routing::MinLatency), [40, 0, 0, 0]);
    for routing in [Routing::LoadAware, Routing::Random(Weight::Span)] {
        assert!(taken(routing.clone()).iter().all(|count| (4..20).contains(count)), "{routing:?}");
    }
}

#[test]
fn load_sends_the_next_session_elsewhere() {
    let mut view = View::default();
    view.refresh(NOW, records([announce(1, 0, 8, 100.0), announce(2, 0, 8, 50.0)]));
    let asked = ask(BlockRange { start: 0, end: 8 });
    let first = |view: &mut View| peers(&choose(view, &Routing::LoadAware, &asked).expect("covered"))[0];
    assert_eq!(first(&mut view), 1);
    view.heard(NOW, NodeId(1), Load { sessions: 4, step: 80_000, busy: 900, ..Load::default() });
    assert_eq!(first(&mut view), 2, "four sessions of 80 ms steps are worse than twice as slow");
    view.heard(NOW, NodeId(1), Load { sessions: 4, step: 80_000, busy: 50, ..Load::default() });
    assert_eq!(first(&mut view), 1, "sessions that leave it idle do not keep anyone waiting");
}

#[test]
fn turns_are_as_even_as_the_weights() {
    let mut view = View::default();
    view.refresh(NOW, records([announce(1, 0, 8, 300.0), announce(2, 0, 8, 100.0)]));
    let asked = ask(BlockRange { start: 0, end: 8 });
    let mut turns = |weight| -> Vec<u32> {
        let turn = |_| peers(&choose(&mut view, &Routing::RoundRobin(weight), &asked).expect("covered"))[0];
        (0..8).map(turn).collect()
    };
    let even = turns(Weight::Span);
    assert!(even.windows(2).all(|pair| pair[0] != pair[1]), "{even:?}");
    let by_throughput = turns(Weight::Throughput);
    assert!((5..=7).contains(&by_throughput.iter().filter(|peer| **peer == 1).count()), "{by_throughput:?}");
}

#[test]
fn a_given_route_is_followed_or_there_is_none() {
    let mut view = View::default();
    view.refresh(NOW, records([announce(1, 0, 4, 1.0), announce(2, 4, 8, 1.0), announce(3, 0, 8, 1e4)]));
    let asked = ask(BlockRange { start: 0, end: 8 });
    let fixed = |route: &[u32]| Routing::Fixed(route.iter().copied().map(NodeId).collect());
    let mut taken = |routing: &Routing, asked: &Ask<'_>| choose(&mut view, routing, asked).map(|route| peers(&route));
    assert_eq!(taken(&fixed(&[1, 2]), &asked), Some(vec![1, 2]));
    assert_eq!(taken(&fixed(&[1]), &asked), None);
    assert_eq!(taken(&fixed(&[1, 9]), &asked), None);
    // After a failure, only a part of the route may be needed; here it is the second part.
    assert_eq!(taken(&fixed(&[1, 2]), &Ask { blocks: BlockRange { start: 4, end: 8 }, ..asked }), Some(vec![2]));
    let given = [NodeId(1), NodeId(2)];
    assert_eq!(taken(&Routing::Replay, &Ask { given: Some(&given), ..asked }), Some(vec![1, 2]));
    // A request without a route, such as a warm-up, takes the shortest one.
    assert_eq!(taken(&Routing::Replay, &asked), Some(vec![3]));
}

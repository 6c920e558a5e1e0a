//! The placement of peers that may choose their blocks: Petals' rules for the first choice and for moves.
//!
//! All functions are pure functions over the records of a swarm. A new peer takes the range of blocks that are served
//! worst, among the ranges of its own length. From time to time, a peer checks whether it should move. It simulates its
//! own move to the blocks where it is needed most, and then such moves of all other peers, and checks whether the
//! swarm's weakest block would gain enough (`petals/server/block_selection.py` at 22afba6). While all blocks are
//! served, no peer makes a move that leaves one unserved.
use crate::dht::record::{Record, State};
use crate::id::{BlockRange, NodeId};
use crate::limits;
use crate::seed::SmallStream;
use crate::time::Duration;
use rand::RngExt;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How peers with `span: Capacity` choose their blocks. The defaults are those of Petals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(bound = "T: JsonSchema + Serialize + From<Duration>")]
pub struct Placement<T = Duration> {
    /// The mean time between two checks of a peer whether it should move. Each time is drawn uniformly from 0 to twice
    /// the mean.
    pub period: T,
    /// A peer moves only if a ratio is below this value: the throughput of the swarm's weakest block now, divided by
    /// its throughput after the move and the moves of other peers that would follow.
    pub quality: f64,
    /// The mean time that a new peer waits before it chooses its blocks. Each wait is drawn uniformly from 0 to twice
    /// the mean. Peers that start together therefore choose at different times, and later ones see the choices of
    /// earlier ones.
    pub delay: T,
}

impl<T: From<Duration>> Default for Placement<T> {
    fn default() -> Placement<T> {
        Placement { period: Duration::from_secs(60).into(), quality: 0.75, delay: Duration::from_secs(5).into() }
    }
}

impl<T> Placement<T> {
    /// Returns the same settings with each time converted by `to`.
    pub fn map<U>(self, to: impl Fn(T) -> U) -> Placement<U> {
        Placement { period: to(self.period), quality: self.quality, delay: to(self.delay) }
    }
}

impl Placement {
    /// Returns a time drawn uniformly from 0 to twice `mean`.
    pub fn draw(mean: Duration, stream: &mut SmallStream) -> Duration {
        Duration::from_secs_f64(2.0 * mean.as_secs_f64() * stream.random::<f64>())
    }
}

/// The speed of a peer, measured by itself or given by its device's cost model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// The number of blocks that the device computes per second in steps of one token.
    pub inference_rps: f64,
    /// The device's speed in steps of many tokens (1024 in Petals): computed blocks times tokens, per second.
    pub forward_rps: f64,
    /// The speed of the peer's NIC: the number of tokens per second for which it can carry the activations.
    pub network_rps: f64,
}

impl Speed {
    /// Returns the throughput of a peer with `blocks` blocks, in tokens per second: the lesser of its device's rate and
    /// its NIC's rate. The device's rate assumes that a request enters the peer at any block of its range with equal
    /// probability, and so uses `(blocks + 1) / 2` blocks on average (`petals/server/throughput.py`).
    pub fn throughput(&self, blocks: u32) -> f64 {
        (self.forward_rps / (f64::from(blocks + 1) / 2.0)).min(self.network_rps)
    }
}

/// The block range and the throughput (in tokens per second) of each peer that is online or joining.
pub type Spans = BTreeMap<NodeId, (BlockRange, f64)>;

/// Returns the block ranges and throughputs of those peers in `records` that are online or joining and hold at least
/// one block. A negative or NaN throughput counts as 0.
pub fn spans(records: &[Arc<Record>]) -> Spans {
    let there = records.iter().filter(|record| record.state >= State::Joining && !record.announce.blocks.is_empty());
    there.map(|record| (record.peer(), (record.announce.blocks, record.throughput.max(0.0)))).collect()
}

/// Returns the block range where a new peer with room for `length` of the model's `layers` blocks is needed most. The
/// range has all `layers` blocks if `length` is greater.
pub fn choose(spans: &Spans, length: u32, layers: u32) -> BlockRange {
    window(&throughputs(spans, layers), length.min(layers))
}

/// Returns the block range that `me` should move to, or `None` if it should stay.
///
/// `me` stays if the throughput of the weakest block now is at least `quality` times its throughput after the move of
/// `me` and the moves of other peers that would follow. It also stays if all blocks are served now and one would be
/// unserved without `me`.
///
/// # Panics
///
/// Panics if `me` holds more than `layers` blocks.
pub fn better(spans: &Spans, me: NodeId, layers: u32, quality: f64, stream: &mut SmallStream) -> Option<BlockRange> {
    let (mine, throughput) = *spans.get(&me)?;
    let mut served = throughputs(spans, layers);
    let before = weakest(&served);
    // Subtracts a little more than the peer's throughput. A rounding error therefore cannot make another range look
    // weaker than the peer's present range, and the peer stays if both are equal.
    add(&mut served, mine, -throughput * (1.0 + EPSILON));
    if before > EPSILON && weakest(&served) <= 0.0 {
        return None;
    }
    let place = window(&served, mine.len());
    if place == mine {
        return None;
    }
    // Moves do not change the sum of the throughputs of all blocks, so no sequence of moves can raise the weakest block
    // above the mean.
    let mean = (served.iter().sum::<f64>() + throughput * f64::from(mine.len())) / served.len() as f64;
    if before / (mean * (1.0 + EPSILON)) >= quality {
        return None;
    }
    add(&mut served, mine, throughput * EPSILON);
    add(&mut served, place, throughput);
    let moved =
        |(id, (span, throughput)): (&NodeId, &(BlockRange, f64))| (if *id == me { place } else { *span }, *throughput);
    follow(spans.iter().map(moved).collect(), &mut served, stream);
    let after = weakest(&served);
    (before / after < quality - EPSILON).then_some(place)
}

const EPSILON: f64 = 1e-3;

/// Moves the peers, each to the block range where it is needed most, in random order and again in each round. Ends
/// after a round in which no peer moves, or after [`limits::PLACEMENT_ROUNDS`] rounds. `peers` has the block range and
/// the throughput of each peer.
fn follow(mut peers: Vec<(BlockRange, f64)>, served: &mut [f64], stream: &mut SmallStream) {
    let mut order: Vec<u32> = (0..peers.len() as u32).collect();
    for _ in 0..limits::PLACEMENT_ROUNDS {
        let mut moved = false;
        order.shuffle(stream);
        for peer in &order {
            let (span, throughput) = &mut peers[*peer as usize];
            add(served, *span, -*throughput * (1.0 + EPSILON));
            let place = window(served, span.len());
            add(served, *span, *throughput * EPSILON);
            moved |= place != *span;
            *span = place;
            add(served, place, *throughput);
        }
        if !moved {
            break;
        }
    }
}

/// Returns, for each block, the summed throughput of the peers that hold it, in tokens per second.
fn throughputs(spans: &Spans, layers: u32) -> Vec<f64> {
    let mut served = vec![0.0; layers as usize];
    for (span, throughput) in spans.values() {
        add(&mut served, *span, *throughput);
    }
    served
}

fn add(served: &mut [f64], span: BlockRange, throughput: f64) {
    let end = (span.end as usize).min(served.len());
    for block in &mut served[(span.start as usize).min(end)..end] {
        *block += throughput;
    }
}

fn weakest(served: &[f64]) -> f64 {
    served.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Returns, among the ranges of `length` blocks, the range with the lexicographically least sorted throughputs. If
/// several are equal, it returns the first of them.
///
/// Each step takes the next greater throughput, from the least on, and keeps the ranges in which most blocks have it.
/// A few steps leave a single range.
fn window(served: &[f64], length: u32) -> BlockRange {
    let length = length as usize;
    // The first blocks of the ranges that are kept.
    let mut starts: Vec<usize> = (0..served.len() - length + 1).collect();
    let mut counts: Vec<usize> = Vec::with_capacity(starts.len());
    let mut done: Option<f64> = None;
    while let [first, .., last] = starts[..] {
        let within = &served[first..last + length];
        let rest = within.iter().copied().filter(|value| done.is_none_or(|done| value.total_cmp(&done).is_gt()));
        let Some(weakest) = rest.min_by(f64::total_cmp) else { break };
        done = Some(weakest);
        let is_weakest = |block: usize| usize::from(served[block].total_cmp(&weakest).is_eq());
        counts.clear();
        let (mut count, mut begin, mut end) = (0, first, first);
        for start in &starts {
            (end..start + length).for_each(|block| count += is_weakest(block));
            (begin..*start).for_each(|block| count -= is_weakest(block));
            (begin, end) = (*start, start + length);
            counts.push(count);
        }
        let most = counts.iter().copied().max();
        let mut count = counts.iter().copied();
        starts.retain(|_| count.next() == most);
    }
    BlockRange { start: starts[0] as u32, end: (starts[0] + length) as u32 }
}

#[cfg(test)]
mod tests {
    use super::{Spans, Speed, better, choose, throughputs, weakest, window};
    use crate::id::{BlockRange, NodeId};
    use crate::seed::Seed;
    use proptest::collection;
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

    const QUALITY: f64 = 0.75;

    /// Returns the same range as [`window`], by sorting the throughputs of every range.
    fn window_of_equals(served: &[f64], length: usize, starts: std::ops::Range<usize>) -> BlockRange {
        let sorted = |start: usize| {
            let mut blocks = served[start..start + length].to_vec();
            blocks.sort_unstable_by(f64::total_cmp);
            blocks
        };
        let less = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne());
        let (mut best, mut least) = (starts.start, sorted(starts.start));
        for start in starts.skip(1) {
            let blocks = sorted(start);
            if less(&blocks, &least).is_some_and(std::cmp::Ordering::is_lt) {
                (best, least) = (start, blocks);
            }
        }
        BlockRange { start: best as u32, end: (best + length) as u32 }
    }

    fn spans(of: &[(u32, u32, f64)]) -> Spans {
        let numbered = (1..).zip(of);
        let span = |(id, (start, end, throughput)): (u32, &(u32, u32, f64))| {
            (NodeId(id), (BlockRange { start: *start, end: *end }, *throughput))
        };
        numbered.map(span).collect()
    }

    proptest! {
        #[test]
        fn the_fast_window_is_the_plain_one(served in collection::vec(0..40u32, 1..60), length in 1..60u32, apart: bool) {
            // With `apart`, no two blocks are equally weak.
            let value = |(block, served): (usize, &u32)| f64::from(*served) + if apart { block as f64 * 1e-3 } else { 0.0 };
            let served: Vec<f64> = served.iter().enumerate().map(value).collect();
            let length = length.min(served.len() as u32);
            let all = 0..served.len() - length as usize + 1;
            prop_assert_eq!(window(&served, length), window_of_equals(&served, length as usize, all));
        }
    }

    #[test]
    fn a_newcomer_takes_the_window_that_is_served_worst() {
        let range = |start, end| BlockRange { start, end };
        assert_eq!(choose(&Spans::new(), 3, 8), range(0, 3));
        assert_eq!(choose(&spans(&[(0, 3, 1.0)]), 3, 8), range(3, 6));
        // A range with two unserved blocks is needed more than one with weakly served blocks.
        assert_eq!(choose(&spans(&[(0, 3, 1.0), (3, 6, 0.1)]), 3, 8), range(5, 8));
        assert_eq!(choose(&spans(&[(0, 4, 5.0), (4, 8, 1.0), (2, 6, 1.0)]), 2, 8), range(6, 8));
        assert_eq!(choose(&Spans::new(), 30, 8), range(0, 8), "a peer with room for more serves all");
    }

    #[test]
    fn who_gains_the_swarm_enough_moves_and_who_holds_a_block_alone_stays() {
        let mut stream = Seed(1).small_stream("test", 0, 0);
        let mut move_of = |peer: u32, of: &[(u32, u32, f64)]| better(&spans(of), NodeId(peer), 8, QUALITY, &mut stream);
        let uneven = [(0, 4, 1.0), (0, 4, 1.0), (0, 4, 1.0), (4, 8, 1.0)];
        assert_eq!(move_of(1, &uneven), Some(BlockRange { start: 4, end: 8 }));
        assert_eq!(move_of(4, &uneven), None, "blocks 4..8 would be left unserved");
        assert_eq!(move_of(1, &[(0, 4, 1.0), (0, 4, 1.0), (4, 8, 1.0), (4, 8, 1.0)]), None);
        // The weakest block would go from 1.0 to 1.2. The gain is too small to be worth a reload.
        assert_eq!(move_of(1, &[(0, 4, 0.2), (0, 4, 1.0), (4, 8, 1.0)]), None);
        assert_eq!(move_of(9, &uneven), None, "it is not there");
    }

    #[test]
    fn throughput_is_the_lesser_of_device_and_network() {
        let speed = Speed { inference_rps: 100.0, forward_rps: 1000.0, network_rps: 50.0 };
        assert_eq!(speed.throughput(9), 50.0);
        assert_eq!(speed.throughput(99), 20.0);
    }

    fn swarm() -> impl Strategy<Value = Spans> {
        let peer = (0..14u32, 1..9u32, 0.1..10.0f64);
        proptest::collection::vec(peer, 1..16)
            .prop_map(|peers| spans(&peers.into_iter().map(|(s, l, t)| (s, (s + l).min(16), t)).collect::<Vec<_>>()))
    }

    proptest! {
        #[test]
        fn a_move_uncovers_nothing_and_a_choice_covers_a_hole_if_there_is_one(spans in swarm(), seed in 0..100u64, length in 1..16u32) {
            let mut stream = Seed(seed).small_stream("test", 0, 0);
            let before = throughputs(&spans, 16);
            for (me, (span, throughput)) in &spans {
                if let Some(place) = better(&spans, *me, 16, QUALITY, &mut stream) {
                    prop_assert_eq!(place.len(), span.len());
                    let mut moved = spans.clone();
                    moved.insert(*me, (place, *throughput));
                    let after = throughputs(&moved, 16);
                    let served = weakest(&before) > 0.0;
                    prop_assert!(!served || weakest(&after) > 0.0);
                }
            }
            let chosen = choose(&spans, length, 16);
            let hole = (0..16usize).find(|block| before[*block] == 0.0);
            prop_assert!(hole.is_none() || (chosen.start..chosen.end).any(|block| before[block as usize] == 0.0));
        }

        /// Peers that check in turn whether to move stop moving after fewer than 400 moves.
        #[test]
        fn moving_in_turn_comes_to_rest(spans in swarm(), seed in 0..100u64) {
            let mut stream = Seed(seed).small_stream("test", 0, 0);
            let mut spans = spans;
            let peers: Vec<NodeId> = spans.keys().copied().collect();
            let mut moves = 0;
            loop {
                let mut rest = true;
                for me in &peers {
                    if let Some(place) = better(&spans, *me, 16, QUALITY, &mut stream) {
                        spans.get_mut(me).expect("it is there").0 = place;
                        (moves, rest) = (moves + 1, false);
                    }
                }
                if rest { break }
                prop_assert!(moves < 400);
            }
        }
    }
}

//! Which blocks a peer serves, where it may choose: Petals' rule, and when to move.
//!
//! Pure functions over the records of a swarm. A newcomer takes the window of its length whose blocks are served worst;
//! from time to time it looks whether the swarm's weakest block would gain enough if it, and then everybody, moved to
//! where they are needed most (`petals/server/block_selection.py` at 22afba6). Nobody moves who would leave a block
//! unserved.
use crate::dht::record::{Record, State};
use crate::id::{BlockRange, NodeId};
use crate::limits;
use crate::seed::SmallStream;
use crate::time::Duration;
use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How peers that choose their blocks do so. The defaults are Petals'.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// A peer looks whether to move after a time drawn uniformly up to twice this.
    pub period: Duration,
    /// It moves if the weakest block has less than this part of what it would have.
    pub quality: f64,
    /// A newcomer waits for a time drawn uniformly up to twice this before it chooses, so that of several that start
    /// together each sees what the others have chosen.
    pub delay: Duration,
}

impl Default for Placement {
    fn default() -> Placement {
        Placement { period: Duration::from_secs(60), quality: 0.75, delay: Duration::from_secs(5) }
    }
}

impl Placement {
    pub fn draw(mean: Duration, stream: &mut SmallStream) -> Duration {
        Duration::from_secs_f64(2.0 * mean.as_secs_f64() * stream.random::<f64>())
    }
}

/// What a peer can do, measured or told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Blocks per second of one-token steps.
    pub inference_rps: f64,
    /// Blocks per second and token of a step of 1024 tokens.
    pub forward_rps: f64,
    /// Tokens per second that its NIC carries.
    pub network_rps: f64,
}

impl Speed {
    /// Tokens per second of a peer with `blocks` blocks: what its device computes, where a request enters at any block of
    /// the span, or what its network carries (`petals/server/throughput.py`).
    pub fn throughput(&self, blocks: u32) -> f64 {
        (self.forward_rps / (f64::from(blocks + 1) / 2.0)).min(self.network_rps)
    }
}

/// Who serves what, of all that have not left.
pub type Spans = BTreeMap<NodeId, (BlockRange, f64)>;

pub fn spans(records: &[Arc<Record>]) -> Spans {
    let there = records.iter().filter(|record| record.state >= State::Joining && !record.announce.blocks.is_empty());
    there.map(|record| (record.peer(), (record.announce.blocks, record.throughput.max(0.0)))).collect()
}

/// Where a newcomer with room for `length` of `layers` blocks is needed most.
pub fn choose(spans: &Spans, length: u32, layers: u32) -> BlockRange {
    window(&throughputs(spans, layers), length.min(layers))
}

/// The better place for `me` if it is enough better, and nothing that is served would be left unserved.
pub fn better(spans: &Spans, me: NodeId, layers: u32, quality: f64, stream: &mut SmallStream) -> Option<BlockRange> {
    let (mine, throughput) = *spans.get(&me)?;
    let mut served = throughputs(spans, layers);
    let before = weakest(&served);
    // A little more is taken away than was given: what is left of a rounding error would be a reason to move, and where
    // nothing else decides the old place is to win.
    add(&mut served, mine, -throughput * (1.0 + EPSILON));
    if before > EPSILON && weakest(&served) <= 0.0 {
        return None;
    }
    let place = window(&served, mine.len());
    if place == mine {
        return None;
    }
    add(&mut served, mine, throughput * EPSILON);
    let mut spans = spans.clone();
    spans.insert(me, (place, throughput));
    add(&mut served, place, throughput);
    follow(&mut spans, &mut served, stream);
    let after = weakest(&served);
    (before / after < quality - EPSILON).then_some(place)
}

const EPSILON: f64 = 1e-3;

/// Lets everybody move to where they are needed most, in random order, until nobody would.
fn follow(spans: &mut Spans, served: &mut [f64], stream: &mut SmallStream) {
    let mut order: Vec<NodeId> = spans.keys().copied().collect();
    for _ in 0..limits::PLACEMENT_ROUNDS {
        let mut moved = false;
        order.shuffle(stream);
        for peer in &order {
            let (span, throughput) = spans[peer];
            add(served, span, -throughput * (1.0 + EPSILON));
            let place = window(served, span.len());
            add(served, span, throughput * EPSILON);
            moved |= place != span;
            spans.insert(*peer, (place, throughput));
            add(served, place, throughput);
        }
        if !moved {
            break;
        }
    }
}

/// Tokens per second at each block.
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

/// The window of `length` blocks whose sorted throughputs are lexicographically least, the first of equals.
fn window(served: &[f64], length: u32) -> BlockRange {
    let sorted = |start: usize| {
        let mut blocks = served[start..start + length as usize].to_vec();
        blocks.sort_unstable_by(f64::total_cmp);
        blocks
    };
    let less = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne());
    let (mut best, mut least) = (0, sorted(0));
    for start in 1..=served.len() - length as usize {
        let blocks = sorted(start);
        if less(&blocks, &least).is_some_and(std::cmp::Ordering::is_lt) {
            (best, least) = (start, blocks);
        }
    }
    BlockRange { start: best as u32, end: best as u32 + length }
}

#[cfg(test)]
mod tests {
    use super::{Spans, Speed, better, choose, throughputs, weakest};
    use crate::id::{BlockRange, NodeId};
    use crate::seed::Seed;
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

    const QUALITY: f64 = 0.75;

    fn spans(of: &[(u32, u32, f64)]) -> Spans {
        let numbered = (1..).zip(of);
        let span = |(id, (start, end, throughput)): (u32, &(u32, u32, f64))| {
            (NodeId(id), (BlockRange { start: *start, end: *end }, *throughput))
        };
        numbered.map(span).collect()
    }

    #[test]
    fn a_newcomer_takes_the_window_that_is_served_worst() {
        let range = |start, end| BlockRange { start, end };
        assert_eq!(choose(&Spans::new(), 3, 8), range(0, 3));
        assert_eq!(choose(&spans(&[(0, 3, 1.0)]), 3, 8), range(3, 6));
        // Two uncovered blocks outweigh any weak one.
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
        // 1.0 of 1.2 would be gained: not enough to be worth reloading.
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

        /// Peers that look in turn come to rest, and then the weakest block has most of what it could have.
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

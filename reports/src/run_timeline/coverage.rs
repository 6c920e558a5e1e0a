//! The number of the model's blocks that have a serving peer, over time.
//!
//! A peer serves from its announcement as ONLINE until it announces another state or crashes. A stalled or partitioned
//! peer counts as serving, because its state is intact.
use actors::dht::State;
use actors::id::{BlockRange, NodeId};
use actors::record::FaultKind;
use actors::time::{Duration, Timestamp};
use rows::RareEvents;
use std::collections::BTreeMap;

/// The number of served blocks over time, as a list of the changes of this number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    blocks: u32,
    changes: Vec<(Timestamp, u32)>,
}

/// The intervals of a window during which some block had no serving peer, and the share of blocks that were served.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Holes {
    pub count: u32,
    pub time: Duration,
    /// The mean over the window of the share of blocks that were served, from 0 to 1.
    pub mean: f64,
    /// The lowest share of blocks that were served at any time in the window, from 0 to 1.
    pub least: f64,
}

/// The effect of a peer's announcement or crash.
enum Change {
    Away(NodeId),
    Serves(NodeId, BlockRange),
}

/// The serving peers with their blocks, and for each block the number of peers that serve it.
struct Count {
    peers: BTreeMap<NodeId, BlockRange>,
    servers: Vec<u32>,
    served: u32,
}

impl Count {
    fn take(&mut self, change: Change) {
        match change {
            Change::Away(peer) => self.away(peer),
            Change::Serves(peer, blocks) => {
                self.away(peer);
                for servers in self.span(blocks) {
                    *servers += 1;
                }
                self.peers.insert(peer, blocks);
            }
        }
        self.served = self.servers.iter().filter(|servers| **servers > 0).count() as u32;
    }

    fn away(&mut self, peer: NodeId) {
        if let Some(blocks) = self.peers.remove(&peer) {
            for servers in self.span(blocks) {
                *servers -= 1;
            }
        }
    }

    /// Returns the number of serving peers of each block in `blocks`. The range is clamped to the model, because a peer
    /// may announce blocks that the model lacks.
    fn span(&mut self, blocks: BlockRange) -> &mut [u32] {
        let end = (blocks.end as usize).min(self.servers.len());
        &mut self.servers[(blocks.start as usize).min(end)..end]
    }
}

impl Coverage {
    /// Returns the coverage of a model with this number of blocks.
    pub fn of(rare: &RareEvents, blocks: u32) -> Coverage {
        // If a host crashes and restarts at one instant, the crash comes before the announcements of the new start.
        let mut changes: Vec<(Timestamp, u8, Change)> = Vec::new();
        for fault_events in rare.fault_events.iter().filter(|fault_events| fault_events.fault == FaultKind::Crash) {
            changes.extend(fault_events.nodes.iter().map(|node| (fault_events.at, 0, Change::Away(*node))));
        }
        for serving in &rare.serving {
            let change = match serving.state {
                State::Online => Change::Serves(serving.peer, serving.blocks),
                State::Joining | State::Offline => Change::Away(serving.peer),
            };
            changes.push((serving.at, 1, change));
        }
        changes.sort_by_key(|(at, order, _)| (*at, *order));
        let mut count = Count { peers: BTreeMap::new(), servers: vec![0; blocks as usize], served: 0 };
        let mut coverage = Coverage { blocks, changes: Vec::new() };
        for (at, _, change) in changes {
            count.take(change);
            // The last of several announcements at one instant counts. An announcement without effect adds no change.
            coverage.changes.pop_if(|(last, _)| *last == at);
            if coverage.changes.last().is_none_or(|(_, served)| *served != count.served) {
                coverage.changes.push((at, count.served));
            }
        }
        coverage
    }

    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Returns consecutive time intervals without gaps until `end`: start, end, and the number of served blocks.
    pub fn stretches(&self, end: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp, u32)> {
        let ends = self.changes.iter().skip(1).map(|(at, _)| *at).chain([end]);
        let stretches =
            self.changes.iter().zip(ends).map(move |((from, served), till)| (*from, till.min(end), *served));
        stretches.filter(|(from, till, _)| from < till)
    }

    /// Returns the holes within a window, which are the intervals in which some block had no serving peer. Returns
    /// `None` if no peer ever announced itself or the window is empty.
    pub fn holes(&self, from: Timestamp, till: Timestamp) -> Option<Holes> {
        if self.blocks == 0 || self.changes.is_empty() || till <= from {
            return None;
        }
        let share = |served: u32| f64::from(served) / f64::from(self.blocks);
        let first = self.changes.partition_point(|(at, _)| *at <= from);
        let mut now = (from, first.checked_sub(1).map_or(0, |at| self.changes[at].1));
        let mut holes = Holes { least: 1.0, ..Holes::default() };
        let (mut whole, mut weighted) = (true, 0.0);
        for next in self.changes[first..].iter().copied().filter(|(at, _)| *at < till).chain([(till, 0)]) {
            let lasts = next.0.since(now.0);
            holes.least = holes.least.min(share(now.1));
            weighted += share(now.1) * lasts.as_secs_f64();
            let hole = now.1 < self.blocks;
            if hole {
                holes.time += lasts;
                holes.count += u32::from(whole);
            }
            whole = !hole;
            now = next;
        }
        holes.mean = weighted / till.since(from).as_secs_f64();
        Some(holes)
    }
}

#[cfg(test)]
mod tests {
    use super::Coverage;
    use actors::dht::State;
    use actors::id::{BlockRange, NodeId};
    use actors::record::{Event, FaultEvent, FaultKind, Serving};
    use actors::time::{Duration, Timestamp};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use rows::RunRows;

    fn says(peer: u32, at: u64, (start, end): (u32, u32), state: State) -> Event {
        let blocks = BlockRange { start, end };
        Event::Serving(Box::new(Serving { peer: NodeId(peer), at: Timestamp(at), blocks, state }))
    }

    fn crash(peer: u32, at: u64) -> Event {
        let (at, nodes) = (Timestamp(at), vec![NodeId(peer)]);
        Event::FaultEvent(Box::new(FaultEvent { at, fault: FaultKind::Crash, nodes, lasts: None }))
    }

    fn coverage(events: &[Event], blocks: u32) -> Coverage {
        Coverage::of(&RunRows::of(events).rare, blocks)
    }

    #[test]
    fn a_crash_makes_a_hole_that_another_peer_closes() {
        let events = [
            says(2, 0, (0, 4), State::Online),
            says(3, 0, (4, 8), State::Online),
            crash(3, 60),
            says(3, 70, (4, 8), State::Joining),
            says(4, 80, (4, 6), State::Online),
            says(3, 90, (4, 8), State::Online),
        ];
        let coverage = coverage(&events, 8);
        let stretches: Vec<_> = coverage.stretches(Timestamp(100)).map(|(a, b, served)| (a.0, b.0, served)).collect();
        assert_eq!(stretches, [(0, 60, 8), (60, 80, 4), (80, 90, 6), (90, 100, 8)]);
        let holes = coverage.holes(Timestamp(50), Timestamp(100)).expect("a window");
        assert_eq!((holes.count, holes.time, holes.least), (1, Duration(30), 0.5));
        assert!((holes.mean - (10.0 + 20.0 * 0.5 + 10.0 * 0.75 + 10.0) / 50.0).abs() < 1e-9);
        assert_eq!(coverage.holes(Timestamp(0), Timestamp(50)).expect("a window").count, 0);
        assert_eq!(
            coverage.holes(Timestamp(70), Timestamp(75)).expect("a window").count,
            1,
            "a hole older than the window"
        );
    }

    #[test]
    fn who_moves_serves_the_new_blocks_and_who_leaves_none() {
        let moves = [
            says(2, 0, (0, 2), State::Online),
            says(2, 5, (0, 2), State::Offline),
            says(2, 5, (2, 4), State::Joining),
            says(2, 9, (2, 4), State::Online),
        ];
        let served = |coverage: &Coverage| coverage.stretches(Timestamp(20)).map(|s| s.2).collect::<Vec<_>>();
        assert_eq!(served(&coverage(&moves, 4)), [2, 0, 2]);
        assert_eq!(served(&coverage(&[says(2, 0, (0, 9), State::Online)], 4)), [4], "blocks beyond the model");
        assert!(coverage(&[], 4).holes(Timestamp(0), Timestamp(1)).is_none());
    }

    proptest! {
        #[test]
        fn stretches_fill_the_time_and_their_mean_is_that_of_holes(
            words in proptest::collection::vec((0..4u32, 0..100u64, 0..6u32, 0..6u32, any::<bool>()), 1..30),
        ) {
            let word = |&(peer, at, start, len, on): &(u32, u64, u32, u32, bool)| {
                says(peer, at, (start, start + len), if on { State::Online } else { State::Offline })
            };
            let events: Vec<Event> = words.iter().map(word).collect();
            let coverage = coverage(&events, 8);
            let end = Timestamp(120);
            let stretches: Vec<_> = coverage.stretches(end).collect();
            prop_assert!(stretches.windows(2).all(|pair| pair[0].1 == pair[1].0 && pair[0].2 != pair[1].2));
            let from = stretches.first().map_or(end, |first| first.0);
            prop_assert_eq!(stretches.last().map_or(end, |last| last.1), end);
            if let Some(holes) = coverage.holes(from, end) {
                let weighted: f64 = stretches.iter().map(|s| f64::from(s.2) / 8.0 * s.1.since(s.0).as_secs_f64()).sum();
                prop_assert!((holes.mean - weighted / end.since(from).as_secs_f64()).abs() < 1e-9);
                let open: u64 = stretches.iter().filter(|s| s.2 < 8).map(|s| s.1.since(s.0).0).sum();
                prop_assert_eq!(holes.time, Duration(open));
                prop_assert!(holes.least <= holes.mean + 1e-9 && holes.mean <= 1.0 + 1e-9);
            }
        }
    }
}

//! The next-hop probe: a peer measures the round-trip times to possible next hops of a route before it announces
//! itself, as Petals' servers do (`server.py`, `_ping_next_servers`). The router takes these times as the network cost
//! from one peer to the next.
//!
//! In one round, the peer looks up the holders of the block after its own range (and of the blocks inside its range, if
//! configured), pings a few of them, and waits a short time for the answers. This module is a pure state machine: the
//! timer that ends a round belongs to the peer.
use crate::dht::Record;
use crate::dht::record::State;
use crate::id::{BlockRange, NodeId};
use crate::limits;
use crate::message::{Message, Ping, PingPurpose};
use crate::route::{Pings, RoundTrip};
use crate::seed::SmallStream;
use crate::time::{Duration, Timestamp};
use crate::world::Effect;
use rand::seq::IndexedRandom;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The state of a peer's next-hop probe.
#[derive(Debug, Default)]
pub struct NextHopProbe {
    /// The average round-trip time to each pinged peer, over all rounds.
    trips: BTreeMap<NodeId, RoundTrip>,
    /// The peers of the current round that have not answered yet, with the send times of the pings.
    pinged: BTreeMap<NodeId, Timestamp>,
    /// The number of rounds that reached the ping phase. The number is part of each ping's nonce, so that late answers
    /// of earlier rounds are ignored.
    rounds: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Resting,
    Looking,
    Pinging,
}

impl NextHopProbe {
    /// Begins a round for a peer that holds `span` in a model of `layers` blocks. Returns the blocks for which the
    /// caller must look up the holders, or `None` if there is nothing to measure or a round is in progress.
    pub fn begin(&mut self, span: BlockRange, layers: u32, pings: &Pings) -> Option<BlockRange> {
        let end = if pings.next > 0 { (span.end + 1).min(layers) } else { span.end };
        let start = if pings.middle > 0 { (span.start + 1).min(end) } else { span.end.min(end) };
        if self.phase != Phase::Resting || start == end {
            return None;
        }
        self.phase = Phase::Looking;
        Some(BlockRange { start, end })
    }

    /// Whether a round is in progress. The peer announces itself when the round ends.
    pub fn is_busy(&self) -> bool {
        self.phase != Phase::Resting
    }

    /// Aborts the current round. Round trips that were measured before are kept.
    pub fn stop(&mut self) {
        self.phase = Phase::Resting;
        self.pinged.clear();
    }

    /// Takes the records that the lookup found, and pings random peers among them: up to `pings.next` peers that serve
    /// the block after `span`, and up to `pings.middle` peers that serve a block of `span` other than its first.
    /// Returns true if the round now waits for answers. Returns false if the round has ended, or if no round was in its
    /// lookup phase.
    pub fn found(
        &mut self,
        now: Timestamp,
        (me, span): (NodeId, BlockRange),
        records: &[Arc<Record>],
        pings: &Pings,
        draw: &mut SmallStream,
        out: &mut Vec<Effect>,
    ) -> bool {
        if self.phase != Phase::Looking {
            return false;
        }
        let there = |record: &&Arc<Record>| record.state >= State::Joining && record.peer() != me;
        let holders = |holds: &dyn Fn(BlockRange) -> bool| {
            let all = records.iter().filter(there).filter(|record| holds(record.announce.blocks));
            all.map(|record| record.peer()).collect::<Vec<_>>()
        };
        let next = holders(&|blocks| blocks.contains(span.end));
        let middle = holders(&|blocks| blocks.start < span.end && blocks.end > span.start + 1);
        let mut chosen: BTreeSet<NodeId> = next.sample(draw, pings.next as usize).copied().collect();
        chosen.extend(middle.sample(draw, pings.middle as usize).copied());
        self.rounds += 1;
        self.pinged.clear();
        for peer in chosen {
            self.pinged.insert(peer, now);
            let ping = Ping { nonce: PingPurpose::NextHop(self.rounds).nonce() };
            out.push(Effect::Send { to: peer, message: Message::Ping(ping) });
        }
        self.phase = if self.pinged.is_empty() { Phase::Resting } else { Phase::Pinging };
        self.phase == Phase::Pinging
    }

    /// Records the round-trip time of an answered ping. Returns whether this answer ends the round. Answers of earlier
    /// rounds and second answers are ignored.
    pub fn on_pong(&mut self, now: Timestamp, from: NodeId, nonce: u64, pings: &Pings) -> bool {
        if PingPurpose::of(nonce) != PingPurpose::NextHop(self.rounds) {
            return false;
        }
        let Some(sent) = self.pinged.remove(&from) else { return false };
        let trip = RoundTrip::after(self.trips.get(&from).copied(), now, now.since(sent), pings);
        self.trips.insert(from, trip);
        self.pinged.is_empty() && self.end()
    }

    /// Ends a round that waits for answers, without the peers that have not answered. Returns whether a round was
    /// waiting.
    pub fn end(&mut self) -> bool {
        let was = self.phase == Phase::Pinging;
        if was {
            self.stop();
        }
        was
    }

    /// Forgets a node that cannot be reached any more. Returns whether this ends the round.
    pub fn on_gone(&mut self, node: NodeId) -> bool {
        self.trips.remove(&node);
        self.pinged.remove(&node).is_some() && self.pinged.is_empty() && self.end()
    }

    /// Returns the average round-trip times to announce, in the order of node ids. Forgets the peers that were last
    /// measured longer than `pings.expiry` ago. Beyond [`limits::ROUND_TRIPS_PER_RECORD`] peers, forgets those that
    /// were measured longest ago.
    pub fn round_trips(&mut self, now: Timestamp, pings: &Pings) -> Vec<(NodeId, Duration)> {
        self.trips.retain(|_, trip| trip.within(now, pings.expiry).is_some());
        while self.trips.len() > limits::ROUND_TRIPS_PER_RECORD {
            let oldest = self.trips.iter().min_by_key(|(_, trip)| trip.at()).map(|(peer, _)| *peer);
            oldest.and_then(|oldest| self.trips.remove(&oldest));
        }
        self.trips.iter().filter_map(|(peer, trip)| Some((*peer, trip.within(now, pings.expiry)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::NextHopProbe;
    use crate::announce::{Announce, Load};
    use crate::dht::record::{Record, State};
    use crate::id::{BlockRange, NodeId};
    use crate::limits;
    use crate::message::Message;
    use crate::route::Pings;
    use crate::seed::Seed;
    use crate::time::{Duration, Timestamp};
    use crate::world::Effect;
    use std::sync::Arc;

    fn range(start: u32, end: u32) -> BlockRange {
        BlockRange { start, end }
    }

    fn record(peer: u32, start: u32, end: u32, state: State) -> Arc<Record> {
        let (load, next) = (Load::default(), Vec::new());
        let announce = Announce { peer: NodeId(peer), blocks: range(start, end), inference_rps: 1.0, load, next };
        Arc::new(Record { announce, state, throughput: 1.0, version: Timestamp(1) })
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::default() + Duration::from_millis(ms)
    }

    /// Returns the pings (receiver and nonce) of one round of peer 1, which holds the blocks 2..6 of 12.
    fn pinged(next_hop_probe: &mut NextHopProbe, pings: &Pings, records: &[Arc<Record>]) -> Vec<(u32, u64)> {
        let mut out = Vec::new();
        let mut draw = Seed(1).small_stream("test", 0, 0);
        next_hop_probe.found(at(0), (NodeId(1), range(2, 6)), records, pings, &mut draw, &mut out);
        let ping = |effect: &Effect| match effect {
            Effect::Send { to, message: Message::Ping(ping) } => (to.0, ping.nonce),
            other => panic!("{other:?}"),
        };
        out.iter().map(ping).collect()
    }

    #[test]
    fn those_that_may_come_next_are_measured_and_the_others_not() {
        let (mut next_hop_probe, pings) = (NextHopProbe::default(), Pings { next: 5, middle: 0, ..Pings::default() });
        assert_eq!(next_hop_probe.begin(range(2, 6), 12, &pings), Some(range(6, 7)));
        assert_eq!(next_hop_probe.begin(range(2, 6), 12, &pings), None, "one round at a time");
        let online = |peer, start, end| record(peer, start, end, State::Online);
        let records =
            [online(1, 2, 6), online(2, 6, 12), online(3, 4, 8), online(4, 2, 6), record(5, 6, 9, State::Offline)];
        let sent = pinged(&mut next_hop_probe, &pings, &records);
        assert_eq!(sent.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [2, 3]);
        assert!(!next_hop_probe.on_pong(at(40), NodeId(2), sent[0].1, &pings));
        assert!(!next_hop_probe.on_pong(at(50), NodeId(2), sent[0].1, &pings), "it has answered");
        assert!(!next_hop_probe.on_pong(at(50), NodeId(3), sent[0].1 + 1, &pings), "of another round");
        assert!(next_hop_probe.on_pong(at(60), NodeId(3), sent[1].1, &pings), "all have answered");
        let all = [(NodeId(2), Duration::from_millis(40)), (NodeId(3), Duration::from_millis(60))];
        assert_eq!(next_hop_probe.round_trips(at(100), &pings), all);
        assert!(next_hop_probe.round_trips(at(301_000), &pings).is_empty(), "they are old");
    }

    #[test]
    fn the_last_peer_of_a_route_asks_nobody_but_for_the_midst_of_its_blocks() {
        let last = range(8, 12);
        assert_eq!(NextHopProbe::default().begin(last, 12, &Pings { middle: 0, ..Pings::default() }), None);
        assert_eq!(
            NextHopProbe::default().begin(last, 12, &Pings { middle: 5, ..Pings::default() }),
            Some(range(9, 12))
        );
        assert_eq!(
            NextHopProbe::default().begin(range(2, 6), 12, &Pings { next: 0, middle: 0, ..Pings::default() }),
            None
        );
    }

    #[test]
    fn a_round_ends_without_those_that_are_silent_and_what_is_announced_is_bounded() {
        let (mut next_hop_probe, pings) = (NextHopProbe::default(), Pings { next: 1000, ..Pings::default() });
        let records: Vec<_> = (2..200).map(|peer| record(peer, 6, 12, State::Online)).collect();
        for _ in 0..2 {
            assert!(next_hop_probe.begin(range(2, 6), 12, &pings).is_some());
            let sent = pinged(&mut next_hop_probe, &pings, &records);
            assert_eq!(sent.len(), 198);
            sent[1..].iter().for_each(|(to, nonce)| _ = next_hop_probe.on_pong(at(5), NodeId(*to), *nonce, &pings));
            assert!(next_hop_probe.is_busy() && next_hop_probe.end() && !next_hop_probe.end());
        }
        assert_eq!(next_hop_probe.round_trips(at(9), &pings).len(), limits::ROUND_TRIPS_PER_RECORD);
    }
}

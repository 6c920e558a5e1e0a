//! A node's view of the peers: their block ranges, round-trip times and loads, and the bans on them.
//!
//! Lookups supply announcements, pings supply round-trip times, and some messages of a peer carry its load. The view is
//! a pure data structure: a client reports its observations to the view, and asks it for a route.
//!
//! Several views may share one copy of a record. A view owns only the observations of the few peers that its node has
//! used or measured.
use super::ban::{Ban, Bans};
use super::ping::{Pings, RoundTrip};
use crate::announce::{Announce, Load};
use crate::dht::Record;
use crate::id::{BlockRange, NodeId};
use crate::message::Hop;
use crate::time::{Duration, Timestamp};
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node's view of the peers.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The latest records of the peers that are present, in the order of their ids.
    records: Vec<Arc<Record>>,
    /// This node's own observations of each peer. They are kept while the peer is absent.
    seen: BTreeMap<NodeId, Seen>,
    /// The time when the last lookup's result arrived; `None` before the first.
    refreshed: Option<Timestamp>,
}

/// A node's own observations of a peer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// The load that the peer has last reported, and the time of that report.
    pub load: Option<(Load, Timestamp)>,
    /// The number of sessions that this node has opened at the peer since the peer last reported its load.
    pub opened: u32,
    /// The average round-trip time to the peer; `None` if none was measured.
    pub round_trip: Option<RoundTrip>,
    /// The latest ban of the peer, in force or expired; `None` if the peer has served successfully since.
    pub ban: Option<Ban>,
    /// The credit of the peer in weighted round robin.
    pub credit: f64,
}

static NOTHING: Seen = Seen { load: None, opened: 0, round_trip: None, ban: None, credit: 0.0 };

/// The record of one present peer, and the node's own observations of that peer.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The peer's latest announcement.
    pub announce: &'a Announce,
    pub seen: &'a Seen,
}

impl Known<'_> {
    /// Returns the node id of the peer.
    pub fn id(&self) -> NodeId {
        self.announce.peer
    }

    /// Returns the load that the peer last reported to this node, or else the load in its announcement.
    pub fn load(&self) -> Load {
        self.seen.load.map_or(self.announce.load, |(load, _)| load)
    }

    /// Whether a ban on the peer is in force at `now`.
    pub fn is_banned(&self, now: Timestamp) -> bool {
        self.seen.is_banned(now)
    }

    /// Returns the average round-trip time; `None` if it was never measured, or its last measurement is older than
    /// `expiry`.
    pub fn rtt(&self, now: Timestamp, expiry: Duration) -> Option<Duration> {
        self.seen.round_trip.and_then(|trip| trip.within(now, expiry))
    }
}

impl Seen {
    /// Whether a ban on the peer is in force at `now`.
    pub fn is_banned(&self, now: Timestamp) -> bool {
        self.ban.is_some_and(|ban| ban.holds(now))
    }
}

impl View {
    /// Replaces the set of present peers by the result of a lookup: one record of each peer, in the order of their ids.
    /// A peer that is missing from the result is absent until it is announced again.
    pub fn refresh(&mut self, now: Timestamp, records: Vec<Arc<Record>>) {
        debug_assert!(records.is_sorted_by(|a, b| a.peer() < b.peer()), "a lookup's result is in the order of ids");
        self.refreshed = Some(now);
        let before = std::mem::replace(&mut self.records, records);
        let mut present = self.records.iter().map(|record| record.peer()).peekable();
        for peer in before.iter().map(|record| record.peer()) {
            while present.next_if(|present| *present < peer).is_some() {}
            if present.next_if_eq(&peer).is_none() {
                self.seen.entry(peer).or_default();
            }
        }
    }

    /// Returns the time since the result of the last lookup arrived; `None` before the first result.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.refreshed.map(|at| now.since(at))
    }

    /// Whether there was no lookup yet, or the last one's result is older than `refresh`.
    pub fn is_older_than(&self, refresh: Duration, now: Timestamp) -> bool {
        self.age(now).is_none_or(|age| age > refresh)
    }

    /// Marks a peer that cannot be reached as absent until it is announced again.
    pub fn lose(&mut self, peer: NodeId) {
        if let Ok(at) = self.place(peer) {
            self.records.remove(at);
            self.seen.entry(peer).or_default();
        }
    }

    /// Bans the peer from now on. The length of the ban grows by [`Bans::growth`] with each ban since the last success.
    pub fn ban(&mut self, now: Timestamp, peer: NodeId, bans: &Bans) {
        if let Some(seen) = self.seen_of(peer) {
            seen.ban = Some(bans.next(now, seen.ban));
        }
    }

    /// Forgets the bans of a peer that has served successfully.
    pub fn pardon(&mut self, peer: NodeId) {
        if let Some(seen) = self.seen.get_mut(&peer) {
            seen.ban = None;
        }
    }

    /// Records that a ping to the peer was answered after `took`.
    pub fn measured(&mut self, now: Timestamp, peer: NodeId, took: Duration, pings: &Pings) {
        if let Some(seen) = self.seen_of(peer) {
            seen.round_trip = Some(RoundTrip::after(seen.round_trip, now, took, pings));
        }
    }

    /// Records the load that the peer has reported, and resets the number of sessions that this node has opened at the
    /// peer since the report.
    pub fn heard(&mut self, now: Timestamp, peer: NodeId, load: Load) {
        if let Some(seen) = self.seen_of(peer) {
            (seen.load, seen.opened) = (Some((load, now)), 0);
        }
    }

    /// Counts a session that this node is about to open at the peer.
    pub fn opening(&mut self, peer: NodeId) {
        if let Some(seen) = self.seen_of(peer) {
            seen.opened += 1;
        }
    }

    /// Returns the record of a peer and this node's observations of it; `None` if the peer is absent.
    pub fn get(&self, peer: NodeId) -> Option<Known<'_>> {
        let record = &self.records[self.place(peer).ok()?];
        Some(Known { announce: &record.announce, seen: self.seen.get(&peer).unwrap_or(&NOTHING) })
    }

    fn place(&self, peer: NodeId) -> Result<usize, usize> {
        self.records.binary_search_by_key(&peer, |record| record.peer())
    }

    /// Returns this node's own observations of a peer; `None` if the peer is absent and was never observed.
    fn seen_of(&mut self, peer: NodeId) -> Option<&mut Seen> {
        if self.place(peer).is_ok() {
            return Some(self.seen.entry(peer).or_default());
        }
        self.seen.get_mut(&peer)
    }

    /// Returns the peers that are present, including banned peers, in the order of their ids.
    pub fn present(&self) -> impl Iterator<Item = Known<'_>> {
        // The records and the observations are both in the order of node ids, so one pass joins them.
        let mut seen = self.seen.iter().peekable();
        self.records.iter().map(move |record| {
            let peer = record.peer();
            while seen.next_if(|(id, _)| **id < peer).is_some() {}
            let seen = seen.next_if(|(id, _)| **id == peer).map_or(&NOTHING, |(_, seen)| seen);
            Known { announce: &record.announce, seen }
        })
    }

    /// Returns the first banned peer of `route` that could have been avoided for at least one block of its hop: a
    /// present peer that is neither banned nor in `without` holds that block.
    pub fn needless(&self, now: Timestamp, route: &[Hop], without: &[NodeId]) -> Option<NodeId> {
        let banned = |hop: &&Hop| self.seen.get(&hop.peer).is_some_and(|seen| seen.is_banned(now));
        let free = |hop: &&Hop| {
            let usable = self.present().filter(|peer| !peer.is_banned(now) && !without.contains(&peer.id()));
            usable
                .map(|peer| peer.announce.blocks)
                .any(|span| span.start.max(hop.blocks.start) < span.end.min(hop.blocks.end))
        };
        route.iter().filter(banned).find(free).map(|hop| hop.peer)
    }

    /// Whether every one of `blocks` is served by a present, unbanned peer.
    ///
    /// Banned peers do not count: a lookup may still find the record of a peer that has just been lost. If it counted,
    /// a client would retry after each such lookup and use up all of its retries at once.
    pub fn covers(&self, blocks: BlockRange, now: Timestamp) -> bool {
        let mut block = blocks.start;
        while block < blocks.end {
            let trusted = self.present().filter(|known| !known.is_banned(now));
            let spans = trusted.map(|known| known.announce.blocks).filter(|span| span.contains(block));
            match spans.map(|span| span.end).max() {
                Some(end) => block = end,
                None => return false,
            }
        }
        true
    }

    /// Replaces the credit of a present peer in weighted round robin.
    pub(super) fn credit(&mut self, peer: NodeId, credit: f64) {
        if let Some(seen) = self.seen_of(peer) {
            seen.credit = credit;
        }
    }

    /// Returns the peers to ping before a route over `blocks` is chosen. For each of three blocks (the first, a random
    /// one and the last), these are up to `pings.fanout` random holders of the block, as in Petals' clients
    /// (`sequence_manager.py`, `max_pinged`). The result is in the order of node ids, each peer once.
    pub fn to_ping(&self, blocks: BlockRange, pings: &Pings, draw: &mut impl Rng) -> Vec<NodeId> {
        if blocks.is_empty() {
            return Vec::new();
        }
        let middle = draw.random_range(blocks.start..blocks.end);
        let mut chosen = Vec::new();
        for block in [blocks.start, middle, blocks.end - 1] {
            let holders: Vec<NodeId> =
                self.present().filter(|known| known.announce.blocks.contains(block)).map(|known| known.id()).collect();
            chosen.extend(holders.sample(draw, pings.fanout as usize));
        }
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::View;
    use crate::announce::{Announce, Load};
    use crate::dht::{Record, State};
    use crate::id::{BlockRange, NodeId};
    use crate::route::ban::Bans;
    use crate::route::ping::Pings;
    use crate::seed::Seed;
    use crate::time::{Duration, Timestamp};
    use std::sync::Arc;

    fn announce(peer: u32, start: u32, end: u32) -> Arc<Record> {
        let (peer, blocks) = (NodeId(peer), BlockRange { start, end });
        let announce = Announce { peer, blocks, inference_rps: 100.0, load: Load::default(), next: Vec::new() };
        Arc::new(Record { announce, state: State::Online, throughput: 1.0, version: Timestamp::default() })
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_peer_that_comes_back_is_found_again_with_what_was_known_of_it() {
        let mut view = View::default();
        assert_eq!(view.age(at(1)), None);
        view.refresh(at(1), vec![announce(1, 4, 8), announce(2, 0, 4)]);
        view.measured(at(2), NodeId(1), Duration::from_millis(40), &Pings::default());
        view.lose(NodeId(1));
        assert_eq!(view.present().map(|known| known.id()).collect::<Vec<_>>(), [NodeId(2)]);
        view.refresh(at(3), vec![announce(1, 4, 8)]);
        assert_eq!(view.present().map(|known| known.id()).collect::<Vec<_>>(), [NodeId(1)]);
        let rtt = view.get(NodeId(1)).and_then(|known| known.rtt(at(3), Duration::from_secs(300)));
        assert_eq!((rtt, view.age(at(5))), (Some(Duration::from_millis(40)), Some(Duration::from_secs(2))));
    }

    #[test]
    fn bans_grow_until_a_success_and_then_begin_anew() {
        let (mut view, bans, peer) = (View::default(), Bans::default(), NodeId(1));
        view.refresh(at(0), vec![announce(1, 0, 8)]);
        let mut released = Vec::new();
        let mut now = at(0);
        for _ in 0..3 {
            view.ban(now, peer, &bans);
            let known = view.get(peer).expect("it is known");
            let end =
                (0..1000).map(|s| now + Duration::from_secs(s)).find(|at| !known.is_banned(*at)).expect("released");
            released.push(end.since(now));
            now = end;
        }
        assert_eq!(released, [15, 30, 60].map(Duration::from_secs));
        view.pardon(peer);
        view.ban(now, peer, &bans);
        assert!(!view.get(peer).expect("it is known").is_banned(now + Duration::from_secs(15)));
    }

    #[test]
    fn what_a_peer_tells_takes_the_place_of_what_one_supposed() {
        let mut view = View::default();
        view.refresh(at(0), vec![announce(1, 0, 8)]);
        view.opening(NodeId(1));
        assert_eq!(view.get(NodeId(1)).map(|known| known.seen.opened), Some(1));
        let load = Load { sessions: 3, ..Load::default() };
        view.heard(at(1), NodeId(1), load);
        view.refresh(at(2), vec![announce(1, 0, 8)]);
        let known = view.get(NodeId(1)).expect("it is known");
        assert_eq!(
            (known.seen.opened, known.load()),
            (0, load),
            "an announcement is older than what the peer says itself"
        );
    }

    #[test]
    fn pings_go_to_a_few_at_each_end_and_in_the_middle() {
        let mut view = View::default();
        let peers = (0..30).map(|peer| announce(peer, peer / 10 * 4, peer / 10 * 4 + 4)).collect();
        view.refresh(at(0), peers);
        let blocks = BlockRange { start: 0, end: 12 };
        let chosen = view.to_ping(blocks, &Pings::default(), &mut Seed(1).small_stream("ping", 0, 0));
        let holding = |block| chosen.iter().filter(|peer| peer.0 / 10 == block).count();
        assert!(holding(0) >= 3 && holding(2) >= 3 && chosen.len() <= 9, "{chosen:?}");
        let off = Pings { fanout: 0, ..Pings::default() };
        assert!(view.to_ping(blocks, &off, &mut Seed(1).small_stream("ping", 0, 0)).is_empty());
    }
}

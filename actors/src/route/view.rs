//! A node's view of the peers: their block ranges, round trips and loads, and the bans on them.
//!
//! Lookups supply announcements, pings supply round trips, and some messages of a peer carry its load. The view is a
//! pure data structure: a client reports its observations to the view, and asks it for a route.
use super::ban::{Ban, Bans};
use super::ping::{Pings, RoundTrip};
use crate::announce::{Announce, Load};
use crate::id::{BlockRange, NodeId};
use crate::message::Hop;
use crate::time::{Duration, Timestamp};
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

/// A node's view of the peers, in the order of their ids.
#[derive(Clone, Debug, Default)]
pub struct View {
    known: Vec<Known>,
    /// The time when the last lookup's result arrived; `None` before the first.
    refreshed: Option<Timestamp>,
}

/// The knowledge about one peer.
#[derive(Clone, Debug)]
pub struct Known {
    /// The peer's latest announcement.
    pub announce: Announce,
    /// Whether the peer was announced in the last lookup or since, and has not become unreachable after that. Bans and
    /// round trips are kept while a peer is absent.
    pub present: bool,
    /// The load that the peer last reported itself, or else the load in its announcement.
    pub load: Load,
    /// The time when the peer reported its load; `None` if the load is from the announcement.
    pub load_at: Option<Timestamp>,
    /// The number of sessions that this node has opened at the peer since the peer last reported its load.
    pub opened: u32,
    /// The averaged round trip; `None` if none was measured.
    pub round_trip: Option<RoundTrip>,
    /// The latest ban, in force or expired; `None` after a success.
    pub ban: Option<Ban>,
    /// The credit of the peer in weighted round robin.
    pub credit: f64,
}

impl Known {
    fn new(announce: Announce) -> Known {
        Known {
            load: announce.load,
            announce,
            present: true,
            load_at: None,
            opened: 0,
            round_trip: None,
            ban: None,
            credit: 0.0,
        }
    }

    /// The node id of the peer.
    pub fn id(&self) -> NodeId {
        self.announce.peer
    }

    /// Whether a ban on the peer is in force.
    pub fn is_banned(&self, now: Timestamp) -> bool {
        self.ban.is_some_and(|ban| ban.holds(now))
    }

    /// The averaged round trip; `None` if the last measurement is missing or older than `expiry`.
    pub fn rtt(&self, now: Timestamp, expiry: Duration) -> Option<Duration> {
        self.round_trip.and_then(|trip| trip.within(now, expiry))
    }
}

impl View {
    /// Replaces the set of present peers by the result of a lookup. A peer that is missing from the result is absent
    /// until it is announced again.
    pub fn refresh(&mut self, now: Timestamp, announced: Vec<Announce>) {
        self.refreshed = Some(now);
        self.known.iter_mut().for_each(|known| known.present = false);
        for announce in announced {
            self.learn(announce);
        }
    }

    /// Adds or updates one peer by its announcement and marks the peer as present. The announced load is ignored if the
    /// peer has reported its load itself.
    pub fn learn(&mut self, announce: Announce) {
        match self.known.binary_search_by_key(&announce.peer, Known::id) {
            Ok(at) => {
                let known = &mut self.known[at];
                if known.load_at.is_none() {
                    known.load = announce.load;
                }
                known.announce = announce;
                known.present = true;
            }
            Err(at) => self.known.insert(at, Known::new(announce)),
        }
    }

    /// The time since the last lookup's result; `None` before the first.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.refreshed.map(|at| now.since(at))
    }

    /// Marks a peer that cannot be reached as absent until it is announced again.
    pub fn lose(&mut self, peer: NodeId) {
        if let Some(known) = self.get_mut(peer) {
            known.present = false;
        }
    }

    /// Bans the peer from now on. The length of the ban grows by [`Bans::growth`] with each ban since the last success.
    pub fn ban(&mut self, now: Timestamp, peer: NodeId, bans: &Bans) {
        if let Some(known) = self.get_mut(peer) {
            known.ban = Some(bans.next(now, known.ban));
        }
    }

    /// Forgets the bans of a peer that has served successfully.
    pub fn pardon(&mut self, peer: NodeId) {
        if let Some(known) = self.get_mut(peer) {
            known.ban = None;
        }
    }

    /// Records that a ping to the peer was answered after `took`.
    pub fn measured(&mut self, now: Timestamp, peer: NodeId, took: Duration, pings: &Pings) {
        if let Some(known) = self.get_mut(peer) {
            known.round_trip = Some(RoundTrip::after(known.round_trip, now, took, pings));
        }
    }

    /// Records the load that the peer has reported, and resets its count of sessions opened since the report.
    pub fn heard(&mut self, now: Timestamp, peer: NodeId, load: Load) {
        if let Some(known) = self.get_mut(peer) {
            (known.load, known.load_at, known.opened) = (load, Some(now), 0);
        }
    }

    /// Counts a session that this node is about to open at the peer.
    pub fn opening(&mut self, peer: NodeId) {
        if let Some(known) = self.get_mut(peer) {
            known.opened += 1;
        }
    }

    /// The knowledge about a peer, present or absent; `None` if it was never announced.
    pub fn get(&self, peer: NodeId) -> Option<&Known> {
        let at = self.known.binary_search_by_key(&peer, Known::id).ok()?;
        Some(&self.known[at])
    }

    fn get_mut(&mut self, peer: NodeId) -> Option<&mut Known> {
        let at = self.known.binary_search_by_key(&peer, Known::id).ok()?;
        Some(&mut self.known[at])
    }

    /// The peers that are present, including banned ones, in the order of their ids.
    pub fn present(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().filter(|known| known.present)
    }

    /// The first banned peer of `route` that could be avoided in part: some block of its hop is held by a present peer
    /// that is neither banned nor in `without`.
    pub fn needless(&self, now: Timestamp, route: &[Hop], without: &[NodeId]) -> Option<NodeId> {
        let banned = |hop: &&Hop| self.get(hop.peer).is_some_and(|peer| peer.is_banned(now));
        let free = |hop: &&Hop| {
            let usable = self.present().filter(|peer| !peer.is_banned(now) && !without.contains(&peer.id()));
            usable
                .map(|peer| peer.announce.blocks)
                .any(|span| span.start.max(hop.blocks.start) < span.end.min(hop.blocks.end))
        };
        route.iter().filter(banned).find(free).map(|hop| hop.peer)
    }

    pub(super) fn all_mut(&mut self) -> &mut [Known] {
        &mut self.known
    }

    /// The peers to ping for a route over `blocks`, in the order of their ids: a random sample of up to `pings.fanout`
    /// holders of each of the first block, a random block and the last block, as in Petals' clients
    /// (`sequence_manager.py`, `max_pinged`). A peer that is sampled more than once appears once.
    pub fn to_ping(&self, blocks: BlockRange, pings: &Pings, draw: &mut impl Rng) -> Vec<NodeId> {
        if blocks.is_empty() {
            return Vec::new();
        }
        let middle = draw.random_range(blocks.start..blocks.end);
        let mut chosen = Vec::new();
        for block in [blocks.start, middle, blocks.end - 1] {
            let holders: Vec<NodeId> =
                self.present().filter(|known| known.announce.blocks.contains(block)).map(Known::id).collect();
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
    use crate::id::{BlockRange, NodeId};
    use crate::route::ban::Bans;
    use crate::route::ping::Pings;
    use crate::seed::Seed;
    use crate::time::{Duration, Timestamp};

    fn announce(peer: u32, start: u32, end: u32) -> Announce {
        let blocks = BlockRange { start, end };
        Announce { peer: NodeId(peer), blocks, inference_rps: 100.0, load: Load::default(), next: Vec::new() }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_peer_that_comes_back_is_found_again_with_what_was_known_of_it() {
        let mut view = View::default();
        assert_eq!(view.age(at(1)), None);
        view.refresh(at(1), vec![announce(2, 0, 4), announce(1, 4, 8)]);
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
            let known = view.get(peer).expect("it is known").clone();
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
        assert_eq!(view.get(NodeId(1)).map(|known| known.opened), Some(1));
        let load = Load { sessions: 3, ..Load::default() };
        view.heard(at(1), NodeId(1), load);
        view.refresh(at(2), vec![announce(1, 0, 8)]);
        let known = view.get(NodeId(1)).expect("it is known");
        assert_eq!((known.opened, known.load), (0, load), "an announcement is older than what the peer says itself");
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

//! A peer's presence in the swarm: its DHT node, the records it announces there, and the choice of the blocks it
//! serves.
//!
//! A peer joins the DHT while it loads its blocks. It announces itself as JOINING until the blocks are loaded, and as
//! ONLINE from then on. It repeats the announcement periodically, so that its records do not expire. Before each ONLINE
//! announcement it measures the round-trip times to possible next hops (see `next_hop_probe.rs`). A peer that chooses
//! its blocks checks from time to time whether it is needed more at other blocks. If it is, the peer announces OFFLINE
//! for the old blocks and loads the new ones.
use crate::announce::{Announce, Load};
use crate::dht::node::{self, Node};
use crate::dht::{Done, Key, Record, State};
use crate::id::{BlockRange, NodeId};
use crate::message::Timer;
use crate::peer::next_hop_probe::NextHopProbe;
use crate::placement::{self, Placement, Speed};
use crate::record::{Event, Rated, Serving};
use crate::route::Pings;
use crate::seed::SmallStream;
use crate::time::{Duration, Timestamp};
use crate::world::Effect;
use std::sync::Arc;

/// The part of the plan that configures a peer's presence in the swarm.
#[derive(Clone, Debug)]
pub struct Config {
    pub dht: node::Config,
    /// The number of blocks of the model.
    pub layers: u32,
    /// The blocks that the peer serves. If the peer chooses its blocks, only their number counts.
    pub blocks: BlockRange,
    /// The rule by which the peer chooses its blocks; `None` if it always serves `blocks`.
    pub chooses: Option<Placement>,
    /// The speed that the peer announces, unless a self-benchmark replaces it.
    pub speed: Speed,
    /// How many possible next hops the peer pings, and how long it keeps the measured round-trip times.
    pub pings: Pings,
}

/// The state of a peer's presence in the swarm.
pub struct Presence {
    config: Config,
    pub node: Node,
    /// The DHT keys of all blocks of the model, by block index.
    keys: Vec<Key>,
    /// The blocks that the peer serves or is loading.
    span: BlockRange,
    state: State,
    joined: bool,
    /// Whether the peer has left the swarm for good.
    left: bool,
    /// The random stream for the delays and the moves of the placement.
    stream: SmallStream,
    next_hop_probe: NextHopProbe,
    /// The random stream that selects the peers to ping.
    draws: SmallStream,
}

/// An action that [`Presence`] asks its peer to take.
#[derive(Debug, PartialEq, Eq)]
pub enum PresenceAction {
    /// Close all sessions, load these blocks, and announce them.
    Serve(BlockRange),
    /// Announce the peer, after a round of the next-hop probe if there is something to measure.
    Announce,
    /// Announce the peer at once in its current state.
    AnnounceNow,
    /// Lookups find the peer from now on: at least one node has stored an ONLINE record of it.
    Found,
}

impl Presence {
    /// Returns the presence of a peer that has not joined the swarm yet.
    ///
    /// # Panics
    ///
    /// If `config.blocks` is empty.
    pub fn new(config: Config) -> Presence {
        assert!(!config.blocks.is_empty(), "a peer needs at least one block");
        let (me, seed) = (config.dht.me, config.dht.seed);
        Presence {
            node: Node::new(config.dht.clone()),
            keys: Key::of_blocks(config.layers),
            span: config.blocks,
            state: State::Offline,
            joined: false,
            left: false,
            stream: seed.small_stream("placement", u64::from(me.0), 0),
            next_hop_probe: NextHopProbe::default(),
            draws: seed.small_stream("onward", u64::from(me.0), 0),
            config,
        }
    }

    /// The blocks that the peer serves or is loading.
    pub fn span(&self) -> BlockRange {
        self.span
    }

    /// Whether the peer has loaded its blocks and has not left.
    pub fn is_online(&self) -> bool {
        self.state == State::Online
    }

    /// Joins the DHT and starts the periodic announcements. A peer with fixed blocks begins to load them; a peer that
    /// chooses its blocks waits for a random delay first (see [`Placement::delay`]).
    pub fn start(&mut self, now: Timestamp, out: &mut Vec<Effect>) -> Vec<PresenceAction> {
        let done = self.node.join(now, out);
        let mut actions = self.take(now, done, out);
        match self.config.chooses {
            Some(placement) => {
                let after = Placement::draw(placement.delay, &mut self.stream);
                out.push(Effect::Wake { after, timer: Timer::Place });
            }
            None => actions.insert(0, self.serve(now, self.span, out)),
        }
        out.push(Effect::Wake { after: self.node.rules().announce, timer: Timer::Announce });
        actions
    }

    fn serve(&mut self, now: Timestamp, blocks: BlockRange, out: &mut Vec<Effect>) -> PresenceAction {
        self.span = blocks;
        self.next_hop_probe.stop();
        self.change_state(now, State::Joining, out);
        PresenceAction::Serve(blocks)
    }

    fn change_state(&mut self, at: Timestamp, state: State, out: &mut Vec<Effect>) {
        self.state = state;
        let serving = Serving { peer: self.config.dht.me, at, blocks: self.span, state };
        out.push(Effect::Record(Event::Serving(Box::new(serving))));
    }

    /// Replaces the configured speed by the result of the self-benchmark, and records the new speed.
    pub fn rate(&mut self, at: Timestamp, speed: Speed, out: &mut Vec<Effect>) {
        self.config.speed = speed;
        let (peer, throughput) = (self.config.dht.me, speed.throughput(self.span.len()));
        out.push(Effect::Record(Event::Rated(Box::new(Rated { peer, at, speed, throughput }))));
    }

    /// Goes online once the blocks are loaded, unless the peer has left the swarm.
    pub fn on_loaded(&mut self, now: Timestamp, out: &mut Vec<Effect>) -> Vec<PresenceAction> {
        if self.left {
            return Vec::new();
        }
        self.change_state(now, State::Online, out);
        if self.joined { vec![PresenceAction::Announce] } else { Vec::new() }
    }

    /// Prepares an announcement: begins a round of the next-hop probe if the peer is online and in the DHT. The
    /// announcement follows at once if there is nothing to measure, and otherwise when the round ends. Does nothing if
    /// a round is in progress.
    pub fn prepare(&mut self, now: Timestamp, out: &mut Vec<Effect>) -> Vec<PresenceAction> {
        if self.next_hop_probe.is_busy() {
            return Vec::new();
        }
        let begun = match self.state {
            State::Online if self.joined => {
                self.next_hop_probe.begin(self.span, self.config.layers, &self.config.pings)
            }
            _ => None,
        };
        let Some(blocks) = begun else { return vec![PresenceAction::AnnounceNow] };
        let keys = self.keys[blocks.start as usize..blocks.end as usize].to_vec();
        let done = self.node.probe_next_hops(now, &keys, out);
        self.take(now, done, out)
    }

    /// Ends the probe's round when its timer fires, without the peers that have not answered.
    pub fn on_pings_over(&mut self) -> Vec<PresenceAction> {
        if self.next_hop_probe.end() { vec![PresenceAction::AnnounceNow] } else { Vec::new() }
    }

    /// Handles the answer to a ping of the DHT node or of the next-hop probe. The peer announces itself if this answer
    /// ends the probe's round.
    pub fn on_pong(&mut self, now: Timestamp, from: NodeId, nonce: u64, out: &mut Vec<Effect>) -> Vec<PresenceAction> {
        if self.node.on_pong(now, from, nonce, out)
            || !self.next_hop_probe.on_pong(now, from, nonce, &self.config.pings)
        {
            return Vec::new();
        }
        vec![PresenceAction::AnnounceNow]
    }

    fn ping_next_hops(
        &mut self,
        now: Timestamp,
        records: &[Arc<Record>],
        out: &mut Vec<Effect>,
    ) -> Option<PresenceAction> {
        if !self.next_hop_probe.is_busy() {
            return None;
        }
        let me = (self.config.dht.me, self.span);
        if self.next_hop_probe.found(now, me, records, &self.config.pings, &mut self.draws, out) {
            // The timer is short enough that this peer's records do not expire while it waits for a peer that does not
            // answer.
            let rules = self.node.rules();
            let after = rules.timeout.min(Duration(rules.announce.0 / 4));
            out.push(Effect::Wake { after, timer: Timer::NextHopProbe });
            return None;
        }
        Some(PresenceAction::AnnounceNow)
    }

    /// Stores a record with the peer's state, speed, load and round-trip times in the DHT, under the keys of the peer's
    /// blocks. Does nothing before the peer has joined the DHT, or while it is offline.
    pub fn announce(&mut self, now: Timestamp, load: Load, out: &mut Vec<Effect>) -> Vec<PresenceAction> {
        if !self.joined || self.state == State::Offline {
            return Vec::new();
        }
        let record = Record {
            announce: Announce {
                peer: self.config.dht.me,
                blocks: self.span,
                inference_rps: self.config.speed.inference_rps,
                load,
                next: self.next_hop_probe.round_trips(now, &self.config.pings),
            },
            state: self.state,
            throughput: self.config.speed.throughput(self.span.len()),
            version: now,
        };
        let keys = self.keys[self.span.start as usize..self.span.end as usize].to_vec();
        let done = self.node.announce(now, &keys, Arc::new(record), self.node.rules().expiry, out);
        self.take(now, done, out)
    }

    /// Handles the results of DHT lookups and announcements.
    pub fn take(&mut self, now: Timestamp, done: Vec<Done>, out: &mut Vec<Effect>) -> Vec<PresenceAction> {
        let mut actions = Vec::new();
        for done in done {
            match done {
                Done::Joined => {
                    self.joined = true;
                    actions.push(PresenceAction::Announce);
                }
                Done::Announced { record, kept } if record.state == State::Online => {
                    if kept > 0 {
                        actions.push(PresenceAction::Found);
                    } else {
                        // No node has stored the record. The peer tries again after one timeout rather than after the
                        // announcement period, so that lookups find it sooner.
                        out.push(Effect::Wake { after: self.node.rules().timeout, timer: Timer::AnnounceAgain });
                    }
                }
                Done::Announced { .. } => {}
                Done::Found(records) => actions.extend(self.place(now, &records, out)),
                Done::NextHopProbe(records) => actions.extend(self.ping_next_hops(now, &records, out)),
            }
        }
        actions
    }

    /// Looks up the records of all blocks, to choose the first blocks or to check whether to move. Called by a timer
    /// that is restarted each time with a random delay. A peer that is loading blocks skips the check.
    pub fn on_place(&mut self, now: Timestamp, out: &mut Vec<Effect>) -> Vec<PresenceAction> {
        let Some(placement) = self.config.chooses.filter(|_| !self.left) else { return Vec::new() };
        let after = Placement::draw(placement.period, &mut self.stream);
        out.push(Effect::Wake { after, timer: Timer::Place });
        if self.state == State::Joining {
            return Vec::new();
        }
        let done = self.node.find(now, &self.keys.clone(), out);
        self.take(now, done, out)
    }

    /// Chooses the first blocks of a peer that is offline, or moves a peer that is online if the swarm's weakest block
    /// gains enough (see [`placement::better`]).
    fn place(&mut self, now: Timestamp, records: &[Arc<Record>], out: &mut Vec<Effect>) -> Option<PresenceAction> {
        let placement = self.config.chooses.filter(|_| !self.left)?;
        let mut spans = placement::spans(records);
        let (me, layers) = (self.config.dht.me, self.config.layers);
        match self.state {
            State::Offline => {
                spans.remove(&me);
                let blocks = placement::choose(&spans, self.span.len(), layers);
                Some(self.serve(now, blocks, out))
            }
            State::Joining => None,
            State::Online => {
                spans.insert(me, (self.span, self.config.speed.throughput(self.span.len())));
                let place = placement::better(&spans, me, layers, placement.quality, &mut self.stream)?;
                self.withdraw(now, out);
                Some(self.serve(now, place, out))
            }
        }
    }

    /// Leaves the swarm for good: announces the peer as OFFLINE, and never as ONLINE again.
    pub fn leave(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.left = true;
        self.withdraw(now, out);
    }

    /// Announces OFFLINE for the blocks that the peer served.
    fn withdraw(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.change_state(now, State::Offline, out);
        let announce = Announce {
            peer: self.config.dht.me,
            blocks: self.span,
            inference_rps: self.config.speed.inference_rps,
            load: Load::default(),
            next: Vec::new(),
        };
        let record = Record { announce, state: State::Offline, throughput: 0.0, version: now };
        let keys = self.keys[self.span.start as usize..self.span.end as usize].to_vec();
        // The result of this announcement is ignored: if it fails, the old records expire anyway.
        self.node.announce(now, &keys, Arc::new(record), self.node.rules().expiry, out);
    }

    /// Handles a node that cannot be reached any more: tells the DHT node, and ends the probe's round if it waited only
    /// for that node.
    pub fn on_gone(&mut self, now: Timestamp, from: NodeId, out: &mut Vec<Effect>) -> Vec<PresenceAction> {
        let done = self.node.on_gone(now, from, out);
        let mut actions = self.take(now, done, out);
        if self.next_hop_probe.on_gone(from) {
            actions.push(PresenceAction::AnnounceNow);
        }
        actions
    }
}

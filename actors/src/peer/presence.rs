//! A peer's place in the swarm: its node of the DHT, what it announces there, and which blocks it serves.
//!
//! A peer joins the DHT while it loads, says JOINING until its blocks are there and ONLINE from then on, again and again,
//! so that its records do not expire; before it says ONLINE it measures how remote away those are that may come after it.
//! One that chooses its blocks looks from time to time whether others need it more; then it says OFFLINE of the old ones,
//! and loads the new.
use crate::dht::node::{self, Node};
use crate::dht::{Done, Key, Record, State};
use crate::id::{BlockRange, NodeId};
use crate::message::{Announce, Load, Timer};
use crate::peer::next_hop_probe::NextHopProbe;
use crate::placement::{self, Placement, Speed};
use crate::record::{Event, Rated, Serving};
use crate::route::Pings;
use crate::seed::SmallStream;
use crate::time::{Duration, Timestamp};
use crate::world::Effect;
use std::sync::Arc;

/// What the plan says of a peer's place.
#[derive(Clone, Debug)]
pub struct Config {
    pub dht: node::Config,
    /// Blocks of the model.
    pub layers: u32,
    /// The blocks it serves; if it chooses, only how many.
    pub blocks: BlockRange,
    /// Where it chooses: how.
    pub chooses: Option<Placement>,
    pub speed: Speed,
    /// Whom it pings of those that may come after it.
    pub pings: Pings,
}

pub struct Presence {
    config: Config,
    pub node: Node,
    /// Of every block of the model.
    keys: Vec<Key>,
    span: BlockRange,
    state: State,
    joined: bool,
    left: bool,
    stream: SmallStream,
    next_hop_probe: NextHopProbe,
    /// What is left to chance of whom it pings.
    draws: SmallStream,
}

/// What a peer is to do because of what its place asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Load these blocks, and give up those it had.
    Serve(BlockRange),
    /// Announce itself, when it has measured how remote away those are that may come after it.
    Announce,
    /// Announce itself as it is.
    AnnounceNow,
    /// Others find it from now on.
    Found,
}

impl Presence {
    pub fn new(config: Config) -> Presence {
        assert!(!config.blocks.is_empty(), "the plan gives every peer a block");
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

    /// The blocks it serves, or is about to.
    pub fn span(&self) -> BlockRange {
        self.span
    }

    pub fn is_online(&self) -> bool {
        self.state == State::Online
    }

    pub fn start(&mut self, now: Timestamp, out: &mut Vec<Effect>) -> Vec<Turn> {
        let done = self.node.join(now, out);
        let mut turns = self.take(now, done, out);
        match self.config.chooses {
            Some(placement) => {
                let after = Placement::draw(placement.delay, &mut self.stream);
                out.push(Effect::Wake { after, timer: Timer::Place });
            }
            None => turns.insert(0, self.serve(now, self.span, out)),
        }
        out.push(Effect::Wake { after: self.node.rules().announce, timer: Timer::Announce });
        turns
    }

    fn serve(&mut self, now: Timestamp, blocks: BlockRange, out: &mut Vec<Effect>) -> Turn {
        self.span = blocks;
        self.next_hop_probe.stop();
        self.turn_to(now, State::Joining, out);
        Turn::Serve(blocks)
    }

    fn turn_to(&mut self, at: Timestamp, state: State, out: &mut Vec<Effect>) {
        self.state = state;
        let serving = Serving { peer: self.config.dht.me, at, blocks: self.span, state };
        out.push(Effect::Record(Event::Serving(Box::new(serving))));
    }

    /// It has measured how fast it is.
    pub fn rate(&mut self, at: Timestamp, speed: Speed, out: &mut Vec<Effect>) {
        self.config.speed = speed;
        let (peer, throughput) = (self.config.dht.me, speed.throughput(self.span.len()));
        out.push(Effect::Record(Event::Rated(Box::new(Rated { peer, at, speed, throughput }))));
    }

    /// The blocks are loaded.
    pub fn on_loaded(&mut self, now: Timestamp, out: &mut Vec<Effect>) -> Vec<Turn> {
        if self.left {
            return Vec::new();
        }
        self.turn_to(now, State::Online, out);
        if self.joined { vec![Turn::Announce] } else { Vec::new() }
    }

    /// Measures how remote away those are that may come after it, and says then how it stands.
    pub fn prepare(&mut self, now: Timestamp, out: &mut Vec<Effect>) -> Vec<Turn> {
        if self.next_hop_probe.is_busy() {
            return Vec::new();
        }
        let begun = match self.state {
            State::Online if self.joined => {
                self.next_hop_probe.begin(self.span, self.config.layers, &self.config.pings)
            }
            _ => None,
        };
        let Some(blocks) = begun else { return vec![Turn::AnnounceNow] };
        let keys = self.keys[blocks.start as usize..blocks.end as usize].to_vec();
        let done = self.node.probe_next_hops(now, &keys, out);
        self.take(now, done, out)
    }

    /// Those that it has pinged have had time to answer.
    pub fn on_pings_over(&mut self) -> Vec<Turn> {
        if self.next_hop_probe.end() { vec![Turn::AnnounceNow] } else { Vec::new() }
    }

    pub fn on_pong(&mut self, now: Timestamp, from: NodeId, nonce: u64, out: &mut Vec<Effect>) -> Vec<Turn> {
        if self.node.on_pong(now, from, nonce, out)
            || !self.next_hop_probe.on_pong(now, from, nonce, &self.config.pings)
        {
            return Vec::new();
        }
        vec![Turn::AnnounceNow]
    }

    fn ping_onward(&mut self, now: Timestamp, records: &[Arc<Record>], out: &mut Vec<Effect>) -> Option<Turn> {
        if !self.next_hop_probe.is_busy() {
            return None;
        }
        let me = (self.config.dht.me, self.span);
        if self.next_hop_probe.found(now, me, records, &self.config.pings, &mut self.draws, out) {
            // Records must not expire because somebody is silent.
            let rules = self.node.rules();
            let after = rules.timeout.min(Duration(rules.announce.0 / 4));
            out.push(Effect::Wake { after, timer: Timer::NextHopProbe });
            return None;
        }
        Some(Turn::AnnounceNow)
    }

    /// Says how it stands, under the keys of its blocks. `load` is the peer's own.
    pub fn announce(&mut self, now: Timestamp, load: Load, out: &mut Vec<Effect>) -> Vec<Turn> {
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

    /// What has come of lookups.
    pub fn take(&mut self, now: Timestamp, done: Vec<Done>, out: &mut Vec<Effect>) -> Vec<Turn> {
        let mut turns = Vec::new();
        for done in done {
            match done {
                Done::Joined => {
                    self.joined = true;
                    turns.push(Turn::Announce);
                }
                Done::Announced { record, kept } if record.state == State::Online => {
                    if kept > 0 {
                        turns.push(Turn::Found);
                    } else {
                        // Nobody has answered: the sooner it tries again, the sooner it is found.
                        out.push(Effect::Wake { after: self.node.rules().timeout, timer: Timer::AnnounceAgain });
                    }
                }
                Done::Announced { .. } => {}
                Done::Found(records) => turns.extend(self.place(now, &records, out)),
                Done::NextHopProbe(records) => turns.extend(self.ping_onward(now, &records, out)),
            }
        }
        turns
    }

    /// Its time has come to look whether it serves the right blocks.
    pub fn on_place(&mut self, now: Timestamp, out: &mut Vec<Effect>) -> Vec<Turn> {
        let Some(placement) = self.config.chooses.filter(|_| !self.left) else { return Vec::new() };
        let after = Placement::draw(placement.period, &mut self.stream);
        out.push(Effect::Wake { after, timer: Timer::Place });
        if self.state == State::Joining {
            return Vec::new();
        }
        let done = self.node.find(now, &self.keys.clone(), out);
        self.take(now, done, out)
    }

    fn place(&mut self, now: Timestamp, records: &[Arc<Record>], out: &mut Vec<Effect>) -> Option<Turn> {
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

    /// Leaves the swarm: it says so, and never that it is back.
    pub fn leave(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.left = true;
        self.withdraw(now, out);
    }

    /// Says OFFLINE of the blocks it served.
    fn withdraw(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.turn_to(now, State::Offline, out);
        let announce = Announce {
            peer: self.config.dht.me,
            blocks: self.span,
            inference_rps: self.config.speed.inference_rps,
            load: Load::default(),
            next: Vec::new(),
        };
        let record = Record { announce, state: State::Offline, throughput: 0.0, version: now };
        let keys = self.keys[self.span.start as usize..self.span.end as usize].to_vec();
        // What comes of it is nobody's concern: the old records expire anyhow.
        self.node.announce(now, &keys, Arc::new(record), self.node.rules().expiry, out);
    }

    /// A node that cannot be reached any more.
    pub fn on_gone(&mut self, now: Timestamp, from: NodeId, out: &mut Vec<Effect>) -> Vec<Turn> {
        let done = self.node.on_gone(now, from, out);
        let mut turns = self.take(now, done, out);
        if self.next_hop_probe.on_gone(from) {
            turns.push(Turn::AnnounceNow);
        }
        turns
    }
}

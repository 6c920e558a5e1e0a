//! A registry: one node that remembers what every peer has announced.
use crate::id::NodeId;
use crate::limits;
use crate::message::{Announce, Announced, Find, Found, Gone, Message, Ping, Refusal, Refused};
use crate::time::Moment;
use crate::world::Effect;
use std::collections::BTreeMap;

/// The state machine of a registry.
pub struct Core {
    me: NodeId,
    peers: BTreeMap<NodeId, Announce>,
}

impl Core {
    pub fn new(me: NodeId) -> Core {
        Core { me, peers: BTreeMap::new() }
    }

    pub fn me(&self) -> NodeId {
        self.me
    }

    pub fn on_start(&mut self, _now: Moment, _out: &mut Vec<Effect>) {}

    pub fn on_announce(&mut self, _now: Moment, from: NodeId, announce: Announce, out: &mut Vec<Effect>) {
        let room = self.peers.len() < limits::PEERS_PER_REGISTRY || self.peers.contains_key(&from);
        // Nobody speaks for another.
        if room && announce.peer == from {
            self.peers.insert(from, announce);
            out.push(Effect::Send { to: from, message: Message::Announced(Announced) });
        } else {
            let refused = Refused { session: None, why: Refusal::Busy };
            out.push(Effect::Send { to: from, message: Message::Refused(refused) });
        }
    }

    pub fn on_find(&mut self, _now: Moment, from: NodeId, find: Find, out: &mut Vec<Effect>) {
        let serves = |peer: &&Announce| peer.blocks.start < find.blocks.end && find.blocks.start < peer.blocks.end;
        let peers = self.peers.values().filter(serves).cloned().collect();
        let found = Found { blocks: find.blocks, peers };
        out.push(Effect::Send { to: from, message: Message::Found(Box::new(found)) });
    }

    pub fn on_ping(&mut self, _now: Moment, from: NodeId, ping: Ping, out: &mut Vec<Effect>) {
        out.push(ping.answer(from));
    }

    pub fn on_gone(&mut self, _now: Moment, from: NodeId, _: Gone, _out: &mut Vec<Effect>) {
        self.peers.remove(&from);
    }
}

crate::seats::shell!(Registry around Core {
    Announce => on_announce,
    Find => on_find,
    Ping => on_ping,
    Gone => on_gone,
});

//! The bootstrap node: a node on the orchestrator's host that takes part in the DHT and does nothing else. New nodes
//! query it first.
use super::node::{Config, Node};
use super::rpc::Rpc;
use crate::id::NodeId;
use crate::message::{Gone, Ping, Pong, Timer, Woken};
use crate::time::Timestamp;
use crate::world::Effect;

/// The state machine of a bootstrap node.
pub struct Core {
    me: NodeId,
    node: Node,
}

impl Core {
    pub fn new(config: Config) -> Core {
        Core { me: config.me, node: Node::new(config) }
    }

    pub fn me(&self) -> NodeId {
        self.me
    }

    pub fn on_start(&mut self, _now: Timestamp, _out: &mut Vec<Effect>) {}

    pub fn on_rpc(&mut self, now: Timestamp, from: NodeId, rpc: Rpc, out: &mut Vec<Effect>) {
        self.node.on_rpc(now, from, rpc, out);
    }

    pub fn on_ping(&mut self, _now: Timestamp, from: NodeId, ping: Ping, out: &mut Vec<Effect>) {
        out.push(Effect::pong(from, ping));
    }

    pub fn on_pong(&mut self, now: Timestamp, from: NodeId, pong: Pong, out: &mut Vec<Effect>) {
        self.node.on_pong(now, from, pong.nonce, out);
    }

    pub fn on_gone(&mut self, now: Timestamp, from: NodeId, _: Gone, out: &mut Vec<Effect>) {
        self.node.on_gone(now, from, out);
    }

    pub fn on_woken(&mut self, now: Timestamp, _from: NodeId, woken: Woken, out: &mut Vec<Effect>) {
        if woken.0 == Timer::Dht {
            self.node.on_woken(now, out);
        }
    }
}

crate::actor_impls::actor_impls!(Bootstrap around Core {
    Rpc => on_rpc,
    Ping => on_ping,
    Pong => on_pong,
    Gone => on_gone,
    Woken => on_woken,
});

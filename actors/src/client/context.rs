//! The context in which a request acts: its client's settings, view and random values, the time, and the effect buffer.
use super::Config;
use crate::id::{BlockRange, NodeId, RequestId};
use crate::message::{Hop, Message};
use crate::record::{Event, Routed};
use crate::route::{Ask, View};
use crate::time::{Duration, Timestamp};
use crate::world::Effect;

/// The client's state that a request may use while it acts.
pub(super) struct RequestContext<'a> {
    pub config: &'a Config,
    pub view: &'a mut View,
    /// The number of random values that the client has used so far.
    pub draws: &'a mut u32,
    pub now: Timestamp,
    pub out: &'a mut Vec<Effect>,
    /// Whether the request asks the client for a new lookup of all blocks. The request sets this field.
    pub look: bool,
}

impl RequestContext<'_> {
    pub fn send(&mut self, to: NodeId, message: Message) {
        self.out.push(Effect::Send { to, message });
    }

    /// Whether the client's view is older than the DHT's `refresh` interval, or some block is no longer served by any
    /// known, unbanned peer.
    pub fn is_view_outdated(&self) -> bool {
        self.view.is_older_than(self.config.policies.dht.refresh, self.now)
            || !self.view.covers(self.config.blocks, self.now)
    }

    /// Returns 64 random bits, from the client's own stream called `name`.
    fn draw(&mut self, name: &str) -> u64 {
        *self.draws += 1;
        self.config.seed.derive(name, u64::from(self.config.me.0), u64::from(*self.draws)).0
    }

    /// Chooses a route over `blocks` for a request, and records the route. Each peer of the route needs room for
    /// `cache_tokens` tokens in its KV cache, and must not be in `without`. Returns `None` if no such route is known.
    pub fn route(
        &mut self,
        request: RequestId,
        blocks: BlockRange,
        cache_tokens: u64,
        without: &[NodeId],
    ) -> Option<Vec<Hop>> {
        let draw = self.draw("route");
        let policies = &self.config.policies;
        let ask = Ask { blocks, cache_tokens, draw, without, given: self.config.given_route(request) };
        let route = self.view.choose(self.now, &policies.routing, &policies.costs, &policies.pings, &ask)?;
        let needless =
            if policies.routing.heeds_bans(ask.given) { self.view.needless(self.now, &route, without) } else { None };
        let (at, hops) = (self.now, route.clone());
        self.out.push(Effect::Record(Event::Routed(Box::new(Routed { request, at, blocks, hops, needless }))));
        Some(route)
    }

    /// Returns the wait before the `count`-th retry, counted from 1.
    pub fn wait(&mut self, count: u32) -> Duration {
        let draw = self.draw("retry");
        self.config.policies.retry.wait(count, draw)
    }
}

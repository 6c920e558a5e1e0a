//! What a request has at hand while it acts: its client's settings, view and draws, the time, and where effects go.
use super::Config;
use crate::id::{BlockRange, NodeId, RequestId};
use crate::message::{Hop, Message};
use crate::record::{Event, Routed};
use crate::route::{Ask, View};
use crate::time::{Duration, Timestamp};
use crate::world::Effect;

pub(super) struct RequestContext<'a> {
    pub config: &'a Config,
    pub view: &'a mut View,
    /// What the client has left to chance so remote.
    pub draws: &'a mut u32,
    pub now: Timestamp,
    pub out: &'a mut Vec<Effect>,
    /// The view is not good enough: look again who is there.
    pub look: bool,
}

impl RequestContext<'_> {
    pub fn send(&mut self, to: NodeId, message: Message) {
        self.out.push(Effect::Send { to, message });
    }

    /// 64 bits by chance, of the client's own stream called `name`.
    fn draw(&mut self, name: &str) -> u64 {
        *self.draws += 1;
        self.config.seed.derive(name, u64::from(self.config.me.0), u64::from(*self.draws)).0
    }

    /// A route of a request over `blocks` by peers that have room for so many tokens.
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

    /// The wait before the `count`-th further try.
    pub fn wait(&mut self, count: u32) -> Duration {
        let draw = self.draw("retry");
        self.config.policies.retry.wait(count, draw)
    }
}

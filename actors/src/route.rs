//! Choosing the peers of a session: pure functions over a view of the swarm.
mod ban;
mod ping;
mod reach;
mod shortest;
#[cfg(test)]
mod tests;
mod view;
mod weighted;

pub use ban::{Ban, Bans};
pub use ping::{Pings, RoundTrip};
pub use view::{Known, View};

use crate::canary::{Canary, planted};
use crate::id::{BlockRange, NodeId};
use crate::limits;
use crate::message::Hop;
use crate::time::{Duration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shortest::Estimate;

/// How a client picks its route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Routing {
    /// The shortest path by round trips and the announced speed of the peers, as Petals routes for generation. It knows no
    /// load: who knows the same goes the same way.
    #[default]
    MinLatency,
    /// The same with the time that a step will wait at a peer, by what peers say of their load.
    LoadAware,
    /// At random by weight. With the span's length as the weight: Petals' `max_throughput` mode.
    Random(Weight),
    /// In turns by weight.
    RoundRobin(Weight),
    /// Always these peers, in this order, each to the end of its span.
    Fixed(Vec<NodeId>),
    /// The route that each request brings with it, as from a trace; the shortest for one that brings none, such as a warm-up.
    Replay,
}

impl Routing {
    /// Whether peers that are banned are passed over for a request with such a route of its own.
    pub fn heeds_bans(&self, given: Option<&[NodeId]>) -> bool {
        match self {
            Routing::MinLatency | Routing::LoadAware | Routing::Random(_) | Routing::RoundRobin(_) => true,
            Routing::Fixed(_) => false,
            Routing::Replay => given.is_none(),
        }
    }
}

/// The weight of a peer when requests are distributed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Weight {
    /// The number of blocks that the peer serves.
    #[default]
    Span,
    /// The number of steps per second that the peer can take through its blocks.
    Throughput,
}

/// The terms of a route's estimated time. The values are Petals' (`sequence_manager.py`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Of each peer, for handling a step (`overhead_delay`).
    pub overhead: Duration,
    /// Taken where no round trip is known (`default_delay`).
    pub unknown_rtt: Duration,
    /// No round trip counts for more (`max_delay`).
    pub longest_rtt: Duration,
    /// Of a peer without room for the session in its cache (`alloc_delay`).
    pub short_cache: Duration,
    /// Blocks per second of a peer that announces no speed (`default_inference_rps`).
    pub unknown_rps: f64,
    /// What a second of waiting for others counts, where load does. Petals has no such term.
    pub load: f64,
}

impl Default for Costs {
    fn default() -> Costs {
        Costs {
            overhead: Duration::from_millis(18),
            unknown_rtt: Duration::from_millis(150),
            longest_rtt: Duration::from_secs(5),
            short_cache: Duration::from_secs(10),
            unknown_rps: 300.0,
            load: 1.0,
        }
    }
}

/// What a route is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// All of them are to be covered, each once.
    pub blocks: BlockRange,
    /// Tokens that the session needs room for in every cache: its rows times its length.
    pub cache_tokens: u64,
    /// Drawn anew for each choice by the client's own stream: what is left to chance hangs on it.
    pub draw: u64,
    /// Peers that are out of the question this time.
    pub without: &'a [NodeId],
    /// The route that the request brings with it.
    pub given: Option<&'a [NodeId]>,
}

impl View {
    /// The route through the peers that are there which covers every block once, by `routing`; nothing if there is none.
    ///
    /// Only [`Routing::RoundRobin`] changes the view: it remembers whose turn it was.
    pub fn choose(
        &mut self,
        now: Timestamp,
        routing: &Routing,
        costs: &Costs,
        pings: &Pings,
        ask: &Ask<'_>,
    ) -> Option<Vec<Hop>> {
        let usable = |known: &&Known| known.present && !ask.without.contains(&known.id());
        let mut credits: Vec<f64> = self.all_mut().iter().filter(|known| usable(known)).map(|k| k.credit).collect();
        let peers: Vec<&Known> = self.present().filter(usable).collect();
        let estimate = |by_load| Estimate { ask, costs, pings, now, by_load };
        let mut route = match routing {
            Routing::MinLatency => shortest::shortest(&peers, &estimate(false)),
            Routing::LoadAware => shortest::shortest(&peers, &estimate(true)),
            Routing::Random(weight) => weighted::random(&peers, ask, *weight, costs.unknown_rps, now),
            Routing::RoundRobin(weight) => {
                weighted::in_turns(&peers, ask, *weight, costs.unknown_rps, now, &mut credits)
            }
            Routing::Fixed(route) => follow(&peers, ask, route),
            Routing::Replay => match ask.given {
                Some(given) => follow(&peers, ask, given),
                None => shortest::shortest(&peers, &estimate(false)),
            },
        }?;
        route.iter_mut().take(usize::from(planted(Canary::RouteGap))).for_each(|hop| hop.blocks.end -= 1);
        if matches!(routing, Routing::RoundRobin(_)) {
            let usable = self.all_mut().iter_mut().filter(|known| usable(&&**known));
            usable.zip(credits).for_each(|(known, credit)| known.credit = credit);
        }
        (route.len() <= limits::HOPS_PER_ROUTE).then_some(route)
    }
}

/// The given peers in their order, each from where the last one ended; what of them the blocks do not need is left out.
fn follow(peers: &[&Known], ask: &Ask<'_>, given: &[NodeId]) -> Option<Vec<Hop>> {
    let (mut block, mut route) = (ask.blocks.start, Vec::new());
    for peer in given {
        let known = peers.iter().find(|known| known.id() == *peer)?;
        let span = known.announce.blocks;
        if block == ask.blocks.end || !span.contains(block) {
            continue;
        }
        let end = span.end.min(ask.blocks.end);
        route.push(Hop { peer: *peer, blocks: BlockRange { start: block, end } });
        block = end;
    }
    (block == ask.blocks.end && !route.is_empty()).then_some(route)
}

//! Routing: the choice of the peers of a session, by pure functions over a view of the swarm.
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

// The type parameter `P` identifies a peer: by its node id in a plan, and by its host's name in a scenario.
/// How a client chooses the peers of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Routing<P = NodeId> {
    /// The route of the least time, as estimated from round-trip times, the overhead of each peer and the announced
    /// speeds. Petals uses it for generation (`min_latency`). It ignores load: clients with the same information choose the
    /// same route.
    #[default]
    MinLatency,
    /// `MinLatency` plus the expected queueing time at each peer, from the load that peers announce.
    LoadAware,
    /// A random route. Peers are chosen in proportion to their weights; `Random(Span)` is the `max_throughput` mode of
    /// Petals.
    Random(Weight),
    /// Weighted round robin: the peers in turn, each as often as its weight says.
    RoundRobin(Weight),
    /// Always the peers on the given hosts, in this order, each up to the end of its blocks.
    Fixed(Vec<P>),
    /// The route that the trace gives for each request; `MinLatency` for a request to which the trace gives none.
    Replay,
}

impl<P> Routing<P> {
    /// Returns the same policy with each peer of a fixed route converted by `to`, which gets the peer's index on the
    /// route and the peer.
    ///
    /// # Errors
    ///
    /// The first error of `to`.
    pub fn try_map<Q, E>(self, to: impl Fn(usize, P) -> Result<Q, E>) -> Result<Routing<Q>, E> {
        Ok(match self {
            Routing::MinLatency => Routing::MinLatency,
            Routing::LoadAware => Routing::LoadAware,
            Routing::Random(weight) => Routing::Random(weight),
            Routing::RoundRobin(weight) => Routing::RoundRobin(weight),
            Routing::Fixed(peers) => {
                let peers = peers.into_iter().enumerate().map(|(index, peer)| to(index, peer));
                Routing::Fixed(peers.collect::<Result<_, _>>()?)
            }
            Routing::Replay => Routing::Replay,
        })
    }
}

impl Routing {
    /// Whether this policy avoids banned peers for a request that carries the route `given`.
    pub fn heeds_bans(&self, given: Option<&[NodeId]>) -> bool {
        match self {
            Routing::MinLatency | Routing::LoadAware | Routing::Random(_) | Routing::RoundRobin(_) => true,
            Routing::Fixed(_) => false,
            Routing::Replay => given.is_none(),
        }
    }
}

/// The property of a peer by which `Random` and `RoundRobin` weight it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Weight {
    /// The number of blocks that the peer serves.
    #[default]
    Span,
    /// The number of one-token steps per second that the peer can take through all of its blocks.
    Throughput,
}

/// The constants of a route's estimated time. The defaults are those of Petals (`sequence_manager.py`), except for
/// `load`, which Petals does not have. The names in parentheses are the names that Petals uses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(bound = "T: JsonSchema + Serialize + From<Duration>")]
pub struct Costs<T = Duration> {
    /// The time that each peer of the route adds (`overhead_delay`).
    pub overhead: T,
    /// The round-trip time that is assumed for a peer that has not been measured (`default_delay`).
    pub unknown_rtt: T,
    /// The maximum round-trip time; longer ones are clamped to it (`max_delay`).
    pub longest_rtt: T,
    /// The time that a peer without room for the session in its KV cache adds (`alloc_delay`).
    pub short_cache: T,
    /// The speed of a peer that announces none, in blocks per second (`default_inference_rps`).
    pub unknown_rps: f64,
    /// The factor by which `LoadAware` multiplies the expected queueing time at each peer.
    pub load: f64,
}

impl<T: From<Duration>> Default for Costs<T> {
    fn default() -> Costs<T> {
        Costs {
            overhead: Duration::from_millis(18).into(),
            unknown_rtt: Duration::from_millis(150).into(),
            longest_rtt: Duration::from_secs(5).into(),
            short_cache: Duration::from_secs(10).into(),
            unknown_rps: 300.0,
            load: 1.0,
        }
    }
}

impl<T> Costs<T> {
    /// Returns the same constants with each time converted by `to`.
    pub fn map<U>(self, to: impl Fn(T) -> U) -> Costs<U> {
        let Costs { overhead, unknown_rtt, longest_rtt, short_cache, unknown_rps, load } = self;
        Costs {
            overhead: to(overhead),
            unknown_rtt: to(unknown_rtt),
            longest_rtt: to(longest_rtt),
            short_cache: to(short_cache),
            unknown_rps,
            load,
        }
    }
}

/// A query for a route.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The blocks that the route must cover, each exactly once.
    pub blocks: BlockRange,
    /// The number of tokens for which the session needs room in each KV cache: the number of its rows times its length.
    pub cache_tokens: u64,
    /// A random number that the client draws for each choice of a route. It determines all random decisions of the
    /// choice.
    pub draw: u64,
    /// Peers that the route must not use.
    pub without: &'a [NodeId],
    /// The route that the request carries, if any. Only [`Routing::Replay`] follows it.
    pub given: Option<&'a [NodeId]>,
}

impl View {
    /// Chooses a route by `routing` through peers that are present. The route covers every block exactly once. Returns
    /// `None` if there is no such route, or if the chosen one has more than [`limits::HOPS_PER_ROUTE`] hops.
    ///
    /// Only [`Routing::RoundRobin`] changes the view: it updates the credits of the peers.
    pub fn choose(
        &mut self,
        now: Timestamp,
        routing: &Routing,
        costs: &Costs,
        pings: &Pings,
        ask: &Ask<'_>,
    ) -> Option<Vec<Hop>> {
        let usable = |known: &Known<'_>| !ask.without.contains(&known.id());
        let peers: Vec<Known<'_>> = self.present().filter(usable).collect();
        let estimate = |by_load| Estimate { ask, costs, pings, now, by_load };
        let mut credits = Vec::new();
        let mut route = match routing {
            Routing::MinLatency => shortest::shortest(&peers, &estimate(false)),
            Routing::LoadAware => shortest::shortest(&peers, &estimate(true)),
            Routing::Random(weight) => weighted::random(&peers, ask, *weight, costs.unknown_rps, now),
            Routing::RoundRobin(weight) => {
                credits = peers.iter().map(|known| known.seen.credit).collect();
                weighted::in_turns(&peers, ask, *weight, costs.unknown_rps, now, &mut credits)
            }
            Routing::Fixed(route) => follow(&peers, ask, route),
            Routing::Replay => match ask.given {
                Some(given) => follow(&peers, ask, given),
                None => shortest::shortest(&peers, &estimate(false)),
            },
        }?;
        route.iter_mut().take(usize::from(planted(Canary::RouteGap))).for_each(|hop| hop.blocks.end -= 1);
        if !credits.is_empty() {
            let ids: Vec<NodeId> = peers.iter().map(|known| known.id()).collect();
            ids.into_iter().zip(credits).for_each(|(peer, credit)| self.credit(peer, credit));
        }
        (route.len() <= limits::HOPS_PER_ROUTE).then_some(route)
    }
}

/// Returns the route through the given peers in their order, each from the block where the one before ended. Peers that
/// do not hold the next block are skipped. Returns `None` if a given peer is not usable or a block is left uncovered.
fn follow(peers: &[Known<'_>], ask: &Ask<'_>, given: &[NodeId]) -> Option<Vec<Hop>> {
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

//! The invariants of a run, checked on its events as they happen, in simulations and in live runs.
//!
//! A broken invariant is a bug in the code of the swarm, never an error in the scenario. It ends the run with an error
//! that names the invariant.
pub mod message_account;

pub use message_account::MessageAccount;

use crate::id::{NodeId, RequestId, SessionId};
use crate::limits;
use crate::record::{Event, Reserved, Routed, Served, Stepped};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A condition that must hold in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Invariant {
    #[error("no timed work may happen before the start of the timed run")]
    NothingBeforeTheBarrier,
    #[error("every request must end exactly once")]
    OneEnd,
    #[error("the tokens of a request must arrive once and in order")]
    TokensContiguous,
    #[error("every step must begin where the KV cache of its session ends")]
    CacheContiguous,
    #[error("the measured parts of a step's latency must not exceed the whole latency")]
    PartsWithinWhole,
    #[error("the KV cache that a peer has reserved must be the sum over its sessions and fit into its budget")]
    CacheWithinBudget,
    #[error("no peer may hold KV cache once the run is over and all of its messages have arrived")]
    CacheFreed,
    #[error("a route must cover every block exactly once")]
    RouteCovers,
    #[error("a route may contain a banned peer only if no other peer serves its blocks")]
    BansRespected,
    #[error("no queue of a peer may be longer than its limit")]
    QueuesBounded,
    #[error("every sent message must be delivered, lost or in flight")]
    MessagesBalanced,
}

/// Checks the invariants over the events of one host of a live run, or of a whole run.
#[derive(Default)]
pub struct InvariantChecker {
    released: bool,
    /// Whether the checked events include the barrier's release, which only the orchestrator's host records.
    watches_barrier: bool,
    ended: BTreeSet<RequestId>,
    outputs: BTreeMap<RequestId, u32>,
    caches: BTreeMap<(SessionId, NodeId), u32>,
    /// The current reservation of KV cache of each session at each peer.
    held: BTreeMap<(NodeId, SessionId), Reserved>,
    /// The bytes of KV cache that all sessions of each peer hold together.
    used: BTreeMap<NodeId, u64>,
}

impl InvariantChecker {
    /// Returns a checker for the events of a whole run, including the events of the orchestrator.
    pub fn of_a_run() -> InvariantChecker {
        InvariantChecker { watches_barrier: true, ..InvariantChecker::default() }
    }

    /// Returns a checker for the events of one host of a live run, which do not include the barrier's release.
    pub fn of_a_host() -> InvariantChecker {
        InvariantChecker::default()
    }

    /// Checks an event against the earlier events.
    ///
    /// # Errors
    ///
    /// Returns the invariant that the event breaks.
    pub fn check(&mut self, event: &Event) -> Result<(), Invariant> {
        match event {
            Event::Released { .. } => self.released = true,
            Event::Stepped(step) => self.check_step(step)?,
            Event::Served(served) => self.check_cache(served)?,
            Event::Reserved(reserved) => self.check_reserved(reserved)?,
            Event::Routed(routed) => self.check_route(routed)?,
            Event::Ended(ended) => {
                self.timed(ended.request)?;
                if !self.ended.insert(ended.request) {
                    return Err(Invariant::OneEnd);
                }
                self.outputs.remove(&ended.request);
                let session = |number| (SessionId::new(ended.request, number), NodeId(0));
                let of_it = self.caches.range(session(0)..).map(|(key, _)| *key);
                let over: Vec<_> = of_it.take_while(|(session, _)| session.request() == ended.request).collect();
                over.iter().for_each(|key| _ = self.caches.remove(key));
            }
            _ => {}
        }
        Ok(())
    }

    fn timed(&self, request: RequestId) -> Result<(), Invariant> {
        if self.watches_barrier && !self.released && !request.is_warmup() {
            return Err(Invariant::NothingBeforeTheBarrier);
        }
        Ok(())
    }

    fn check_step(&mut self, step: &Stepped) -> Result<(), Invariant> {
        self.timed(step.request)?;
        let seen = self.outputs.entry(step.request).or_default();
        // A request that generates no token has only one step: its prefill, with `output` 0.
        if step.output != *seen + 1 && !(step.output == 0 && step.position == 0) {
            return Err(Invariant::TokensContiguous);
        }
        *seen = step.output;
        if step.setup + step.client_queue + step.client + step.recovery > step.seen.since(step.began) {
            return Err(Invariant::PartsWithinWhole);
        }
        Ok(())
    }

    fn check_reserved(&mut self, reserved: &Reserved) -> Result<(), Invariant> {
        self.timed(reserved.session.request())?;
        let key = (reserved.peer, reserved.session);
        let used = self.used.entry(reserved.peer).or_default();
        let known = match reserved.bytes {
            Some(bytes) => {
                *used += bytes;
                self.held.insert(key, *reserved).is_none()
            }
            None => match self.held.remove(&key) {
                Some(held) => {
                    *used -= held.bytes.unwrap_or(0);
                    true
                }
                None => false,
            },
        };
        if !known || *used != reserved.used || reserved.used > reserved.budget {
            return Err(Invariant::CacheWithinBudget);
        }
        if reserved.open as usize > limits::SESSIONS_PER_PEER
            || reserved.waiting as usize > limits::WAITING_SESSIONS_PER_PEER
        {
            return Err(Invariant::QueuesBounded);
        }
        Ok(())
    }

    fn check_route(&self, routed: &Routed) -> Result<(), Invariant> {
        self.timed(routed.request)?;
        let mut block = routed.blocks.start;
        for hop in &routed.hops {
            if hop.blocks.start != block || hop.blocks.is_empty() {
                return Err(Invariant::RouteCovers);
            }
            block = hop.blocks.end;
        }
        match routed.needless {
            _ if block != routed.blocks.end => Err(Invariant::RouteCovers),
            Some(_) => Err(Invariant::BansRespected),
            None => Ok(()),
        }
    }

    /// Returns one of the reservations of KV cache that peers still hold, or `None`. It must be `None` once a run is
    /// over and all of its messages have arrived.
    pub fn holding(&self) -> Option<&Reserved> {
        self.held.values().next()
    }

    /// Whether a peer holds KV cache for at least one session.
    pub fn holds(&self, peer: NodeId) -> bool {
        let first = SessionId::from_raw(0);
        self.held.range((peer, first)..).next().is_some_and(|((holder, _), _)| *holder == peer)
    }

    /// Notes that the process of a peer has ended: all reservations at the peer are dropped.
    pub fn lost(&mut self, peer: NodeId) {
        self.used.remove(&peer);
        self.held.retain(|(holder, _), _| *holder != peer);
    }

    fn check_cache(&mut self, served: &Served) -> Result<(), Invariant> {
        self.timed(served.request)?;
        if served.queued as usize > limits::QUEUED_STEPS_PER_PEER {
            return Err(Invariant::QueuesBounded);
        }
        // A peer may compute further steps of a request that has ended, until it learns of the end.
        if !served.cached || self.ended.contains(&served.request) {
            return Ok(());
        }
        let length = self.caches.entry((served.session, served.peer)).or_default();
        if served.position != *length {
            return Err(Invariant::CacheContiguous);
        }
        *length += served.tokens;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Invariant, InvariantChecker};
    use crate::id::{BlockRange, NodeId, RequestId, SessionId};
    use crate::limits;
    use crate::message::Hop;
    use crate::record::{Ended, Event, Reserved, Routed, Served, Stepped};
    use crate::time::{Duration, Timestamp};

    const REQUEST: RequestId = RequestId { client: NodeId(7), index: 1 };

    fn step(output: u32) -> Stepped {
        Stepped {
            session: SessionId::new(REQUEST, 0),
            request: REQUEST,
            position: output + 3,
            tokens: 1,
            batch: 1,
            output,
            began: Timestamp(0),
            seen: Timestamp(10),
            setup: Duration(1),
            client_queue: Duration(2),
            client: Duration(3),
            embedding: Duration(1),
            recovery: Duration(4),
        }
    }

    fn served(number: u16, position: u32, tokens: u32) -> Served {
        Served {
            session: SessionId::new(REQUEST, number),
            request: REQUEST,
            position,
            tokens,
            batch: 1,
            hop: 0,
            peer: NodeId(2),
            blocks: BlockRange { start: 0, end: 1 },
            cached: true,
            received: Timestamp(0),
            started: Timestamp(1),
            finished: Timestamp(2),
            sent: Timestamp(2),
            queued: 0,
        }
    }

    fn end() -> Event {
        Event::Ended(Box::new(Ended {
            request: REQUEST,
            session: SessionId::new(REQUEST, 0),
            intended: Timestamp(0),
            sent: Timestamp(0),
            at: Timestamp(10),
            batch: 1,
            prompt: 4,
            generate: 2,
            generated: 2,
            discovery: Duration::ZERO,
            sessions: Duration::ZERO,
            route: vec![NodeId(2)],
            outcome: Ok(()),
            output: Vec::new(),
        }))
    }

    /// Checks `events` after the barrier's release, and returns the first invariant that they break.
    fn broken(events: impl IntoIterator<Item = Event>) -> Option<Invariant> {
        let mut checker = InvariantChecker::of_a_run();
        let released = Event::Released { at: Timestamp(0) };
        [released].into_iter().chain(events).find_map(|event| checker.check(&event).err())
    }

    #[test]
    fn what_holds_passes() {
        let replay = Event::Served(served(1, 0, 5));
        let serves = [Event::Served(served(0, 0, 4)), Event::Stepped(step(1)), replay, Event::Served(served(1, 5, 1))];
        assert_eq!(broken(serves.into_iter().chain([Event::Stepped(step(2)), end()])), None);
        let without = |position| Event::Served(Served { cached: false, ..served(0, position, 9) });
        assert_eq!(broken([without(0), without(0)]), None);
    }

    #[test]
    fn each_that_is_broken_is_named() {
        assert_eq!(InvariantChecker::of_a_run().check(&end()), Err(Invariant::NothingBeforeTheBarrier));
        assert_eq!(broken([end(), end()]), Some(Invariant::OneEnd));
        assert_eq!(broken([Event::Stepped(step(1)), Event::Stepped(step(1))]), Some(Invariant::TokensContiguous));
        assert_eq!(broken([Event::Stepped(step(1)), Event::Stepped(step(3))]), Some(Invariant::TokensContiguous));
        let gap = [Event::Served(served(0, 0, 4)), Event::Served(served(0, 5, 1))];
        assert_eq!(broken(gap), Some(Invariant::CacheContiguous));
        let again = [Event::Served(served(0, 0, 4)), Event::Served(served(0, 3, 1))];
        assert_eq!(broken(again), Some(Invariant::CacheContiguous));
        let long = Stepped { recovery: Duration(5), ..step(1) };
        assert_eq!(broken([Event::Stepped(long)]), Some(Invariant::PartsWithinWhole));
    }

    const BUDGET: u64 = 100;

    /// Returns the event that the request's session number `number` holds `bytes` of KV cache from now on, and that all
    /// sessions of the peer together hold `used` bytes.
    fn reserved(number: u16, bytes: Option<u64>, used: u64) -> Reserved {
        Reserved {
            session: SessionId::new(REQUEST, number),
            peer: NodeId(2),
            at: Timestamp(1),
            bytes,
            used,
            budget: BUDGET,
            open: 1,
            waiting: 0,
        }
    }

    #[test]
    fn cache_is_reserved_within_the_budget_and_given_back() {
        let check = |events: &[Reserved]| broken(events.iter().map(|event| Event::Reserved(*event)));
        let (one, two) = (reserved(0, Some(60), 60), reserved(1, Some(40), 100));
        assert_eq!(check(&[one, two, reserved(0, None, 40), reserved(2, Some(0), 40), reserved(1, None, 0)]), None);
        let budget = Some(Invariant::CacheWithinBudget);
        assert_eq!(check(&[one, reserved(1, Some(41), 101)]), budget, "more than there is");
        assert_eq!(check(&[one, reserved(1, Some(50), 100)]), budget, "not the sum over the sessions");
        assert_eq!(check(&[one, reserved(0, Some(0), 60)]), budget, "a session that is open already");
        assert_eq!(check(&[one, reserved(1, None, 60)]), budget, "a session that never was");
        let many = limits::SESSIONS_PER_PEER as u32 + 1;
        assert_eq!(check(&[Reserved { open: many, ..one }]), Some(Invariant::QueuesBounded));
        assert_eq!(check(&[Reserved { waiting: many, ..one }]), Some(Invariant::QueuesBounded));
    }

    #[test]
    fn what_is_held_after_the_end_is_found() {
        let mut checker = InvariantChecker::of_a_host();
        for event in [reserved(0, Some(60), 60), reserved(1, Some(40), 100), reserved(0, None, 40)] {
            assert_eq!(checker.check(&Event::Reserved(event)), Ok(()));
        }
        assert_eq!(checker.holding().map(|kept| (kept.peer, kept.bytes)), Some((NodeId(2), Some(40))));
        assert_eq!([1, 2, 3].map(|peer| checker.holds(NodeId(peer))), [false, true, false]);
        checker.lost(NodeId(2));
        assert_eq!(checker.holding(), None);
        assert_eq!(checker.check(&Event::Reserved(reserved(3, Some(7), 7))), Ok(()), "its next process begins anew");
    }

    #[test]
    fn routes_cover_blocks_once_without_a_banned_peer() {
        let hop = |peer, start, end| Hop { peer: NodeId(peer), blocks: BlockRange { start, end } };
        let check = |hops: &[Hop], needless| {
            let blocks = BlockRange { start: 0, end: 4 };
            let routed = Routed { request: REQUEST, at: Timestamp(1), blocks, hops: hops.to_vec(), needless };
            broken([Event::Routed(Box::new(routed))])
        };
        assert_eq!(check(&[hop(1, 0, 3), hop(2, 3, 4)], None), None);
        let covers = Some(Invariant::RouteCovers);
        assert_eq!(check(&[hop(1, 0, 2), hop(2, 3, 4)], None), covers, "a block is left out");
        assert_eq!(check(&[hop(1, 0, 2), hop(2, 1, 4)], None), covers, "a block is computed twice");
        assert_eq!(check(&[hop(1, 0, 3)], None), covers, "it ends too early");
        assert_eq!(check(&[], None), covers);
        assert_eq!(check(&[hop(1, 0, 4)], Some(NodeId(1))), Some(Invariant::BansRespected));
    }

    #[test]
    fn what_waits_at_a_peer_is_bounded() {
        let full = Served { queued: limits::QUEUED_STEPS_PER_PEER as u32 + 1, ..served(0, 0, 4) };
        assert_eq!(broken([Event::Served(full)]), Some(Invariant::QueuesBounded));
    }
}

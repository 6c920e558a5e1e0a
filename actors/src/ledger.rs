//! The invariants of a run, checked over its events as they happen, in both worlds.
//!
//! A broken invariant is the swarm's fault, never the scenario's: it ends the run and names itself.
use crate::id::{NodeId, RequestId, SessionId};
use crate::record::{Event, Served, Stepped};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What must hold in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Invariant {
    #[error("no timed work before the barrier's release")]
    NothingBeforeTheBarrier,
    #[error("a request ends once")]
    OneEnd,
    #[error("tokens come once and in order")]
    TokensContiguous,
    #[error("a peer's cache grows only at its end")]
    CacheContiguous,
    #[error("the parts of a step are within its time")]
    PartsWithinWhole,
}

/// Watches the events of one host, or of a whole simulation.
#[derive(Default)]
pub struct Ledger {
    released: bool,
    /// Whether the barrier's release is among the events watched here (it is the orchestrator's).
    watches_barrier: bool,
    ended: BTreeSet<RequestId>,
    outputs: BTreeMap<RequestId, u32>,
    caches: BTreeMap<(SessionId, NodeId), u32>,
}

impl Ledger {
    /// For the events of a whole run, the orchestrator's among them.
    pub fn of_a_run() -> Ledger {
        Ledger { watches_barrier: true, ..Ledger::default() }
    }

    /// For the events of one host of a live run, which does not see the barrier.
    pub fn of_a_host() -> Ledger {
        Ledger::default()
    }

    /// Takes note of an event, or says what it breaks.
    pub fn check(&mut self, event: &Event) -> Result<(), Invariant> {
        match event {
            Event::Released { .. } => self.released = true,
            Event::Stepped(step) => self.check_step(step)?,
            Event::Served(served) => self.check_cache(served)?,
            Event::Ended(ended) => {
                self.timed(ended.request)?;
                if !self.ended.insert(ended.request) {
                    return Err(Invariant::OneEnd);
                }
                self.outputs.remove(&ended.request);
                let session = |leg| (SessionId::new(ended.request, leg), NodeId(0));
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
        // A prefill that was asked for no token has output 0, once, and nothing after it.
        if step.output != *seen + 1 && !(step.output == 0 && step.position == 0) {
            return Err(Invariant::TokensContiguous);
        }
        *seen = step.output;
        if step.setup + step.client_queue + step.client + step.recovery > step.seen.since(step.began) {
            return Err(Invariant::PartsWithinWhole);
        }
        Ok(())
    }

    fn check_cache(&mut self, served: &Served) -> Result<(), Invariant> {
        self.timed(served.request)?;
        // A peer may hear of the end only after its last step.
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
    use super::{Invariant, Ledger};
    use crate::id::{BlockRange, NodeId, RequestId, SessionId};
    use crate::record::{Ended, Event, Served, Stepped};
    use crate::time::{Moment, Span};

    const REQUEST: RequestId = RequestId { client: NodeId(7), index: 1 };

    fn step(output: u32) -> Stepped {
        Stepped {
            session: SessionId::new(REQUEST, 0),
            request: REQUEST,
            position: output + 3,
            tokens: 1,
            batch: 1,
            output,
            began: Moment(0),
            seen: Moment(10),
            setup: Span(1),
            client_queue: Span(2),
            client: Span(3),
            recovery: Span(4),
        }
    }

    fn served(leg: u16, position: u32, tokens: u32) -> Served {
        Served {
            session: SessionId::new(REQUEST, leg),
            request: REQUEST,
            position,
            tokens,
            batch: 1,
            hop: 0,
            peer: NodeId(2),
            blocks: BlockRange { start: 0, end: 1 },
            cached: true,
            received: Moment(0),
            started: Moment(1),
            finished: Moment(2),
            sent: Moment(2),
        }
    }

    fn end() -> Event {
        Event::Ended(Box::new(Ended {
            request: REQUEST,
            session: SessionId::new(REQUEST, 0),
            intended: Moment(0),
            sent: Moment(0),
            at: Moment(10),
            batch: 1,
            prompt: 4,
            generate: 2,
            generated: 2,
            discovery: Span::ZERO,
            sessions: Span::ZERO,
            route: vec![NodeId(2)],
            outcome: Ok(()),
            output: Vec::new(),
        }))
    }

    /// What a released run of these events breaks.
    fn broken(events: impl IntoIterator<Item = Event>) -> Option<Invariant> {
        let mut ledger = Ledger::of_a_run();
        let released = Event::Released { at: Moment(0) };
        [released].into_iter().chain(events).find_map(|event| ledger.check(&event).err())
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
        assert_eq!(Ledger::of_a_run().check(&end()), Err(Invariant::NothingBeforeTheBarrier));
        assert_eq!(broken([end(), end()]), Some(Invariant::OneEnd));
        assert_eq!(broken([Event::Stepped(step(1)), Event::Stepped(step(1))]), Some(Invariant::TokensContiguous));
        assert_eq!(broken([Event::Stepped(step(1)), Event::Stepped(step(3))]), Some(Invariant::TokensContiguous));
        let gap = [Event::Served(served(0, 0, 4)), Event::Served(served(0, 5, 1))];
        assert_eq!(broken(gap), Some(Invariant::CacheContiguous));
        let again = [Event::Served(served(0, 0, 4)), Event::Served(served(0, 3, 1))];
        assert_eq!(broken(again), Some(Invariant::CacheContiguous));
        let long = Stepped { recovery: Span(5), ..step(1) };
        assert_eq!(broken([Event::Stepped(long)]), Some(Invariant::PartsWithinWhole));
    }
}

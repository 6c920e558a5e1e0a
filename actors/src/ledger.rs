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

//! Soaking: swarms drawn from a seed, with faults, each simulated over an echo model and held against its own run without.
//!
//! What is finished must have the text that it has without faults, whatever happened; what is not finished must say why,
//! and must have had a reason. The same seed gives one peer a storm of sessions and steps, and one node of the DHT records.
mod draw;
mod figures;
mod records;
mod storm;

use actors::id::RequestId;
use actors::message::{Failure, Refusal};
use actors::policy::Recovery;
use actors::record::{Abort, Ended, Event};
use actors::world::panic_text;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::catch_unwind;
use topology::outcome::{Outcome, Run};

pub use draw::{Drawn, draw};

/// Deliveries after which a drawn swarm has gone astray: a thousand times what one takes.
const HORIZON: u64 = 20_000_000;

/// What a soaked swarm has been through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Soaked {
    pub requests: u32,
    pub failed: u32,
    pub failovers: u32,
    pub replayed: u64,
    pub faults: u32,
    pub delivered: u64,
}

impl Soaked {
    pub fn add(&mut self, other: &Soaked) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.failovers += other.failovers;
        self.replayed += other.replayed;
        self.faults += other.faults;
        self.delivered += other.delivered;
    }
}

/// What is wrong with a swarm's run.
#[derive(Clone, Debug, PartialEq)]
pub enum Wrong {
    Ended(Outcome),
    Text {
        request: RequestId,
        wanted: Vec<u32>,
        got: Vec<u32>,
    },
    Missing {
        request: RequestId,
    },
    Failed {
        request: RequestId,
        why: Failure,
    },
    Undetermined,
    /// The figures that the run gives do not follow from what happened in it.
    Figures(String),
    /// A peer in a storm, or a node of the DHT, is not as it has to be.
    Peer(String),
    Records(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |request: &RequestId| format!("request {} of {}", request.index, request.client);
        match self {
            Wrong::Ended(outcome) => write!(f, "the run ended otherwise than by draining: {outcome}"),
            Wrong::Text { request, wanted, got } => {
                let at = wanted.iter().zip(got).take_while(|(wanted, got)| wanted == got).count();
                write!(f, "{} has another text than without faults, from token {} on", name(request), at + 1)
            }
            Wrong::Missing { request } => write!(f, "{} has no end", name(request)),
            Wrong::Failed { request, why } => write!(f, "{} failed without need: {why}", name(request)),
            Wrong::Undetermined => write!(f, "two runs differ"),
            Wrong::Figures(what) => write!(f, "{what}"),
            Wrong::Peer(what) => write!(f, "a peer in a storm {what}"),
            Wrong::Records(what) => write!(f, "{what}"),
        }
    }
}

/// Soaks the peer, the node of the DHT and the swarm of `seed`.
pub fn soak(seed: u64, twice: bool) -> Result<Soaked, Wrong> {
    storm(seed)?;
    records(seed)?;
    swarm(seed, twice)
}

/// Gives one peer the storm of sessions and steps of `seed`.
pub fn storm(seed: u64) -> Result<(), Wrong> {
    guarded(|| storm::storm(seed)).map_err(Wrong::Peer)
}

/// Gives one node of the DHT the records of `seed`.
pub fn records(seed: u64) -> Result<(), Wrong> {
    guarded(|| records::records(seed)).map_err(Wrong::Records)
}

/// What comes of `act`; if it panics, with what.
fn guarded(act: impl FnOnce() -> Result<(), String> + std::panic::UnwindSafe) -> Result<(), String> {
    catch_unwind(act).unwrap_or_else(|panic| Err(format!("panicked: {}", panic_text(panic.as_ref()))))
}

/// Simulates the swarm of `seed` with its faults and without; `twice`: with them once more, which must be the same.
pub fn swarm(seed: u64, twice: bool) -> Result<Soaked, Wrong> {
    let drawn = draw(seed);
    let run = crate::run(&drawn.plan, HORIZON);
    // Its requests that were under way have no end.
    let gave_up = matches!(run.outcome, Outcome::BlocksLost { .. }) && drawn.uncovered;
    if !gave_up && !drained(&drawn, &run)? {
        return Ok(Soaked { delivered: run.delivered, ..Soaked::default() });
    }
    if twice && crate::run(&drawn.plan, HORIZON).trace != run.trace {
        return Err(Wrong::Undetermined);
    }
    let mut calm = drawn.plan.clone();
    calm.faults.clear();
    let calm = crate::run(&calm, HORIZON);
    if !drained(&drawn, &calm)? {
        return Ok(Soaked { delivered: run.delivered, ..Soaked::default() });
    }
    for run in [&run, &calm] {
        figures::check(&drawn.plan, run).map_err(Wrong::Figures)?;
    }
    let mut soaked = Soaked { faults: drawn.plan.faults.len() as u32, delivered: run.delivered, ..Soaked::default() };
    let ended = ends(&run.events);
    for (request, wanted) in ends(&calm.events) {
        match wanted.outcome {
            Ok(()) => {}
            // Whether there is room for one hangs on the instants at which others end.
            Err(Failure::Shed) if drawn.plan.open.is_some() => continue,
            Err(Failure::Refused(_, Refusal::CacheFull)) if drawn.tight => continue,
            Err(Failure::Timeout) if drawn.hurries() => continue,
            Err(_) if drawn.chooses() => continue,
            Err(why) => return Err(Wrong::Failed { request, why }),
        }
        let Some(got) = ended.get(&request) else {
            // Nobody asks on behalf of a client that has crashed.
            if gave_up || drawn.lost_clients.contains(&request.client) {
                continue;
            }
            return Err(Wrong::Missing { request });
        };
        soaked.requests += 1;
        match got.outcome {
            Ok(()) if got.output != wanted.output => {
                let (wanted, got) = (wanted.output.clone(), got.output.clone());
                return Err(Wrong::Text { request, wanted, got });
            }
            Ok(()) => {}
            Err(why) if !may_fail(&drawn, why) => return Err(Wrong::Failed { request, why }),
            Err(_) => soaked.failed += 1,
        }
    }
    for event in &run.events {
        if let Event::Failover(failover) = event {
            soaked.failovers += 1;
            soaked.replayed += u64::from(failover.replayed);
        }
    }
    Ok(soaked)
}

/// Whether a run was drained; not, where a request's timeout or a session's lifetime is too short for the warm-up already.
fn drained(drawn: &Drawn, run: &Run) -> Result<bool, Wrong> {
    match &run.outcome {
        Outcome::Done(_) => Ok(true),
        Outcome::Aborted(Abort::WarmupFailed { why: Failure::Timeout, .. }) if drawn.hurries() => Ok(false),
        Outcome::Aborted(Abort::WarmupFailed { why: Failure::Refused(_, Refusal::Expired), .. }) => Ok(false),
        other => Err(Wrong::Ended(other.clone())),
    }
}

/// Whether a request has a reason to fail: blocks that nobody serves for longer than clients try, or clients that do not.
fn may_fail(drawn: &Drawn, why: Failure) -> bool {
    let policies = &drawn.plan.policies;
    match why {
        // Its device does not fail.
        Failure::ClientDevice => false,
        Failure::Shed => drawn.plan.open.is_some(),
        Failure::Timeout => drawn.uncovered || drawn.hurries(),
        Failure::NoRoute | Failure::PeerLost(_) | Failure::Refused(..) => {
            drawn.uncovered
                || policies.recovery == Recovery::Off && (!drawn.plan.faults.is_empty() || drawn.tight)
                || drawn.tight && (why == Failure::NoRoute || matches!(why, Failure::Refused(_, Refusal::CacheFull)))
                // What others have reserved uses up tries that a fault needs as well.
                || drawn.tight && !drawn.plan.faults.is_empty() && matches!(why, Failure::PeerLost(_))
        }
    }
}

fn ends(events: &[Event]) -> BTreeMap<RequestId, &Ended> {
    let timed = events.iter().filter_map(|event| match event {
        Event::Ended(ended) if !ended.request.is_warmup() => Some((ended.request, ended.as_ref())),
        _ => None,
    });
    timed.collect()
}

#[cfg(test)]
mod tests {
    use super::soak;

    #[test]
    fn a_few_dozen_swarms_lose_no_token() {
        let mut all = super::Soaked::default();
        for seed in 0..48 {
            match soak(seed, seed % 8 == 0) {
                Ok(soaked) => all.add(&soaked),
                Err(wrong) => panic!("seed {seed}: {wrong}"),
            }
        }
        assert!(all.failovers > 20 && all.requests > 100, "{all:?}: too little happened to prove anything");
    }
}

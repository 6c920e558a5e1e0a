//! Soak tests: random swarms with faults. Each is simulated with an echo model and compared with a simulation of the
//! same swarm without faults.
//!
//! A request that succeeds must have the same text as without faults. A request that fails must report a reason, and
//! the reason must be valid. The same seed also generates two stress tests: one of a peer with sessions and steps, and
//! one of a DHT node with records.
mod draw;
mod figures;
mod records;
mod storm;

use actors::id::RequestId;
use actors::message::{Failure, Refusal};
use actors::policy::Recovery;
use actors::record::{Abort, Ended, Event};
use actors::world::panic_text;
use scenarios::plan::{Plan, WorkloadKind};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::catch_unwind;
use topology::outcome::{Outcome, Run};

pub use draw::{Drawn, draw};

/// The number of deliveries after which a random swarm counts as stuck: a thousand times the number that a swarm needs.
const HORIZON: u64 = 20_000_000;

/// The statistics of one swarm of a soak test.
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

/// The error that a soak test found.
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
    /// The run's totals differ from the sums over its requests, or a client exceeded its limits.
    Figures(String),
    /// A peer under a random load of sessions and steps differs from the reference state that the test keeps.
    Peer(String),
    Records(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |request: &RequestId| format!("request {} of {}", request.index, request.client);
        match self {
            Wrong::Ended(outcome) => write!(f, "the run did not end normally: {outcome}"),
            Wrong::Text { request, wanted, got } => {
                let at = wanted.iter().zip(got).take_while(|(wanted, got)| wanted == got).count();
                write!(f, "{} differs from the run without faults from token {} on", name(request), at + 1)
            }
            Wrong::Missing { request } => write!(f, "{} never ended", name(request)),
            Wrong::Failed { request, why } => write!(f, "{} failed without need: {why}", name(request)),
            Wrong::Undetermined => write!(f, "two simulations of the same seed differ"),
            Wrong::Figures(what) => write!(f, "{what}"),
            Wrong::Peer(what) => write!(f, "in a test of one peer under random load, {what}"),
            Wrong::Records(what) => write!(f, "{what}"),
        }
    }
}

/// Runs all soak tests of `seed`: of a peer, of a DHT node and of a swarm. With `twice`, the simulation of the swarm
/// must also give the same result when it is repeated.
///
/// # Errors
/// Returns the first difference from the expected behaviour.
pub fn soak(seed: u64, twice: bool) -> Result<Soaked, Wrong> {
    storm(seed)?;
    records(seed)?;
    swarm(seed, twice)
}

/// Stress-tests one peer with random sessions and steps that are generated from `seed`.
///
/// # Errors
/// Returns the first difference from the model of the peer, or the text of a panic.
pub fn storm(seed: u64) -> Result<(), Wrong> {
    guarded(|| storm::storm(seed)).map_err(Wrong::Peer)
}

/// Stress-tests one DHT node with random records that are generated from `seed`.
///
/// # Errors
/// Returns the first difference from the model of the store, or the text of a panic.
pub fn records(seed: u64) -> Result<(), Wrong> {
    guarded(|| records::records(seed)).map_err(Wrong::Records)
}

/// Returns the result of `act`, or the text of its panic as an error.
fn guarded(act: impl FnOnce() -> Result<(), String> + std::panic::UnwindSafe) -> Result<(), String> {
    catch_unwind(act).unwrap_or_else(|panic| Err(format!("the tested code panicked: {}", panic_text(panic.as_ref()))))
}

/// Simulates the random swarm of `seed` with its faults and without them. With `twice`, the simulation with faults must
/// also give the same result when it is repeated.
///
/// # Errors
/// Returns the first difference from the expected behaviour.
pub fn swarm(seed: u64, twice: bool) -> Result<Soaked, Wrong> {
    let drawn = draw(seed);
    let run = crate::run(&drawn.plan, HORIZON);
    // The run ended because blocks were lost, so the requests that were in flight have no end.
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
            // The request was shed. Whether a client sheds a request depends on when its other requests end, which
            // faults change.
            Err(Failure::Shed) if sheds(&drawn.plan) => continue,
            Err(Failure::Refused(_, Refusal::CacheFull)) if drawn.tight => continue,
            Err(Failure::Timeout) if drawn.hurries() => continue,
            Err(_) if drawn.chooses() => continue,
            Err(why) => return Err(Wrong::Failed { request, why }),
        }
        let Some(got) = ended.get(&request) else {
            // No other node finishes the requests of a client that has crashed.
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

/// Returns whether all clients finished. `false` means that the warm-up failed because a request's timeout or a
/// session's lifetime was too short for it.
///
/// # Errors
/// Returns any other outcome.
fn drained(drawn: &Drawn, run: &Run) -> Result<bool, Wrong> {
    match &run.outcome {
        Outcome::Done(_) => Ok(true),
        Outcome::Aborted(Abort::WarmupFailed { why: Failure::Timeout, .. }) if drawn.hurries() => Ok(false),
        Outcome::Aborted(Abort::WarmupFailed { why: Failure::Refused(_, Refusal::Expired), .. }) => Ok(false),
        other => Err(Wrong::Ended(other.clone())),
    }
}

/// Whether `why` is a valid reason for a request to fail. For example, a request may fail if some blocks are not served
/// for a longer time than clients spend on retries, or if clients do not retry.
fn may_fail(drawn: &Drawn, why: Failure) -> bool {
    let policies = &drawn.plan.policies;
    match why {
        // A simulated client's device never fails.
        Failure::ClientDevice | Failure::ClientNotFinite(_) => false,
        Failure::Shed => sheds(&drawn.plan),
        Failure::Timeout => drawn.uncovered || drawn.hurries(),
        Failure::NoRoute | Failure::PeerLost(_) | Failure::Refused(..) => {
            drawn.uncovered
                || policies.recovery == Recovery::Off && (!drawn.plan.faults.is_empty() || drawn.tight)
                || drawn.tight && (why == Failure::NoRoute || matches!(why, Failure::Refused(_, Refusal::CacheFull)))
                // Waiting for room in a KV cache uses up retries. A later fault may then find too few retries left.
                || drawn.tight && !drawn.plan.faults.is_empty() && matches!(why, Failure::PeerLost(_))
        }
    }
}

/// Whether clients of this plan may shed requests because too many are in flight.
fn sheds(plan: &Plan) -> bool {
    matches!(plan.workload_kind(), WorkloadKind::Open(_))
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

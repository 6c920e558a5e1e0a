//! The verdict on whether a run's figures can be believed.
use actors::id::{NodeId, RequestId};
use rows::{RequestRow, RunRows};
use scenarios::plan::{Plan, WorkloadKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The verdict, ordered from good to bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    #[default]
    Valid,
    /// The figures are true, but something about the run makes them doubtful as an answer.
    Suspect,
    /// The figures are inconsistent.
    Invalid,
}

/// A verdict and its reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    pub verdict: Verdict,
    pub reasons: Vec<String>,
}

impl Judgement {
    pub fn add(&mut self, verdict: Verdict, reason: impl Into<String>) {
        let reason = reason.into();
        self.verdict = self.verdict.max(verdict);
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    pub fn absorb(&mut self, other: &Judgement) {
        self.verdict = self.verdict.max(other.verdict);
        other.reasons.iter().for_each(|reason| self.add(Verdict::Valid, reason.clone()));
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Valid => "VALID",
            Verdict::Suspect => "SUSPECT",
            Verdict::Invalid => "INVALID",
        })
    }
}

/// The relative slowdown of the first micro-batch's computing above which the run was not warm yet.
const STATIONARY_WITHIN: f64 = 0.25;

/// The maximum delay of sending, as a share of the mean latency, above which the load generator is the bottleneck.
const SATURATED_FROM: f64 = 0.10;

pub(super) fn judge(fold: &RunRows, plan: &Plan) -> Judgement {
    let mut judgement = Judgement::default();
    ending(fold, plan, &mut judgement);
    counts(fold, plan, &mut judgement);
    agreement(fold, plan, &mut judgement);
    doubts(fold, plan, &mut judgement);
    // A person knows nodes by their names.
    judgement.reasons.iter_mut().for_each(|reason| *reason = plan.in_words(reason));
    judgement
}

fn ending(fold: &RunRows, plan: &Plan, judgement: &mut Judgement) {
    if let Some(why) = &fold.aborted {
        judgement.add(Verdict::Invalid, format!("the run was given up: {why}"));
    } else if fold.drained.is_none() {
        judgement.add(Verdict::Invalid, "the run did not reach its end");
    }
    if let Some(released) = fold.released {
        // A request without a session has no record of its client, which was lost. Its stamps are those of peers.
        let stamped = fold.timed().filter(|row| row.session.is_some());
        let early = stamped.filter(|row| row.sent < released.0).count();
        if early > 0 {
            // The clocks of different machines agree only approximately.
            let verdict = if plan.machines.len() > 1 { Verdict::Suspect } else { Verdict::Invalid };
            judgement.add(verdict, format!("{early} timed requests were sent before the barrier's release"));
        }
    }
}

fn counts(fold: &RunRows, plan: &Plan, judgement: &mut Judgement) {
    if fold.duplicates > 0 {
        judgement.add(Verdict::Invalid, format!("{} events were recorded twice", fold.duplicates));
    }
    let short = |row: &&RequestRow| row.ok() && row.generated != row.generate;
    let wrong = fold.requests.iter().filter(short).count();
    if wrong > 0 {
        judgement.add(Verdict::Invalid, format!("{wrong} successful requests gave other than the tokens asked for"));
    }
    let mut tokens_seen: BTreeMap<RequestId, u32> = BTreeMap::new();
    for token in fold.tokens.iter().filter(|token| token.output > 0) {
        *tokens_seen.entry(token.request).or_default() += 1;
    }
    for row in fold.requests.iter().filter(|row| row.ok()) {
        let seen = tokens_seen.get(&row.request).copied().unwrap_or(0);
        if seen != row.generated {
            let name = format!("request {} of {}", row.request.index, row.request.client);
            judgement.add(Verdict::Invalid, format!("{name} gave {} tokens, {seen} were seen", row.generated));
            break;
        }
    }
    let clients = plan.clients().count() as u64;
    let failed = fold.timed().any(|row| !row.ok());
    let expected = plan.tokens();
    let tokens: u64 = fold.timed().map(|row| u64::from(row.batch) * u64::from(row.generated)).sum();
    if fold.drained.is_some() && !failed && fold.finished.len() as u64 == clients && tokens != expected {
        let sum = format!("{tokens} tokens, not the {expected} of the plan");
        judgement.add(Verdict::Invalid, format!("token counts do not add up: {sum}"));
    }
}

/// Checks that the orchestrator's figures, which come from the latencies sent to it, equal those computed from the
/// events.
fn agreement(fold: &RunRows, plan: &Plan, judgement: &mut Judgement) {
    let Some(drained) = &fold.drained else { return };
    let lost: Vec<String> =
        plan.clients().filter(|(id, _)| !fold.finished.contains_key(id)).map(|(id, _)| id.to_string()).collect();
    if !lost.is_empty() {
        judgement.add(Verdict::Suspect, format!("lost in the run: {}", lost.join(", ")));
        return;
    }
    let done = || fold.timed().filter(|row| row.ok());
    let tokens: u64 = fold.timed().map(|row| u64::from(row.batch) * u64::from(row.generated)).sum();
    let stamped = fold.finished.values().max().zip(fold.released).map_or(0, |(end, from)| end.since(from).0);
    for (what, said, found) in [
        ("requests", u64::from(drained.requests), fold.timed().count() as u64),
        ("failures", u64::from(drained.failed), fold.timed().filter(|row| row.failed()).count() as u64),
        ("shed requests", u64::from(drained.shed), fold.timed().filter(|row| row.shed()).count() as u64),
        ("tokens", drained.total_tokens, tokens),
        ("ns of latency", drained.latency_sum.0, done().map(|row| row.e2el).sum()),
        ("ns of wall clock", drained.wall.0, stamped),
    ] {
        if said != found {
            judgement.add(Verdict::Invalid, format!("the orchestrator drained {said} {what}, the events have {found}"));
        }
    }
}

fn doubts(fold: &RunRows, plan: &Plan, judgement: &mut Judgement) {
    let failed = fold.timed().filter(|row| row.failed()).count();
    if failed > 0 {
        judgement.add(Verdict::Suspect, format!("{failed} of {} timed requests failed", fold.timed().count()));
    }
    let rows = fold.timed().filter(|row| row.suspect).count();
    if rows > 0 {
        judgement.add(Verdict::Suspect, format!("clocks disagree in {rows} requests: parts were cut to fit"));
    }
    // Requests with their own arrival times have different lengths, so the first one is not comparable with the others.
    let alike = match plan.workload_kind() {
        WorkloadKind::Closed { .. } => first_batch_slower(fold),
        WorkloadKind::Open(_) => None,
    };
    if let Some(slower) = alike.filter(|&slower| slower > STATIONARY_WITHIN) {
        let percent = slower * 100.0;
        judgement.add(Verdict::Suspect, format!("not warm: the first micro-batch computed {percent:.0} % slower"));
    }
    let delay = fold.timed().map(|row| row.schedule_delay).max().unwrap_or(0) as f64;
    let (count, sum) = fold.timed().fold((0u64, 0u64), |(count, sum), row| (count + 1, sum + row.e2el));
    if count > 0 && delay > SATURATED_FROM * sum as f64 / count as f64 {
        judgement.add(Verdict::Suspect, "the generator is saturated: requests were sent late");
    }
}

/// Returns the relative excess of the peers' time for each client's first timed request over that for the later ones.
/// Only steps at the same peer with the same number of tokens are compared, so that another route does not look like a
/// cold start.
fn first_batch_slower(fold: &RunRows) -> Option<f64> {
    let mut steps: BTreeMap<(NodeId, u32), [(u64, u64); 2]> = BTreeMap::new();
    for hop in fold.hops.iter().filter(|hop| !hop.request.is_warmup()) {
        let (count, sum) = &mut steps.entry((hop.peer, hop.tokens)).or_default()[usize::from(hop.request.index > 1)];
        *count += 1;
        *sum += hop.compute;
    }
    let known = steps.values().filter(|[first, later]| first.0 > 0 && later.0 > 0);
    let as_later = |first: (u64, u64), later: (u64, u64)| first.0 as f64 * later.1 as f64 / later.0 as f64;
    let sums = known.fold((0.0, 0.0), |(found, expected), [first, later]| {
        (found + first.1 as f64, expected + as_later(*first, *later))
    });
    (sums.1 > 0.0).then(|| sums.0 / sums.1 - 1.0)
}

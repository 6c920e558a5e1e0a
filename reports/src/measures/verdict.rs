//! The verdict on whether a run's figures can be believed.
use crate::figures::RunFigures;
use rows::RareEvents;
use scenarios::plan::WorkloadKind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether the figures of a run can be believed. The values are ordered from good to bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    #[default]
    Valid,
    /// The figures are consistent, but something happened in the run that makes them unreliable, such as a failed
    /// request.
    Suspect,
    /// The run failed or was interrupted, or its figures are inconsistent.
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

/// Peers count as not warm if they compute the first micro-batch slower than later ones by more than this fraction.
const STATIONARY_WITHIN: f64 = 0.25;

/// If the longest delay in sending a request exceeds this share of the mean latency, the load generator was saturated.
const SATURATED_FROM: f64 = 0.10;

pub(super) fn judge(figures: &RunFigures<'_>, rare: &RareEvents) -> Judgement {
    let mut judgement = Judgement::default();
    ending(figures, rare, &mut judgement);
    counts(figures, rare, &mut judgement);
    agreement(figures, rare, &mut judgement);
    doubts(figures, &mut judgement);
    // A reason names nodes as the scenario does, because people do not know node ids.
    judgement.reasons.iter_mut().for_each(|reason| *reason = figures.plan.in_words(reason));
    judgement
}

fn ending(figures: &RunFigures<'_>, rare: &RareEvents, judgement: &mut Judgement) {
    if let Some(why) = &rare.aborted {
        judgement.add(Verdict::Invalid, format!("the run was aborted: {why}"));
    } else if rare.drained.is_none() {
        judgement.add(Verdict::Invalid, "the run did not end");
    }
    if let Some(released) = rare.released {
        // If a client was lost, its own records of its requests are lost too, and only the times of peers are left.
        let stamped = figures.requests.iter().filter(|row| row.recorded);
        let early = stamped.filter(|row| row.sent < released.0).count();
        if early > 0 {
            // The clocks of different machines agree only approximately.
            let verdict = if figures.plan.machines.len() > 1 { Verdict::Suspect } else { Verdict::Invalid };
            judgement.add(verdict, format!("{early} timed requests were sent before the start of the timed run"));
        }
    }
}

fn counts(figures: &RunFigures<'_>, rare: &RareEvents, judgement: &mut Judgement) {
    if rare.duplicates > 0 {
        judgement.add(Verdict::Invalid, format!("{} events were recorded twice", rare.duplicates));
    }
    let counts = &figures.counts;
    if counts.wrong > 0 {
        let wrong = counts.wrong;
        judgement
            .add(Verdict::Invalid, format!("{wrong} successful requests got more or fewer tokens than they asked for"));
    }
    if let Some((request, generated, seen)) = counts.miscounted {
        let name = format!("request {} of {}", request.index, request.client);
        judgement
            .add(Verdict::Invalid, format!("{name} reports {generated} tokens, but {seen} token events were recorded"));
    }
    let clients = figures.plan.clients().count() as u64;
    let (failed, expected, tokens) = (counts.ok < counts.timed, figures.plan.tokens(), counts.tokens);
    if rare.drained.is_some() && !failed && rare.finished.len() as u64 == clients && tokens != expected {
        let sum = format!("the requests have {tokens} tokens, but the plan has {expected}");
        judgement.add(Verdict::Invalid, format!("the token counts do not add up: {sum}"));
    }
}

/// Checks that the orchestrator's figures equal the figures that are computed from the events. The orchestrator
/// computes its figures from the latencies that clients report.
fn agreement(figures: &RunFigures<'_>, rare: &RareEvents, judgement: &mut Judgement) {
    let Some(drained) = &rare.drained else { return };
    let unfinished = figures.plan.clients().filter(|(id, _)| !rare.finished.contains_key(id));
    let lost: Vec<String> = unfinished.map(|(id, _)| id.to_string()).collect();
    if !lost.is_empty() {
        judgement.add(Verdict::Suspect, format!("clients were lost during the run: {}", lost.join(", ")));
        return;
    }
    let counts = &figures.counts;
    let stamped = rare.finished.values().max().zip(rare.released).map_or(0, |(end, from)| end.since(from).0);
    for (what, said, found) in [
        ("requests", u64::from(drained.requests), counts.timed),
        ("failures", u64::from(drained.failed), counts.failed),
        ("shed requests", u64::from(drained.shed), counts.shed),
        ("tokens", drained.total_tokens, counts.tokens),
        ("ns of latency", drained.latency_sum.0, counts.ok_e2el),
        ("ns of wall clock", drained.wall.0, stamped),
    ] {
        if said != found {
            judgement
                .add(Verdict::Invalid, format!("the orchestrator counted {said} {what}, but the events have {found}"));
        }
    }
}

fn doubts(figures: &RunFigures<'_>, judgement: &mut Judgement) {
    let counts = &figures.counts;
    if counts.failed > 0 {
        judgement.add(Verdict::Suspect, format!("{} of {} timed requests failed", counts.failed, counts.timed));
    }
    if counts.suspect > 0 {
        let rows = counts.suspect;
        judgement.add(
            Verdict::Suspect,
            format!("the clocks of hosts disagree in {rows} requests, so parts of their latencies were cut to fit"),
        );
    }
    // Requests of an open workload may differ in length, so the first one is not comparable with later ones.
    let alike = match figures.plan.workload_kind() {
        WorkloadKind::Closed { .. } => first_batch_slower(figures),
        WorkloadKind::Open(_) => None,
    };
    if let Some(slower) = alike.filter(|&slower| slower > STATIONARY_WITHIN) {
        let percent = slower * 100.0;
        judgement.add(
            Verdict::Suspect,
            format!("the peers were not warm: the first micro-batch computed {percent:.0} % slower"),
        );
    }
    let delay = counts.schedule_delay_max as f64;
    if counts.timed > 0 && delay > SATURATED_FROM * counts.e2el as f64 / counts.timed as f64 {
        judgement.add(Verdict::Suspect, "the load generator is saturated, so requests were sent late");
    }
}

/// Returns the fraction by which the peers took longer for the first timed request of each client than for later
/// requests. Only steps at the same peer with the same number of tokens are compared, so that another route does not
/// look like a cold start.
fn first_batch_slower(figures: &RunFigures<'_>) -> Option<f64> {
    let known = figures.warmth.values().filter(|[first, later]| first.0 > 0 && later.0 > 0);
    let as_later = |first: (u64, u64), later: (u64, u64)| first.0 as f64 * later.1 as f64 / later.0 as f64;
    let sums = known.fold((0.0, 0.0), |(found, expected), [first, later]| {
        (found + first.1 as f64, expected + as_later(*first, *later))
    });
    (sums.1 > 0.0).then(|| sums.0 / sums.1 - 1.0)
}

//! Warnings about values beyond the model's context or the end of the run, which are allowed but rarely intended.
use crate::plan::{Plan, WorkloadKind};
use crate::resolve::{self, model};
use crate::schema::events::Due;
use crate::schema::{Lives, Scenario, ScheduledFault};
use crate::shape::Arch;
use crate::units::Time;
use crate::warning_kind::Kind;
use actors::time::Duration;

/// Returns the warnings about one cell's plan, each as its kind, its severity and its text.
pub(crate) fn warnings(scenario: &Scenario, plan: &Plan) -> Vec<(Kind, f64, String)> {
    let late = |(index, event)| late(index, event, plan).map(|text| (Kind::Event(index), 0.0, text));
    let context = context(scenario, plan).map(|text| (Kind::Context, f64::from(plan.longest()), text));
    context.into_iter().chain(scenario.events.iter().enumerate().filter_map(late)).collect()
}

/// Warns of requests longer than the context for which the model was trained. Learned positions (OPT) end at that
/// context, and another check refuses longer requests. Rotary positions and ALiBi can be computed for longer requests.
fn context(scenario: &Scenario, plan: &Plan) -> Option<String> {
    let own = model::shape(&scenario.model.shape).ok()?;
    let longest = plan.longest().max(plan.workload.prompt + resolve::WARM_UP);
    if longest <= own.max_positions {
        return None;
    }
    let positions = match plan.model.shape.arch {
        Arch::Opt => return None,
        Arch::Llama => "rotary positions",
        Arch::Bloom => "ALiBi",
    };
    Some(format!(
        "the longest request has {longest} tokens, prompt and answer together, but the model's context ends at {}: \
         {positions} can be computed beyond this length, so the times are valid, but the text of a trained model \
         would make no sense",
        own.max_positions
    ))
}

/// Returns the number of events that begin later than the time `end` after the barrier's release. Events without a
/// fixed time are not counted.
pub(crate) fn after(scenario: &Scenario, plan: &Plan, end: Duration) -> usize {
    scenario.events.iter().filter(|event| begins(event, plan.ready_within).is_some_and(|begins| begins > end)).count()
}

/// Warns of an event that begins after the last request has arrived.
fn late(index: usize, event: &ScheduledFault, plan: &Plan) -> Option<String> {
    let begins = begins(event, plan.ready_within)?;
    let last = match plan.workload_kind() {
        WorkloadKind::Closed { micro_batches } => return after_closed(index, begins, plan, micro_batches),
        WorkloadKind::Open(open) => open.horizon,
    };
    if begins <= last {
        return None;
    }
    let fate = match last + plan.timeout < begins {
        true => {
            format!("the last request has ended by {}, so the event cannot happen", Time::from(last + plan.timeout))
        }
        false => "the event happens only if a request is still in flight then".to_owned(),
    };
    let (begins, last) = (Time::from(begins), Time::from(last));
    Some(format!("`events.{index}` begins at {begins}, but requests arrive only until {last}: {fate}"))
}

/// Warns of an event that begins after every client of a closed workload has ended its last request.
fn after_closed(index: usize, begins: Duration, plan: &Plan, requests: u32) -> Option<String> {
    let end = Duration(plan.timeout.0.saturating_mul(u64::from(requests)));
    let (one, begins_at, end_at) = (Time::from(plan.timeout), Time::from(begins), Time::from(end));
    let how = if requests == 1 { format!("one request of {one}") } else { format!("{requests} requests of {one}") };
    (begins > end).then(|| {
        format!(
            "`events.{index}` cannot happen: it begins at {begins_at}, but the run has ended by {end_at}, since each \
             client sends at most {how}"
        )
    })
}

/// Returns the earliest time after the barrier's release at which `event` can begin, or `None` if the event has no
/// fixed time.
fn begins(event: &ScheduledFault, ready_within: Duration) -> Option<Duration> {
    let at = match event {
        ScheduledFault::Crash { at, .. }
        | ScheduledFault::Restart { at, .. }
        | ScheduledFault::Leave { at, .. }
        | ScheduledFault::Join { at, .. }
        | ScheduledFault::Stall { at, .. }
        | ScheduledFault::Degrade { at, .. }
        | ScheduledFault::Partition { at, .. } => at,
        ScheduledFault::Churn { lives: Lives::Trace(away), .. } => {
            return away.iter().map(|away| away.from.duration()).min();
        }
        ScheduledFault::Churn { .. } | ScheduledFault::StepFailures { .. } => return None,
    };
    match at.resolve().ok()? {
        Due::Release(after) => Some(after),
        Due::Start(after) => Some(Duration(after.0.saturating_sub(ready_within.0))),
        Due::Steps(_) => None,
    }
}

//! Recomputes a run's totals from its events, and compares them with the orchestrator's totals.
use actors::id::NodeId;
use actors::message::Failure;
use actors::record::{Drained, Ended, Event};
use actors::time::Timestamp;
use scenarios::plan::{Plan, WorkloadKind};
use std::collections::BTreeMap;
use topology::outcome::{Outcome, Run};

/// Checks that the orchestrator's totals are the sums over the requests, and that no client exceeded its limits.
pub(super) fn check(plan: &Plan, run: &Run) -> Result<(), String> {
    let ended: Vec<&Ended> = run.events.iter().filter_map(timed).collect();
    let sent: Vec<&Ended> = ended.iter().copied().filter(|ended| ended.outcome != Err(Failure::Shed)).collect();
    let served = ended.iter().filter(|ended| ended.outcome.is_ok());
    let Outcome::Done(drained) = &run.outcome else { return Ok(()) };
    let count = ended.len() as u32;
    let wanted = Drained {
        requests: count,
        failed: (sent.len() - served.clone().count()) as u32,
        shed: count - sent.len() as u32,
        total_tokens: ended.iter().map(|ended| u64::from(ended.batch) * u64::from(ended.generated)).sum(),
        latency_sum: served.map(|ended| ended.at.since(ended.sent)).sum(),
        ..drained.clone()
    };
    if *drained != wanted {
        return Err(format!("the totals of the run are {drained:?}, but its requests sum to {wanted:?}"));
    }
    if let Some(late) = sent.iter().find(|ended| ended.at.since(ended.sent) > plan.timeout) {
        return Err(format!("request {:?} took longer than the timeout of {}", late.request, plan.timeout));
    }
    let allowed = match plan.workload_kind() {
        WorkloadKind::Closed { .. } => 1,
        WorkloadKind::Open(open) => open.in_flight as usize,
    };
    match most_at_once(&sent).into_iter().find(|(_, most)| *most > allowed) {
        Some((client, most)) => Err(format!("{client} had {most} requests in flight, but may have at most {allowed}")),
        None => Ok(()),
    }
}

fn timed(event: &Event) -> Option<&Ended> {
    match event {
        Event::Ended(ended) if !ended.request.is_warmup() => Some(ended),
        _ => None,
    }
}

/// Returns, for each client, the largest number of requests that it had in flight at once.
fn most_at_once(sent: &[&Ended]) -> BTreeMap<NodeId, usize> {
    let mut most: BTreeMap<NodeId, usize> = BTreeMap::new();
    for one in sent {
        let client = one.request.client;
        let flies =
            |at: Timestamp| move |other: &&&Ended| other.sent <= at && at < other.at && other.request.client == client;
        let count = sent.iter().filter(flies(one.sent)).count();
        let known = most.entry(client).or_default();
        *known = (*known).max(count);
    }
    most
}

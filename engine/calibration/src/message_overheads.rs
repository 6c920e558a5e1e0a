//! Extracts the times of frames from the rows of runs, to fit the send and receive overheads of a frame.
use super::estimate::seconds;
use super::wake_up::Start;
use actors::id::{NodeId, RequestId, SessionId};
use actors::message::{Activation, Forwarding, Message, Step};
use rows::ObservedRun;
use rows::{HopRow, TokenRow};
use scenarios::plan::Plan;
use std::collections::BTreeMap;

/// Returns the times of frames. For a step with several peers, they are the differences between the time at which a
/// peer sent the frame and the time at which the next peer received it. For a step with one peer, the time is the
/// network's part of the step minus the times in which devices handed results to their nodes. The two hand-overs at the
/// client have no timestamps, so each of them counts as `back` seconds.
pub(super) fn starts(run: &ObservedRun, back: f64) -> Vec<Start> {
    let mut routes: BTreeMap<(RequestId, u32), Vec<&HopRow>> = BTreeMap::new();
    for hop in run.hops.iter().filter(|hop| !hop.request.is_warmup()) {
        routes.entry((hop.request, hop.position)).or_default().push(hop);
    }
    routes.values_mut().for_each(|route| route.sort_by_key(|hop| hop.hop));
    let mut steps: Vec<&TokenRow> = run.tokens.iter().filter(|step| !step.request.is_warmup()).collect();
    steps.sort_by_key(|step| step.began);
    // For each peer, the time at which it last sent a frame.
    let mut last: BTreeMap<NodeId, u64> = BTreeMap::new();
    let mut starts = Vec::new();
    for step in steps {
        let Some(route) = routes.get(&(step.request, step.position)) else { continue };
        let (_, bytes) = frames_of(&run.plan, step);
        let opened = if step.parts.setup > 0 { step.began + step.parts.setup } else { 0 };
        let still = |hop: &HopRow| {
            let heard = last.get(&hop.peer).copied().unwrap_or(0).max(opened);
            seconds(hop.received.saturating_sub(heard))
        };
        let of = |count, still, seconds| Start { round: run.round, bytes, count, still, seconds };
        // A step that was sent in chunks or with a replay has other frames than its route suggests, so it is left out.
        match &route[..] {
            _ if route.len() != usize::from(step.hops) => {}
            [hop] => {
                let returns = 2.0 * back + seconds(hop.sent.saturating_sub(hop.finished));
                let away = seconds(hop.sent.saturating_sub(hop.received));
                let seconds = seconds(step.parts.network) - returns;
                starts.push(of(4, vec![still(hop), away, away], seconds));
            }
            _ => starts.extend(route.windows(2).map(|pair| {
                let away = seconds(pair[0].sent.saturating_sub(pair[0].received));
                let seconds = seconds(pair[1].received.saturating_sub(pair[0].sent));
                match run.plan.policies.forwarding {
                    Forwarding::Relay => of(4, vec![away, away, still(pair[1])], seconds),
                    Forwarding::Push => of(2, vec![away, still(pair[1])], seconds),
                }
            })),
        }
        for hop in route {
            let heard = last.entry(hop.peer).or_default();
            *heard = hop.sent.max(*heard);
        }
    }
    starts
}

/// Returns the number of frames of a step, and the bytes of each.
pub(super) fn frames_of(plan: &Plan, step: &TokenRow) -> (u32, u64) {
    let count = match plan.policies.forwarding {
        Forwarding::Relay => 2 * u32::from(step.hops),
        Forwarding::Push => u32::from(step.hops) + 1,
    };
    let session = SessionId::new(step.request, 0);
    let message = Message::Step(Step { session, position: step.position, activation: activation(plan, step) });
    (count, message.wire_bytes())
}

fn activation(plan: &Plan, step: &TokenRow) -> Activation {
    let hidden = u16::try_from(plan.model.shape.hidden).unwrap_or(u16::MAX);
    Activation { tokens: step.tokens, batch: step.batch, hidden, dtype: plan.model.wire, data: None }
}

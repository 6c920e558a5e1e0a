//! Checks the answers of a host's process against the plan before the orchestrator's process uses them.
//!
//! The host's process knows the run's token, but it may be faulty or claim to be the process of another host.
use super::control::{Answer, Report};
use actors::id::{HostId, NodeId};
use actors::record::Event;
use scenarios::plan::Plan;

/// Checks whether the process of `host` with this incarnation may send `answer`.
///
/// # Errors
/// If the answer names another process, an unknown host, a node on another host, or an event that only the
/// orchestrator's process can record. The error is the reason as text.
pub fn check(plan: &Plan, host: HostId, incarnation: u32, answer: &Answer) -> Result<(), String> {
    match answer {
        Answer::Over | Answer::Alive => Ok(()),
        Answer::Events(events) => events.iter().try_for_each(|event| recorded(plan, host, event)),
        Answer::Counted(account) if (account.host, account.incarnation) != (host, incarnation) => Err(format!(
            "the process sent the message account of process {} of host {}",
            account.incarnation, account.host.0
        )),
        Answer::Counted(account) => account.tallies.iter().try_for_each(|tally| known(plan, tally.there)),
        Answer::Report(report) => match report {
            Report::Panicked { node, .. } | Report::LoadFailed { node, .. } => runs_on(plan, host, *node),
            Report::Broken { event, .. } => recorded(plan, host, event),
            Report::LinkLost { host: there, .. } => known(plan, *there),
            Report::Released { .. } | Report::Ended(_) => {
                Err("the process sent a report that only the orchestrator's process may send".to_owned())
            }
        },
    }
}

fn known(plan: &Plan, host: HostId) -> Result<(), String> {
    if (host.0 as usize) < plan.hosts.len() {
        return Ok(());
    }
    Err(format!("the process named host {}, but the plan has {} hosts", host.0, plan.hosts.len()))
}

fn runs_on(plan: &Plan, host: HostId, node: NodeId) -> Result<(), String> {
    match plan.nodes.get(node.0 as usize) {
        Some(planned) if planned.host == host => Ok(()),
        Some(_) => Err(format!("the process reported about {}, which is on another host", plan.called(node))),
        None => Err(format!("the process reported about {node}, but the plan has {} nodes", plan.nodes.len())),
    }
}

/// Checks that an event from the process of `host` is about a node on `host`.
fn recorded(plan: &Plan, host: HostId, event: &Event) -> Result<(), String> {
    let node = match event {
        Event::Stepped(stepped) => stepped.request.client,
        Event::Served(served) => served.peer,
        Event::Reserved(reserved) => reserved.peer,
        Event::Routed(routed) => routed.request.client,
        Event::Carried(carried) => carried.to,
        Event::Scored(scored) => scored.request.client,
        Event::Ended(ended) => ended.request.client,
        Event::Failover(failover) => failover.request.client,
        Event::Looked(looked) => looked.node,
        Event::Pinged(pinged) => pinged.client,
        Event::Serving(serving) => serving.peer,
        Event::Rated(rated) => rated.peer,
        Event::Present { .. }
        | Event::Ready { .. }
        | Event::Released { .. }
        | Event::FaultEvent(_)
        | Event::Finished { .. }
        | Event::Drained(_)
        | Event::Aborted { .. } => {
            return Err("the process sent an event that only the orchestrator's process may record".to_owned());
        }
    };
    runs_on(plan, host, node)
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::control::{Answer, Report};
    use actors::id::{HostId, NodeId};
    use actors::invariants::message_account::{Account, Tally};
    use actors::record::{Event, Pinged};
    use actors::seed::Seed;
    use actors::time::{Duration, Timestamp};

    #[test]
    fn a_process_speaks_for_its_own_host_alone_and_of_what_the_plan_has() {
        let cells = scenarios::load("quickstart").expect("it is there").cells(&scenarios::Overrides::default());
        let plan = cells.expect("it has cells")[0].plan(Seed(1), 0).expect("a plan");
        let (peer, client) = (plan.peers().next().expect("a peer"), plan.clients().next().expect("a client"));
        let (here, there) = (peer.1.host, client.1.host);
        let account = |host, incarnation, remote| {
            Answer::Counted(Account { host, incarnation, tallies: vec![Tally::of(remote, 0)] })
        };
        let pinged = |client| {
            let at = Timestamp::default();
            Answer::Events(vec![Event::Pinged(Pinged { client, peer: peer.0, at, took: Duration::ZERO })])
        };
        let failed = |node| Answer::Report(Report::LoadFailed { node, what: String::new() });
        let lost = |host| Answer::Report(Report::LinkLost { host, why: String::new(), lied: false });
        let nowhere = (HostId(9_999), NodeId(9_999));
        for (host, answer) in [
            (here, Answer::Over),
            (here, Answer::Alive),
            (here, account(here, 3, there)),
            (here, failed(peer.0)),
            (here, lost(there)),
            (there, pinged(client.0)),
        ] {
            assert_eq!(check(&plan, host, 3, &answer), Ok(()));
        }
        for (answer, said) in [
            (account(there, 3, here), "the message account of process 3 of host"),
            (account(here, 2, there), "the message account of process 2 of host"),
            (account(here, 3, nowhere.0), "named host 9999"),
            (failed(client.0), "on another host"),
            (failed(nowhere.1), "reported about node 9999"),
            (lost(nowhere.0), "named host 9999"),
            (pinged(client.0), "on another host"),
            (pinged(nowhere.1), "reported about node 9999"),
            (Answer::Report(Report::Released { at: Timestamp::default() }), "only the orchestrator's process may send"),
            (
                Answer::Events(vec![Event::Released { at: Timestamp::default() }]),
                "only the orchestrator's process may record",
            ),
        ] {
            let why = check(&plan, here, 3, &answer).expect_err(said);
            assert!(why.contains(said), "{why:?} is to say {said:?}");
        }
    }
}

//! The end of a live run: collects every host's record, counts the messages between hosts, and finds the outcome.
use super::{RunMonitor, falls};
use crate::control::{Answer, Order, Report};
use crate::news::News;
use actors::id::HostId;
use actors::invariants::message_account::{Account, Gap, MessageAccount, settle};
use actors::record::Event;
use rustix::process::Signal;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout_at};
use topology::outcome::{Outcome, ranges};

/// The time between two requests for the hosts' message counts, which are repeated until the counts balance.
const COUNT_AGAIN: Duration = Duration::from_millis(2);

impl RunMonitor<'_> {
    /// Stops every host and collects the records. If no part of any record arrives for `within`, the hosts with
    /// incomplete records count as lost.
    ///
    /// Changes `outcome` if a host meanwhile reports a broken invariant, or is lost before its whole record has
    /// arrived: without that loss the run might not have ended.
    pub async fn collect(
        &mut self,
        news: &mut UnboundedReceiver<News>,
        outcome: &mut Outcome,
        within: Duration,
    ) -> Vec<Event> {
        let drained = matches!(outcome, Outcome::Done(_));
        self.setup.local.stop();
        let mut events = self.setup.local.take_events();
        // A process that a fault has stopped cannot answer, so it is resumed.
        for host in self.processes.stalled.keys() {
            self.setup.supervisor.signal(*host, Signal::CONT);
        }
        self.tell_all(&Order::Stop { drained }).await;
        let mut awaited: Vec<HostId> = self.processes.hosts.keys().copied().collect();
        let mut deadline = Instant::now() + within;
        while !awaited.is_empty() {
            let Ok(Some(heard)) = timeout_at(deadline, news.recv()).await else { break };
            match heard {
                News::Answer { host, answer: Answer::Events(more) } => {
                    self.records.entry(host).or_default().extend(more);
                    deadline = Instant::now() + within;
                }
                News::Answer { host, answer: Answer::Over } => awaited.retain(|awaited| *awaited != host),
                News::Exited { host, end } => {
                    let planned = self.crashed_at_step(host, &end).is_some();
                    self.ended_early(host, planned, end.to_string(), &mut awaited);
                }
                News::HungUp { host, why, .. } => self.ended_early(host, false, why, &mut awaited),
                News::Answer { answer: Answer::Report(Report::Broken { invariant, event }), .. } => {
                    *outcome = Outcome::Broken { invariant, event };
                }
                // The connection was lost before the run ended, but its report arrives only now.
                News::Answer { host: by, answer: Answer::Report(Report::LinkLost { host, why, lied }) } => {
                    self.note_cut(by, host, why, lied);
                }
                News::Answer { answer: Answer::Report(_) | Answer::Counted(_) | Answer::Alive, .. }
                | News::Joined { .. } => {}
            }
        }
        for host in awaited {
            self.losses.lost.push((host, format!("the process did not send its events within {within:?}")));
            self.processes.hosts.remove(&host);
            // The process is stopped or stuck, so it would not end by itself.
            self.setup.supervisor.signal(host, Signal::KILL);
        }
        if let Outcome::Done(_) | Outcome::Aborted(_) | Outcome::HostLost { .. } = outcome {
            self.lose_unfinished(&events);
            *outcome = self.explained(outcome.clone());
        }
        *outcome = self.unasked(outcome.clone());
        events.extend(std::mem::take(&mut self.records).into_values().flatten());
        events
    }

    /// Handles the end of a host's process or connection before its whole record has arrived. The host counts as lost
    /// unless the plan ended it: by a crash (`planned`), or because its process had been told to end.
    fn ended_early(&mut self, host: HostId, planned: bool, why: String, awaited: &mut Vec<HostId>) {
        if awaited.contains(&host) && !planned && !self.processes.doomed.contains(&host) {
            self.losses.lost.push((host, why));
        }
        awaited.retain(|awaited| *awaited != host);
        self.processes.hosts.remove(&host);
    }

    /// Marks a client's host as lost if the orchestrator gave up the client although the plan neither crashes nor
    /// removes the host. The results of the run then lack requests of that client.
    fn lose_unfinished(&mut self, of_orchestrator: &[Event]) {
        let finished = |client| {
            let is_it = |event: &Event| matches!(event, Event::Finished { client: it, .. } if *it == client);
            of_orchestrator.iter().any(is_it)
        };
        let drained = of_orchestrator.iter().any(|event| matches!(event, Event::Drained(_)));
        for (client, node) in self.setup.plan.clients() {
            if drained && !finished(client) && !self.setup.plan.faults.iter().any(|fault| falls(&fault.what, node.host))
            {
                let known = self.losses.cut.iter().find(|(host, _)| *host == node.host);
                let why =
                    known.map_or("the orchestrator lost its connection to the host".to_owned(), |(_, why)| why.clone());
                self.losses.lost.push((node.host, why));
            }
        }
    }

    /// Returns the message counts of a run in which all clients have finished. If the number of sent messages is not
    /// the sum of delivered, lost and in-flight messages, `outcome` becomes [`Outcome::Unbalanced`]. A message that is
    /// missing on a broken connection counts as lost.
    pub async fn count_messages(
        &mut self,
        news: &mut UnboundedReceiver<News>,
        outcome: &mut Outcome,
        deadline: Instant,
    ) -> Option<MessageAccount> {
        if !matches!(outcome, Outcome::Done(_)) {
            return None;
        }
        self.setup.local.seal();
        let mut last = None;
        loop {
            let (accounts, complete) = self.accounts(news, deadline).await;
            // If a host does not answer in time, the new counts are incomplete. The gap in the last complete counts is
            // then the result, if there was one.
            let settled = if complete { settle(&accounts) } else { last.map_or_else(|| settle(&accounts), Err) };
            match settled {
                Ok(account) => return Some(account),
                Err(gap) if complete && Instant::now() < deadline => last = Some(gap),
                Err(Gap { from, to, account, in_flight }) => {
                    let name = |host| self.setup.plan.host(host).name.clone();
                    *outcome = Outcome::Unbalanced { way: Some((name(from), name(to))), account, in_flight };
                    return None;
                }
            }
            sleep(COUNT_AGAIN).await;
        }
    }

    /// Asks every running process for its present message counts. Returns them, and whether all have answered.
    async fn accounts(&mut self, news: &mut UnboundedReceiver<News>, deadline: Instant) -> (Vec<Account>, bool) {
        self.tell_all(&Order::Count).await;
        let mut accounts = vec![self.setup.local.account()];
        let mut awaited: Vec<HostId> = self.processes.hosts.keys().copied().collect();
        while !awaited.is_empty() {
            let Ok(Some(heard)) = timeout_at(deadline, news.recv()).await else { return (accounts, false) };
            match heard {
                News::Answer { host, answer: Answer::Counted(account) } => {
                    awaited.retain(|awaited| *awaited != host);
                    accounts.push(account);
                }
                News::Exited { host, .. } | News::HungUp { host, .. } => {
                    awaited.retain(|awaited| *awaited != host);
                    self.processes.hosts.remove(&host);
                }
                News::Answer { .. } | News::Joined { .. } => {}
            }
        }
        (accounts, true)
    }

    // -- the outcome --

    /// Returns the outcome of the run that follows from the orchestrator's last event.
    pub(super) fn end(&self, event: Event) -> Outcome {
        match event {
            Event::Drained(drained) => self.explained(Outcome::Done(*drained)),
            Event::Aborted { why, .. } => self.explained(Outcome::Aborted(why)),
            _ => Outcome::Interrupted,
        }
    }

    /// Returns the loss of a host as the outcome if the run lost blocks for good because a host that held them was lost
    /// unplanned; otherwise returns `outcome`.
    fn unasked(&self, outcome: Outcome) -> Outcome {
        let Outcome::BlocksLost { blocks, hosts } = &outcome else { return outcome };
        let held = |host: &HostId| hosts.iter().any(|(name, _)| *name == self.setup.plan.host(*host).name);
        let Some((host, why)) = self.losses.lost.iter().find(|(host, _)| held(host)) else { return outcome };
        let why = format!("{why}; no peer serves {} any more", ranges(blocks));
        Outcome::HostLost { host: *host, name: self.setup.plan.host(*host).name.clone(), why }
    }

    /// Returns the loss of a host as the outcome if such a loss explains `outcome`; otherwise returns `outcome`.
    fn explained(&self, outcome: Outcome) -> Outcome {
        // A lost process always matters, because its record is lost; a cut connection matters only if the run failed.
        let cut = if outcome.is_ok() { None } else { self.losses.cut.first() };
        match self.losses.lost.first().or(cut) {
            Some((host, why)) => Outcome::HostLost {
                host: *host,
                name: self.setup.plan.hosts.get(host.0 as usize).map(|host| host.name.clone()).unwrap_or_default(),
                why: why.clone(),
            },
            None => outcome,
        }
    }
}

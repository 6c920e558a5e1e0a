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

/// The delay before the hosts are asked for their message counts again, because the counts do not balance yet.
const COUNT_AGAIN: Duration = Duration::from_millis(2);

impl RunMonitor<'_> {
    /// Stops every host and collects its record. A host is lost if it sends no part of its record for `within`.
    ///
    /// A broken invariant that a host reports meanwhile replaces `outcome`. So does the loss of a host before its whole
    /// record has arrived: the run may have been drained only because of that loss.
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
                // The report was still on its way when the orchestrator had drained the last latency.
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
            // A process that is stopped or stuck does not end by itself either.
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

    /// Marks the host of a client as lost if the orchestrator gave the client up and the plan does not crash or remove
    /// it: the run may have been drained without that client's requests.
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

    /// Returns the message account of a run that was drained. If sent = delivered + lost + in flight does not hold,
    /// other than by losses on broken connections, `outcome` becomes [`Outcome::Unbalanced`].
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
            // If a host does not answer in time, the counts are incomplete, and only a gap that the last complete
            // counts showed counts.
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

    /// Returns the outcome that the orchestrator's last event means.
    pub(super) fn end(&self, event: Event) -> Outcome {
        match event {
            Event::Drained(drained) => self.explained(Outcome::Done(*drained)),
            Event::Aborted { why, .. } => self.explained(Outcome::Aborted(why)),
            _ => Outcome::Interrupted,
        }
    }

    /// If a run has lost blocks for good because a process that held them ended unplanned, returns that loss as the
    /// outcome.
    fn unasked(&self, outcome: Outcome) -> Outcome {
        let Outcome::BlocksLost { blocks, hosts } = &outcome else { return outcome };
        let held = |host: &HostId| hosts.iter().any(|(name, _)| *name == self.setup.plan.host(*host).name);
        let Some((host, why)) = self.losses.lost.iter().find(|(host, _)| held(host)) else { return outcome };
        let why = format!("{why}; no peer serves {} any more", ranges(blocks));
        Outcome::HostLost { host: *host, name: self.setup.plan.host(*host).name.clone(), why }
    }

    /// Returns the loss of a host as the outcome if one explains `outcome`; otherwise `outcome` itself.
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

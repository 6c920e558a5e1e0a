//! The end of a live run: every host's record is taken in, and the messages that passed between them are counted.
use super::Watch;
use crate::live::conduct::News;
use crate::live::control::{Answer, Order, Report};
use crate::outcome::Outcome;
use actors::id::HostId;
use actors::ledger::mail::{Account, Gap, Mail, settle};
use actors::record::Event;
use rustix::process::Signal;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout_at};

/// How soon hosts are asked again whether what was under way has arrived.
const COUNT_AGAIN: Duration = Duration::from_millis(2);

impl Watch<'_> {
    /// Stops every host and takes in its record, until `deadline`.
    ///
    /// What a host then finds broken takes the place of `outcome`.
    pub async fn collect(
        &mut self,
        news: &mut UnboundedReceiver<News>,
        outcome: &mut Outcome,
        deadline: Instant,
    ) -> Vec<Event> {
        let drained = matches!(outcome, Outcome::Done(_));
        self.local.stop();
        let mut events = self.local.take_events();
        // Who stands still could not answer.
        for host in self.stalled.keys() {
            self.crew.signal(*host, Signal::CONT);
        }
        self.tell_all(&Order::Stop { drained }).await;
        let mut awaited: Vec<HostId> = self.hosts.keys().copied().collect();
        while !awaited.is_empty() {
            let Ok(Some(heard)) = timeout_at(deadline, news.recv()).await else { break };
            match heard {
                News::Answer { host, answer: Answer::Events(more) } => {
                    self.records.entry(host).or_default().extend(more);
                }
                News::Answer { host, answer: Answer::Over } => awaited.retain(|awaited| *awaited != host),
                News::Exited { host, .. } => {
                    awaited.retain(|awaited| *awaited != host);
                    self.hosts.remove(&host);
                }
                News::Answer { answer: Answer::Report(Report::Broken { invariant, event }), .. } => {
                    *outcome = Outcome::Broken { invariant, event };
                }
                // It was on its way when the orchestrator had drained the last latency.
                News::Answer { answer: Answer::Report(Report::LinkLost { host, why, lied }), .. } => {
                    self.note_cut(host, why, lied);
                    if let Outcome::Done(_) | Outcome::Aborted(_) | Outcome::HostLost { .. } = outcome {
                        *outcome = self.explained(outcome.clone());
                    }
                }
                News::Answer { answer: Answer::Report(_) | Answer::Counted(_), .. } | News::Joined { .. } => {}
            }
        }
        for host in awaited {
            tracing::warn!("host `{}` did not send its record in time", self.plan.host(host).name);
            self.hosts.remove(&host);
        }
        events.extend(std::mem::take(&mut self.records).into_values().flatten());
        events
    }

    /// The messages between nodes after a run that was drained, with nothing lost but what broken connections excuse; else
    /// `outcome` becomes what is wrong.
    pub async fn count_mail(
        &mut self,
        news: &mut UnboundedReceiver<News>,
        outcome: &mut Outcome,
        deadline: Instant,
    ) -> Option<Mail> {
        if !matches!(outcome, Outcome::Done(_)) {
            return None;
        }
        self.local.seal();
        let mut last = None;
        loop {
            let (accounts, complete) = self.accounts(news, deadline).await;
            // Who does not answer in time is not judged; but what everybody's counts had shown before stands.
            let settled = if complete { settle(&accounts) } else { last.map_or_else(|| settle(&accounts), Err) };
            match settled {
                Ok(mail) => return Some(mail),
                Err(gap) if complete && Instant::now() < deadline => last = Some(gap),
                Err(Gap { from, to, mail, in_flight }) => {
                    let name = |host| self.plan.host(host).name.clone();
                    *outcome = Outcome::Unbalanced { way: Some((name(from), name(to))), mail, in_flight };
                    return None;
                }
            }
            sleep(COUNT_AGAIN).await;
        }
    }

    /// What each process that lives has counted by now, and whether all have answered.
    async fn accounts(&mut self, news: &mut UnboundedReceiver<News>, deadline: Instant) -> (Vec<Account>, bool) {
        self.tell_all(&Order::Count).await;
        let mut accounts = vec![self.local.account()];
        let mut awaited: Vec<HostId> = self.hosts.keys().copied().collect();
        while !awaited.is_empty() {
            let Ok(Some(heard)) = timeout_at(deadline, news.recv()).await else { return (accounts, false) };
            match heard {
                News::Answer { host, answer: Answer::Counted(account) } => {
                    awaited.retain(|awaited| *awaited != host);
                    accounts.push(account);
                }
                News::Exited { host, .. } => {
                    awaited.retain(|awaited| *awaited != host);
                    self.hosts.remove(&host);
                }
                News::Answer { .. } | News::Joined { .. } => {}
            }
        }
        (accounts, true)
    }
}

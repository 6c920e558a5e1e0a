//! Conducts one live run from the orchestrator's process: brings the hosts together, watches over them, ends it.
//!
//! What the swarm does is the actors' affair; here is only what keeps their processes together.
use super::control::{Answer, Greeting, Order, Purpose, Report, Token, hear, say};
use super::crew::{Crew, Meeting, staffed};
use super::local::{Directory, LocalHost};
use super::wire::{FrameReader, Limits};
use super::{LiveError, Options, door};
use crate::outcome::{Outcome, Run};
use actors::id::HostId;
use actors::record::Event;
use actors::time::Moment;
use scenarios::plan::Plan;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout_at};

/// How often the interrupt flag is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What a run may take beyond the sum of its own time limits before it is given up.
const GRACE: Duration = Duration::from_secs(30);

/// What comes from the children and their processes.
enum News {
    Joined { host: HostId, port: u16, orders: OwnedWriteHalf, answers: FrameReader<OwnedReadHalf> },
    Answer { host: HostId, answer: Answer },
    Exited { host: HostId, why: String },
}

pub async fn conduct(plan: Arc<Plan>, options: &Options, interrupt: &AtomicBool) -> Result<Run, LiveError> {
    let leases = tempfile::Builder::new().prefix("swarmbench-").tempdir();
    let leases = leases.map_err(LiveError::io("making a directory for core leases"))?;
    let mut crew = Crew::new();
    let ended = perform(&plan, options, interrupt, leases.path(), &mut crew).await;
    crew.dismiss(options).await;
    ended
}

async fn perform(
    plan: &Arc<Plan>,
    options: &Options,
    interrupt: &AtomicBool,
    leases: &Path,
    crew: &mut Crew,
) -> Result<Run, LiveError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(LiveError::io("listening"))?;
    let orchestrator = listener.local_addr().map_err(LiveError::io("listening"))?;
    let token = Token::draw().map_err(LiveError::io("drawing the run's token"))?;
    let (sender, mut news) = unbounded_channel();
    let local: Rc<OnceCell<Rc<LocalHost>>> = Rc::default();
    spawn_local(open_door(listener, token, local.clone(), sender.clone()));

    let meeting = Meeting { orchestrator, token, leases };
    for host in staffed(plan) {
        let sender = sender.clone();
        let exited = move |host, why| drop(sender.send(News::Exited { host, why }));
        crew.start(plan, host, options, &meeting, exited).await?;
    }
    let gathered = tokio::select! {
        gathered = gather(plan, options, &mut news) => gathered?,
        () = interrupted(interrupt) => return Ok(run_of(Outcome::Interrupted, Vec::new())),
    };
    let mut book = vec![None; plan.hosts.len()];
    book[0] = Some(orchestrator);
    for (host, joined) in &gathered {
        book[host.0 as usize] = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, joined.port)));
    }
    let (reporter, reports) = unbounded_channel();
    let directory = Directory { book: book.clone(), token };
    let here = LocalHost::raise(plan.clone(), HostId(0), directory, leases, reporter);
    let here = here.map_err(LiveError::io("raising the orchestrator"))?;
    let _ = local.set(here.clone());
    let mut watch = Watch { plan, local: here, hosts: BTreeMap::new(), lost: Vec::new(), cut: Vec::new() };
    for (host, Joined { mut orders, answers, .. }) in gathered {
        say(&mut orders, &Order::Raise { plan: Box::new(plan.as_ref().clone()), book: book.clone() }).await?;
        spawn_local(listen(host, answers, sender.clone()));
        watch.hosts.insert(host, orders);
    }
    let outcome = watch.over(&mut news, reports, interrupt).await?;
    let events = watch.collect(&mut news, Instant::now() + options.dismiss_within).await;
    Ok(run_of(outcome, events))
}

fn run_of(outcome: Outcome, events: Vec<Event>) -> Run {
    Run { outcome, events, trace: None, delivered: 0 }
}

async fn open_door(
    listener: TcpListener,
    token: Token,
    local: Rc<OnceCell<Rc<LocalHost>>>,
    news: UnboundedSender<News>,
) {
    door::attend(listener, token, move |greeting, reader, writer| {
        let Greeting { host, purpose, .. } = greeting;
        match purpose {
            Purpose::Join { port } => {
                let _ = news.send(News::Joined { host, port, orders: writer, answers: reader });
            }
            // Nobody has the address of a host before all have joined.
            Purpose::Letters => {
                if let Some(local) = local.get() {
                    local.answer(host, reader, writer);
                }
            }
        }
    })
    .await;
}

/// A host that waits for its part of the plan.
struct Joined {
    port: u16,
    orders: OwnedWriteHalf,
    answers: FrameReader<OwnedReadHalf>,
}

/// Waits until every child has joined.
async fn gather(
    plan: &Plan,
    options: &Options,
    news: &mut UnboundedReceiver<News>,
) -> Result<BTreeMap<HostId, Joined>, LiveError> {
    let deadline = Instant::now() + options.join_within;
    let mut joined = BTreeMap::new();
    while let Some(missing) = staffed(plan).find(|host| !joined.contains_key(host)) {
        let not_joined = |host: HostId, why| LiveError::NotJoined { host: plan.host(host).name.clone(), why };
        match timeout_at(deadline, news.recv()).await {
            Err(_) => {
                return Err(not_joined(missing, format!("nothing was heard of it for {:?}", options.join_within)));
            }
            Ok(Some(News::Joined { host, port, orders, answers })) => {
                // Only a process that knows the token gets here; it can still be mistaken about who it is.
                if staffed(plan).any(|expected| expected == host) {
                    joined.entry(host).or_insert(Joined { port, orders, answers });
                }
            }
            Ok(Some(News::Exited { host, why })) => return Err(not_joined(host, why)),
            Ok(Some(News::Answer { .. }) | None) => {}
        }
    }
    Ok(joined)
}

/// Passes on what a host says until its connection ends; that its process does is noticed elsewhere.
async fn listen(host: HostId, mut answers: FrameReader<OwnedReadHalf>, news: UnboundedSender<News>) {
    answers.limits = Limits::CONTROL;
    while let Ok(Some(answer)) = hear::<Answer>(&mut answers).await {
        if news.send(News::Answer { host, answer }).is_err() {
            return;
        }
    }
}

async fn interrupted(interrupt: &AtomicBool) {
    while !interrupt.load(Ordering::Relaxed) {
        sleep(LOOK).await;
    }
}

/// Watches over a run that has begun.
struct Watch<'a> {
    plan: &'a Plan,
    local: Rc<LocalHost>,
    /// How to give orders to the hosts that still live.
    hosts: BTreeMap<HostId, OwnedWriteHalf>,
    /// Hosts whose processes ended before their time, and how.
    lost: Vec<(HostId, String)>,
    /// Connections that broke between hosts, by the host on the far end.
    cut: Vec<(HostId, String)>,
}

impl Watch<'_> {
    /// Until the orchestrator has drained the latencies, or something ends the run before.
    async fn over(
        &mut self,
        news: &mut UnboundedReceiver<News>,
        mut reports: UnboundedReceiver<Report>,
        interrupt: &AtomicBool,
    ) -> Result<Outcome, LiveError> {
        let began = Instant::now();
        let horizon = began + self.longest();
        loop {
            let report = tokio::select! {
                report = reports.recv() => report,
                heard = news.recv() => match heard {
                    Some(News::Answer { answer: Answer::Report(report), .. }) => Some(report),
                    Some(News::Exited { host, why }) => {
                        self.lose(host, why).await;
                        None
                    }
                    _ => None,
                },
                () = interrupted(interrupt) => return Ok(Outcome::Interrupted),
                () = tokio::time::sleep_until(horizon) => {
                    return Ok(Outcome::Deadlock { at: Moment(began.elapsed().as_nanos() as u64) });
                }
            };
            if let Some(outcome) = report.map(|report| self.judge(report)).transpose()?.flatten() {
                return Ok(outcome);
            }
        }
    }

    /// No run that goes by its own rules takes longer.
    fn longest(&self) -> Duration {
        let plan = self.plan;
        let requests = u64::from(plan.workload.micro_batches) + 1;
        let coming =
            plan.open.as_ref().and_then(|open| open.arrivals.last()).map_or(0, |last| last.at.0 + plan.timeout.0);
        let longest = plan.muster.0.saturating_add(plan.timeout.0.saturating_mul(requests)).saturating_add(coming);
        // tokio cannot count further than some decades.
        Duration::from_nanos(longest).min(Duration::from_secs(10 * 365 * 86_400)) + GRACE
    }

    async fn lose(&mut self, host: HostId, why: String) {
        if self.hosts.remove(&host).is_none() {
            return;
        }
        self.lost.push((host, why));
        self.local.lose_host(host);
        for orders in self.hosts.values_mut() {
            // One that cannot be told is itself lost, and its exit will say so.
            let _ = say(orders, &Order::Gone(host)).await;
        }
    }

    /// What a report makes of the run: its end, or nothing yet.
    fn judge(&mut self, report: Report) -> Result<Option<Outcome>, LiveError> {
        match report {
            Report::Panicked { node, what } => Ok(Some(Outcome::Panicked { node, what })),
            Report::Broken { invariant, event } => Ok(Some(Outcome::Broken { invariant, event })),
            Report::LoadFailed { node, what } => {
                let host = self.plan.nodes.get(node.0 as usize).map(|node| self.plan.host(node.host).name.clone());
                Err(LiveError::Load { node, host: host.unwrap_or_default(), what })
            }
            Report::LinkLost { host, why } => {
                self.cut.push((host, why));
                Ok(None)
            }
            Report::Ended(event) => Ok(Some(self.end(*event))),
        }
    }

    /// The orchestrator's own word on the run, or the loss that explains it.
    fn end(&self, event: Event) -> Outcome {
        let outcome = match event {
            Event::Drained(drained) => Outcome::Done(*drained),
            Event::Aborted { why, .. } => Outcome::Aborted(why),
            _ => return Outcome::Interrupted,
        };
        // A cut connection may have cost nothing; a lost process has cost at least its record.
        let cut = if outcome.is_ok() { None } else { self.cut.first() };
        match self.lost.first().or(cut) {
            Some((host, why)) => Outcome::HostLost {
                host: *host,
                name: self.plan.hosts.get(host.0 as usize).map(|host| host.name.clone()).unwrap_or_default(),
                why: why.clone(),
            },
            None => outcome,
        }
    }

    /// Stops every host and takes in its record, until `deadline`.
    async fn collect(&mut self, news: &mut UnboundedReceiver<News>, deadline: Instant) -> Vec<Event> {
        self.local.stop();
        let mut events = self.local.take_events();
        for orders in self.hosts.values_mut() {
            let _ = say(orders, &Order::Stop).await;
        }
        let mut records: BTreeMap<HostId, Vec<Event>> = BTreeMap::new();
        let mut awaited: Vec<HostId> = self.hosts.keys().copied().collect();
        while !awaited.is_empty() {
            let Ok(Some(heard)) = timeout_at(deadline, news.recv()).await else { break };
            match heard {
                News::Answer { host, answer: Answer::Events(more) } => records.entry(host).or_default().extend(more),
                News::Answer { host, answer: Answer::Over } | News::Exited { host, .. } => {
                    awaited.retain(|awaited| *awaited != host);
                }
                News::Answer { answer: Answer::Report(_), .. } | News::Joined { .. } => {}
            }
        }
        for host in awaited {
            tracing::warn!("host `{}` did not send its record in time", self.plan.host(host).name);
        }
        events.extend(records.into_values().flatten());
        events
    }
}

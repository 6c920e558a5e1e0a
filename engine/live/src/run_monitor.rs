//! Supervises a live run that has begun: carries out the plan's faults, notices unplanned losses of hosts, and collects
//! the hosts' records.
mod collect;

use super::control::{ALIVE_EVERY, Answer, Order, Place, Report, say};
use super::fault_schedule::{FaultAction, FaultSchedule};
use super::host_supervisor::{HostSupervisor, ProcessEnd};
use super::local::LocalHost;
use super::news::{Joined, LOOK, Meet, News, interrupted, listen};
use super::{LiveError, clock};
use actors::id::HostId;
use actors::limits;
use actors::record::{Event, FaultKind};
use actors::time::{Duration, Timestamp};
use rustix::process::Signal;
use scenarios::plan::{Plan, What, When, WorkloadKind};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration as StdDuration;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::spawn_local;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use topology::holders::Holders;
use topology::outcome::Outcome;

/// The time that a run may take beyond the sum of the plan's time limits. A run that takes longer ends as a deadlock.
const GRACE: StdDuration = StdDuration::from_secs(30);

/// A host counts as lost if no frame from it arrives for the plan's request timeout, but for at least the first and at
/// most the second of these times. On a busy machine a working host may send nothing for seconds; a host that sends
/// nothing for longer than the maximum is stuck.
const SILENT_FOR: (StdDuration, StdDuration) = (StdDuration::from_secs(10), StdDuration::from_secs(30));

/// The supervision of a live run that has begun, in the orchestrator's process.
pub struct RunMonitor<'a> {
    setup: RunSetup<'a>,
    schedule: FaultSchedule,
    /// The time at which the orchestrator released the barrier; `None` before the release.
    released: Option<Timestamp>,
    processes: Processes,
    losses: Losses,
    /// The recorded events that each host has sent so far.
    records: BTreeMap<HostId, Vec<Event>>,
}

/// The inputs of [`RunMonitor::new`], apart from the addresses of the hosts.
pub struct RunSetup<'a> {
    pub plan: &'a Arc<Plan>,
    /// The orchestrator's host, which runs in this process.
    pub local: Rc<LocalHost>,
    pub supervisor: &'a mut HostSupervisor,
    pub meet: Meet<'a>,
    /// The channel for news of the child processes: joins, answers, closed connections and exits.
    pub news: UnboundedSender<News>,
    pub started: Timestamp,
}

/// The state of the hosts' processes.
struct Processes {
    /// The control connections to the running hosts.
    hosts: BTreeMap<HostId, OwnedWriteHalf>,
    /// The listening address and the incarnation of each host, indexed by host id.
    book: Vec<Option<Place>>,
    /// Hosts whose processes have been told to end and have not ended yet.
    doomed: BTreeSet<HostId>,
    /// Hosts that have no process at present: they crashed, left, or have not joined yet.
    away: BTreeSet<HostId>,
    /// Hosts that must be started again as soon as their present process has ended.
    wanted: BTreeSet<HostId>,
    /// Stalled hosts, and for each the number of stalls in effect, which may overlap.
    stalled: BTreeMap<HostId, u32>,
    /// For each host, the number of checks since its last frame arrived. A check takes place every [`ALIVE_EVERY`].
    silent: BTreeMap<HostId, u32>,
}

/// The unplanned losses of hosts, and the blocks that planned and unplanned losses leave without a peer.
struct Losses {
    holders: Holders,
    /// Hosts that were lost although the plan neither crashes nor removes them at that time, each with the reason.
    lost: Vec<(HostId, String)>,
    /// The hosts to which another host has lost its connection, each with the reason. Hosts that were disconnected for
    /// a protocol violation come first.
    cut: Vec<(HostId, String)>,
    /// For each host, the other hosts that have lost their connection to it.
    cut_by: BTreeMap<HostId, BTreeSet<HostId>>,
}

impl<'a> RunMonitor<'a> {
    /// Begins the supervision of a run. `book` has the listening addresses of the hosts that have joined so far. Their
    /// control connections are added with [`RunMonitor::add`].
    pub fn new(setup: RunSetup<'a>, book: Vec<Option<Place>>) -> RunMonitor<'a> {
        let plan = setup.plan;
        RunMonitor {
            schedule: FaultSchedule::of(plan, setup.started),
            released: None,
            processes: Processes {
                hosts: BTreeMap::new(),
                book,
                doomed: BTreeSet::new(),
                away: plan.late_hosts(),
                wanted: BTreeSet::new(),
                stalled: BTreeMap::new(),
                silent: BTreeMap::new(),
            },
            losses: Losses { holders: Holders::of(plan), lost: Vec::new(), cut: Vec::new(), cut_by: BTreeMap::new() },
            records: BTreeMap::new(),
            setup,
        }
    }

    /// Adds the control connection to a host whose process has joined.
    pub fn add(&mut self, host: HostId, orders: OwnedWriteHalf) {
        self.processes.hosts.insert(host, orders);
    }

    /// Supervises the run until the orchestrator has the latencies of all clients, or something else ends the run.
    ///
    /// # Errors
    /// If a node cannot load its part of the model.
    pub async fn over(
        &mut self,
        news: &mut UnboundedReceiver<News>,
        mut reports: UnboundedReceiver<Report>,
        interrupt: &AtomicBool,
    ) -> Result<Outcome, LiveError> {
        let began = Instant::now();
        let horizon = began + self.longest();
        let mut look_for_silence = interval(ALIVE_EVERY);
        // A process that is stopped for a while receives no frames. If this process was stopped, all checks that it
        // missed count as one.
        look_for_silence.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(action) = self.schedule.take(clock::now()) {
                if let (FaultAction::GiveUp, Some(outcome)) = (&action, self.losses.holders.outcome(self.setup.plan)) {
                    return Ok(outcome);
                }
                self.carry_out(action).await;
            }
            let next = self.schedule.next().map_or(LOOK, |at| StdDuration::from_nanos(at.since(clock::now()).0));
            let report = tokio::select! {
                report = reports.recv() => report.map(|report| (HostId(0), report)),
                Some(heard) = news.recv() => self.hear(heard).await,
                () = tokio::time::sleep(next) => None,
                _ = look_for_silence.tick() => {
                    self.give_up_silent();
                    None
                }
                () = interrupted(interrupt) => return Ok(Outcome::Interrupted),
                () = tokio::time::sleep_until(horizon) => {
                    return Ok(Outcome::Deadlock { at: Timestamp(began.elapsed().as_nanos() as u64) });
                }
            };
            match report {
                Some((_, Report::Released { at })) => self.release(at).await,
                Some((by, report)) => {
                    if let Some(outcome) = self.judge(by, report)? {
                        return Ok(outcome);
                    }
                }
                None => {}
            }
        }
    }

    /// Handles news of a child process. If the news is a report, returns the report and its sender, for
    /// [`RunMonitor::judge`].
    async fn hear(&mut self, news: News) -> Option<(HostId, Report)> {
        if let News::Answer { host, .. } = &news {
            self.processes.silent.remove(host);
        }
        match news {
            News::Answer { host, answer: Answer::Report(report) } => return Some((host, report)),
            News::Answer { host, answer: Answer::Events(more) } => self.records.entry(host).or_default().extend(more),
            News::Answer { answer: Answer::Over | Answer::Counted(_) | Answer::Alive, .. } => {}
            News::Joined { host, incarnation, joined } => self.joined(host, incarnation, *joined).await,
            News::Exited { host, end } => self.exited(host, end).await,
            News::HungUp { host, incarnation, why } => self.hung_up(host, incarnation, why).await,
        }
        None
    }

    /// Kills the process of each host that has sent nothing for too long: it has been stopped, or gets no CPU time.
    /// Spares hosts that a fault stalls at present, and hosts that have been told to end.
    fn give_up_silent(&mut self) {
        let (least, most) = SILENT_FOR;
        let patience = StdDuration::from_nanos(self.setup.plan.timeout.0).clamp(least, most);
        for host in self.processes.hosts.keys().copied().collect::<Vec<_>>() {
            if self.processes.stalled.get(&host).is_some_and(|stalls| *stalls > 0)
                || self.processes.doomed.contains(&host)
            {
                self.processes.silent.remove(&host);
                continue;
            }
            let looks = self.processes.silent.entry(host).or_default();
            *looks += 1;
            if ALIVE_EVERY * *looks > patience {
                self.processes.silent.remove(&host);
                let why =
                    format!("the process has stopped responding: it has sent nothing for {} s", patience.as_secs());
                tracing::warn!("host `{}` was lost: {why}", self.setup.plan.host(host).name);
                self.losses.lost.push((host, why));
                // The exit of the killed process is handled like that of any other process.
                self.setup.supervisor.signal(host, Signal::KILL);
            }
        }
    }

    /// Returns the longest time that a run may take: the sum of the plan's time limits, plus [`GRACE`].
    fn longest(&self) -> StdDuration {
        let plan = self.setup.plan;
        let timed = match plan.workload_kind() {
            WorkloadKind::Closed { micro_batches } => plan.timeout.0.saturating_mul(micro_batches.into()),
            WorkloadKind::Open(open) => open.arrivals.last().map_or(0, |last| last.at.0 + plan.timeout.0),
        };
        let warm_up = plan.timeout.0;
        let longest = plan.ready_within.0.saturating_add(warm_up).saturating_add(timed);
        // tokio's timers reach only some decades into the future.
        StdDuration::from_nanos(longest).min(StdDuration::from_secs(10 * 365 * 86_400)) + GRACE
    }

    async fn release(&mut self, at: Timestamp) {
        self.released = Some(at);
        self.schedule.release(at);
        self.note_windows(at);
        self.setup.local.released(at);
        self.tell_all(&Order::Released { at }).await;
    }

    async fn tell_all(&mut self, order: &Order) {
        for orders in self.processes.hosts.values_mut() {
            // If the order cannot be sent, the process has ended, and its exit will be handled.
            let _ = say(orders, order).await;
        }
    }

    // -- the plan's faults --

    /// Records a host's fault in the record of the orchestrator's process: a process that crashes cannot record its own
    /// fault.
    fn note(&mut self, fault_events: Event) {
        self.records.entry(HostId(0)).or_default().push(fault_events);
    }

    fn note_mishap(&mut self, fault: FaultKind, host: HostId, lasts: Option<Duration>) {
        self.note(self.setup.plan.fault_event_at(clock::now(), fault, &[host], lasts));
    }

    /// Records the starts of slow devices, slow links and partitions. The hosts apply these faults by themselves and do
    /// not record them.
    fn note_windows(&mut self, released: Timestamp) {
        for fault in self.setup.plan.faults.iter().filter(|fault| is_window(&fault.what)) {
            match fault.at {
                When::Start(after) => self.note(self.setup.plan.fault_event(self.setup.started + after, &fault.what)),
                When::Release(after) => self.note(self.setup.plan.fault_event(released + after, &fault.what)),
                When::Steps { .. } => {}
            }
        }
    }

    async fn carry_out(&mut self, action: FaultAction) {
        match action {
            FaultAction::Crash(host) | FaultAction::Leave(host) if self.processes.away.contains(&host) => {}
            FaultAction::Crash(host) => self.note_mishap(FaultKind::Crash, host, None),
            FaultAction::Leave(host) => self.note_mishap(FaultKind::Leave, host, None),
            FaultAction::Stall(host, lasts) => self.note_mishap(FaultKind::Stall, host, Some(lasts)),
            FaultAction::Begin(_) | FaultAction::Resume(_) | FaultAction::GiveUp => {}
        }
        match action {
            FaultAction::Crash(host) => {
                self.processes.doomed.insert(host);
                self.setup.supervisor.signal(host, Signal::KILL);
            }
            FaultAction::Leave(host) => {
                self.processes.doomed.insert(host);
                if let Some(orders) = self.processes.hosts.get_mut(&host) {
                    let _ = say(orders, &Order::Leave).await;
                }
            }
            FaultAction::Begin(host) if self.processes.away.contains(&host) => self.begin(host).await,
            FaultAction::Begin(host) => {
                self.processes.wanted.insert(host);
            }
            FaultAction::Stall(host, lasts) => {
                *self.processes.stalled.entry(host).or_default() += 1;
                self.setup.supervisor.signal(host, Signal::STOP);
                self.schedule.add(clock::now() + lasts, FaultAction::Resume(host));
            }
            FaultAction::Resume(host) => {
                let stalls = self.processes.stalled.entry(host).or_default();
                *stalls = stalls.saturating_sub(1);
                if *stalls == 0 {
                    self.setup.supervisor.signal(host, Signal::CONT);
                }
            }
            FaultAction::GiveUp => {}
        }
    }

    /// Starts the process of a host's next incarnation.
    async fn begin(&mut self, host: HostId) {
        let before = self.processes.book[host.0 as usize].map(|place| place.incarnation);
        self.note_mishap(if before.is_some() { FaultKind::Restart } else { FaultKind::Join }, host, None);
        let incarnation = before.map_or(1, |incarnation| incarnation + 1);
        let news = self.setup.news.clone();
        let exited = move |host, end| drop(news.send(News::Exited { host, end }));
        let started = self
            .setup
            .supervisor
            .start(self.setup.plan, (host, incarnation), self.setup.meet.options, &self.setup.meet.meeting, exited)
            .await;
        self.processes.away.remove(&host);
        self.processes.doomed.remove(&host);
        if let Err(why) = started {
            self.losses.lost.push((host, why.to_string()));
        }
    }

    /// Handles a late or restarted host that joins. The other hosts learn its address before it can dial them.
    async fn joined(&mut self, host: HostId, incarnation: u32, mut joined: Joined) {
        let expected = self.processes.book[host.0 as usize].map_or(1, |place| place.incarnation + 1);
        if self.processes.hosts.contains_key(&host) || incarnation != expected {
            return;
        }
        let place = Place { address: SocketAddr::from((Ipv4Addr::LOCALHOST, joined.port)), incarnation };
        self.processes.book[host.0 as usize] = Some(place);
        self.setup.local.here_again(host, place);
        self.tell_all(&Order::Here { host, place }).await;
        self.losses.cut_by.remove(&host);
        let (plan, book, started) =
            (Box::new(self.setup.plan.as_ref().clone()), self.processes.book.clone(), self.setup.started);
        // If the order cannot be sent, the process has ended or hangs, which is handled elsewhere.
        let spawn_actors = Order::Spawn { plan, book, started };
        let _ = timeout(self.setup.meet.options.join_within, say(&mut joined.orders, &spawn_actors)).await;
        if let Some(at) = self.released {
            let _ = say(&mut joined.orders, &Order::Released { at }).await;
        }
        spawn_local(listen(self.setup.plan.clone(), (host, incarnation), joined.answers, self.setup.news.clone()));
        self.processes.hosts.insert(host, joined.orders);
    }

    async fn exited(&mut self, host: HostId, end: ProcessEnd) {
        self.processes.stalled.remove(&host);
        let at_a_step = self.crashed_at_step(host, &end);
        if let Some(back) = at_a_step {
            self.note_mishap(FaultKind::Crash, host, None);
            if let Some(back) = back {
                self.schedule.add(clock::now() + back, FaultAction::Begin(host));
            }
        }
        let why = match at_a_step.is_some() || self.processes.doomed.remove(&host) {
            true => "the scenario removed the host".to_owned(),
            false => {
                let why = end.to_string();
                self.losses.lost.push((host, why.clone()));
                why
            }
        };
        self.processes.away.insert(host);
        self.gone(host, why).await;
        if self.processes.wanted.remove(&host) {
            self.begin(host).await;
        }
    }

    /// Handles a host's process that has closed its control connection or was disconnected for a protocol violation.
    async fn hung_up(&mut self, host: HostId, incarnation: u32, why: String) {
        let present = self.processes.book[host.0 as usize].is_some_and(|place| place.incarnation == incarnation);
        if present && self.processes.hosts.contains_key(&host) && !self.processes.doomed.contains(&host) {
            tracing::warn!("host `{}` was lost: {why}", self.setup.plan.host(host).name);
            self.losses.lost.push((host, why.clone()));
            self.gone(host, why).await;
        }
    }

    /// Handles the end of a host's present process: tells the other hosts that this host's nodes are unreachable.
    async fn gone(&mut self, host: HostId, why: String) {
        let incarnation = self.processes.book[host.0 as usize].map_or(0, |place| place.incarnation);
        self.processes.hosts.remove(&host);
        self.setup.local.lose_host(host, incarnation);
        self.tell_all(&Order::Gone { host, incarnation }).await;
        self.note_unreachable(host, why);
    }

    /// Schedules the end of the run if the host does not return and was the last host to hold some of the blocks.
    /// Before the barrier's release nothing is scheduled: the orchestrator aborts such a run by itself.
    fn note_unreachable(&mut self, host: HostId, why: String) {
        let back = self.processes.wanted.contains(&host) || self.schedule.begins(host);
        if !back && self.losses.holders.lose(self.setup.plan, host, why) && self.released.is_some() {
            self.schedule.add(clock::now() + limits::LAST_ANSWERS, FaultAction::GiveUp);
        }
    }

    /// If the process ended because the plan crashes it after a number of steps, returns `Some` with the delay until
    /// the host's next process starts, or `Some(None)` if the host stays down. Otherwise returns `None`.
    fn crashed_at_step(&self, host: HostId, end: &ProcessEnd) -> Option<Option<Duration>> {
        let incarnation = self.processes.book[host.0 as usize].map_or(0, |place| place.incarnation);
        self.crash_at_step(host, incarnation).filter(|_| end.is_sigkill())
    }

    /// If the plan crashes this incarnation of the host after a number of steps, returns `Some` with the delay until
    /// the host's next process starts, or `Some(None)` if the host stays down. Otherwise returns `None`.
    fn crash_at_step(&self, host: HostId, incarnation: u32) -> Option<Option<Duration>> {
        let here = |fault: &&scenarios::plan::Fault| matches!(fault.at, When::Steps { host: at, .. } if at == host);
        let fault = self.setup.plan.faults.iter().filter(here).nth(incarnation as usize)?;
        match fault.what {
            What::Crash { back, .. } => Some(back),
            _ => None,
        }
    }

    // -- the run's end --

    /// Returns the outcome of the run if the report of the host `by` ends the run, or `None` if the run continues.
    ///
    /// # Errors
    /// If the report says that a node cannot load its part of the model.
    fn judge(&mut self, by: HostId, report: Report) -> Result<Option<Outcome>, LiveError> {
        match report {
            Report::Panicked { node, what } => Ok(Some(Outcome::Panicked { node, what })),
            Report::Broken { invariant, event } => Ok(Some(Outcome::Broken { invariant, event })),
            Report::LoadFailed { node, what } => {
                let host =
                    self.setup.plan.nodes.get(node.0 as usize).map(|node| self.setup.plan.host(node.host).name.clone());
                Err(LiveError::Load { host: host.unwrap_or_default(), what })
            }
            Report::LinkLost { host, why, lied } => {
                self.note_cut(by, host, why, lied);
                Ok(None)
            }
            Report::Released { .. } => Ok(None),
            Report::Ended(event) => Ok(Some(self.end(*event))),
        }
    }

    /// Records that the host `by` has lost its connection to `host`.
    fn note_cut(&mut self, by: HostId, host: HostId, why: String, lied: bool) {
        // The links of a host that the plan crashes or removes are expected to break.
        if self.setup.plan.faults.iter().any(|fault| falls(&fault.what, host)) {
            return;
        }
        tracing::warn!("a connection to host `{}` was lost: {why}", self.setup.plan.host(host).name);
        // A protocol violation closes the connection at both hosts, and the host that violated the protocol may report
        // its loss first. The report of the violation itself therefore goes to the front.
        let at = if lied { 0 } else { self.losses.cut.len() };
        self.losses.cut.insert(at, (host, why.clone()));
        // Lost connections are not restored, so a host that no client can reach serves no more requests.
        let by_whom = self.losses.cut_by.entry(host).or_default();
        by_whom.insert(by);
        let mut clients = self
            .setup
            .plan
            .clients()
            .map(|(_, node)| node.host)
            .filter(|client| self.processes.hosts.contains_key(client));
        // If the process of `host` has ended, the loss is handled at its exit, because the exit status explains more
        // than a broken connection.
        if self.processes.hosts.contains_key(&host) && clients.all(|client| by_whom.contains(&client)) {
            self.note_unreachable(host, why);
        }
    }
}

/// Whether a fault is a partition, slow link or slow device. The hosts look up the time windows of such faults
/// themselves.
fn is_window(what: &What) -> bool {
    matches!(what, What::SlowDevice { .. } | What::SlowLink { .. } | What::Partition { .. })
}

fn falls(what: &What, host: HostId) -> bool {
    matches!(what, What::Crash { .. } | What::Leave { .. }) && what.host() == Some(host)
}

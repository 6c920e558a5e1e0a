//! Controls one live run from the orchestrator's process: starts the processes of the other hosts, supervises them, and
//! ends the run.
//!
//! The actors implement the swarm's behaviour; the run controller only manages the processes that run the actors.
use super::control::{Greeting, Order, Place, Purpose, Token, say};
use super::core_lease::Leases;
use super::host_supervisor::{Expected, HostSupervisor, Meeting, staffed};
use super::local::{Directory, LocalHost};
use super::news::{Joined, Meet, News, interrupted, listen};
use super::run_monitor::{RunMonitor, RunSetup};
use super::{LiveError, Options, clock, door};
use actors::id::HostId;
use actors::record::Event;
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
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout, timeout_at};
use topology::outcome::{Outcome, Run};

/// The time limits for the end of a run that the user has interrupted: for the next part of any host's record, and then
/// for the processes to exit.
const INTERRUPTED_WITHIN: Duration = Duration::from_secs(2);

/// Carries out one live run, from the start to the end of its processes.
///
/// # Errors
/// If the run cannot be set up, or a node cannot load its part of the model.
pub async fn control_run(plan: Arc<Plan>, options: &Options, interrupt: &AtomicBool) -> Result<Run, LiveError> {
    let leases = Leases::new().map_err(LiveError::io("creating a directory for core leases"))?;
    let mut supervisor = HostSupervisor::new();
    let ended = perform(&plan, options, interrupt, leases.path(), &mut supervisor).await;
    let within = match interrupt.load(Ordering::Relaxed) {
        true => options.dismiss_within.min(INTERRUPTED_WITHIN),
        false => options.dismiss_within,
    };
    supervisor.dismiss(within).await;
    ended
}

async fn perform(
    plan: &Arc<Plan>,
    options: &Options,
    interrupt: &AtomicBool,
    leases: &Path,
    supervisor: &mut HostSupervisor,
) -> Result<Run, LiveError> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(LiveError::io("opening a TCP listener"))?;
    let orchestrator = listener.local_addr().map_err(LiveError::io("opening a TCP listener"))?;
    let token = Token::draw().map_err(LiveError::io("drawing the run's token"))?;
    let (sender, mut news) = unbounded_channel();
    let local: Rc<OnceCell<Rc<LocalHost>>> = Rc::default();
    spawn_local(open_door(listener, token, local.clone(), sender.clone(), supervisor.expected.clone()));

    let meeting = Meeting { orchestrator, token, leases };
    for host in early(plan) {
        let sender = sender.clone();
        let exited = move |host, end| drop(sender.send(News::Exited { host, end }));
        supervisor.start(plan, (host, 0), options, &meeting, exited).await?;
    }
    let gathered = tokio::select! {
        gathered = wait_for_hosts(plan, options, &mut news) => match gathered? {
            Ok(gathered) => gathered,
            Err(lost) => return Ok(run_of(lost, Vec::new())),
        },
        () = interrupted(interrupt) => return Ok(run_of(Outcome::Interrupted, Vec::new())),
    };
    let mut book = vec![None; plan.hosts.len()];
    book[0] = Some(Place { address: orchestrator, incarnation: 0 });
    for (host, joined) in &gathered {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, joined.port));
        book[host.0 as usize] = Some(Place { address, incarnation: 0 });
    }
    let (reporter, reports) = unbounded_channel();
    let started = clock::now();
    let directory = Directory { book: book.clone(), token, incarnation: 0, started };
    let here = LocalHost::spawn_actors(plan.clone(), HostId(0), directory, leases, reporter);
    let here = here.map_err(LiveError::io("starting the actors of the orchestrator"))?;
    let _ = local.set(here.clone());
    let meet = Meet { options, meeting };
    let setup = RunSetup { plan, local: here, supervisor, meet, news: sender.clone(), started };
    let mut monitor = RunMonitor::new(setup, book.clone());
    for (host, Joined { mut orders, answers, .. }) in gathered {
        let spawn_actors = Order::Spawn { plan: Box::new(plan.as_ref().clone()), book: book.clone(), started };
        // A process that does not read the order has ended or hangs. The run then ends through the process's exit, or
        // because the node does not become ready within `ready_within`.
        let _ = timeout(options.join_within, say(&mut orders, &spawn_actors)).await;
        spawn_local(listen(plan.clone(), (host, 0), answers, sender.clone()));
        monitor.add(host, orders);
    }
    let mut outcome = monitor.over(&mut news, reports, interrupt).await?;
    let within = match outcome {
        Outcome::Interrupted => options.dismiss_within.min(INTERRUPTED_WITHIN),
        _ => options.dismiss_within,
    };
    let events = monitor.collect(&mut news, &mut outcome, within).await;
    let deadline = Instant::now() + options.dismiss_within;
    let account = monitor.count_messages(&mut news, &mut outcome, deadline).await;
    Ok(Run { account, ..run_of(outcome, events) })
}

fn run_of(outcome: Outcome, events: Vec<Event>) -> Run {
    Run { outcome, events, trace: None, delivered: 0, account: None }
}

async fn open_door(
    listener: TcpListener,
    token: Token,
    local: Rc<OnceCell<Rc<LocalHost>>>,
    news: UnboundedSender<News>,
    expected: Expected,
) {
    door::attend(listener, token, move |greeting, reader, writer| {
        let Greeting { host, incarnation, purpose, .. } = greeting;
        match purpose {
            Purpose::Join { port } => {
                let mut expected = expected.borrow_mut();
                if port == 0 || expected.get(&host) != Some(&incarnation) {
                    return Err(format!(
                        "process {incarnation} of host {} asks to join the run, but is not expected",
                        host.0
                    ));
                }
                expected.remove(&host);
                let joined = Box::new(Joined { port, orders: writer, answers: reader });
                news.send(News::Joined { host, incarnation, joined }).map_err(|_| "the run is over".to_owned())
            }
            Purpose::Messages => match local.get() {
                Some(local) => local.answer(&greeting, reader, writer),
                None => Err(format!("host {} connects before all hosts have joined the run", host.0)),
            },
        }
    })
    .await;
}

/// Returns the hosts whose processes start with the run, not through a later fault.
fn early(plan: &Plan) -> impl Iterator<Item = HostId> {
    let late = plan.late_hosts();
    staffed(plan).filter(move |host| !late.contains(host))
}

/// Waits until every process that starts with the run has joined it, or until a process that has joined ends.
async fn wait_for_hosts(
    plan: &Plan,
    options: &Options,
    news: &mut UnboundedReceiver<News>,
) -> Result<Result<BTreeMap<HostId, Joined>, Outcome>, LiveError> {
    let deadline = Instant::now() + options.join_within;
    let mut joined = BTreeMap::new();
    while let Some(missing) = early(plan).find(|host| !joined.contains_key(host)) {
        let not_joined = |host: HostId, why| LiveError::NotJoined { host: plan.host(host).name.clone(), why };
        match timeout_at(deadline, news.recv()).await {
            Err(_) => {
                return Err(not_joined(missing, format!("the process sent nothing for {:?}", options.join_within)));
            }
            Ok(Some(News::Joined { host, joined: caller, .. })) => {
                joined.insert(host, *caller);
            }
            Ok(Some(News::Exited { host, end })) if joined.contains_key(&host) => {
                let name = plan.host(host).name.clone();
                return Ok(Err(Outcome::HostLost { host, name, why: end.to_string() }));
            }
            Ok(Some(News::Exited { host, end })) => return Err(not_joined(host, end.to_string())),
            Ok(Some(News::Answer { .. } | News::HungUp { .. }) | None) => {}
        }
    }
    Ok(Ok(joined))
}

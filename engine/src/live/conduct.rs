//! Conducts one live run from the orchestrator's process: brings the hosts together, watches over them, ends it.
//!
//! What the swarm does is the actors' affair; here is only what keeps their processes together.
use super::agenda::Agenda;
use super::control::{Answer, Greeting, Order, Place, Purpose, Token, hear, say};
use super::crew::{Crew, Meeting, staffed};
use super::local::{Directory, LocalHost};
use super::watch::Watch;
use super::wire::{FrameReader, Limits};
use super::{LiveError, Options, clock, door};
use crate::outcome::{Outcome, Run};
use actors::id::HostId;
use actors::record::Event;
use scenarios::plan::Plan;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
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
pub const LOOK: Duration = Duration::from_millis(20);

/// What comes from the children and their processes.
pub enum News {
    Joined { host: HostId, life: u32, joined: Box<Joined> },
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
    let late = plan.late_hosts();
    for host in early(plan) {
        let sender = sender.clone();
        let exited = move |host, why| drop(sender.send(News::Exited { host, why }));
        crew.start(plan, (host, 0), options, &meeting, exited).await?;
    }
    let gathered = tokio::select! {
        gathered = gather(plan, options, &mut news) => gathered?,
        () = interrupted(interrupt) => return Ok(run_of(Outcome::Interrupted, Vec::new())),
    };
    let mut book = vec![None; plan.hosts.len()];
    book[0] = Some(Place { address: orchestrator, life: 0 });
    for (host, joined) in &gathered {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, joined.port));
        book[host.0 as usize] = Some(Place { address, life: 0 });
    }
    let (reporter, reports) = unbounded_channel();
    let started = clock::now();
    let directory = Directory { book: book.clone(), token, life: 0, started };
    let here = LocalHost::raise(plan.clone(), HostId(0), directory, leases, reporter);
    let here = here.map_err(LiveError::io("raising the orchestrator"))?;
    let _ = local.set(here.clone());
    let mut watch = Watch {
        plan,
        local: here,
        crew,
        meet: Meet { options, meeting },
        news: sender.clone(),
        hosts: BTreeMap::new(),
        book: book.clone(),
        started,
        released: None,
        agenda: Agenda::of(plan, started),
        doomed: BTreeSet::new(),
        away: late,
        wanted: BTreeSet::new(),
        stalled: BTreeMap::new(),
        lost: Vec::new(),
        cut: Vec::new(),
        records: BTreeMap::new(),
    };
    for (host, Joined { mut orders, answers, .. }) in gathered {
        say(&mut orders, &Order::Raise { plan: Box::new(plan.as_ref().clone()), book: book.clone(), started }).await?;
        spawn_local(listen(host, answers, sender.clone()));
        watch.hosts.insert(host, orders);
    }
    let mut outcome = watch.over(&mut news, reports, interrupt).await?;
    let deadline = Instant::now() + options.dismiss_within;
    let events = watch.collect(&mut news, &mut outcome, deadline).await;
    let mail = watch.count_mail(&mut news, &mut outcome, deadline).await;
    Ok(Run { mail, ..run_of(outcome, events) })
}

fn run_of(outcome: Outcome, events: Vec<Event>) -> Run {
    Run { outcome, events, trace: None, delivered: 0, mail: None }
}

async fn open_door(
    listener: TcpListener,
    token: Token,
    local: Rc<OnceCell<Rc<LocalHost>>>,
    news: UnboundedSender<News>,
) {
    door::attend(listener, token, move |greeting, reader, writer| {
        let Greeting { host, life, purpose, .. } = greeting;
        match purpose {
            Purpose::Join { port } => {
                let joined = Box::new(Joined { port, orders: writer, answers: reader });
                let _ = news.send(News::Joined { host, life, joined });
            }
            // Nobody has the address of a host before all have joined.
            Purpose::Letters => {
                if let Some(local) = local.get() {
                    local.answer(&greeting, reader, writer);
                }
            }
        }
    })
    .await;
}

/// A host that waits for its part of the plan.
pub struct Joined {
    pub port: u16,
    pub orders: OwnedWriteHalf,
    pub answers: FrameReader<OwnedReadHalf>,
}

/// How the processes of a run are started.
pub struct Meet<'a> {
    pub options: &'a Options,
    pub meeting: Meeting<'a>,
}

/// The hosts that are there from the start.
fn early(plan: &Plan) -> impl Iterator<Item = HostId> {
    let late = plan.late_hosts();
    staffed(plan).filter(move |host| !late.contains(host))
}

/// Waits until every child that is there from the start has joined.
async fn gather(
    plan: &Plan,
    options: &Options,
    news: &mut UnboundedReceiver<News>,
) -> Result<BTreeMap<HostId, Joined>, LiveError> {
    let deadline = Instant::now() + options.join_within;
    let mut joined = BTreeMap::new();
    while let Some(missing) = early(plan).find(|host| !joined.contains_key(host)) {
        let not_joined = |host: HostId, why| LiveError::NotJoined { host: plan.host(host).name.clone(), why };
        match timeout_at(deadline, news.recv()).await {
            Err(_) => {
                return Err(not_joined(missing, format!("nothing was heard of it for {:?}", options.join_within)));
            }
            Ok(Some(News::Joined { host, joined: caller, .. })) => {
                // Only a process that knows the token gets here; it can still be mistaken about who it is.
                if early(plan).any(|expected| expected == host) {
                    joined.entry(host).or_insert(*caller);
                }
            }
            Ok(Some(News::Exited { host, why })) => return Err(not_joined(host, why)),
            Ok(Some(News::Answer { .. }) | None) => {}
        }
    }
    Ok(joined)
}

/// Passes on what a host says until its connection ends; that its process does is noticed elsewhere.
pub async fn listen(host: HostId, mut answers: FrameReader<OwnedReadHalf>, news: UnboundedSender<News>) {
    answers.limits = Limits::CONTROL;
    while let Ok(Some(answer)) = hear::<Answer>(&mut answers).await {
        if news.send(News::Answer { host, answer }).is_err() {
            return;
        }
    }
}

pub async fn interrupted(interrupt: &AtomicBool) {
    while !interrupt.load(Ordering::Relaxed) {
        sleep(LOOK).await;
    }
}

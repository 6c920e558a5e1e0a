//! This process as a host: seats its actors, carries their effects, and holds its device, its links and its record.
//!
//! Everything here runs on one arbiter, so that a token crosses a host without a task switch between threads but those to
//! and from the device. Nothing waits: what takes time comes back as an [`Arrival`] or through a link.
use super::clock;
use super::control::{Greeting, Purpose, Report, Token};
use super::device::Device;
use super::lease::Turnstile;
use super::links::Link;
use super::shaper::Shaper;
use super::wire::{self, Envelope, FrameReader, Incoming, Kind, Limits, WireError};
use crate::stage::{self, Scene};
use actix::Actor;
use actors::id::{HostId, NodeId};
use actors::ledger::Ledger;
use actors::message::{Computed, Gone, Job, Message, Refusal, Timer, Woken, Work};
use actors::record::Event;
use actors::time::{Moment, Span};
use actors::world::{self, Effect, Host, Parcel, Post};
use actors::{client, dht, orchestrator, peer};
use scenarios::plan::Plan;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::spawn_local;

/// What reaches the arbiter from another thread of this process.
pub enum Arrival {
    Computed {
        node: NodeId,
        computed: Computed,
    },
    /// Beside what the nodes record.
    Seen(Event),
    LoadFailed {
        node: NodeId,
        what: String,
    },
    /// A frame that the shaper has held.
    Held {
        from: NodeId,
        to: NodeId,
        message: Message,
    },
}

/// Where the other hosts are, and what lets one in there.
pub struct Directory {
    /// Where each host listens, by its id.
    pub book: Vec<Option<SocketAddr>>,
    pub token: Token,
}

pub struct LocalHost {
    itself: Weak<LocalHost>,
    here: HostId,
    plan: Arc<Plan>,
    directory: Directory,
    /// The mailboxes of the nodes that sit here, by node id.
    posts: RefCell<Vec<Option<Box<dyn Post>>>>,
    /// By host id.
    links: RefCell<Vec<Far>>,
    device: Option<Device>,
    shaper: Option<RefCell<Shaper>>,
    events: RefCell<Vec<Event>>,
    ledger: RefCell<Ledger>,
    reports: UnboundedSender<Report>,
    /// The run is over: connections may end.
    stopping: Cell<bool>,
}

/// Another host as it is seen from here.
#[derive(Clone)]
enum Far {
    Unknown,
    Linked(Rc<Link>),
    Lost,
}

impl LocalHost {
    /// Raises the part of the plan that lives on `here`, on this arbiter.
    pub fn raise(
        plan: Arc<Plan>,
        here: HostId,
        directory: Directory,
        leases: &Path,
        reports: UnboundedSender<Report>,
    ) -> io::Result<Rc<LocalHost>> {
        let (sender, arrivals) = unbounded_channel();

        let device = match plan.nodes().any(|(_, node)| node.host == here && super::computes(&node.role)) {
            true => {
                let host = plan.host(here);
                let cores = plan.machines.get(host.machine as usize).and_then(|machine| machine.leases);
                let turnstile = cores.map(|cores| Turnstile::open(leases, cores)).transpose()?;
                Some(Device::start(plan.clone(), host.device.executor.clone(), turnstile, sender.clone())?)
            }
            false => None,
        };
        let shaper = match plan.network.shape {
            true => Some(RefCell::new(Shaper::start(&plan, here, sender)?)),
            false => None,
        };
        let posts = plan.nodes.iter().map(|_| None).collect();
        let host = Rc::new_cyclic(|itself| LocalHost {
            itself: itself.clone(),
            here,
            links: RefCell::new(vec![Far::Unknown; plan.hosts.len()]),
            plan: plan.clone(),
            directory,
            posts: RefCell::new(posts),
            device,
            shaper,
            events: RefCell::default(),
            ledger: RefCell::new(Ledger::of_a_host()),
            reports,
            stopping: Cell::new(false),
        });
        world::install(host.clone());
        spawn_local(host.clone().receive(arrivals));
        stage::raise(&plan, Some(here), &mut Seating(&host));
        Ok(host)
    }

    /// What has been recorded here so far; the record is empty afterwards.
    pub fn take_events(&self) -> Vec<Event> {
        self.events.take()
    }

    /// From now on a connection that ends is no loss.
    pub fn stop(&self) {
        self.stopping.set(true);
    }

    /// Hands over what other threads have for the arbiter.
    async fn receive(self: Rc<Self>, mut arrivals: UnboundedReceiver<Arrival>) {
        while let Some(arrival) = arrivals.recv().await {
            match arrival {
                Arrival::Computed { node, computed } => self.post(node, node, Parcel::Computed(computed)),
                Arrival::Seen(event) => self.record(event),
                Arrival::LoadFailed { node, what } => self.report(Report::LoadFailed { node, what }),
                Arrival::Held { from, to, message } => {
                    if let Some(shaper) = &self.shaper {
                        shaper.borrow_mut().delivered();
                    }
                    self.post(from, to, Parcel::Message(message));
                }
            }
        }
    }

    fn post(&self, from: NodeId, to: NodeId, parcel: Parcel) {
        if let Some(Some(post)) = self.posts.borrow().get(to.0 as usize) {
            post.post(from, parcel);
        }
    }

    fn report(&self, report: Report) {
        // Nobody listens only when the run is over.
        let _ = self.reports.send(report);
    }

    // -- sending --

    fn send(&self, from: NodeId, to: NodeId, message: Message) {
        let Some(node) = self.plan.nodes.get(to.0 as usize) else {
            tracing::warn!("{from} sends to {to}, which is not in the plan");
            return self.post(to, from, Parcel::Message(Message::Gone(Gone)));
        };
        if node.host == self.here {
            return self.post(from, to, Parcel::Message(message));
        }
        let Some(link) = self.link(node.host) else {
            return self.post(to, from, Parcel::Message(Message::Gone(Gone)));
        };
        let passage = match &self.shaper {
            Some(shaper) if message.is_swarm_traffic() => {
                Some(shaper.borrow_mut().depart(&self.plan, node.host, &message))
            }
            _ => None,
        };
        let sent = match wire::letter(&Envelope { from, to, passage, message }) {
            Ok(frame) => link.send(frame).map_err(|why| why.to_string()),
            Err(why) => Err(why.to_string()),
        };
        if let Err(why) = sent {
            self.lose_link(node.host, &why);
        }
    }

    /// The link to another host, dialled if there is none yet; nothing if that host is lost.
    fn link(&self, there: HostId) -> Option<Rc<Link>> {
        let index = there.0 as usize;
        match &self.links.borrow()[index] {
            Far::Lost => return None,
            Far::Linked(link) => return Some(link.clone()),
            Far::Unknown => {}
        }
        let link = Link::dialling();
        self.adopt(there, link.clone());
        let host = self.itself.upgrade()?;
        let dialled = link.clone();
        spawn_local(async move {
            match host.dial(there).await {
                Ok((reader, writer)) => {
                    dialled.connect(writer);
                    let reader = FrameReader::new(reader, Limits::of(&host.plan));
                    host.read(there, reader, None).await;
                }
                Err(why) => host.lose_link(there, &why.to_string()),
            }
        });
        Some(link)
    }

    /// Makes `link` the one that leads to `there`, and starts its writer.
    fn adopt(&self, there: HostId, link: Rc<Link>) {
        self.links.borrow_mut()[there.0 as usize] = Far::Linked(link.clone());
        let Some(host) = self.itself.upgrade() else { return };
        spawn_local(async move {
            let why = link.write().await;
            host.lose_link(there, &why.to_string());
        });
    }

    async fn dial(&self, there: HostId) -> Result<(OwnedReadHalf, OwnedWriteHalf), WireError> {
        let known = self.directory.book.get(there.0 as usize).copied().flatten();
        let address = known.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let greeting = Greeting { token: self.directory.token, host: self.here, purpose: Purpose::Letters };
        writer.write_all(&wire::plain(Kind::Greeting, &greeting)?).await?;
        Ok((reader, writer))
    }

    // -- receiving --

    /// Takes over a connection that another host has dialled and introduced itself on.
    pub fn answer(&self, there: HostId, mut reader: FrameReader<OwnedReadHalf>, writer: OwnedWriteHalf) {
        let Some(far) = self.links.borrow().get(there.0 as usize).cloned() else { return };
        let Some(host) = self.itself.upgrade() else { return };
        if there == self.here {
            return;
        }
        reader.limits = Limits::of(&self.plan);
        // Both may have dialled at once; then each sends on its own connection and reads on both.
        let spare = match far {
            Far::Unknown => {
                self.adopt(there, Link::connected(writer));
                None
            }
            Far::Linked(_) | Far::Lost => Some(writer),
        };
        spawn_local(host.read(there, reader, spare));
    }

    /// Reads letters until the connection ends. `_spare` keeps its other direction open.
    async fn read(
        self: Rc<Self>,
        there: HostId,
        mut reader: FrameReader<OwnedReadHalf>,
        _spare: Option<OwnedWriteHalf>,
    ) {
        let why = loop {
            match reader.next().await {
                Ok(Some(Incoming::Letter(envelope))) => {
                    if let Err(why) = self.deliver(there, envelope) {
                        break why;
                    }
                }
                Ok(Some(_)) => break "it sent something else than letters".to_owned(),
                Ok(None) => break "it closed the connection".to_owned(),
                Err(why) => break why.to_string(),
            }
        };
        self.lose_link(there, &why);
    }

    fn deliver(&self, there: HostId, envelope: Envelope) -> Result<(), String> {
        let Envelope { from, to, passage, message } = envelope;
        let sits = |node: NodeId, host| self.plan.nodes.get(node.0 as usize).is_some_and(|node| node.host == host);
        if !sits(from, there) || !sits(to, self.here) {
            return Err(format!("it sent a letter from {from} to {to}, who do not sit there and here"));
        }
        let message = match (&self.shaper, passage) {
            (Some(shaper), Some(passage)) => {
                let (message, carried) = shaper.borrow_mut().arrive(&self.plan, passage, (from, to), message);
                if let Some(event) = carried {
                    self.record(event);
                }
                message
            }
            _ => Some(message),
        };
        if let Some(message) = message {
            self.post(from, to, Parcel::Message(message));
        }
        Ok(())
    }

    // -- losing --

    /// A connection is lost, and with it, for all this host can know, the process at its end.
    fn lose_link(&self, there: HostId, why: &str) {
        if self.mark_lost(there) {
            self.report(Report::LinkLost { host: there, why: why.to_owned() });
        }
    }

    /// The orchestrator's process says that a host is gone.
    pub fn lose_host(&self, there: HostId) {
        self.mark_lost(there);
    }

    /// Tells every node here that those of `there` are gone, once.
    fn mark_lost(&self, there: HostId) -> bool {
        let index = there.0 as usize;
        let known = self.links.borrow().get(index).is_some_and(|far| !matches!(far, Far::Lost));
        if self.stopping.get() || !known || there == self.here {
            return false;
        }
        self.links.borrow_mut()[index] = Far::Lost;
        for (gone, _) in self.plan.nodes().filter(|(_, node)| node.host == there) {
            for post in self.posts.borrow().iter().flatten() {
                post.post(gone, Parcel::Message(Message::Gone(Gone)));
            }
        }
        true
    }

    // -- what actors ask for --

    fn wake(&self, me: NodeId, after: Span, timer: Timer) {
        let Some(host) = self.itself.upgrade() else { return };
        spawn_local(async move {
            tokio::time::sleep(Duration::from_nanos(after.0)).await;
            host.post(me, me, Parcel::Woken(Woken(timer)));
        });
    }

    fn compute(&self, me: NodeId, job: Job) {
        let (ticket, answered) = (job.ticket, !matches!(job.work, Work::Release { .. }));
        let given = match &self.device {
            Some(device) => device.give(me, job),
            None => {
                let now = clock::now();
                Err(Computed { ticket, started: now, finished: now, output: Err(Refusal::DeviceFailed) })
            }
        };
        match given {
            Err(refused) if answered => self.post(me, me, Parcel::Computed(refused)),
            Err(_) => tracing::error!("{me} cannot release a session's cache: its device's queue is full"),
            Ok(()) => {}
        }
    }

    fn record(&self, event: Event) {
        if let Err(invariant) = self.ledger.borrow_mut().check(&event) {
            self.report(Report::Broken { invariant, event: Box::new(event.clone()) });
        }
        if matches!(event, Event::Drained(_) | Event::Aborted { .. }) {
            self.report(Report::Ended(Box::new(event.clone())));
        }
        self.events.borrow_mut().push(event);
    }
}

impl Host for LocalHost {
    fn now(&self) -> Moment {
        clock::now()
    }

    fn carry(&self, me: NodeId, effects: &mut Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, message } => self.send(me, to, message),
                Effect::Wake { after, timer } => self.wake(me, after, timer),
                Effect::Compute(job) => self.compute(me, job),
                Effect::Record(event) => self.record(event),
            }
        }
    }

    fn panicked(&self, me: NodeId, what: String) {
        self.report(Report::Panicked { node: me, what });
    }
}

/// Seats cores as live actors of a host.
struct Seating<'a>(&'a LocalHost);

impl Seating<'_> {
    fn seat(&self, me: NodeId, post: impl Post + 'static) {
        self.0.posts.borrow_mut()[me.0 as usize] = Some(Box::new(post));
    }
}

impl Scene for Seating<'_> {
    fn computes_values(&self) -> bool {
        true
    }

    fn orchestrator(&mut self, core: orchestrator::Core) {
        self.seat(core.me(), orchestrator::Orchestrator::<world::Live>::new(core).start());
    }

    fn bootstrap(&mut self, core: dht::bootstrap::Core) {
        self.seat(core.me(), dht::bootstrap::Bootstrap::<world::Live>::new(core).start());
    }

    fn peer(&mut self, core: peer::Core) {
        self.seat(core.me(), peer::Peer::<world::Live>::new(core).start());
    }

    fn client(&mut self, core: client::Core) {
        self.seat(core.me(), client::Client::<world::Live>::new(core).start());
    }
}

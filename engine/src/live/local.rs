//! This process as a host: seats its actors, carries their effects, and holds its device, its links and its record.
//!
//! Everything here runs on one arbiter, so that a token crosses a host without a task switch between threads but those to
//! and from the device. Nothing waits: what takes time comes back as an [`Arrival`] or through a link.
use super::clock;
use super::control::{Greeting, Place, Purpose, Report, Token};
use super::device::{Device, Strain};
use super::lease::Turnstile;
use super::links::Link;
use super::shaper::Shaper;
use super::wire::{self, Envelope, FrameReader, Incoming, Kind, Limits, WireError};
use crate::spells::Spells;
use crate::stage::{self, Scene};
use actix::Actor;
use actors::id::{HostId, NodeId};
use actors::ledger::Ledger;
use actors::message::{Computed, Gone, Job, Message, Refusal, Timer, Woken, Work};
use actors::record::Event;
use actors::time::{Moment, Span};
use actors::world::{self, Effect, Host, Parcel, Post};
use actors::{client, dht, orchestrator, peer};
use scenarios::plan::{Plan, When};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
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

/// What a process is told of the run as it joins.
pub struct Directory {
    /// Where each host listens, by its id.
    pub book: Vec<Option<Place>>,
    /// Lets one in there.
    pub token: Token,
    /// Which of its host's processes this is.
    pub life: u32,
    pub started: Moment,
}

/// A message that waits for its way: from whom, to whom.
type Waiting = (NodeId, NodeId, Message);

pub struct LocalHost {
    itself: Weak<LocalHost>,
    here: HostId,
    plan: Arc<Plan>,
    token: Token,
    life: u32,
    /// Where the other hosts are, by their ids.
    book: RefCell<Vec<Option<Place>>>,
    spells: RefCell<Spells>,
    /// What waits for the end of a partition, in order.
    waiting: RefCell<BTreeMap<HostId, VecDeque<Waiting>>>,
    /// Steps that this process may still take in, if it is to crash at one.
    doom: Cell<Option<u64>>,
    /// The mailboxes of the nodes that sit here, by node id.
    posts: RefCell<Vec<Option<Box<dyn Post>>>>,
    /// By host id.
    links: RefCell<Vec<Far>>,
    device: Option<Device>,
    strain: Strain,
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

        let Directory { book, token, life, started } = directory;
        let spells = Spells::of(&plan, started);
        let strain = Strain::new(here, spells.clone());
        let device = match plan.nodes().any(|(_, node)| node.host == here && super::computes(&node.role)) {
            true => {
                let host = plan.host(here);
                let cores = plan.machines.get(host.machine as usize).and_then(|machine| machine.leases);
                let turnstile = cores.map(|cores| Turnstile::open(leases, cores)).transpose()?;
                let executor = host.device.executor.clone();
                Some(Device::start(plan.clone(), executor, turnstile, strain.clone(), sender.clone())?)
            }
            false => None,
        };
        let shaper = match plan.network.shape {
            true => Some(RefCell::new(Shaper::start(&plan, here, sender)?)),
            false => None,
        };
        let posts = plan.nodes.iter().map(|_| None).collect();
        let mine = |fault: &scenarios::plan::Fault| match fault.at {
            When::Steps { host, count } if host == here => Some(count),
            _ => None,
        };
        // Each of the host's lives ends at the next of its steps.
        let doom = plan.faults.iter().filter_map(mine).nth(life as usize);
        let host = Rc::new_cyclic(|itself| LocalHost {
            itself: itself.clone(),
            here,
            links: RefCell::new(vec![Far::Unknown; plan.hosts.len()]),
            plan: plan.clone(),
            token,
            life,
            book: RefCell::new(book),
            spells: RefCell::new(spells),
            waiting: RefCell::default(),
            doom: Cell::new(doom),
            posts: RefCell::new(posts),
            device,
            strain,
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

    /// The barrier is released: faults count from here.
    pub fn released(&self, at: Moment) {
        self.spells.borrow_mut().release(at);
        self.strain.release(at);
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
        let there = node.host;
        if message.is_swarm_traffic() && !self.spells.borrow().is_empty() {
            let mut waiting = self.waiting.borrow_mut();
            if let Some(queue) = waiting.get_mut(&there) {
                return queue.push_back((from, to, message));
            }
            if let Some(until) = self.spells.borrow().apart(clock::now(), self.here, there) {
                waiting.insert(there, VecDeque::from([(from, to, message)]));
                return self.flush_at(there, until);
            }
        }
        self.transmit(from, to, there, message);
    }

    /// Sends what has waited for the end of a partition, which is then.
    fn flush_at(&self, there: HostId, until: Moment) {
        let Some(host) = self.itself.upgrade() else { return };
        spawn_local(async move {
            let mut until = Some(until);
            while let Some(end) = until {
                tokio::time::sleep(Duration::from_nanos(end.since(clock::now()).0)).await;
                until = host.spells.borrow().apart(clock::now(), host.here, there);
            }
            let waited = host.waiting.borrow_mut().remove(&there).unwrap_or_default();
            for (from, to, message) in waited {
                host.transmit(from, to, there, message);
            }
        });
    }

    fn transmit(&self, from: NodeId, to: NodeId, there: HostId, message: Message) {
        let Some(link) = self.link(there) else {
            return self.post(to, from, Parcel::Message(Message::Gone(Gone)));
        };
        let passage = match &self.shaper {
            Some(shaper) if message.is_swarm_traffic() => {
                let mut passage = shaper.borrow_mut().depart(&self.plan, there, &message);
                if !self.spells.borrow().is_empty() {
                    passage.stretch(self.spells.borrow().slow_link(clock::now(), self.here, there));
                }
                Some(passage)
            }
            _ => None,
        };
        let sent = match wire::letter(&Envelope { from, to, passage, message }) {
            Ok(frame) => link.send(frame).map_err(|why| why.to_string()),
            Err(why) => Err(why.to_string()),
        };
        if let Err(why) = sent {
            self.lose_link(there, self.life_of(there), &why);
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
        let life = self.life_of(there);
        spawn_local(async move {
            match host.dial(there).await {
                Ok((reader, writer)) => {
                    dialled.connect(writer);
                    let reader = FrameReader::new(reader, Limits::of(&host.plan));
                    host.read(there, life, reader, None).await;
                }
                Err(why) => host.lose_link(there, life, &why.to_string()),
            }
        });
        Some(link)
    }

    /// Makes `link` the one that leads to `there`, and starts its writer.
    fn adopt(&self, there: HostId, link: Rc<Link>) {
        self.links.borrow_mut()[there.0 as usize] = Far::Linked(link.clone());
        let Some(host) = self.itself.upgrade() else { return };
        let life = self.life_of(there);
        spawn_local(async move {
            let why = link.write().await;
            host.lose_link(there, life, &why.to_string());
        });
    }

    async fn dial(&self, there: HostId) -> Result<(OwnedReadHalf, OwnedWriteHalf), WireError> {
        let known = self.book.borrow().get(there.0 as usize).copied().flatten();
        let address = known.ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?.address;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let (token, host, life) = (self.token, self.here, self.life);
        let greeting = Greeting { token, host, life, purpose: Purpose::Letters };
        writer.write_all(&wire::plain(Kind::Greeting, &greeting)?).await?;
        Ok((reader, writer))
    }

    // -- receiving --

    /// Takes over a connection that another host has dialled and introduced itself on.
    pub fn answer(&self, greeting: &Greeting, mut reader: FrameReader<OwnedReadHalf>, writer: OwnedWriteHalf) {
        let Greeting { host: there, life, .. } = *greeting;
        let Some(host) = self.itself.upgrade() else { return };
        // A process that has ended since it called has nothing more to say.
        if there == self.here || life < self.life_of(there) {
            return;
        }
        if life > self.life_of(there) {
            // It calls before the orchestrator has said where it listens: it is reached by this connection.
            self.here_again(there, Place { address: ([127, 0, 0, 1], 0).into(), life });
        }
        let Some(far) = self.links.borrow().get(there.0 as usize).cloned() else { return };
        reader.limits = Limits::of(&self.plan);
        // Both may have dialled at once; then each sends on its own connection and reads on both.
        let spare = match far {
            Far::Unknown => {
                self.adopt(there, Link::connected(writer));
                None
            }
            Far::Linked(_) | Far::Lost => Some(writer),
        };
        spawn_local(host.read(there, life, reader, spare));
    }

    /// Reads letters until the connection ends. `_spare` keeps its other direction open.
    async fn read(
        self: Rc<Self>,
        there: HostId,
        life: u32,
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
        self.lose_link(there, life, &why);
    }

    fn deliver(&self, there: HostId, envelope: Envelope) -> Result<(), String> {
        let Envelope { from, to, passage, message } = envelope;
        let sits = |node: NodeId, host| self.plan.nodes.get(node.0 as usize).is_some_and(|node| node.host == host);
        if !sits(from, there) || !sits(to, self.here) {
            return Err(format!("it sent a letter from {from} to {to}, who do not sit there and here"));
        }
        // Told from the warm-up's by whose they are: the first may come before word of the barrier does.
        if matches!(&message, Message::Step(step) if !step.session.request().is_warmup()) {
            self.step_closer_to_doom();
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
    fn lose_link(&self, there: HostId, life: u32, why: &str) {
        if self.mark_lost(there, life) {
            self.report(Report::LinkLost { host: there, why: why.to_owned() });
        }
    }

    /// The orchestrator's process says that a host is gone.
    pub fn lose_host(&self, there: HostId, life: u32) {
        self.mark_lost(there, life);
    }

    /// A host listens there: one that was not there before, or the new process of one that was.
    pub fn here_again(&self, there: HostId, place: Place) {
        let index = there.0 as usize;
        if there == self.here || index >= self.plan.hosts.len() || place.life < self.life_of(there) {
            return;
        }
        if place.life > self.life_of(there) {
            // Whoever has not noticed that the old process is gone learns it now.
            self.mark_lost(there, self.life_of(there));
            self.links.borrow_mut()[index] = Far::Unknown;
        }
        self.book.borrow_mut()[index] = Some(place);
    }

    /// Which of a host's processes is the one known here.
    fn life_of(&self, there: HostId) -> u32 {
        self.book.borrow().get(there.0 as usize).copied().flatten().map_or(0, |place| place.life)
    }

    /// A step has come: the process kills itself if it is the one that the plan says.
    fn step_closer_to_doom(&self) {
        let Some(left) = self.doom.get() else { return };
        if left <= 1 {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
        self.doom.set(Some(left - 1));
    }

    /// Tells every node here that those of `there` are gone, once.
    fn mark_lost(&self, there: HostId, life: u32) -> bool {
        let index = there.0 as usize;
        if life != self.life_of(there) {
            return false;
        }
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
        if let Event::Released { at } = event {
            self.report(Report::Released { at });
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

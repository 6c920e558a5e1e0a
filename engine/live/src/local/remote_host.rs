//! A host's connections to the other hosts: sending, receiving, and the reaction to a lost host.
use super::LocalHost;
use crate::arrival::Held;
use crate::clock;
use crate::control::{Greeting, Place, Purpose, Report};
use crate::links::Link;
use crate::wire::{self, AddressedMessage, FrameReader, Incoming, Kind, Limits, WireError};
use actors::id::{HostId, NodeId};
use actors::limits;
use actors::message::{Gone, Message};
use actors::time::Timestamp;
use actors::world::Delivery;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::spawn_local;

/// A message that a partition holds back: its sender, its receiver and the message.
pub(super) type Waiting = (NodeId, NodeId, Message);

/// The state of the connection to another host, as this process knows it.
#[derive(Clone)]
pub(super) enum RemoteHost {
    Unknown,
    Linked(Rc<Link>),
    Lost,
}

impl LocalHost {
    pub(super) fn send(&self, from: NodeId, to: NodeId, message: Message) {
        let Some(node) = self.plan.nodes.get(to.0 as usize) else {
            self.warnings
                .warn(|| format!("{} sent a message to {to}, which is not in the plan", self.plan.called(from)));
            self.bounce(from, to);
            return;
        };
        let there = node.host;
        if self.sealed.get() {
            return;
        }
        self.record.account.borrow_mut().sent(there);
        if there == self.here {
            self.record.account.borrow_mut().arrived(there, self.incarnation);
            return self.hand_over(from, self.incarnation, to, message);
        }
        if message.is_swarm_traffic() && !self.windows.borrow().is_empty() {
            let mut waiting = self.connections.waiting.borrow_mut();
            if let Some(queue) = waiting.get_mut(&there) {
                return queue.push_back((from, to, message));
            }
            if let Some(until) = self.windows.borrow().apart(clock::now(), self.here, there) {
                waiting.insert(there, VecDeque::from([(from, to, message)]));
                return self.flush_at(there, until);
            }
        }
        self.transmit(from, to, there, message);
    }

    /// Tells the node `from`, which sent a message to `to`, that `to` is gone.
    fn bounce(&self, from: NodeId, to: NodeId) {
        self.post(to, from, Delivery::Message(Message::Gone(Gone)));
    }

    /// Sends the waiting messages to the host `there` at `until`, when the partition ends. If another partition
    /// follows, waits for its end too.
    fn flush_at(&self, there: HostId, until: Timestamp) {
        let Some(host) = self.itself.upgrade() else { return };
        spawn_local(async move {
            let mut until = Some(until);
            while let Some(end) = until {
                tokio::time::sleep(Duration::from_nanos(end.since(clock::now()).0)).await;
                until = host.windows.borrow().apart(clock::now(), host.here, there);
            }
            if host.sealed.get() {
                return;
            }
            let waited = host.connections.waiting.borrow_mut().remove(&there).unwrap_or_default();
            for (from, to, message) in waited {
                host.transmit(from, to, there, message);
            }
        });
    }

    fn transmit(&self, from: NodeId, to: NodeId, there: HostId, message: Message) {
        let Some(link) = self.link(there) else {
            self.record.account.borrow_mut().lost(there);
            return self.bounce(from, to);
        };
        let passage = match &self.shaper {
            Some(shaper) if message.is_swarm_traffic() => {
                let mut passage = shaper.borrow_mut().depart(there, &message);
                if !self.windows.borrow().is_empty() {
                    passage.stretch(self.windows.borrow().slow_link(clock::now(), self.here, there));
                }
                Some(passage)
            }
            _ => None,
        };
        let sent = match wire::message_frame(&AddressedMessage { from, to, passage, message }) {
            Ok(frame) => link.send(frame).map_err(|why| why.to_string()),
            Err(why) => Err(why.to_string()),
        };
        if let Err(why) = sent {
            self.lose_link(there, self.incarnation_of(there), &why);
        }
    }

    /// Returns the link to the host `there`, and dials it if there is none. Returns `None` if the host is lost.
    fn link(&self, there: HostId) -> Option<Rc<Link>> {
        let index = there.0 as usize;
        match &self.connections.links.borrow()[index] {
            RemoteHost::Lost => return None,
            RemoteHost::Linked(link) => return Some(link.clone()),
            RemoteHost::Unknown => {}
        }
        let link = Link::dialling();
        self.adopt(there, link.clone());
        let host = self.itself.upgrade()?;
        let dialled = link.clone();
        let incarnation = self.incarnation_of(there);
        spawn_local(async move {
            match host.dial(there).await {
                Ok((reader, writer)) => {
                    dialled.connect(writer);
                    let reader = FrameReader::new(reader, Limits::of(&host.plan));
                    host.read(there, incarnation, reader, None).await;
                }
                Err(why) => host.lose_link(there, incarnation, &why.to_string()),
            }
        });
        Some(link)
    }

    /// Makes `link` the link to the host `there`, and starts the link's writer task.
    fn adopt(&self, there: HostId, link: Rc<Link>) {
        self.connections.links.borrow_mut()[there.0 as usize] = RemoteHost::Linked(link.clone());
        let Some(host) = self.itself.upgrade() else { return };
        let incarnation = self.incarnation_of(there);
        spawn_local(async move {
            let why = link.write().await;
            host.lose_link(there, incarnation, &why.to_string());
        });
    }

    async fn dial(&self, there: HostId) -> Result<(OwnedReadHalf, OwnedWriteHalf), WireError> {
        let address = self.place_of(there).ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?.address;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let (token, host, incarnation) = (self.connections.token, self.here, self.incarnation);
        let greeting = Greeting { token, host, incarnation, purpose: Purpose::Messages };
        writer.write_all(&wire::plain(Kind::Greeting, &greeting)?).await?;
        Ok((reader, writer))
    }

    // -- receiving --

    /// Accepts a connection that another host has dialled and on which its greeting has arrived.
    ///
    /// The dialling process knows the run's token, but may still claim to be another host. The greeting is therefore
    /// checked against the plan and against the incarnations that the orchestrator has announced. Each process may dial
    /// another process only once.
    ///
    /// # Errors
    /// If the greeting is rejected. The error is the reason as text.
    pub fn answer(
        &self,
        greeting: &Greeting,
        reader: FrameReader<OwnedReadHalf>,
        writer: OwnedWriteHalf,
    ) -> Result<(), String> {
        let Greeting { host: there, incarnation, .. } = *greeting;
        let Some(host) = self.itself.upgrade() else { return Ok(()) };
        let Some(name) = self.plan.hosts.get(there.0 as usize).map(|host| &host.name) else {
            return Err(format!(
                "the greeting names host {}, but the plan has {} hosts",
                there.0,
                self.plan.hosts.len()
            ));
        };
        if there == self.here || !self.plan.nodes.iter().any(|node| node.host == there) {
            return Err(format!("the greeting names host `{name}`, which does not connect to this host"));
        }
        let claim = || format!("the greeting names process {incarnation} of host `{name}`");
        match self.place_of(there).map(|place| place.incarnation) {
            Some(known) if incarnation == known => self.welcome(there, incarnation, reader, writer),
            Some(known) if incarnation < known => Err(format!("{}, but process {known} has replaced it", claim())),
            // The orchestrator's process starts all other processes, so it knows each of them before it can dial.
            _ if self.here == HostId(0) => Err(format!("{}, but the orchestrator has not started it", claim())),
            _ if self.connections.ahead.get() >= limits::STRANGERS => {
                Err(format!("{}, but too many unannounced processes are waiting", claim()))
            }
            _ => {
                self.connections.ahead.set(self.connections.ahead.get() + 1);
                let claim = claim();
                spawn_local(async move {
                    let announced = host.announced(there, incarnation).await;
                    host.connections.ahead.set(host.connections.ahead.get() - 1);
                    let welcomed = match announced {
                        true => host.welcome(there, incarnation, reader, writer),
                        false => Err(format!("{claim}, which the orchestrator has not announced")),
                    };
                    if let Err(why) = welcomed {
                        host.warnings.warn(|| format!("a connection was dropped: {why}"));
                    }
                });
                Ok(())
            }
        }
    }

    /// Waits until the orchestrator has announced this incarnation of a host. The announcement and the greeting travel
    /// on different connections, so the greeting may arrive first. Returns false if the wait times out or a later
    /// incarnation is announced.
    async fn announced(&self, there: HostId, incarnation: u32) -> bool {
        let known = async {
            while self.place_of(there).is_none_or(|place| place.incarnation < incarnation) {
                self.connections.places_changed.notified().await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_nanos(limits::CALLS_AHEAD.0), known).await.is_ok();
        in_time && self.place_of(there).is_some_and(|place| place.incarnation == incarnation)
    }

    /// Accepts the connection that a process of the host `there` has dialled. Each process may dial this process only
    /// once.
    fn welcome(
        &self,
        there: HostId,
        incarnation: u32,
        mut reader: FrameReader<OwnedReadHalf>,
        writer: OwnedWriteHalf,
    ) -> Result<(), String> {
        let Some(host) = self.itself.upgrade() else { return Ok(()) };
        let index = there.0 as usize;
        let name = &self.plan.host(there).name;
        let called = self.connections.callers.borrow_mut()[index].replace(incarnation);
        if called == Some(incarnation) {
            return Err(format!("the greeting names host `{name}`, which is connected already"));
        }
        reader.limits = Limits::of(&self.plan);
        // Both hosts may have dialled at once. Each host then sends on the connection that it has dialled, and reads
        // from both connections.
        let remote = self.connections.links.borrow()[index].clone();
        let spare = match remote {
            RemoteHost::Unknown => {
                self.adopt(there, Link::connected(writer));
                None
            }
            RemoteHost::Linked(_) => Some(writer),
            RemoteHost::Lost => {
                return Err(format!("the greeting names host `{name}`, whose connection was closed for good"));
            }
        };
        spawn_local(host.read(there, incarnation, reader, spare));
        Ok(())
    }

    /// Reads messages until the connection ends. `_spare` is not written to; it keeps the sending direction open.
    async fn read(
        self: Rc<Self>,
        there: HostId,
        incarnation: u32,
        mut reader: FrameReader<OwnedReadHalf>,
        _spare: Option<OwnedWriteHalf>,
    ) {
        let (why, lied) = loop {
            match reader.next().await {
                Ok(Some(Incoming::Message(addressed))) => {
                    if let Err(why) = self.deliver(there, incarnation, addressed) {
                        break (why, true);
                    }
                }
                Ok(Some(_)) => break ("the host sent a frame that is not a message".to_owned(), true),
                Ok(None) => break ("the host closed the connection".to_owned(), false),
                Err(why) => break (why.to_string(), !matches!(why, WireError::Io(_) | WireError::CutShort)),
            }
        };
        self.cut_off(there, incarnation, why, lied);
    }

    fn deliver(&self, there: HostId, incarnation: u32, addressed: AddressedMessage) -> Result<(), String> {
        let AddressedMessage { from, to, passage, message } = addressed;
        let sits = |node: NodeId, host| self.plan.nodes.get(node.0 as usize).is_some_and(|node| node.host == host);
        if !sits(from, there) || !sits(to, self.here) {
            return Err(format!(
                "the host sent a message from {from} to {to}, but these nodes are not on the two hosts of the connection"
            ));
        }
        if !self.plan.node(from).role.node_role().may_say(&message) {
            return Err(format!(
                "the host sent a {} from {from}, a node that may not send such messages",
                message.kind()
            ));
        }
        self.record.account.borrow_mut().arrived(there, incarnation);
        // Warm-up steps do not count for a crash after a number of steps. They are recognised by their request, because
        // the first counted step may arrive before the notice of the barrier's release.
        if matches!(&message, Message::Step(step) if !step.session.request().is_warmup()) {
            self.step_closer_to_doom();
        }
        let message = match (&self.shaper, passage) {
            (Some(shaper), Some(passage)) => {
                let held = Held { until: passage.last, from, to, incarnation, message };
                let (message, carried) = shaper.borrow_mut().arrive(&self.plan, passage, held);
                if let Some(event) = carried {
                    self.record(event);
                }
                message
            }
            _ => Some(message),
        };
        if let Some(message) = message {
            self.hand_over(from, incarnation, to, message);
        }
        Ok(())
    }

    // -- losing --

    /// Handles a lost connection: the process at the other end of the connection counts as lost too.
    fn lose_link(&self, there: HostId, incarnation: u32, why: &str) {
        self.cut_off(there, incarnation, why.to_owned(), false);
    }

    /// Marks a host as lost and reports it. `lied` says that the connection was closed for a protocol violation.
    fn cut_off(&self, host: HostId, incarnation: u32, why: String, lied: bool) {
        if self.mark_lost(host, incarnation) {
            self.report(Report::LinkLost { host, why, lied });
        }
    }

    /// Handles the orchestrator's notice that a process of a host has ended.
    pub fn lose_host(&self, there: HostId, incarnation: u32) {
        self.mark_lost(there, incarnation);
    }

    /// Handles the announcement of a new process, either of a host that joins late or of a host's next incarnation.
    pub fn here_again(&self, there: HostId, place: Place) {
        let index = there.0 as usize;
        if there == self.here || index >= self.plan.hosts.len() || place.incarnation < self.incarnation_of(there) {
            return;
        }
        if place.incarnation > self.incarnation_of(there) {
            // Nodes that have not been told of the end of the host's old process are told now.
            self.mark_lost(there, self.incarnation_of(there));
            self.connections.links.borrow_mut()[index] = RemoteHost::Unknown;
        }
        self.record.account.borrow_mut().began(there, place.incarnation);
        self.connections.book.borrow_mut()[index] = Some(place);
        self.connections.places_changed.notify_waiters();
    }

    /// Returns the last announced address and incarnation of a host.
    fn place_of(&self, there: HostId) -> Option<Place> {
        self.connections.book.borrow().get(there.0 as usize).copied().flatten()
    }

    /// Returns the last announced incarnation of a host, or 0 if none has been announced.
    fn incarnation_of(&self, there: HostId) -> u32 {
        self.place_of(there).map_or(0, |place| place.incarnation)
    }

    /// Counts a received step, and kills this process if the plan crashes it at this number of steps.
    fn step_closer_to_doom(&self) {
        let Some(left) = self.doom.get() else { return };
        if left <= 1 {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
        self.doom.set(Some(left - 1));
    }

    /// Marks the host `there` as lost, and tells every node of this process that the nodes of `there` are gone. Tells
    /// no node and returns false if the host was already marked, if `incarnation` is not the host's present one, or
    /// once the run is over.
    fn mark_lost(&self, there: HostId, incarnation: u32) -> bool {
        let index = there.0 as usize;
        if incarnation != self.incarnation_of(there) {
            return false;
        }
        self.record.account.borrow_mut().broke(there);
        let known =
            self.connections.links.borrow().get(index).is_some_and(|remote| !matches!(remote, RemoteHost::Lost));
        if self.stopping.get() || !known || there == self.here {
            return false;
        }
        if let RemoteHost::Linked(link) =
            std::mem::replace(&mut self.connections.links.borrow_mut()[index], RemoteHost::Lost)
        {
            link.close();
        }
        for (gone, _) in self.plan.nodes().filter(|(_, node)| node.host == there) {
            for post in self.posts.borrow().iter().flatten() {
                post.post(gone, Delivery::Message(Message::Gone(Gone)));
            }
        }
        true
    }
}

//! The transfer of a message from its sender to its receiver: the sender's overhead, the network, and the receiver's
//! overhead.
use super::{Arriving, SimEvent, Simulation};
use actors::id::NodeId;
use actors::message::{Message, Returned};
use actors::record::{Carried, Event};
use actors::time::Timestamp;
use actors::world::Delivery;
use links::Passage;

impl Simulation<'_> {
    #[inline(always)]
    pub(super) fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        debug_assert!(self.roles[from.0 as usize].may_say(&message), "{from} sends a {}", message.kind());
        self.account.sent += 1;
        let now = self.world.now;
        let (here, there) = (self.hosts[from.0 as usize], self.hosts[to.0 as usize]);
        if here == there || !message.is_swarm_traffic() {
            return self.post_at(now, from, to, Delivery::Message(message));
        }
        if let Some(faults) = &mut self.faults {
            faults.connect(here, there);
        }
        let left = self.overheads.send(now, from, &message);
        if left > now && self.overheads.precede_the_network() {
            let incarnation = self.incarnation(from);
            return self.queue.schedule(left, SimEvent::Depart { from, to, incarnation, message });
        }
        self.transmit(from, to, left, message);
    }

    /// Lets a message enter the network. The message is lost if its sender's process has died while sending it.
    #[cold]
    pub(super) fn enter_network(&mut self, from: NodeId, to: NodeId, incarnation: u32, message: Message) {
        match self.incarnation(from) == incarnation {
            true => self.transmit(from, to, self.world.now, message),
            false => self.account.lost += 1,
        }
    }

    /// Sends a message over the fairly shared network if the plan has one, otherwise over the ordinary network. `left`
    /// is the time at which the sender has finished sending it: now or, if the network is shaped, later.
    #[inline(always)]
    pub(super) fn transmit(&mut self, from: NodeId, to: NodeId, left: Timestamp, message: Message) {
        let now = self.world.now;
        let (here, there) = (self.hosts[from.0 as usize], self.hosts[to.0 as usize]);
        if let Some(fair) = &mut self.fair {
            let bytes = message.wire_bytes();
            fair.offer(now, (here, there), bytes, (from, to, left, message));
            return self.await_settling();
        }
        let bytes = message.wire_bytes();
        let passage = self.network.depart(now, here, there, bytes);
        if self.network.receives_freely(there) {
            self.carry(from, to, left, &passage, message);
        } else {
            let (first, passage) = (passage.first, Box::new(Arriving { passage, left, bytes }));
            self.queue.schedule(first, SimEvent::Arrive { from, to, passage, message });
        }
    }

    /// Schedules the delivery of a message that has passed every queue, for the time at which its last byte arrives. If
    /// receiving takes time, the delivery is at the time at which the receiver has finished receiving it.
    #[inline(always)]
    pub(super) fn carry(&mut self, from: NodeId, to: NodeId, left: Timestamp, passage: &Passage, message: Message) {
        let hindered = self.faults.as_mut().map(|faults| {
            let mut passage = *passage;
            faults.hinder(self.hosts[from.0 as usize], self.hosts[to.0 as usize], &mut passage);
            passage
        });
        let passage = hindered.as_ref().unwrap_or(passage);
        if let (true, Message::Step(step) | Message::Returned(Returned(step))) = (self.recording, &message) {
            self.events.push(Event::Carried(Carried {
                session: step.session,
                position: step.position,
                tokens: step.activation.tokens,
                from,
                to,
                bytes: message.wire_bytes(),
                queue: passage.queue,
                transmit: passage.transmit(),
                propagation: passage.propagation,
            }));
        }
        let at = passage.last.max(left).max(self.world.now);
        if self.overheads.are_none() {
            return self.post_at(at, from, to, Delivery::Message(message));
        }
        let (incarnation, held) = (self.incarnation(to), self.overheads.held(left, at));
        self.queue.schedule(at, SimEvent::Receive { from, to, incarnation, held, message });
    }

    fn await_settling(&mut self) {
        if let Some((at, version)) = self.fair.as_ref().and_then(|fair| Some((fair.next()?, fair.version()))) {
            self.queue.schedule(at, SimEvent::Settled(version));
        }
    }

    pub(super) fn settle(&mut self, version: u64) {
        let Some(fair) = self.fair.as_mut().filter(|fair| fair.version() == version) else { return };
        for (passage, (from, to, left, message)) in fair.take(self.world.now) {
            self.carry(from, to, left, &passage, message);
        }
        self.await_settling();
    }
}

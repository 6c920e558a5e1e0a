//! Per-message send and receive overheads: the time that a message takes at its sender and at its receiver for
//! encoding, copying, system calls and waking a thread. The time in the network is not part of the overheads.
//!
//! Without a shaped network, a message enters the network when its sender has finished sending it. With `shape: true`,
//! a live run holds a message until its scheduled time, which counts from the request to send it. The time in the
//! network then includes the overheads, unless they are longer.
use super::cpu_steal::Serving;
use actors::id::NodeId;
use actors::message::Message;
use actors::time::{Duration, Timestamp};
use scenarios::plan::{Overhead, Plan};

/// The message overheads of each node's host. `of_node` is empty if no host has overheads, which saves computation.
pub struct MessageOverheads {
    of_node: Vec<Overhead>,
    /// The machine of each node.
    machines: Vec<usize>,
    /// The time at which each node finishes the last message that it sends or receives. A node is one thread, so it
    /// handles one message at a time.
    until: Vec<Timestamp>,
    cpu_steal: Option<Serving>,
    shaped: bool,
}

impl MessageOverheads {
    pub fn of(plan: &Plan) -> MessageOverheads {
        let of_node: Vec<Overhead> = plan.nodes().map(|(node, _)| plan.device(node).cost.overhead).collect();
        let free = |overhead: &Overhead| {
            let Overhead { frame, idle, cpu_steal, .. } = *overhead;
            [frame, idle, cpu_steal.every].iter().all(|span| *span == Duration::ZERO) && overhead.per_byte == 0.0
        };
        let of_node = if of_node.iter().all(free) { Vec::new() } else { of_node };
        let machines: Vec<usize> = plan.nodes().map(|(_, node)| plan.host(node.host).machine as usize).collect();
        let cpu_steal = machines.iter().copied().zip(of_node.iter().map(|overhead| overhead.cpu_steal));
        let cpu_steal = Serving::of(plan, cpu_steal);
        let until = vec![Timestamp::default(); of_node.len()];
        MessageOverheads { of_node, machines, until, cpu_steal, shaped: plan.network.shape }
    }

    /// Whether no host has overheads.
    #[inline]
    pub fn are_none(&self) -> bool {
        self.of_node.is_empty()
    }

    /// Whether a message enters the network only after its sender's overhead for it has passed.
    #[inline]
    pub fn precede_the_network(&self) -> bool {
        !self.shaped
    }

    /// Returns the time for which a shaped network held a message that its sender had finished sending at `left` and
    /// that arrived at `at`; 0 if the network is not shaped.
    pub fn held(&self, left: Timestamp, at: Timestamp) -> Duration {
        if self.shaped { at.since(left) } else { Duration::ZERO }
    }

    /// Begins to send a message at `now`. Returns the time at which its sender has finished sending it.
    #[inline]
    pub fn send(&mut self, now: Timestamp, from: NodeId, message: &Message) -> Timestamp {
        if self.are_none() { now } else { self.handle(now, from, message, Duration::ZERO) }
    }

    /// Begins to receive a message that a shaped network has held for the time `held`. Returns the time at which its
    /// receiver has finished receiving it.
    pub fn receive(&mut self, now: Timestamp, to: NodeId, message: &Message, held: Duration) -> Timestamp {
        self.handle(now, to, message, held)
    }

    fn handle(&mut self, now: Timestamp, node: NodeId, message: &Message, absorbed: Duration) -> Timestamp {
        let index = node.0 as usize;
        let busy = self.until[index];
        let takes = self.of_node[index].of_frame(message.wire_bytes(), now.since(busy));
        let begin = now.max(busy);
        let until = self.held_up(now, node, begin, begin + Duration(takes.0.saturating_sub(absorbed.0)));
        self.until[index] = until;
        until
    }

    /// Returns the time at which work of `node` ends that begins at `from` and would end at `until` without CPU steal.
    #[inline]
    pub fn held_up(&mut self, now: Timestamp, node: NodeId, from: Timestamp, until: Timestamp) -> Timestamp {
        match &mut self.cpu_steal {
            Some(cpu_steal) => cpu_steal.through(now, self.machines[node.0 as usize], from, until),
            None => until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MessageOverheads;
    use actors::id::{NodeId, RequestId, SessionId};
    use actors::message::{Close, Message};
    use actors::time::{Duration, Timestamp};
    use scenarios::plan::Overhead;

    const FRAME: Overhead = Overhead { frame: Duration(10), ..Overhead::NONE };

    fn overheads(overhead: Overhead) -> MessageOverheads {
        let until = vec![Timestamp::default(); 2];
        MessageOverheads { of_node: vec![overhead; 2], machines: vec![0; 2], until, cpu_steal: None, shaped: false }
    }

    /// Returns the time at which `node` finishes a message that it begins to receive at `now` and that the network has
    /// held for the time `held`.
    fn received(overheads: &mut MessageOverheads, now: u64, node: u32, held: u64) -> u64 {
        let session = SessionId::new(RequestId { client: NodeId(0), index: 1 }, 0);
        let message = Message::Close(Close { session });
        overheads.receive(Timestamp(now), NodeId(node), &message, Duration(held)).0
    }

    #[test]
    fn a_node_handles_one_message_at_a_time() {
        let mut overheads = overheads(FRAME);
        assert_eq!(received(&mut overheads, 1000, 0, 0), 1010);
        assert_eq!(received(&mut overheads, 1003, 0, 0), 1020, "after the one before");
        assert_eq!(received(&mut overheads, 1003, 1, 0), 1013, "another node is free");
        assert_eq!(received(&mut overheads, 2000, 0, 0), 2010);
    }

    #[test]
    fn a_message_takes_longer_after_idling() {
        let mut overheads = overheads(Overhead { idle: Duration(20), half_after: Duration(1000), ..FRAME });
        assert_eq!(received(&mut overheads, 1000, 0, 0), 1020, "half of it after that time");
        assert_eq!(received(&mut overheads, 1020, 0, 0), 1030, "and nothing at once");
    }

    #[test]
    fn a_message_that_was_held_costs_what_is_left_of_its_overhead() {
        let mut overheads = overheads(FRAME);
        assert_eq!(received(&mut overheads, 1000, 0, 4), 1006);
        assert_eq!(received(&mut overheads, 2000, 0, 90), 2000);
    }
}

//! Per-message send and receive overheads: the time that a frame takes at its sender and at its receiver for encoding,
//! copying, system calls and waking a thread. The time in the network is not part of it.
//!
//! Without a shaped network they are added to the network's own time. With `shape: true` a live run holds a frame until
//! its scheduled time. The overheads are then absorbed as long as they are smaller than the network's time, and only
//! the cost of the wake-up after the hold is added.
use super::cache_interference::CacheInterference;
use super::core_queue::CoreQueue;
use super::cpu_steal::Serving;
use actors::id::NodeId;
use actors::message::Message;
use actors::seed::SmallStream;
use actors::time::{Duration, Timestamp};
use links::Passage;
use rand_distr::{Distribution, LogNormal};
use scenarios::plan::{Overhead, Plan};
use std::collections::BTreeMap;

/// The overheads of each node's host; `of_node` is empty if no host has any, so that frames skip the computation.
pub struct MessageOverheads {
    of_node: Vec<Overhead>,
    /// The machine of each node.
    machines: Vec<usize>,
    /// The times at which each node handled its last frames.
    nodes: Vec<Busy>,
    /// The queue of frames for the serving cores. A shaped network has none: it holds frames anyway, which absorbs the
    /// queueing.
    turns: Option<CoreQueue>,
    /// The clients whose frames each machine handled last.
    cache_interference: Option<CacheInterference>,
    cpu_steal: Option<Serving>,
    shaped: bool,
    /// The random variation of the overheads, if there is any.
    drawn: Option<Drawn>,
}

/// The time in which a node handles the current ends of frames. A node handles one at a time, because it is one thread.
#[derive(Clone, Copy, Default)]
struct Busy {
    from: Timestamp,
    until: Timestamp,
    /// The end of the last frame that the node is known to handle.
    last: Timestamp,
}

impl Busy {
    /// Adds the handling of an end of a frame that takes `takes` and begins at `now`, or after the frames that the node
    /// handles at `now`. Returns the time at which it ends.
    fn at_end(&mut self, now: Timestamp, takes: Duration) -> Timestamp {
        let waits = self.from <= now && now < self.until;
        (self.from, self.until) = match waits {
            true => (self.from, self.until + takes),
            false => (now, now + takes),
        };
        self.last = self.last.max(self.until);
        self.until
    }
}

/// The random variation of overheads. Frames do not overtake each other on a connection because of it.
struct Drawn {
    stream: SmallStream,
    of_node: Vec<Option<LogNormal<f64>>>,
    last: BTreeMap<(NodeId, NodeId), Timestamp>,
}

impl MessageOverheads {
    pub fn of(plan: &Plan) -> MessageOverheads {
        let of_node: Vec<Overhead> = plan.nodes().map(|(node, _)| plan.device(node).cost.overhead).collect();
        let free = |overhead: &Overhead| {
            let Overhead { frame, idle, opening, held, cpu_steal, .. } = *overhead;
            [frame, idle, opening, held, cpu_steal.every].iter().all(|span| *span == Duration::ZERO)
                && overhead.per_byte == 0.0
        };
        let of_node = if of_node.iter().all(free) { Vec::new() } else { of_node };
        let machines: Vec<usize> = plan.nodes().map(|(_, node)| plan.host(node.host).machine as usize).collect();
        let said = || machines.iter().copied().zip(&of_node);
        let cpu_steal = Serving::of(plan, said().map(|(machine, overhead)| (machine, overhead.cpu_steal)));
        let cache_interference =
            of_node.iter().any(|overhead| overhead.cache_interference > 0.0).then(|| CacheInterference::of(plan));
        let varies =
            cpu_steal.is_some() || cache_interference.is_some() || of_node.iter().any(|overhead| overhead.sigma > 0.0);
        let drawn = varies.then(|| Drawn {
            stream: plan.chance.small_stream("ends", 0, 0),
            of_node: of_node.iter().map(|overhead| factor(overhead.sigma)).collect(),
            last: BTreeMap::new(),
        });
        let serving = said().map(|(machine, overhead)| (machine, overhead.serving));
        let turns = if plan.network.shape { None } else { CoreQueue::of(plan, serving) };
        let nodes = vec![Busy::default(); of_node.len()];
        MessageOverheads {
            of_node,
            machines,
            nodes,
            turns,
            cache_interference,
            cpu_steal,
            shaped: plan.network.shape,
            drawn,
        }
    }

    /// Returns the time at which the receiver has the message, and records the use of nodes and cores by it.
    #[inline]
    pub fn delivered(&mut self, from: NodeId, to: NodeId, passage: &Passage, message: &Message) -> Timestamp {
        let (Some(sender), Some(receiver)) = (self.of_node.get(from.0 as usize), self.of_node.get(to.0 as usize))
        else {
            return passage.last;
        };
        let bytes = message.wire_bytes() as f64;
        let copy = |of: &Overhead| Duration::from_secs_f64(bytes * of.per_byte);
        let still = |node: NodeId, now: Timestamp| now.since(self.nodes[node.0 as usize].last);
        let mut sends = sender.end_of_frame(still(from, passage.sent));
        let (mut receives, mut held) = (receiver.end_of_frame(still(to, passage.last)), receiver.held);
        if let Message::Opened(_) = message {
            sends += sender.opening;
        }
        (sends, receives) = (sends + copy(sender), receives + copy(receiver));
        if let Some(cache_interference) = &mut self.cache_interference {
            let ends = [from, to].map(|node| self.machines[node.0 as usize]);
            let [at_sender, at_receiver] = cache_interference.meet(ends, message);
            (sends, receives) = (sender.among_others(sends, at_sender), receiver.among_others(receives, at_receiver));
        }
        if let Some(drawn) = &mut self.drawn {
            (sends, receives) = (drawn.stretch(from, sends), drawn.stretch(to, receives));
            held = drawn.stretch(to, held);
        }
        let left = self.nodes[from.0 as usize].at_end(passage.sent, sends);
        let left = self.held_up(passage.sent, from, passage.sent, left);
        // A frame that a shaped network holds until its scheduled time is received at that time, not before.
        let there = left + passage.last.since(passage.sent);
        let (begun, at) = match self.shaped {
            true if passage.last > left + receives => (passage.last, passage.last + held),
            true => (left, left + receives),
            false => (there, self.nodes[to.0 as usize].at_end(there, receives)),
        };
        let mut at = self.held_up(passage.sent, to, begun, at);
        if let Some(drawn) = &mut self.drawn {
            at = drawn.in_order(from, to, at);
        }
        if let Some(turns) = &mut self.turns {
            at = turns.send(passage.sent, self.machines[from.0 as usize], (from, to), sends + receives, at);
        }
        let receiver = &mut self.nodes[to.0 as usize];
        receiver.last = receiver.last.max(at);
        at
    }

    /// Returns when work of `node` from `from` to `until` ends: later than `until` if steal interrupts its core.
    #[inline]
    pub fn held_up(&mut self, now: Timestamp, node: NodeId, from: Timestamp, until: Timestamp) -> Timestamp {
        match &mut self.cpu_steal {
            Some(cpu_steal) => cpu_steal.through(now, self.machines[node.0 as usize], from, until),
            None => until,
        }
    }

    /// Returns the new time of a delivery that is due now, if other frames have delayed its frame. `None` if the
    /// message is to be delivered now.
    #[inline]
    pub fn put_off(&mut self, now: Timestamp, from: NodeId, to: NodeId) -> Option<Timestamp> {
        let turns = self.turns.as_mut().filter(|_| from != to)?;
        turns.put_off(now, self.machines[from.0 as usize], (from, to))
    }
}

/// Returns a log-normal factor of mean 1, or `None` if `sigma` is 0. The mean of exp(N(mu, sigma)) is exp(mu + sigma^2
/// / 2).
fn factor(sigma: f64) -> Option<LogNormal<f64>> {
    LogNormal::new(-sigma * sigma / 2.0, sigma).ok().filter(|_| sigma > 0.0)
}

impl Drawn {
    fn stretch(&mut self, node: NodeId, time: Duration) -> Duration {
        match &self.of_node[node.0 as usize] {
            Some(factor) => Duration::from_secs_f64(time.as_secs_f64() * factor.sample(&mut self.stream)),
            None => time,
        }
    }

    fn in_order(&mut self, from: NodeId, to: NodeId, at: Timestamp) -> Timestamp {
        let last = self.last.entry((from, to)).or_default();
        *last = at.max(*last);
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::{Busy, Drawn, MessageOverheads, factor};
    use actors::announce::Load;
    use actors::id::{NodeId, RequestId, SessionId};
    use actors::message::{Close, Message, Opened};
    use actors::seed::Seed;
    use actors::time::{Duration, Timestamp};
    use links::Passage;
    use scenarios::plan::Overhead;
    use std::collections::BTreeMap;

    const FRAME: Overhead = Overhead { frame: Duration(10), ..Overhead::NONE };

    fn ends(overhead: Overhead) -> MessageOverheads {
        let (of_node, machines, nodes) = (vec![overhead; 3], vec![0; 3], vec![Busy::default(); 3]);
        MessageOverheads {
            of_node,
            machines,
            nodes,
            turns: None,
            cache_interference: None,
            cpu_steal: None,
            shaped: false,
            drawn: None,
        }
    }

    fn session() -> SessionId {
        SessionId::new(RequestId { client: NodeId(0), index: 1 }, 0)
    }

    /// Returns the time at which the receiver has a frame that is sent at `now`.
    fn delivered(ends: &mut MessageOverheads, now: u64, from: u32, to: u32, message: &Message) -> u64 {
        ends.delivered(NodeId(from), NodeId(to), &Passage::begin(Timestamp(now)), message).0
    }

    #[test]
    fn a_node_is_at_one_end_at_a_time() {
        let close = Message::Close(Close { session: session() });
        let mut ends = ends(FRAME);
        assert_eq!(delivered(&mut ends, 1000, 0, 2, &close), 1020);
        assert_eq!(delivered(&mut ends, 1000, 1, 2, &close), 1030, "the receiver is still at the one before");
        assert_eq!(delivered(&mut ends, 2000, 0, 1, &close), 2020);
        assert_eq!(delivered(&mut ends, 2000, 0, 2, &close), 2030, "the sender is");
        assert_eq!(delivered(&mut ends, 2005, 1, 0, &close), 2030, "nobody waits for what is yet to come");
    }

    #[test]
    fn an_end_takes_longer_after_stillness_and_a_session_to_open() {
        let close = Message::Close(Close { session: session() });
        let opened = Message::Opened(Opened { session: session(), load: Load::default() });
        let mut ends = ends(Overhead { idle: Duration(20), half_after: Duration(1000), opening: Duration(7), ..FRAME });
        assert_eq!(delivered(&mut ends, 1000, 0, 1, &close), 1040, "half of it at each end after that time");
        assert_eq!(delivered(&mut ends, 1040, 1, 0, &opened), 1067, "and nothing at once");
    }

    #[test]
    fn frames_vary_about_their_mean_and_keep_their_order() {
        let stream = Seed(7).small_stream("ends", 0, 0);
        let mut drawn = Drawn { stream, of_node: vec![factor(0.4), factor(0.0)], last: BTreeMap::new() };
        let frame = Duration(20_000);
        let times: Vec<u64> = (0..20_000).map(|_| drawn.stretch(NodeId(0), frame).0).collect();
        let mean = times.iter().sum::<u64>() as f64 / times.len() as f64;
        assert!((mean / 20_000.0 - 1.0).abs() < 0.01, "{mean}");
        let short = times.iter().filter(|time| **time < 13_000).count() as f64 / times.len() as f64;
        assert!((0.1..0.25).contains(&short), "{short} are a standard deviation below the median");
        assert_eq!(drawn.stretch(NodeId(1), frame), frame, "nothing is drawn for a host that does not vary");
        assert_eq!(drawn.in_order(NodeId(0), NodeId(1), Timestamp(50)), Timestamp(50));
        assert_eq!(
            drawn.in_order(NodeId(0), NodeId(1), Timestamp(30)),
            Timestamp(50),
            "not before the frame before it"
        );
        assert_eq!(drawn.in_order(NodeId(1), NodeId(0), Timestamp(30)), Timestamp(30));
    }
}

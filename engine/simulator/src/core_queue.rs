//! Cores of a machine on which the frames of all its hosts are sent and received, which take turns at them.
//!
//! The kernel lets those that want a core have it by turns, a little each. So two frames that meet there put each other off
//! by as long as the shorter of what is left of both takes: a small one is through soon, and a large one later for it.
use actors::id::NodeId;
use actors::time::{Duration, Timestamp};
use scenarios::plan::Plan;

/// The serving cores of each machine, and what is under way there.
pub struct CoreQueue {
    machines: Vec<Machine>,
}

struct Machine {
    cores: usize,
    /// In the order of sending.
    under_way: Vec<Frame>,
}

/// A frame that was sent and has not been delivered.
struct Frame {
    from: NodeId,
    to: NodeId,
    core: usize,
    /// When its core is through with it.
    done: Timestamp,
    /// When it is to be delivered.
    at: Timestamp,
    /// How much later that will be, for others that came after it.
    later: Duration,
}

impl Frame {
    /// What is left of it for its core.
    fn left(&self, now: Timestamp) -> Duration {
        (self.done + self.later).since(now)
    }
}

impl CoreQueue {
    /// On as many cores of each machine as its nodes say, each by its machine; 0: frames there do not meet. None where they
    /// do nowhere.
    pub fn of(plan: &Plan, serving: impl Iterator<Item = (usize, u32)>) -> Option<CoreQueue> {
        let mut machines: Vec<Machine> =
            plan.machines.iter().map(|_| Machine { cores: 0, under_way: Vec::new() }).collect();
        for (machine, cores) in serving {
            machines[machine].cores = machines[machine].cores.max(cores as usize);
        }
        machines.iter().any(|machine| machine.cores > 0).then_some(CoreQueue { machines })
    }

    /// A frame that takes a core of its sender's `machine` so long, for both its ends, and would be delivered at `at`: when
    /// it is delivered as things are.
    pub fn send(
        &mut self,
        now: Timestamp,
        machine: usize,
        (from, to): (NodeId, NodeId),
        takes: Duration,
        at: Timestamp,
    ) -> Timestamp {
        let Machine { cores, under_way } = &mut self.machines[machine];
        if *cores == 0 {
            return at;
        }
        under_way.retain(|frame| frame.at + frame.later >= now);
        let left = |core: usize| {
            under_way.iter().filter(|frame| frame.core == core).map(|frame| frame.left(now)).sum::<Duration>()
        };
        // With more cores than frames under way, one of so many first ones is idle.
        let core = (0..=under_way.len()).take(*cores).min_by_key(|core| left(*core)).unwrap_or(0);
        let mut waits = Duration::ZERO;
        for frame in under_way.iter_mut().filter(|frame| frame.core == core) {
            let turns = frame.left(now).min(takes);
            waits += turns;
            frame.later += turns;
        }
        let at = at + waits;
        under_way.push(Frame { from, to, core, done: now + waits + takes, at, later: Duration::ZERO });
        at
    }

    /// A frame is to be delivered now: when instead, if it was put off, or one before it on its connection was.
    pub fn put_off(&mut self, now: Timestamp, machine: usize, connection: (NodeId, NodeId)) -> Option<Timestamp> {
        let under_way = &mut self.machines[machine].under_way;
        let of_connection = |frame: &Frame| (frame.from, frame.to) == connection;
        let position = under_way.iter().position(|frame| of_connection(frame) && frame.at == now)?;
        let before = under_way[..position].iter().filter(|frame| of_connection(frame));
        let before = before.map(|frame| frame.at + frame.later).max().unwrap_or_default();
        let frame = &mut under_way[position];
        let at = (frame.at + frame.later).max(before);
        if at == now {
            under_way.remove(position);
            return None;
        }
        (frame.done, frame.at, frame.later) = (frame.done + frame.later, at, Duration::ZERO);
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::{CoreQueue, Machine};
    use actors::id::NodeId;
    use actors::time::{Duration, Timestamp};

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);
    const C: NodeId = NodeId(2);

    fn turns(cores: usize) -> CoreQueue {
        CoreQueue { machines: vec![Machine { cores, under_way: Vec::new() }] }
    }

    /// A frame of this length is sent; when it would be delivered.
    fn send(turns: &mut CoreQueue, now: u64, way: (NodeId, NodeId), takes: u64) -> u64 {
        turns.send(Timestamp(now), 0, way, Duration(takes), Timestamp(now + takes)).0
    }

    fn delivered(turns: &mut CoreQueue, mut at: u64, way: (NodeId, NodeId)) -> u64 {
        while let Some(later) = turns.put_off(Timestamp(at), 0, way) {
            assert!(later.0 > at);
            at = later.0;
        }
        at
    }

    #[test]
    fn two_that_meet_share_their_core() {
        let mut turns = turns(1);
        let large = send(&mut turns, 100, (A, B), 50);
        let small = send(&mut turns, 110, (B, C), 10);
        assert_eq!((large, small), (150, 130));
        assert_eq!(delivered(&mut turns, small, (B, C)), 130, "it has had every second turn");
        assert_eq!(delivered(&mut turns, large, (A, B)), 160, "both together take as long as one after the other");
        assert_eq!(send(&mut turns, 200, (A, B), 50), 250, "nobody is left");
    }

    #[test]
    fn each_has_a_core_where_there_are_two() {
        let mut turns = turns(2);
        let (one, other) = (send(&mut turns, 0, (A, B), 50), send(&mut turns, 10, (B, C), 10));
        assert_eq!((one, other), (50, 20));
        assert_eq!(send(&mut turns, 15, (C, A), 10), 30, "with the one of which less is left");
        assert_eq!(delivered(&mut turns, 20, (B, C)), 25);
        assert_eq!(delivered(&mut turns, 50, (A, B)), 50);
    }

    #[test]
    fn as_many_cores_as_can_be_counted_are_no_work() {
        let mut turns = turns(u32::MAX as usize);
        let sent: Vec<u64> = (0..100).map(|at| send(&mut turns, at, (A, B), 500) - at).collect();
        assert!(sent.iter().all(|took| *took == 500), "each has one of its own: {sent:?}");
    }

    #[test]
    fn no_frame_overtakes_another_of_its_connection() {
        let mut turns = turns(2);
        let first = send(&mut turns, 0, (A, B), 50);
        let second = send(&mut turns, 1, (A, B), 49);
        for from in 2..6 {
            send(&mut turns, from, (C, A), 30);
        }
        let (first, second) = (delivered(&mut turns, first, (A, B)), delivered(&mut turns, second, (A, B)));
        assert!(first > 50 && first <= second, "{first} and {second}");
    }
}

//! The cores of a machine that send and receive the frames of all its hosts.
//!
//! The kernel shares a core among the frames that need it in short time slices. Two frames on one core therefore delay
//! each other by the shorter of their remaining times: a small frame finishes soon, and a large one is later by the
//! small one's time.
use actors::id::NodeId;
use actors::time::{Duration, Timestamp};
use scenarios::plan::Plan;

/// The cores of each machine that serve the network, and the frames in transit there.
pub struct CoreQueue {
    machines: Vec<Machine>,
}

struct Machine {
    cores: usize,
    /// The frames in the order in which they were sent.
    under_way: Vec<Frame>,
}

/// A frame that was sent and has not been delivered.
struct Frame {
    from: NodeId,
    to: NodeId,
    core: usize,
    /// The time at which its core finishes with the frame, without `later`.
    done: Timestamp,
    /// The time at which the frame is to be delivered, without `later`.
    at: Timestamp,
    /// The additional delay caused by frames that were sent after this one.
    later: Duration,
}

impl Frame {
    /// Returns the core time that the frame still needs.
    fn left(&self, now: Timestamp) -> Duration {
        (self.done + self.later).since(now)
    }
}

impl CoreQueue {
    /// Returns the core queue of a plan, or `None` if no machine has serving cores. `serving` gives for each node its
    /// machine and its number of serving cores. A machine has the maximum of its nodes; with 0 cores its frames do not
    /// delay each other.
    pub fn of(plan: &Plan, serving: impl Iterator<Item = (usize, u32)>) -> Option<CoreQueue> {
        let mut machines: Vec<Machine> =
            plan.machines.iter().map(|_| Machine { cores: 0, under_way: Vec::new() }).collect();
        for (machine, cores) in serving {
            machines[machine].cores = machines[machine].cores.max(cores as usize);
        }
        machines.iter().any(|machine| machine.cores > 0).then_some(CoreQueue { machines })
    }

    /// Adds a frame that needs a core of its sender's `machine` for `takes`, the overheads of both ends together.
    /// The frame would be delivered at `at` if its machine handled no other frames. Returns the time at which it is
    /// delivered beside the frames in transit, and delays those as well.
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
        // If there are more cores than frames in transit, the first cores up to that number plus one include an idle
        // core.
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

    /// Returns the new time of delivery of a frame that is due now, if the frame or an earlier one of its connection
    /// has been delayed since it was scheduled. `None` if the frame is to be delivered now.
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

    /// Sends a frame that needs the core for `takes`, and returns its scheduled time of delivery.
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

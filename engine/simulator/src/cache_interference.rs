//! The clients whose frames a machine handled last: frames of other clients evict a client's data from the CPU caches.
use actors::id::NodeId;
use actors::message::{Close, Message, Opened, Returned, Step};
use scenarios::plan::Plan;
use std::collections::VecDeque;

/// The number of recent frames that a machine remembers.
const LAST: usize = 16;

pub struct CacheInterference {
    /// For each machine, the clients whose requests its most recent frames belong to.
    machines: Vec<VecDeque<NodeId>>,
}

impl CacheInterference {
    pub fn of(plan: &Plan) -> CacheInterference {
        CacheInterference { machines: plan.machines.iter().map(|_| VecDeque::with_capacity(LAST)).collect() }
    }

    /// Records a frame between the machines of its sender and its receiver, which may be the same machine. Returns for
    /// each of the two which share of its recent frames belonged to other clients, from 0 to 1.
    pub fn meet(&mut self, ends: [usize; 2], message: &Message) -> [f64; 2] {
        let Some(client) = asks(message) else { return [0.0; 2] };
        let shares = ends.map(|machine| {
            let last = &self.machines[machine];
            let others = last.iter().filter(|other| **other != client).count();
            others as f64 / last.len().max(1) as f64
        });
        self.note(ends[0], client);
        if ends[1] != ends[0] {
            self.note(ends[1], client);
        }
        shares
    }

    fn note(&mut self, machine: usize, client: NodeId) {
        let last = &mut self.machines[machine];
        if last.len() == LAST {
            last.pop_front();
        }
        last.push_back(client);
    }
}

/// Returns the client whose request a message belongs to.
fn asks(message: &Message) -> Option<NodeId> {
    match message {
        Message::Step(Step { session, .. })
        | Message::Returned(Returned(Step { session, .. }))
        | Message::Opened(Opened { session, .. })
        | Message::Close(Close { session }) => Some(session.client()),
        Message::Open(open) => Some(open.session.client()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::CacheInterference;
    use actors::id::{NodeId, RequestId, SessionId};
    use actors::message::{Close, Message};
    use std::collections::VecDeque;

    #[test]
    fn the_share_of_others_is_that_among_the_last_frames_of_each_machine() {
        // The plan has a peer on one machine and two clients on another.
        let mut cache_interference = CacheInterference { machines: vec![VecDeque::new(); 2] };
        let (one, other) = (NodeId(1), NodeId(2));
        let of = |client| Message::Close(Close { session: SessionId::new(RequestId { client, index: 1 }, 0) });
        assert_eq!(cache_interference.meet([1, 0], &of(one)), [0.0, 0.0], "nobody was there");
        assert_eq!(cache_interference.meet([0, 1], &of(one)), [0.0, 0.0]);
        assert_eq!(cache_interference.meet([1, 0], &of(other)), [1.0, 1.0]);
        assert_eq!(cache_interference.meet([1, 1], &of(one)), [1.0 / 3.0; 2]);
        assert_eq!(cache_interference.meet([1, 1], &of(one)), [0.25; 2], "once, where both ends are on one machine");
        for _ in 0..40 {
            cache_interference.meet([1, 1], &of(other));
        }
        assert_eq!(cache_interference.meet([1, 0], &of(one)), [1.0, 1.0 / 3.0], "what was long ago is forgotten");
    }
}

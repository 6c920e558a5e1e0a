//! Tests that frames leave in order, not before their delivery times by the link model, and not much later.
use super::*;
use actors::id::{NodeId, RequestId, SessionId};
use actors::message::Close;
use tokio::sync::mpsc::unbounded_channel;

fn close(count: u32) -> Message {
    Message::Close(Close { session: SessionId::new(RequestId { client: NodeId(9), index: count }, 0) })
}

#[test]
fn frames_are_held_to_within_a_millisecond_of_their_instant() {
    let (holding, frames) = channel();
    let (sender, mut arrivals) = unbounded_channel();
    let thread = thread::spawn(move || hold(&frames, &sender));
    let mut late = Vec::new();
    for round in 0..20 {
        let until = clock::now() + Duration::from_micros(2_000 + 137 * round);
        let (from, to) = (NodeId(1), NodeId(2));
        holding.send(Held { until, from, to, incarnation: 0, message: close(round as u32) }).unwrap();
        arrivals.blocking_recv().unwrap();
        let now = clock::now();
        assert!(now >= until, "never before its instant");
        late.push(now.since(until));
    }
    late.sort();
    // Only the least lateness is checked, because a busy machine may preempt the thread at any other frame.
    assert!(late[0] < Duration::from_millis(1), "{} late", late[0]);
    drop(holding);
    thread.join().unwrap();
}

#[test]
fn the_earlier_instant_leaves_first_and_equal_ones_in_their_order() {
    let (holding, frames) = channel();
    let (sender, mut arrivals) = unbounded_channel();
    let start = clock::now() + Duration::from_millis(20);
    for (count, after) in [(0, 9), (1, 3), (2, 3), (3, 1), (4, 9)] {
        let until = start + Duration::from_millis(after);
        holding.send(Held { until, from: NodeId(1), to: NodeId(2), incarnation: 0, message: close(count) }).unwrap();
    }
    let thread = thread::spawn(move || hold(&frames, &sender));
    let order: Vec<_> = (0..5)
        .map(|_| match arrivals.blocking_recv().unwrap() {
            Arrival::Held(Held { message, .. }) => message,
            _ => panic!("the shaper sends what it has held"),
        })
        .collect();
    assert_eq!(order, [3, 1, 2, 0, 4].map(close));
    drop(holding);
    thread.join().unwrap();
}

//! Tests the rows of a step when a later replay ends at the step's position: the messages of the replay are not part of
//! that step.
use actors::id::{BlockRange, NodeId, RequestId, SessionId};
use actors::record::{Carried, Event, Served, Stepped};
use actors::time::{Duration, Timestamp};
use rows::RunRows;

const REQUEST: RequestId = RequestId { client: NodeId(9), index: 1 };

fn at(ms: u64) -> Timestamp {
    Timestamp::default() + Duration::from_millis(ms)
}

fn served(hop: u16, peer: u32, received: u64) -> Event {
    Event::Served(Served {
        session: SessionId::new(REQUEST, hop),
        request: REQUEST,
        position: 4,
        tokens: 1,
        batch: 1,
        hop,
        peer: NodeId(peer),
        blocks: BlockRange { start: 0, end: 1 },
        cached: true,
        received: at(received),
        started: at(received),
        finished: at(received + 1),
        sent: at(received + 1),
        queued: 0,
    })
}

fn carried(number: u16, from: u32, to: u32) -> Event {
    let propagation = Duration::from_millis(10);
    let (queue, transmit, bytes) = (Duration::ZERO, Duration::ZERO, 100);
    let (session, from, to) = (SessionId::new(REQUEST, number), NodeId(from), NodeId(to));
    Event::Carried(Carried { session, position: 4, tokens: 1, from, to, bytes, queue, transmit, propagation })
}

#[test]
fn the_result_of_a_later_replay_belongs_to_no_earlier_step() {
    let step = Event::Stepped(Stepped {
        session: SessionId::new(REQUEST, 0),
        request: REQUEST,
        position: 4,
        tokens: 1,
        batch: 1,
        output: 2,
        began: at(0),
        seen: at(32),
        setup: Duration::ZERO,
        client_queue: Duration::ZERO,
        client: Duration::ZERO,
        embedding: Duration::ZERO,
        recovery: Duration::ZERO,
    });
    // The step goes from the client over peers 2 and 3 back to the client. Later, peer 5 replaces peer 2 and sends the
    // same result to peer 3 again.
    let own = [served(0, 2, 10), served(1, 3, 21), carried(0, 9, 2), carried(1, 2, 3), carried(1, 3, 9), step];
    let row = |events: &[Event]| RunRows::of(events).tokens[0].clone();
    let alone = row(&own);
    assert_eq!((alone.bytes, alone.suspect), (Some(300), false));
    assert_eq!(row(&[&own[..], &[carried(1, 5, 3)]].concat()), alone);
}

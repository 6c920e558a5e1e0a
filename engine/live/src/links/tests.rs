//! Tests of a link over a real socket: everything arrives, whole frames overtake chunks, and a reset connection is
//! noticed.
use super::*;
use crate::wire::{AddressedMessage, FrameReader, Incoming, Limits, message_frame};
use actors::id::{NodeId, RequestId, SessionId};
use actors::message::{Activation, Buffer, Close, Message, Payload, Step, WireType};
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};

const LIMITS: Limits = Limits { control: 1 << 20, tensor: 64 << 20 };

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

fn addressed(message: Message) -> AddressedMessage {
    AddressedMessage { from: NodeId(1), to: NodeId(2), passage: None, message }
}

fn small(count: u32) -> AddressedMessage {
    addressed(Message::Close(Close { session: SessionId::new(RequestId { client: NodeId(1), index: count }, 0) }))
}

fn large(tokens: u32) -> AddressedMessage {
    let hollow = Activation { tokens, batch: 1, hidden: 4096, dtype: WireType::F32, data: None };
    let data = Some(Arc::new(Payload::Buffer(Buffer::zeroed(hollow.bytes() as usize))));
    let activation = Activation { data, ..hollow };
    addressed(Message::Step(Step {
        session: SessionId::new(RequestId { client: NodeId(1), index: 1 }, 0),
        position: 0,
        activation,
    }))
}

#[test]
fn what_the_socket_does_not_take_follows_and_small_frames_overtake() {
    run(async {
        let (near, remote) = pair().await;
        let (_reader, writer) = near.into_split();
        let link = Link::connected(writer);
        tokio::task::spawn_local(link.clone().write());
        // The message has 48 MB, more than a socket accepts at once.
        let sent = large(3_000);
        link.send(message_frame(&sent).unwrap()).unwrap();
        assert!(link.outbound.borrow().bytes > 0, "some of it waits");
        for count in 0..3 {
            link.send(message_frame(&small(count)).unwrap()).unwrap();
        }
        let mut reader = FrameReader::new(remote, LIMITS);
        for count in 0..3 {
            assert_eq!(reader.next().await.unwrap(), Some(Incoming::Message(small(count))));
        }
        assert_eq!(reader.next().await.unwrap(), Some(Incoming::Message(sent)));
        assert_eq!(link.outbound.borrow().bytes, 0, "nothing is left, and nothing was counted twice");
    });
}

#[test]
fn what_is_sent_while_dialling_leaves_once_connected() {
    run(async {
        let (near, remote) = pair().await;
        let (_reader, writer) = near.into_split();
        let link = Link::dialling();
        tokio::task::spawn_local(link.clone().write());
        let sent: Vec<_> = (0..5).map(small).collect();
        for addressed in &sent {
            link.send(message_frame(addressed).unwrap()).unwrap();
        }
        link.connect(writer);
        let mut reader = FrameReader::new(remote, LIMITS);
        for addressed in sent {
            assert_eq!(reader.next().await.unwrap(), Some(Incoming::Message(addressed)));
        }
    });
}

#[test]
fn a_link_takes_no_more_than_its_limit() {
    run(async {
        let link = Link::dialling();
        let frame = || message_frame(&large(60_000)).unwrap();
        // Each frame has 983 MB, and none of its bytes are sent.
        assert!(link.send(frame()).is_ok());
        assert!(link.send(frame()).is_ok());
        let why = link.send(frame()).unwrap_err();
        assert!(matches!(why, LinkError::Full { .. }), "{why}");
    });
}

#[test]
fn a_connection_that_the_other_side_has_reset_is_an_error() {
    run(async {
        let (near, remote) = pair().await;
        let (_reader, writer) = near.into_split();
        let link = Link::connected(writer);
        drop(remote);
        let broken = async {
            loop {
                if let Err(why) = link.send(message_frame(&small(1)).unwrap()) {
                    return why;
                }
                tokio::task::yield_now().await;
            }
        };
        let why = tokio::time::timeout(std::time::Duration::from_secs(5), broken).await.expect("it is noticed");
        assert!(matches!(why, LinkError::Io(_)), "{why}");
    });
}

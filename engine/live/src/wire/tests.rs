//! Tests of the wire format: frames survive a round trip, invalid bytes return an error, and no bytes cause a panic.
use super::*;
use actors::announce::{Announce, Load};
use actors::dht::Key;
use actors::dht::record::{Held, Record, State};
use actors::dht::rpc::{Body, Rpc};
use actors::dht::table::Contact;
use actors::id::{BlockRange, RequestId, SessionId};
use actors::message::{Close, Latency, Next, Open, Ping, Present, Step, WireType};
use actors::time::{Duration, Timestamp};
use proptest::prelude::*;

const LIMITS: Limits = Limits { control: 1 << 20, tensor: 4 << 20 };

/// Reads all frames of `bytes` through a pipe that holds `piece` bytes.
fn read_all(bytes: &[u8], piece: usize, limits: Limits) -> Result<Vec<Incoming>, WireError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut near, remote) = tokio::io::duplex(piece.max(1));
        let writing = async move {
            // The write fails if the reader has already returned an error, which some tests expect.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut near, bytes).await;
        };
        let reading = async move {
            let mut reader = FrameReader::new(remote, limits);
            let mut heard = Vec::new();
            while let Some(incoming) = reader.next().await? {
                heard.push(incoming);
            }
            Ok(heard)
        };
        tokio::join!(writing, reading).1
    })
}

/// Returns a unit's bytes.
fn to_vec(unit: &Unit) -> Vec<u8> {
    unit.slices().iter().flat_map(|slice| slice.iter().copied()).collect()
}

/// Returns a frame's bytes, with the chunks after its message.
fn bytes(addressed: &AddressedMessage) -> Vec<u8> {
    let Frame { first, chunks } = message_frame(addressed).unwrap();
    chunks.into_iter().flatten().fold(to_vec(&first), |mut all, unit| {
        all.extend(to_vec(&unit));
        all
    })
}

fn step(tokens: u32, batch: u16, hidden: u16, dtype: WireType, fill: u64) -> Message {
    let hollow = Activation { tokens, batch, hidden, dtype, data: None };
    let mut buffer = Buffer::zeroed(hollow.bytes() as usize);
    for (at, byte) in bytes_of_mut(&mut buffer).iter_mut().enumerate() {
        *byte = (fill.wrapping_mul(at as u64 + 1) >> 13) as u8;
    }
    let data = Some(Arc::new(Payload::Buffer(buffer)));
    let activation = Activation { data, ..hollow };
    Message::Step(Step {
        session: SessionId::new(RequestId { client: NodeId(4), index: 7 }, 1),
        position: 9,
        activation,
    })
}

fn addressed(message: Message, passage: Option<Passage>) -> AddressedMessage {
    AddressedMessage { from: NodeId(3), to: NodeId(300), passage, message }
}

fn messages() -> impl Strategy<Value = Message> {
    let dtype =
        prop_oneof![Just(WireType::F32), Just(WireType::F16), Just(WireType::Bf16), Just(WireType::Int8 { block: 64 })];
    let node = any::<u32>().prop_map(NodeId);
    prop_oneof![
        Just(Message::Present(Present)),
        (any::<u32>(), any::<u64>()).prop_map(|(id, key)| {
            let body = Body::FindValue { targets: vec![Key(key); 3] };
            Message::Rpc(Box::new(Rpc { id, key: Some(Key(key)), body }))
        }),
        (1..40u32, 1..4u16, 1..300u16, dtype, any::<u64>()).prop_map(|(t, b, h, d, fill)| step(t, b, h, d, fill)),
        (1..40u32, any::<u64>()).prop_map(|(tokens, digest)| {
            let Message::Step(mut step) = step(tokens, 1, 8, WireType::F32, 0) else { unreachable!() };
            let mut digests = Buffer::zeroed(8 * tokens as usize);
            digests.words_mut().fill(digest);
            step.activation.data = Some(Arc::new(Payload::Digests(digests)));
            Message::Returned(Returned(step))
        }),
        (node.clone(), any::<u32>(), any::<u64>()).prop_map(|(client, index, ns)| {
            Message::Latency(Latency { request: RequestId { client, index }, took: Ok(Duration(ns)), tokens: 3 })
        }),
        (node.clone(), 0..20usize).prop_map(|(peer, count)| {
            let blocks = BlockRange { start: 1, end: 3 };
            let load = Load { sessions: 2, ..Load::default() };
            let next = vec![(peer, Duration(7)); count / 4];
            let announce = Announce { peer, blocks, inference_rps: 0.5, load, next };
            let record = Arc::new(Record { announce, state: State::Online, throughput: 2.5, version: Timestamp(9) });
            let held = Held {
                records: vec![record; count].into_iter().collect(),
                keys: [0, 7].into_iter().collect(),
                pairs: 3,
            };
            let contacts = vec![Contact { key: Key(4), node: peer }; count];
            Message::Rpc(Box::new(Rpc { id: 5, key: None, body: Body::Values { contacts, held } }))
        }),
        (node.clone(), any::<u16>(), any::<bool>()).prop_map(|(peer, number, last)| {
            let session = |number| SessionId::new(RequestId { client: peer, index: 1 }, number);
            let next = (!last).then(|| Next { peer, session: session(number ^ 1) });
            let (session, blocks) = (session(number), BlockRange { start: 0, end: 2 });
            Message::Open(Box::new(Open {
                session,
                blocks,
                hop: number,
                next,
                batch: 2,
                max_length: 99,
                cached: last,
                keep: !last,
                wanted: 4,
            }))
        }),
        (node, any::<u16>()).prop_map(|(client, number)| {
            Message::Close(Close { session: SessionId::new(RequestId { client, index: 3 }, number) })
        }),
        any::<u64>().prop_map(|nonce| Message::Ping(Ping { nonce })),
    ]
}

fn passages() -> impl Strategy<Value = Option<Passage>> {
    proptest::option::of(any::<[u64; 5]>().prop_map(|[sent, first, last, queue, propagation]| Passage {
        sent: Timestamp(sent),
        first: Timestamp(first),
        last: Timestamp(last),
        queue: Duration(queue),
        propagation: Duration(propagation),
    }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn messages_come_out_as_they_went_in(
        sent in proptest::collection::vec((messages(), passages()), 1..6),
        piece in 1..100_000usize,
    ) {
        let sent: Vec<_> = sent.into_iter().map(|(message, passage)| addressed(message, passage)).collect();
        let stream: Vec<u8> = sent.iter().flat_map(bytes).collect();
        let heard = read_all(&stream, piece, LIMITS).unwrap();
        let sent: Vec<_> = sent.into_iter().map(Incoming::Message).collect();
        prop_assert_eq!(heard, sent);
    }

    #[test]
    fn a_stream_cut_anywhere_is_an_error_or_ends_between_frames(message in messages(), cut in 0.0..1.0f64) {
        let whole = bytes(&addressed(message, None));
        let cut = (whole.len() as f64 * cut) as usize;
        match read_all(&whole[..cut], 4096, LIMITS) {
            Ok(heard) => prop_assert!(cut == 0 && heard.is_empty()),
            Err(why) => prop_assert!(matches!(why, WireError::CutShort), "{why}"),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(noise in proptest::collection::vec(any::<u8>(), 0..400), piece in 1..500usize) {
        let _ = read_all(&noise, piece, LIMITS);
    }

    #[test]
    fn no_damage_makes_it_panic(
        message in messages(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut stream = bytes(&addressed(message, None));
        for (at, byte) in damage {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        let _ = read_all(&stream, 4096, LIMITS);
    }

    #[test]
    fn no_control_part_makes_it_panic(control in proptest::collection::vec(any::<u8>(), 0..200), tensor in 0..64usize) {
        let header = Header { kind: Kind::Message, values: Values::Buffer, control: control.len(), tensor };
        let stream = [&header.encode()[..], &control, &vec![7; tensor]].concat();
        let _ = read_all(&stream, 4096, LIMITS);
    }
}

#[test]
fn a_large_tensor_goes_in_chunks_and_other_frames_pass_between() {
    let whole = addressed(step(1, 1, 65_535, WireType::F32, 3), None);
    let large = addressed(step(10, 1, 65_535, WireType::F32, 3), None);
    let small = addressed(Message::Present(Present), None);
    let Frame { first, chunks } = message_frame(&large).unwrap();
    let chunks: Vec<_> = chunks.expect("2.6 MB are more than a chunk").collect();
    assert!(chunks.len() > 5 && chunks.iter().all(|unit| unit.left() <= HEADER_BYTES + limits::FRAME_CHUNK_BYTES));
    let mut stream = to_vec(&first);
    for (at, unit) in chunks.iter().enumerate() {
        stream.extend(to_vec(unit));
        stream.extend(bytes(if at % 2 == 0 { &small } else { &whole }));
    }
    let heard = read_all(&stream, 10_000, LIMITS).unwrap();
    let messages: Vec<_> =
        heard.iter().map(|incoming| if let Incoming::Message(it) = incoming { it } else { panic!() }).collect();
    assert_eq!(messages.len(), chunks.len() + 1);
    assert_eq!(messages.iter().filter(|message| ***message == large).count(), 1);
    assert_eq!(*messages[0], small);
}

#[test]
fn what_is_over_the_limit_is_refused_by_its_header_alone() {
    let refuse = |control, tensor, limits: Limits| {
        let header = Header { kind: Kind::Message, values: Values::Buffer, control, tensor };
        read_all(&header.encode(), 64, limits).unwrap_err()
    };
    let over = refuse(10, LIMITS.tensor + 1, LIMITS);
    assert!(matches!(over, WireError::TensorTooLarge { bytes, limit } if bytes == limit + 1), "{over}");
    let over = refuse(LIMITS.control + 1, 0, LIMITS);
    assert!(matches!(over, WireError::ControlTooLarge { .. }), "{over}");
    let over = refuse(limits::GREETING_BYTES + 1, 0, Limits::GREETING);
    assert!(matches!(over, WireError::ControlTooLarge { .. }), "{over}");
}

#[test]
fn a_tensor_must_be_what_its_activation_says() {
    let mut stream = bytes(&addressed(step(1, 1, 8, WireType::F32, 1), None));
    // The header now claims a tensor of 28 bytes, but the activation has 32.
    stream[12..16].copy_from_slice(&28u32.to_le_bytes());
    let why = read_all(&stream, 4096, LIMITS).unwrap_err();
    assert!(matches!(why, WireError::TensorSize { said: 32, carried: 28 }), "{why}");
}

#[test]
fn foreign_protocols_and_other_versions_are_told_apart() {
    let why = read_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 4096, LIMITS).unwrap_err();
    assert!(matches!(why, WireError::NotAFrame), "{why}");
    let mut stream = bytes(&addressed(Message::Present(Present), None));
    stream[4] = VERSION + 1;
    let why = read_all(&stream, 4096, LIMITS).unwrap_err();
    assert!(matches!(why, WireError::Version(_)), "{why}");
}

#[test]
fn chunks_that_nobody_announced_are_refused() {
    let header = Header { kind: Kind::Chunk, values: Values::Buffer, control: 0, tensor: 4 };
    let stream = [&header.encode()[..], &[1, 2, 3, 4]].concat();
    assert!(matches!(read_all(&stream, 64, LIMITS).unwrap_err(), WireError::StrayChunk));
}

#[test]
fn a_unit_that_is_written_bit_by_bit_leaves_nothing_out() {
    let addressed = addressed(step(2, 1, 50, WireType::F32, 5), None);
    let Frame { mut first, .. } = message_frame(&addressed).unwrap();
    let mut written = Vec::new();
    while first.left() > 0 {
        let [head, tail] = first.slices();
        let next: Vec<u8> = head.iter().chain(tail.iter()).copied().take(7).collect();
        first.advance(next.len());
        written.extend(next);
    }
    assert_eq!(written, bytes(&addressed));
}

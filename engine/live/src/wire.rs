//! Frames: a fixed header, a control part encoded with postcard, and the raw tensor bytes.
//!
//! Floats never pass through serde: the values of an activation are written from the buffer that holds them, and read
//! directly into the receiving buffer. A tensor larger than [`limits::FRAME_CHUNK_BYTES`] follows its message in
//! chunks, and whole frames may be sent between the chunks. A connection carries at most one such message at a time.
//!
//! Reading arbitrary bytes returns a frame or a [`WireError`]. The memory that it allocates is bounded by the number of
//! bytes that have arrived, and by the size of the message's tensor, which must be within [`Limits`].
mod reader;
#[cfg(test)]
mod tests;

pub use reader::{FrameReader, Incoming};

use actors::id::NodeId;
use actors::limits;
use actors::message::{Activation, Buffer, Message, Payload, Returned};
use links::Passage;
use scenarios::plan::Plan;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;

const _: () = assert!(cfg!(target_endian = "little"), "tensors are sent as they lie in memory");

/// The header's size in bytes: magic (4), version (1), kind (1), kind of tensor part (1), reserved (1), control bytes
/// (4), tensor bytes (4). The lengths are little-endian.
pub const HEADER_BYTES: usize = 16;

const MAGIC: [u8; 4] = *b"SwRM";
const VERSION: u8 = 1;

/// Why a frame cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error("the connection broke: {0}")]
    Io(io::Error),
    #[error("the received bytes are not a frame of this protocol")]
    NotAFrame,
    #[error("a frame of protocol version {0} was received, but this program has version {VERSION}")]
    Version(u8),
    #[error("a frame of unknown kind {0} was received")]
    Kind(u8),
    #[error("a tensor of unknown kind {0} was received")]
    Values(u8),
    #[error("the control part of a frame has {bytes} bytes, which is more than the limit of {limit}")]
    ControlTooLarge { bytes: usize, limit: usize },
    #[error("the tensor of a frame has {bytes} bytes, which is more than the limit of {limit}")]
    TensorTooLarge { bytes: usize, limit: usize },
    #[error("the control part of a frame cannot be read: {0}")]
    Control(postcard::Error),
    #[error("{0} bytes follow the control part of a frame, but none are expected")]
    LeftOver(usize),
    #[error("a frame carries a tensor of {carried} bytes, but its header describes an activation of {said} bytes")]
    TensorSize { said: u64, carried: usize },
    #[error("a frame has a tensor, but its message has no activation")]
    NoActivation,
    #[error("a chunk of a message was received, but the message was not announced")]
    StrayChunk,
    #[error("the connection ended within a frame")]
    CutShort,
}

// The conversion is written by hand: with `#[from]`, an error report would print the cause twice.
impl From<io::Error> for WireError {
    fn from(why: io::Error) -> WireError {
        WireError::Io(why)
    }
}

impl From<postcard::Error> for WireError {
    fn from(why: postcard::Error) -> WireError {
        WireError::Control(why)
    }
}

/// The kind of a frame, one byte of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The first frame on a connection, which identifies the dialling process.
    Greeting = 1,
    /// A frame between the orchestrator's process and a host's process.
    Control = 2,
    /// A message between nodes, with its tensor if it has one.
    Message = 3,
    /// A message between nodes whose tensor follows in chunks.
    Parted = 4,
    Chunk = 5,
}

/// The kind of content of a frame's tensor part, one byte of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Values {
    None = 0,
    Digests = 1,
    Buffer = 2,
}

/// The largest control part and the largest tensor part that a connection accepts in a frame, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub control: usize,
    pub tensor: usize,
}

impl Limits {
    /// The limits of a connection whose greeting has not arrived yet.
    pub const GREETING: Limits = Limits { control: limits::GREETING_BYTES, tensor: 0 };
    /// The limits of a connection between the orchestrator's process and a host's process.
    pub const CONTROL: Limits = Limits { control: limits::FRAME_CONTROL_BYTES, tensor: 0 };

    /// Returns the limits for the messages of a plan. The largest activation is the whole history of a session, which
    /// is sent to a peer that replaces a failed peer.
    pub fn of(plan: &Plan) -> Limits {
        // One token is added for the warm-up, which generates one token regardless of the workload.
        let rows = u64::from(plan.workload.batch) * (u64::from(plan.longest()) + 1);
        // With echo values, a row is an 8-byte digest, which may be larger than the row's values on the wire.
        let row = plan
            .model
            .wire
            .row_bytes(u16::try_from(plan.model.shape.hidden).unwrap_or(u16::MAX))
            .max(size_of::<u64>() as u64);
        let bytes = rows.saturating_mul(row);
        let tensor = usize::try_from(bytes).unwrap_or(usize::MAX).min(limits::FRAME_TENSOR_BYTES);
        Limits { control: limits::FRAME_CONTROL_BYTES, tensor }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    kind: Kind,
    values: Values,
    control: usize,
    tensor: usize,
}

impl Header {
    fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..7].copy_from_slice(&[VERSION, self.kind as u8, self.values as u8]);
        bytes[8..12].copy_from_slice(&(self.control as u32).to_le_bytes());
        bytes[12..].copy_from_slice(&(self.tensor as u32).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; HEADER_BYTES], limits: Limits) -> Result<Header, WireError> {
        if bytes[..4] != MAGIC {
            return Err(WireError::NotAFrame);
        }
        if bytes[4] != VERSION {
            return Err(WireError::Version(bytes[4]));
        }
        let kind = match bytes[5] {
            1 => Kind::Greeting,
            2 => Kind::Control,
            3 => Kind::Message,
            4 => Kind::Parted,
            5 => Kind::Chunk,
            other => return Err(WireError::Kind(other)),
        };
        let values = match bytes[6] {
            0 => Values::None,
            1 => Values::Digests,
            2 => Values::Buffer,
            other => return Err(WireError::Values(other)),
        };
        let length = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        let (control, tensor) = (length(8), length(12));
        if control > limits.control {
            return Err(WireError::ControlTooLarge { bytes: control, limit: limits.control });
        }
        if tensor > limits.tensor {
            return Err(WireError::TensorTooLarge { bytes: tensor, limit: limits.tensor });
        }
        Ok(Header { kind, values, control, tensor })
    }
}

/// A message between two nodes, with its sender and receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddressedMessage {
    pub from: NodeId,
    pub to: NodeId,
    /// The delays of the message that the sender has computed by the link model; `None` if the message is not shaped.
    pub passage: Option<Passage>,
    pub message: Message,
}

/// Returns the activation of a message, if messages of its kind have one.
fn activation(message: &Message) -> Option<&Activation> {
    match message {
        Message::Step(step) | Message::Returned(Returned(step)) => Some(&step.activation),
        _ => None,
    }
}

fn activation_mut(message: &mut Message) -> Option<&mut Activation> {
    match message {
        Message::Step(step) | Message::Returned(Returned(step)) => Some(&mut step.activation),
        _ => None,
    }
}

/// Returns the bytes of a tensor.
pub fn bytes_of(buffer: &Buffer) -> &[u8] {
    &bytemuck::cast_slice(buffer.words())[..buffer.len()]
}

/// Returns the bytes of a tensor for writing.
pub fn bytes_of_mut(buffer: &mut Buffer) -> &mut [u8] {
    let len = buffer.len();
    &mut bytemuck::cast_slice_mut(buffer.words_mut())[..len]
}

/// The bytes of one vectored write: header and control part, then the tensor's bytes or a chunk of these.
#[derive(Debug)]
pub struct Unit {
    head: Vec<u8>,
    tensor: Option<(Arc<Payload>, Range<usize>)>,
    written: usize,
}

impl Unit {
    fn new(header: Header, mut head: Vec<u8>, tensor: Option<(Arc<Payload>, Range<usize>)>) -> Unit {
        head[..HEADER_BYTES].copy_from_slice(&header.encode());
        Unit { head, tensor, written: 0 }
    }

    fn tail(&self) -> &[u8] {
        match &self.tensor {
            Some((payload, range)) => match payload.as_ref() {
                Payload::Buffer(buffer) | Payload::Digests(buffer) => &bytes_of(buffer)[range.clone()],
            },
            None => &[],
        }
    }

    /// Returns the number of bytes still to be written.
    pub fn left(&self) -> usize {
        self.head.len() + self.tail().len() - self.written
    }

    /// Returns the bytes still to be written, for a vectored write.
    pub fn slices(&self) -> [IoSlice<'_>; 2] {
        let head = &self.head[self.written.min(self.head.len())..];
        let tail = &self.tail()[self.written.saturating_sub(self.head.len())..];
        [IoSlice::new(head), IoSlice::new(tail)]
    }

    /// Records that `count` more bytes have been written.
    pub fn advance(&mut self, count: usize) {
        self.written += count;
    }
}

/// A frame ready to be sent: its first bytes, and the chunks of a large tensor that follow them.
pub struct Frame {
    pub first: Unit,
    pub chunks: Option<Chunks>,
}

/// The part of a large tensor that is not yet cut into chunks.
pub struct Chunks {
    payload: Arc<Payload>,
    at: usize,
    end: usize,
}

impl Chunks {
    /// Returns the number of tensor bytes that remain, without headers.
    pub fn left(&self) -> usize {
        self.end - self.at
    }

    fn cut(&mut self) -> Unit {
        let range = self.at..(self.at + limits::FRAME_CHUNK_BYTES).min(self.end);
        self.at = range.end;
        let header = Header { kind: Kind::Chunk, values: Values::Buffer, control: 0, tensor: range.len() };
        Unit::new(header, vec![0; HEADER_BYTES], Some((self.payload.clone(), range)))
    }
}

impl Iterator for Chunks {
    type Item = Unit;
    fn next(&mut self) -> Option<Unit> {
        (self.at < self.end).then(|| self.cut())
    }
}

/// Encodes a message between nodes as a frame.
///
/// # Errors
/// If the control part or the tensor is over the limit of a frame.
pub fn message_frame(addressed: &AddressedMessage) -> Result<Frame, WireError> {
    let head = body(addressed)?;
    let control = head.len() - HEADER_BYTES;
    let data = activation(&addressed.message).and_then(|activation| activation.data.as_ref());
    let Some(payload) = data else {
        let header = Header { kind: Kind::Message, values: Values::None, control, tensor: 0 };
        return Ok(Frame { first: Unit::new(header, head, None), chunks: None });
    };
    let (values, tensor) = match payload.as_ref() {
        Payload::Digests(digests) => (Values::Digests, digests.len()),
        Payload::Buffer(buffer) => (Values::Buffer, buffer.len()),
    };
    if tensor > limits::FRAME_TENSOR_BYTES {
        return Err(WireError::TensorTooLarge { bytes: tensor, limit: limits::FRAME_TENSOR_BYTES });
    }
    let parted = tensor > limits::FRAME_CHUNK_BYTES;
    let kind = if parted { Kind::Parted } else { Kind::Message };
    let header = Header { kind, values, control, tensor };
    if parted {
        let chunks = Chunks { payload: payload.clone(), at: 0, end: tensor };
        Ok(Frame { first: Unit::new(header, head, None), chunks: Some(chunks) })
    } else {
        Ok(Frame { first: Unit::new(header, head, Some((payload.clone(), 0..tensor))), chunks: None })
    }
}

/// Encodes a frame without a tensor.
///
/// # Errors
/// If the content is over the limit of a frame's control part.
pub fn plain(kind: Kind, content: &impl Serialize) -> Result<Vec<u8>, WireError> {
    let mut frame = body(content)?;
    let header = Header { kind, values: Values::None, control: frame.len() - HEADER_BYTES, tensor: 0 };
    frame[..HEADER_BYTES].copy_from_slice(&header.encode());
    Ok(frame)
}

/// Returns space for a header, followed by the content in postcard encoding.
fn body(content: &impl Serialize) -> Result<Vec<u8>, WireError> {
    let mut bytes = Vec::with_capacity(128);
    bytes.resize(HEADER_BYTES, 0);
    let bytes = postcard::to_extend(content, bytes)?;
    let control = bytes.len() - HEADER_BYTES;
    if control > limits::FRAME_CONTROL_BYTES {
        return Err(WireError::ControlTooLarge { bytes: control, limit: limits::FRAME_CONTROL_BYTES });
    }
    Ok(bytes)
}

/// Decodes the content of a control part.
///
/// # Errors
/// If the bytes are not an encoded `T`, or bytes are left over.
pub fn read<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, WireError> {
    let (content, left) = postcard::take_from_bytes(bytes)?;
    if left.is_empty() { Ok(content) } else { Err(WireError::LeftOver(left.len())) }
}

//! Reads frames from a byte stream.
use super::{AddressedMessage, HEADER_BYTES, Header, Kind, Limits, Values, WireError};
use super::{activation, activation_mut, bytes_of_mut, read};
use actors::message::{Buffer, Payload};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The initial size of the read buffer in bytes: larger than the frame with one token's hidden state in BLOOM-176B
/// (14336 values of 4 bytes).
const READ: usize = 64 << 10;

/// A received frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    Greeting(Vec<u8>),
    Control(Vec<u8>),
    Message(AddressedMessage),
}

/// The reading end of a connection.
pub struct FrameReader<R> {
    source: R,
    pub limits: Limits,
    /// The read buffer. Its range `start..end` holds bytes that have arrived and are not consumed yet.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    parted: Option<Parted>,
}

/// A message with a tensor that arrives in chunks. Some chunks have not arrived yet.
struct Parted {
    addressed: AddressedMessage,
    digests: bool,
    tensor: Buffer,
    filled: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Creates a reader of frames within `limits`, with an initial buffer of 64 KiB.
    pub fn new(source: R, limits: Limits) -> FrameReader<R> {
        FrameReader { source, limits, buffer: vec![0; READ], start: 0, end: 0, parted: None }
    }

    /// Reads the next frame; returns `None` if the other side closes the connection after a whole frame.
    ///
    /// # Errors
    /// If the connection breaks or ends within a frame, or the bytes are not a valid frame within the limits.
    pub async fn next(&mut self) -> Result<Option<Incoming>, WireError> {
        loop {
            if !self.batch_wait(HEADER_BYTES).await? {
                return if self.start == self.end && self.parted.is_none() {
                    Ok(None)
                } else {
                    Err(WireError::CutShort)
                };
            }
            let bytes = self.take(HEADER_BYTES);
            let mut header = [0; HEADER_BYTES];
            header.copy_from_slice(bytes);
            let header = Header::decode(&header, self.limits)?;
            if !self.batch_wait(header.control).await? {
                return Err(WireError::CutShort);
            }
            match header.kind {
                Kind::Greeting | Kind::Control if header.tensor > 0 => return Err(WireError::NoActivation),
                Kind::Greeting => return Ok(Some(Incoming::Greeting(self.take(header.control).to_vec()))),
                Kind::Control => return Ok(Some(Incoming::Control(self.take(header.control).to_vec()))),
                Kind::Message | Kind::Parted => {
                    if let Some(addressed) = self.read_message(header).await? {
                        return Ok(Some(Incoming::Message(addressed)));
                    }
                }
                Kind::Chunk => {
                    if let Some(addressed) = self.chunk(header).await? {
                        return Ok(Some(Incoming::Message(addressed)));
                    }
                }
            }
        }
    }

    /// Reads a message with its tensor; returns `None` if the tensor follows in chunks.
    async fn read_message(&mut self, header: Header) -> Result<Option<AddressedMessage>, WireError> {
        let mut addressed: AddressedMessage = read(self.take(header.control))?;
        let digests = header.values == Values::Digests;
        if header.values == Values::None && header.tensor == 0 && header.kind == Kind::Message {
            return Ok(Some(addressed));
        }
        let said = activation(&addressed.message).ok_or(WireError::NoActivation)?.carried_bytes(digests);
        if header.values == Values::None || said != header.tensor as u64 {
            return Err(WireError::TensorSize { said, carried: header.tensor });
        }
        let mut tensor = Buffer::zeroed(header.tensor);
        if header.kind == Kind::Parted {
            if self.parted.is_some() {
                return Err(WireError::StrayChunk);
            }
            self.parted = Some(Parted { addressed, digests, tensor, filled: 0 });
            return Ok(None);
        }
        self.fill(bytes_of_mut(&mut tensor)).await?;
        attach(&mut addressed, digests, tensor);
        Ok(Some(addressed))
    }

    /// Reads one more chunk of a tensor; returns the message if the chunk completes it.
    async fn chunk(&mut self, header: Header) -> Result<Option<AddressedMessage>, WireError> {
        let mut parted = self.parted.take().ok_or(WireError::StrayChunk)?;
        let end = parted.filled + header.tensor;
        if header.control > 0 || header.tensor == 0 || end > parted.tensor.len() {
            return Err(WireError::StrayChunk);
        }
        self.fill(&mut bytes_of_mut(&mut parted.tensor)[parted.filled..end]).await?;
        parted.filled = end;
        if end < parted.tensor.len() {
            self.parted = Some(parted);
            return Ok(None);
        }
        attach(&mut parted.addressed, parted.digests, parted.tensor);
        Ok(Some(parted.addressed))
    }

    /// Reads until the buffer holds `count` unconsumed bytes; returns false if the stream ends first.
    async fn batch_wait(&mut self, count: usize) -> Result<bool, WireError> {
        while self.end - self.start < count {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            // The buffer grows as bytes arrive, not to the length that the header claims.
            if self.end == self.buffer.len() {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            match self.source.read(&mut self.buffer[self.end..]).await? {
                0 => return Ok(false),
                read => self.end += read,
            }
        }
        Ok(true)
    }

    fn take(&mut self, count: usize) -> &[u8] {
        let at = self.start;
        self.start += count;
        &self.buffer[at..at + count]
    }

    /// Fills `target` with the next bytes: first from the buffer, then directly from the stream.
    async fn fill(&mut self, target: &mut [u8]) -> Result<(), WireError> {
        let here = target.len().min(self.end - self.start);
        let (from_buffer, from_stream) = target.split_at_mut(here);
        from_buffer.copy_from_slice(self.take(here));
        match self.source.read_exact(from_stream).await {
            Ok(_) => Ok(()),
            Err(why) if why.kind() == std::io::ErrorKind::UnexpectedEof => Err(WireError::CutShort),
            Err(why) => Err(why.into()),
        }
    }
}

fn attach(addressed: &mut AddressedMessage, digests: bool, tensor: Buffer) {
    let payload = if digests { Payload::Digests(tensor) } else { Payload::Buffer(tensor) };
    if let Some(activation) = activation_mut(&mut addressed.message) {
        activation.data = Some(Arc::new(payload));
    }
}

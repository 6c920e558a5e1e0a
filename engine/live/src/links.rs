//! Connections between hosts: one for each pair, dialled by the host that sends first, and used in both directions.
//!
//! A sender writes its frame immediately, without a task switch, until the socket would block. The remaining bytes wait
//! in a bounded queue for the link's writer task. Large tensors are sent in chunks, and whole frames may be sent
//! between chunks. A failed link is never restored: the process at the other end of the link counts as gone.
use super::wire::{Chunks, Frame, HEADER_BYTES, Unit};
use actors::limits;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

/// The sending end of a connection to another host. Frames wait while the connection is still being dialled.
pub struct Link {
    outbound: RefCell<Outbound>,
    /// Wakes the writer task.
    more: Notify,
    closed: Cell<bool>,
}

#[derive(Default)]
struct Outbound {
    socket: Option<Rc<OwnedWriteHalf>>,
    /// The unit of which a part has been written to the socket.
    current: Option<Unit>,
    whole: VecDeque<Unit>,
    parted: VecDeque<(Unit, Chunks)>,
    /// The remaining chunks of the large message that is being sent.
    chunks: Option<Chunks>,
    /// The number of bytes in all queues of the link, headers included.
    bytes: usize,
}

/// Why a link accepts no more frames.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the connection broke: {0}")]
    Io(io::Error),
    #[error("the connection was closed")]
    Closed,
    #[error(
        "{bytes} bytes wait to be sent on the connection, which is more than the limit of {}",
        limits::LINK_QUEUE_BYTES
    )]
    Full { bytes: usize },
}

// The conversion is written by hand: with `#[from]`, an error report would print the cause twice.
impl From<io::Error> for LinkError {
    fn from(why: io::Error) -> LinkError {
        LinkError::Io(why)
    }
}

impl Link {
    /// Creates a link that is being dialled. Its frames wait until [`Link::connect`] is called.
    pub fn dialling() -> Rc<Link> {
        Rc::new(Link { outbound: RefCell::default(), more: Notify::new(), closed: Cell::new(false) })
    }

    /// Creates a link over an established connection.
    pub fn connected(socket: OwnedWriteHalf) -> Rc<Link> {
        let link = Link::dialling();
        link.outbound.borrow_mut().socket = Some(Rc::new(socket));
        link
    }

    /// Attaches the established connection, so that queued frames can be sent.
    pub fn connect(&self, socket: OwnedWriteHalf) {
        if self.closed.get() {
            return;
        }
        self.outbound.borrow_mut().socket = Some(Rc::new(socket));
        self.more.notify_one();
    }

    /// Writes as much of `frame` as the socket accepts, and queues the rest.
    ///
    /// # Errors
    /// If the connection is broken or the queue would exceed its limit.
    pub fn send(&self, frame: Frame) -> Result<(), LinkError> {
        let mut outbound = self.outbound.borrow_mut();
        outbound.push(frame);
        if outbound.bytes > limits::LINK_QUEUE_BYTES {
            return Err(LinkError::Full { bytes: outbound.bytes });
        }
        if !outbound.pump()? {
            self.more.notify_one();
        }
        Ok(())
    }

    /// Closes the link: queued frames are dropped, and the connection ends.
    pub fn close(&self) {
        self.closed.set(true);
        self.outbound.take();
        self.more.notify_one();
    }

    /// Writes queued frames whenever the socket accepts more. Returns the reason when the link ends.
    pub async fn write(self: Rc<Self>) -> LinkError {
        loop {
            self.more.notified().await;
            loop {
                if self.closed.get() {
                    return LinkError::Closed;
                }
                let Some(socket) = self.outbound.borrow().socket.clone() else { break };
                let writable = tokio::select! {
                    writable = socket.writable() => writable,
                    // The link was closed while this task waited, or more frames were queued.
                    () = self.more.notified() => continue,
                };
                if let Err(why) = writable {
                    return why.into();
                }
                match self.outbound.borrow_mut().pump() {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(why) => return why.into(),
                }
            }
        }
    }
}

impl Outbound {
    fn push(&mut self, frame: Frame) {
        self.bytes += frame.first.left();
        match frame.chunks {
            None => self.whole.push_back(frame.first),
            Some(chunks) => {
                self.bytes += chunks.left();
                self.parted.push_back((frame.first, chunks));
            }
        }
    }

    /// Writes queued bytes until the queue is empty (returns true) or the socket would block (returns false).
    fn pump(&mut self) -> io::Result<bool> {
        let Some(socket) = self.socket.clone() else { return Ok(false) };
        loop {
            let Some(mut unit) = self.current.take().or_else(|| self.next()) else { return Ok(true) };
            while unit.left() > 0 {
                match socket.try_write_vectored(&unit.slices()) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => {
                        unit.advance(written);
                        self.bytes = self.bytes.saturating_sub(written);
                    }
                    Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                        self.current = Some(unit);
                        return Ok(false);
                    }
                    Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                    Err(why) => return Err(why),
                }
            }
        }
    }

    /// Takes the next bytes to be written. Whole frames come first, so that a decode step waits for at most one chunk.
    fn next(&mut self) -> Option<Unit> {
        if let Some(unit) = self.whole.pop_front() {
            return Some(unit);
        }
        if self.chunks.is_none() {
            let (first, chunks) = self.parted.pop_front()?;
            self.chunks = Some(chunks);
            return Some(first);
        }
        let unit = self.chunks.as_mut().and_then(Iterator::next);
        if unit.is_some() {
            // A chunk adds a header. The bytes of its tensor were counted when the message was queued.
            self.bytes += HEADER_BYTES;
        }
        if self.chunks.as_ref().is_some_and(|chunks| chunks.left() == 0) {
            self.chunks = None;
        }
        unit
    }
}

#[cfg(test)]
mod tests;

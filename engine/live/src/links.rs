//! Connections between hosts: one for a pair, dialled by whoever sends first, used in both directions.
//!
//! A frame is written where it arises, without a task switch, as long as the socket takes it; what the socket does not
//! take waits in a bounded queue for the link's writer task. Large tensors leave in chunks, and whole frames pass between
//! them. A link that fails is never mended: whoever sits on its remote end is gone.
use super::wire::{Chunks, Frame, HEADER_BYTES, Unit};
use actors::limits;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

/// The sending end of a connection, or of one that is being dialled.
pub struct Link {
    outbound: RefCell<Outbound>,
    /// Wakes the writer task.
    more: Notify,
    closed: Cell<bool>,
}

#[derive(Default)]
struct Outbound {
    socket: Option<Rc<OwnedWriteHalf>>,
    /// Partly written.
    current: Option<Unit>,
    whole: VecDeque<Unit>,
    parted: VecDeque<(Unit, Chunks)>,
    /// The parted letter whose chunks are leaving.
    chunks: Option<Chunks>,
    /// Bytes of all that waits.
    bytes: usize,
}

/// Why a link takes no more.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("the connection broke: {0}")]
    Io(io::Error),
    #[error("it was given up")]
    Closed,
    #[error("{bytes} bytes wait for it, and the limit is {}", limits::LINK_QUEUE_BYTES)]
    Full { bytes: usize },
}

// By hand: with `#[from]` a report would print the cause again, which the text says already.
impl From<io::Error> for LinkError {
    fn from(why: io::Error) -> LinkError {
        LinkError::Io(why)
    }
}

impl Link {
    /// A link that is being dialled: what is sent waits.
    pub fn dialling() -> Rc<Link> {
        Rc::new(Link { outbound: RefCell::default(), more: Notify::new(), closed: Cell::new(false) })
    }

    pub fn connected(socket: OwnedWriteHalf) -> Rc<Link> {
        let link = Link::dialling();
        link.outbound.borrow_mut().socket = Some(Rc::new(socket));
        link
    }

    /// The connection stands: what has waited may go.
    pub fn connect(&self, socket: OwnedWriteHalf) {
        if self.closed.get() {
            return;
        }
        self.outbound.borrow_mut().socket = Some(Rc::new(socket));
        self.more.notify_one();
    }

    /// Sends at once what the socket takes, and queues the rest.
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

    /// Gives the link up: what waits is dropped, and the connection ends.
    pub fn close(&self) {
        self.closed.set(true);
        self.outbound.take();
        self.more.notify_one();
    }

    /// Writes what waits whenever the socket takes more. Ends with the link.
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
                    // Given up meanwhile, or there is more of the same.
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

    /// Writes until nothing is left (true) or the socket takes no more (false).
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

    /// Whole frames first, so that a decode step waits for one chunk of a prefill at most.
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
            // The tensor part was counted when the letter came.
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

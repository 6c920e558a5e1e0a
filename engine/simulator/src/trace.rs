//! A running hash of every delivery: equal hashes mean equal runs.
use actors::id::NodeId;
use actors::message::{Leave, Message, Returned, Step, Ticket};
use actors::time::Timestamp;
use actors::world::Delivery;

#[derive(Default)]
pub struct Trace {
    hash: u64,
}

impl Trace {
    #[inline]
    pub fn note(&mut self, at: Timestamp, from: NodeId, to: NodeId, delivery: &Delivery) {
        let ends = u64::from(from.0) << 32 | u64::from(to.0);
        self.hash = fold(fold(fold(self.hash, at.0), ends), content(delivery));
    }

    pub fn value(&self) -> u64 {
        self.hash
    }
}

/// Adds a word to the hash by one rotation and one multiplication, as the Rust compiler's FxHash does.
#[inline]
fn fold(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
}

/// The word that stands for an order to leave in the hash. No timer has this word.
const LEAVE: u64 = 1 << 32;

#[inline]
fn ticket(ticket: Ticket) -> u64 {
    match ticket {
        Ticket::Load | Ticket::Release => 0,
        Ticket::Benchmark => u64::MAX,
        Ticket::Steps(number) => number,
        Ticket::Request { index, job } => u64::from(index) << 32 | u64::from(job),
    }
}

/// Returns a word for the hash that distinguishes a delivery from others with the same time, sender and receiver.
#[inline]
fn content(delivery: &Delivery) -> u64 {
    let step = |step: &Step| {
        let place = u64::from(step.position) << 32 | u64::from(step.activation.batch);
        fold(fold(step.session.raw(), place), u64::from(step.activation.tokens))
    };
    match delivery {
        Delivery::Message(Message::Step(body)) => step(body),
        Delivery::Message(Message::Returned(Returned(body))) => !step(body),
        Delivery::Message(Message::Opened(opened)) => fold(opened.session.raw(), 1),
        Delivery::Message(Message::Open(open)) => fold(open.session.raw(), u64::from(open.hop) + 2),
        Delivery::Message(Message::Close(close)) => fold(close.session.raw(), 3),
        Delivery::Message(Message::Rpc(rpc)) => {
            rpc.kind().bytes().fold(u64::from(rpc.id), |hash, byte| fold(hash, u64::from(byte)))
        }
        Delivery::Message(message) => message.kind().bytes().fold(0, |hash, byte| fold(hash, u64::from(byte))),
        Delivery::Computed(computed) => fold(ticket(computed.ticket), computed.started.0),
        Delivery::Woken(woken) => woken.0 as u64,
        Delivery::Leave(Leave) => LEAVE,
    }
}

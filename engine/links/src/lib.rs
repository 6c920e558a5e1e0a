//! The link model: one pure computation for both the simulated network and the traffic shaper of live runs.
//!
//! A message leaves through its host's egress NIC, crosses a path, and enters through the other host's ingress NIC.
//! Each of the three is a stage with a propagation delay, drawn for each message, and a bandwidth with a queue in front
//! of it. Bytes flow through the stages as they arrive (cut-through, not store-and-forward). The slowest stage alone
//! sets the transfer time, as it does for a TCP stream of many segments. A path delivers messages in order, as a TCP
//! connection does.
//!
//! The stages of the sender (the egress NIC's [`Stage`] and the [`Path`]) and the stage of the receiver (the ingress
//! NIC's [`Stage`]) can be computed independently, so the two hosts' processes can each compute their own stages.
#![forbid(unsafe_code)]
mod draw;
mod path;
pub mod share;
mod table;
mod tcp;

pub use path::Path;
pub use table::LinkTable;
pub use tcp::Framing;

use actors::seed::{Seed, SmallStream};
use actors::time::{Duration, Timestamp};
use draw::Delay;
use scenarios::plan::Link;
use serde::{Deserialize, Serialize};

/// A message in transit: the times at which its first and its last byte leave the last stage that it has passed so far.
///
/// `last - sent = queue + propagation + transmit` holds exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    pub sent: Timestamp,
    pub first: Timestamp,
    pub last: Timestamp,
    /// The time spent waiting: for the transmission of other messages, for acknowledgements and retransmissions, for
    /// earlier messages of the connection, or for a fault to end.
    pub queue: Duration,
    /// The propagation delay, including the connection set-up.
    pub propagation: Duration,
}

impl Passage {
    #[inline]
    pub fn begin(sent: Timestamp) -> Passage {
        Passage { sent, first: sent, last: sent, queue: Duration::ZERO, propagation: Duration::ZERO }
    }

    /// Returns a passage with the given parts. The passage's total time is the sum of the parts.
    pub fn whole(sent: Timestamp, queue: Duration, propagation: Duration, transmit: Duration) -> Passage {
        let first = sent + queue + propagation;
        Passage { sent, first, last: first + transmit, queue, propagation }
    }

    /// Returns the transfer time: the message's bytes on the wire divided by the bandwidth of the slowest stage.
    pub fn transmit(&self) -> Duration {
        self.last.since(self.first)
    }

    /// Delays the message's first byte until `start`. The later bytes arrive meanwhile and are buffered.
    fn wait_until(&mut self, start: Timestamp) {
        self.queue += start.since(self.first);
        self.first = self.first.max(start);
    }

    /// Delays the whole message by `wait`, which counts as queueing time.
    pub fn hold(&mut self, wait: Duration) {
        self.queue += wait;
        self.first = self.first + wait;
        self.last = self.last + wait;
    }

    /// Multiplies the propagation and transfer times by `by`, which is at least 1. The queueing time stays the same.
    pub fn stretch(&mut self, by: f64) {
        let more = |span: Duration| Duration::from_secs_f64(span.as_secs_f64() * (by - 1.0).max(0.0));
        let (propagation, transmit) = (more(self.propagation), more(self.transmit()));
        self.propagate(propagation);
        self.last = self.last + transmit;
    }

    fn propagate(&mut self, delay: Duration) {
        self.propagation += delay;
        self.first = self.first + delay;
        self.last = self.last + delay;
    }
}

/// A queue, a bandwidth and a propagation delay: one direction of a NIC.
pub struct Stage {
    delay: Delay,
    /// The nanoseconds per byte of the stage's bandwidth; 0 if the bandwidth is unlimited.
    ns_per_byte: f64,
    free: Timestamp,
    stream: SmallStream,
}

impl Stage {
    /// Returns the egress NIC of `host`.
    pub fn egress(link: &Link, seed: Seed, host: u32) -> Stage {
        Stage::nic(link, seed, "egress", host)
    }

    /// Returns the ingress NIC of `host`.
    pub fn ingress(link: &Link, seed: Seed, host: u32) -> Stage {
        Stage::nic(link, seed, "ingress", host)
    }

    fn nic(link: &Link, seed: Seed, name: &str, host: u32) -> Stage {
        let (delay, stream) = (Delay::of_nic(link, seed, name, host), seed.small_stream(name, u64::from(host), 0));
        Stage { delay, ns_per_byte: ns_per_byte(link), free: Timestamp::default(), stream }
    }

    /// Whether the stage has neither delay nor bandwidth limit, so that no message ever waits at it.
    pub fn is_free(&self) -> bool {
        self.ns_per_byte == 0.0 && self.delay.is_zero()
    }

    /// Returns the nanoseconds per byte of the stage's bandwidth; 0 if the bandwidth is unlimited.
    pub fn ns_per_byte(&self) -> f64 {
        self.ns_per_byte
    }

    /// Draws the propagation delay of one message, without regard to the stage's bandwidth.
    pub fn propagation(&mut self) -> Duration {
        self.delay.draw(&mut self.stream)
    }

    /// Passes a message of `bytes` on the wire, headers included, through this stage.
    #[inline]
    pub fn pass(&mut self, passage: &mut Passage, bytes: u64) {
        if self.is_free() {
            return;
        }
        if self.ns_per_byte > 0.0 {
            passage.wait_until(self.free.max(passage.first));
            let transmit = Duration((bytes as f64 * self.ns_per_byte).round() as u64);
            self.free = passage.first + transmit;
            passage.last = passage.last.max(self.free);
        }
        let delay = self.delay.draw(&mut self.stream);
        passage.propagate(delay);
    }
}

fn ns_per_byte(link: &Link) -> f64 {
    link.bandwidth.map_or(0.0, |bandwidth| 1e9 / bandwidth)
}

#[cfg(test)]
mod tests;

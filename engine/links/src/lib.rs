//! The link model: one pure core that both the simulated network and the traffic shaper of live runs call.
//!
//! A message leaves through its host's egress NIC, crosses a path, and enters through the other host's ingress NIC.
//! Each of the three is a stage with a propagation delay, drawn for each message, and a bandwidth with a queue in front
//! of it. Bytes flow through the stages as they arrive (cut-through, not store-and-forward). The slowest stage alone
//! sets the transfer time, as it does for a TCP stream of many segments. A path delivers messages in order, as a TCP
//! connection does.
//!
//! The sender's side ([`Stage`] of the egress NIC, then [`Path`]) and the receiver's side can be computed without each
//! other, so two processes can each compute their own half.
#![forbid(unsafe_code)]
mod draw;
pub mod share;
mod tcp;

pub use tcp::Framing;

use actors::id::HostId;
use actors::seed::{Seed, SmallStream};
use actors::time::{Duration, Timestamp};
use draw::Delay;
use scenarios::plan::{Link, Plan, Tcp};
use serde::{Deserialize, Serialize};
use tcp::{Held, Sender};

/// A message in transit: the times at which its first and its last byte leave the stages that it has passed so far.
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

    /// Returns a passage with the given parts, whose total time is their sum.
    pub fn whole(sent: Timestamp, queue: Duration, propagation: Duration, transmit: Duration) -> Passage {
        let first = sent + queue + propagation;
        Passage { sent, first, last: first + transmit, queue, propagation }
    }

    /// Returns the transfer time: the message's bytes on the wire divided by the bandwidth of the slowest stage.
    pub fn transmit(&self) -> Duration {
        self.last.since(self.first)
    }

    /// Delays the first byte until `start`. Bytes that arrive behind it are buffered meanwhile.
    fn wait_until(&mut self, start: Timestamp) {
        self.queue += start.since(self.first);
        self.first = self.first.max(start);
    }

    /// Delays the whole message by `wait`, which counts as queueing.
    pub fn hold(&mut self, wait: Duration) {
        self.queue += wait;
        self.first = self.first + wait;
        self.last = self.last + wait;
    }

    /// Multiplies the propagation time and the transfer time by `by`. The queueing time stays. A factor below 1 counts as 1.
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

/// A queue, a bandwidth and a propagation delay: one direction of a NIC, or the middle of a path.
pub struct Stage {
    delay: Delay,
    /// Nanoseconds per byte; 0 if the bandwidth is unlimited.
    ns_per_byte: f64,
    free: Timestamp,
    stream: SmallStream,
}

impl Stage {
    fn new(link: &Link, delay: Delay, stream: SmallStream) -> Stage {
        Stage { delay, ns_per_byte: ns_per_byte(link), free: Timestamp::default(), stream }
    }

    /// Returns the egress NIC of `host`.
    pub fn egress(link: &Link, seed: Seed, host: u32) -> Stage {
        Stage::nic(link, seed, "egress", host)
    }

    /// Returns the ingress NIC of `host`.
    pub fn ingress(link: &Link, seed: Seed, host: u32) -> Stage {
        Stage::nic(link, seed, "ingress", host)
    }

    fn nic(link: &Link, seed: Seed, name: &str, host: u32) -> Stage {
        Stage::new(link, Delay::of(link, seed, name, 0, host), seed.small_stream(name, u64::from(host), 0))
    }

    /// Whether the stage has neither delay nor bandwidth limit, so that no message ever waits at it.
    pub fn is_free(&self) -> bool {
        self.ns_per_byte == 0.0 && self.delay.is_zero()
    }

    /// Returns the nanoseconds per byte; 0 if the bandwidth is unlimited.
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

/// One direction between two hosts, from NIC to NIC, with the connection that runs over it.
///
/// A large swarm has one path for every ordered pair of hosts that ever communicated. The alignment keeps the fields
/// that a message touches within two cache lines.
#[repr(align(64))]
pub struct Path {
    stage: Stage,
    framing: Framing,
    /// The delays of all links there and back, for connection set-up; empty if set-up costs nothing.
    round_trip: Box<[Delay]>,
    /// The rest of the TCP model, if any of it is enabled.
    sender: Option<Box<Sender>>,
    delivered: Timestamp,
}

/// The links of one direction and of its reverse, each from egress NIC to ingress NIC. A TCP handshake crosses both
/// once before the first byte of data may leave (RFC 9293, section 3.5), and acknowledgements cross the reverse
/// direction.
pub struct Way<'a> {
    pub there: [&'a Link; 3],
    pub back: [&'a Link; 3],
    pub from: u32,
    pub to: u32,
}

impl<'a> Way<'a> {
    /// Returns the links of `plan` from one host to another and back.
    pub fn of(plan: &'a Plan, from: HostId, to: HostId) -> Way<'a> {
        let (a, b) = (plan.host(from), plan.host(to));
        let (there, back) = (plan.network.link(from, to), plan.network.link(to, from));
        let (there, back) = ([&a.egress, there, &b.ingress], [&b.egress, back, &a.ingress]);
        Way { there, back, from: from.0, to: to.0 }
    }

    fn delays(&self, seed: Seed) -> Box<[Delay]> {
        let (from, to) = (self.from, self.to);
        let of = |[egress, path, ingress]: [&Link; 3], from: u32, to: u32| {
            [
                Delay::of(egress, seed, "egress", 0, from),
                Delay::of(path, seed, "path", from, to),
                Delay::of(ingress, seed, "ingress", 0, to),
            ]
        };
        of(self.there, from, to).into_iter().chain(of(self.back, to, from)).collect()
    }

    /// Returns the nanoseconds per byte of the slowest link there.
    fn ns_per_byte(&self) -> f64 {
        self.there.iter().map(|link| ns_per_byte(link)).fold(0.0, f64::max)
    }

    /// Returns the probability that some link there loses a segment.
    fn loss(&self) -> f64 {
        1.0 - self.there.iter().map(|link| 1.0 - link.loss).product::<f64>()
    }
}

impl Path {
    pub fn new(way: &Way<'_>, tcp: &Tcp, seed: Seed) -> Path {
        let (from, to, link) = (way.from, way.to, way.there[1]);
        let stream = |name: &str| seed.small_stream(name, u64::from(from), u64::from(to));
        let stage = Stage::new(link, Delay::of(link, seed, "path", from, to), stream("path"));
        let delays = way.delays(seed);
        let first: Duration = {
            let mut stream = stream("round trip");
            delays.iter().map(|delay| delay.draw(&mut stream)).sum()
        };
        let sender = Sender::new(tcp, way.ns_per_byte(), first, way.loss(), stream("loss"));
        let round_trip = if tcp.handshake { delays } else { Box::default() };
        let framing = Framing::of(tcp);
        Path { stage, framing, round_trip, sender: sender.map(Box::new), delivered: Timestamp::default() }
    }

    /// Returns the path of `plan` from one host to another.
    pub fn of(plan: &Plan, from: HostId, to: HostId) -> Path {
        Path::new(&Way::of(plan, from, to), &plan.network.tcp, plan.seed)
    }

    /// Draws the time of connection set-up before the first message: one round trip.
    pub fn handshake(&mut self) -> Duration {
        self.round_trip.iter().map(|delay| delay.draw(&mut self.stage.stream)).sum()
    }

    /// Marks the connection as permanent, which frees the data that another set-up would need.
    pub fn stays(&mut self) {
        self.round_trip = Box::default();
    }

    /// Computes the sender's half for a message of `payload` bytes: through `nic` and over this path. `handshake` is
    /// the time of connection set-up, or 0 if the connection exists.
    #[inline]
    pub fn depart(&mut self, nic: &mut Stage, now: Timestamp, payload: u64, handshake: Duration) -> Passage {
        let mut passage = Passage::begin(now);
        passage.propagate(handshake);
        nic.pass(&mut passage, self.framing.bytes(payload));
        self.cross(passage, payload)
    }

    /// Computes the same half as [`Path::depart`] for an egress NIC without delay and without bandwidth limit.
    #[inline]
    pub fn depart_freely(&mut self, now: Timestamp, payload: u64, handshake: Duration) -> Passage {
        let mut passage = Passage::begin(now);
        passage.propagate(handshake);
        self.cross(passage, payload)
    }

    #[inline]
    fn cross(&mut self, mut passage: Passage, payload: u64) -> Passage {
        let bytes = self.framing.bytes(payload);
        if let Some(sender) = &mut self.sender {
            let Held { start, wait, transmit } = sender.send(passage.first, payload);
            passage.wait_until(start);
            passage.last = passage.last.max(start + transmit);
            passage.hold(wait);
        }
        self.stage.pass(&mut passage, bytes);
        self.in_order(passage)
    }

    /// Delays a message until the message before it on the connection has been delivered.
    #[inline]
    pub fn in_order(&mut self, mut passage: Passage) -> Passage {
        passage.hold(self.delivered.since(passage.last));
        self.delivered = passage.last;
        passage
    }

    // -- for networks that share bandwidth in another way --

    /// Returns the path's own stage, between the NICs.
    pub fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    /// Returns how long a message waits for acknowledgements and retransmissions, if the idle connection begins to send
    /// it at `start`.
    pub fn admit(&mut self, start: Timestamp, payload: u64) -> Duration {
        self.sender.as_mut().map_or(Duration::ZERO, |sender| sender.send(start, payload).wait)
    }

    /// Records that the last byte of the current message left at `now`, because sharing delayed it beyond its time
    /// alone.
    pub fn left(&mut self, now: Timestamp) {
        if let Some(sender) = &mut self.sender {
            sender.left(now);
        }
    }
}

#[cfg(test)]
mod tests;

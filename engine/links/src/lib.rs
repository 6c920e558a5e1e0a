//! The link model: one pure core that the simulation's network and the live world's shaper both call.
//!
//! A message leaves by its host's egress NIC, crosses a path, and enters by the other host's ingress NIC. Each of the
//! three is a stage with a propagation delay, drawn for each message, and a bandwidth with a queue in front of it. Bytes
//! flow through the stages as they come (cut-through, not store-and-forward): the slowest stage alone sets the transfer
//! time, as it does for a TCP stream of many segments. A path delivers in order, as a TCP connection does.
//!
//! The sender's side ([`Stage`] of the egress NIC, then [`Path`]) can be computed without the receiver's, and the other
//! way round, so that two processes can each do their half.
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

/// A message under way: when its first and its last byte come out of the stages it has passed so far.
///
/// `last - sent = queue + propagation + transmit`, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    pub sent: Timestamp,
    pub first: Timestamp,
    pub last: Timestamp,
    /// Waiting for others to be transmitted.
    pub queue: Duration,
    /// Propagation, connection set-up included.
    pub propagation: Duration,
}

impl Passage {
    #[inline]
    pub fn begin(sent: Timestamp) -> Passage {
        Passage { sent, first: sent, last: sent, queue: Duration::ZERO, propagation: Duration::ZERO }
    }

    /// A passage whose parts are known; it took their sum.
    pub fn whole(sent: Timestamp, queue: Duration, propagation: Duration, transmit: Duration) -> Passage {
        let first = sent + queue + propagation;
        Passage { sent, first, last: first + transmit, queue, propagation }
    }

    /// Bytes over the bandwidth of the slowest stage.
    pub fn transmit(&self) -> Duration {
        self.last.since(self.first)
    }

    /// The first byte waits; what comes behind it meanwhile is buffered.
    fn wait_until(&mut self, start: Timestamp) {
        self.queue += start.since(self.first);
        self.first = self.first.max(start);
    }

    /// The whole message waits.
    pub fn hold(&mut self, wait: Duration) {
        self.queue += wait;
        self.first = self.first + wait;
        self.last = self.last + wait;
    }

    /// Everything on the way so far took `by` times as long, but the waiting.
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

/// A queue, a bandwidth, a propagation delay: one direction of a NIC, or the middle of a path.
pub struct Stage {
    delay: Delay,
    /// Nanoseconds a byte; 0 where there is no limit.
    ns_per_byte: f64,
    free: Timestamp,
    stream: SmallStream,
}

impl Stage {
    fn new(link: &Link, delay: Delay, stream: SmallStream) -> Stage {
        Stage { delay, ns_per_byte: ns_per_byte(link), free: Timestamp::default(), stream }
    }

    /// The egress NIC of `host`.
    pub fn egress(link: &Link, seed: Seed, host: u32) -> Stage {
        Stage::nic(link, seed, "egress", host)
    }

    /// The ingress NIC of `host`.
    pub fn ingress(link: &Link, seed: Seed, host: u32) -> Stage {
        Stage::nic(link, seed, "ingress", host)
    }

    fn nic(link: &Link, seed: Seed, name: &str, host: u32) -> Stage {
        Stage::new(link, Delay::of(link, seed, name, 0, host), seed.small_stream(name, u64::from(host), 0))
    }

    /// Adds no delay and never makes anything wait.
    pub fn is_free(&self) -> bool {
        self.ns_per_byte == 0.0 && self.delay.is_zero()
    }

    /// Nanoseconds a byte; 0 where there is no limit.
    pub fn ns_per_byte(&self) -> f64 {
        self.ns_per_byte
    }

    /// The delay of one message, whoever sees to its bandwidth.
    pub fn propagation(&mut self) -> Duration {
        self.delay.draw(&mut self.stream)
    }

    /// `bytes` as they are on the wire.
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

/// The way from one host to another, between their NICs, with the connection that runs over it.
///
/// A large swarm has one for every two nodes that ever spoke: what a message touches lies in two lines of the cache.
#[repr(align(64))]
pub struct Path {
    stage: Stage,
    framing: Framing,
    /// Propagation of everything on the way there and back, for connection set-up; empty where that costs nothing.
    round_trip: Box<[Delay]>,
    /// What of TCP is modelled beyond that.
    sender: Option<Box<Sender>>,
    delivered: Timestamp,
}

/// The links of a way there and of the way back, each from NIC to NIC: what a TCP handshake crosses once before the first
/// byte of data may leave (RFC 9293, section 3.5), and what an acknowledgement crosses.
pub struct Way<'a> {
    pub there: [&'a Link; 3],
    pub back: [&'a Link; 3],
    pub from: u32,
    pub to: u32,
}

impl<'a> Way<'a> {
    /// The way of `plan` between two hosts.
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

    /// Nanoseconds a byte at its slowest link.
    fn ns_per_byte(&self) -> f64 {
        self.there.iter().map(|link| ns_per_byte(link)).fold(0.0, f64::max)
    }

    /// The share of segments that some link of the way loses.
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

    /// The path of `plan` between two hosts.
    pub fn of(plan: &Plan, from: HostId, to: HostId) -> Path {
        Path::new(&Way::of(plan, from, to), &plan.network.tcp, plan.seed)
    }

    /// What connecting costs before the first message: one round trip.
    pub fn handshake(&mut self) -> Duration {
        self.round_trip.iter().map(|delay| delay.draw(&mut self.stage.stream)).sum()
    }

    /// The connection stays: what another set-up of it would need is let go.
    pub fn stays(&mut self) {
        self.round_trip = Box::default();
    }

    /// The sender's half of the way of `payload` bytes: by `nic` onto this path, after `handshake` if the connection is new.
    #[inline]
    pub fn depart(&mut self, nic: &mut Stage, now: Timestamp, payload: u64, handshake: Duration) -> Passage {
        let mut passage = Passage::begin(now);
        passage.propagate(handshake);
        nic.pass(&mut passage, self.framing.bytes(payload));
        self.cross(passage, payload)
    }

    /// Likewise where the NIC is free.
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

    /// What is behind another message on the connection cannot be read before it.
    #[inline]
    pub fn in_order(&mut self, mut passage: Passage) -> Passage {
        passage.hold(self.delivered.since(passage.last));
        self.delivered = passage.last;
        passage
    }

    // -- for a world that shares bandwidth in another way --

    /// The path's own stage, between the NICs.
    pub fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    /// How long a message waits for acknowledgements and repetitions that the idle connection turns to at `start`.
    pub fn admit(&mut self, start: Timestamp, payload: u64) -> Duration {
        self.sender.as_mut().map_or(Duration::ZERO, |sender| sender.send(start, payload).wait)
    }

    /// The last byte of the message left at `now`, later than if it had been alone.
    pub fn left(&mut self, now: Timestamp) {
        if let Some(sender) = &mut self.sender {
            sender.left(now);
        }
    }
}

#[cfg(test)]
mod tests;

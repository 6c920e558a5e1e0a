//! The link model: one pure core that the simulation's network and the live world's shaper both call.
//!
//! A message leaves by its host's egress NIC, crosses a path, and enters by the other host's ingress NIC. Each of the
//! three is a stage with a propagation delay, drawn for each message, and a bandwidth with a queue in front of it. Bytes
//! flow through the stages as they come (cut-through, not store-and-forward): the slowest stage alone sets the transfer
//! time, as it does for a TCP stream of many segments. A path delivers in order, as a TCP connection does.
//!
//! The sender's side ([`Stage`] of the egress NIC, then [`Path`]) can be computed without the receiver's, and the other
//! way round, so that two processes can each do their half.
use actors::id::HostId;
use actors::seed::{Seed, SmallStream};
use actors::time::{Moment, Span};
use rand::distr::Uniform;
use rand_distr::{Distribution as _, LogNormal, Normal};
use scenarios::plan::{Distribution, Link, Plan};
use serde::{Deserialize, Serialize};

/// A message under way: when its first and its last byte come out of the stages it has passed so far.
///
/// `last - sent = queue + propagation + transmit`, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    pub sent: Moment,
    pub first: Moment,
    pub last: Moment,
    /// Waiting for others to be transmitted.
    pub queue: Span,
    /// Propagation, connection set-up included.
    pub propagation: Span,
}

impl Passage {
    #[inline]
    pub fn begin(sent: Moment) -> Passage {
        Passage { sent, first: sent, last: sent, queue: Span::ZERO, propagation: Span::ZERO }
    }

    /// Bytes over the bandwidth of the slowest stage.
    pub fn transmit(&self) -> Span {
        self.last.since(self.first)
    }

    /// The first byte waits; what comes behind it meanwhile is buffered.
    fn wait_until(&mut self, start: Moment) {
        self.queue += start.since(self.first);
        self.first = self.first.max(start);
    }

    /// The whole message waits.
    fn hold(&mut self, wait: Span) {
        self.queue += wait;
        self.first = self.first + wait;
        self.last = self.last + wait;
    }

    fn propagate(&mut self, delay: Span) {
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
    free: Moment,
    stream: SmallStream,
}

impl Stage {
    pub fn new(link: &Link, stream: SmallStream) -> Stage {
        let ns_per_byte = link.bandwidth.map_or(0.0, |bandwidth| 1e9 / bandwidth);
        Stage { delay: Delay::new(link.delay), ns_per_byte, free: Moment::default(), stream }
    }

    /// The egress NIC of `host`.
    pub fn egress(link: &Link, seed: Seed, host: u32) -> Stage {
        Stage::new(link, seed.small_stream("egress", u64::from(host), 0))
    }

    /// The ingress NIC of `host`.
    pub fn ingress(link: &Link, seed: Seed, host: u32) -> Stage {
        Stage::new(link, seed.small_stream("ingress", u64::from(host), 0))
    }

    /// Adds no delay and never makes anything wait.
    pub fn is_free(&self) -> bool {
        self.ns_per_byte == 0.0 && matches!(self.delay, Delay::Constant(Span::ZERO))
    }

    #[inline]
    pub fn pass(&mut self, passage: &mut Passage, bytes: u64) {
        if self.is_free() {
            return;
        }
        if self.ns_per_byte > 0.0 {
            passage.wait_until(self.free.max(passage.first));
            let transmit = Span((bytes as f64 * self.ns_per_byte).round() as u64);
            self.free = passage.first + transmit;
            passage.last = passage.last.max(self.free);
        }
        let delay = self.delay.draw(&mut self.stream);
        passage.propagate(delay);
    }
}

/// The way from one host to another, between their NICs, with the connection that runs over it.
pub struct Path {
    stage: Stage,
    /// Propagation of everything on the way there and back, for connection set-up.
    round_trip: Box<[Delay]>,
    delivered: Moment,
}

impl Path {
    /// `round_trip` lists the links of the way there and back, NICs included: a TCP handshake crosses them all once
    /// before the first byte of data may leave (RFC 9293, section 3.5).
    pub fn new(link: &Link, round_trip: &[&Link], seed: Seed, from: u32, to: u32) -> Path {
        let stage = Stage::new(link, seed.small_stream("path", u64::from(from), u64::from(to)));
        let round_trip = round_trip.iter().map(|link| Delay::new(link.delay)).collect();
        Path { stage, round_trip, delivered: Moment::default() }
    }

    /// The path of `plan` between two hosts.
    pub fn of(plan: &Plan, from: HostId, to: HostId) -> Path {
        let (a, b) = (plan.host(from), plan.host(to));
        let (there, back) = (plan.network.link(from, to), plan.network.link(to, from));
        let round_trip = [&a.egress, there, &b.ingress, &b.egress, back, &a.ingress];
        Path::new(there, &round_trip, plan.seed, from.0, to.0)
    }

    /// What connecting costs before the first message: one round trip.
    pub fn handshake(&mut self) -> Span {
        self.round_trip.iter().map(|delay| delay.draw(&mut self.stage.stream)).sum()
    }

    /// The sender's half of the way: by `nic` onto this path, after `handshake` if the connection is new.
    #[inline]
    pub fn depart(&mut self, nic: &mut Stage, now: Moment, bytes: u64, handshake: Span) -> Passage {
        let mut passage = Passage::begin(now);
        passage.propagate(handshake);
        nic.pass(&mut passage, bytes);
        self.stage.pass(&mut passage, bytes);
        // What is behind another message on the connection cannot be read before it.
        passage.hold(self.delivered.since(passage.last));
        self.delivered = passage.last;
        passage
    }
}

/// A distribution made ready to draw from.
#[derive(Clone, Copy)]
enum Delay {
    Constant(Span),
    Uniform(Uniform<u64>),
    Normal(Normal<f64>),
    LogNormal(LogNormal<f64>),
}

impl Delay {
    fn new(distribution: Distribution) -> Delay {
        match distribution {
            Distribution::Constant(span) => Delay::Constant(span),
            Distribution::Uniform { low, high } => {
                let uniform = Uniform::new_inclusive(low.0, high.0);
                uniform.map_or(Delay::Constant(low), Delay::Uniform)
            }
            Distribution::Normal { mean, std } => {
                let normal = Normal::new(mean.as_secs_f64(), std.as_secs_f64());
                normal.map_or(Delay::Constant(mean), Delay::Normal)
            }
            Distribution::LogNormal { median, sigma } => {
                let log_normal = LogNormal::new(median.as_secs_f64().ln(), sigma);
                log_normal.map_or(Delay::Constant(median), Delay::LogNormal)
            }
        }
    }

    #[inline]
    fn draw(&self, stream: &mut SmallStream) -> Span {
        match self {
            Delay::Constant(span) => *span,
            Delay::Uniform(uniform) => Span(uniform.sample(stream)),
            Delay::Normal(normal) => Span::from_secs_f64(normal.sample(stream)),
            Delay::LogNormal(log_normal) => Span::from_secs_f64(log_normal.sample(stream)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Passage, Path, Stage};
    use actors::seed::Seed;
    use actors::time::{Moment, Span};
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
    use scenarios::plan::{Distribution, Link};

    fn link(delay_ms: u64, bandwidth: Option<f64>) -> Link {
        Link { delay: Distribution::Constant(Span::from_millis(delay_ms)), bandwidth }
    }

    #[test]
    fn the_slowest_stage_sets_the_transfer_time() {
        let seed = Seed(1);
        let mut nic = Stage::egress(&link(10, Some(1e6)), seed, 0);
        let middle = link(1, Some(10e6));
        let mut path = Path::new(&middle, &[], seed, 0, 1);
        let passage = path.depart(&mut nic, Moment(0), 1000, Span::ZERO);
        assert_eq!(passage.last, Moment(0) + Span::from_millis(10 + 1 + 1));
        assert_eq!(passage.transmit(), Span::from_millis(1));
    }

    #[test]
    fn a_connection_costs_a_round_trip() {
        let (there, back) = (link(30, None), link(50, None));
        let mut path = Path::new(&there, &[&there, &back], Seed(1), 0, 1);
        assert_eq!(path.handshake(), Span::from_millis(80));
    }

    proptest! {
        #[test]
        fn messages_keep_their_order_and_parts_sum_to_the_whole(
            messages in proptest::collection::vec((0..5_000_000u64, 1..200_000u64), 1..60),
            sigma in 0.0..2.0f64,
            bandwidth in 1e5..1e9f64,
        ) {
            let jittery = Distribution::LogNormal { median: Span::from_millis(5), sigma };
            let mut nic = Stage::egress(&link(1, Some(bandwidth)), Seed(3), 0);
            let mut path = Path::new(&Link { delay: jittery, bandwidth: Some(2e6) }, &[], Seed(3), 0, 1);
            let mut ingress = Stage::ingress(&link(0, Some(bandwidth * 0.7)), Seed(3), 1);
            let (mut now, mut last) = (Moment(0), Moment(0));
            for (gap, bytes) in messages {
                now = now + Span(gap);
                let mut passage: Passage = path.depart(&mut nic, now, bytes, Span::ZERO);
                ingress.pass(&mut passage, bytes);
                prop_assert!(passage.last >= last);
                prop_assert_eq!(passage.last.since(now), passage.queue + passage.propagation + passage.transmit());
                let least = bytes as f64 / bandwidth.min(2e6).min(bandwidth * 0.7);
                prop_assert!(passage.last.since(now).as_secs_f64() >= least - 1e-8);
                last = passage.last;
            }
        }
    }
}

//! The links of a plan, prepared once for all paths that use them.
//!
//! A swarm of thousands of hosts has millions of paths over a few links. A [`Path`](crate::Path) is therefore small,
//! and this table holds what many paths share: the distributions of delays, the bandwidths, the losses and TCP's
//! parameters.
use crate::draw::{Delay, LONGEST};
use crate::ns_per_byte;
use crate::tcp::{self, Framing, Sender};
use actors::id::HostId;
use actors::seed::{NamedSeed, Seed, SmallStream, mix};
use actors::time::{Duration, Timestamp};
use hashbrown::HashTable;
use scenarios::plan::{Drawn, Link, Network, Plan};

/// The links and NICs of a plan, with their distributions prepared for drawing.
pub struct LinkTable {
    /// A copy of the plan's network. It never moves, so the memory address of a link in it identifies the link.
    network: Box<Network>,
    /// The links of the plan that some path uses.
    links: Vec<PreparedLink>,
    /// For each link of `links`, its address in `network` and its index in `links`.
    indices: HashTable<(usize, u32)>,
    nics: Vec<Nics>,
    /// For each host, the nanoseconds per byte of its egress NIC and of its ingress NIC. They are kept apart from
    /// `nics`, because every message reads them.
    rates: Vec<[f64; 2]>,
    /// Whether some NIC loses segments.
    lossy_nics: bool,
    framing: Framing,
    /// Whether the plan limits the windows of TCP connections.
    windowed: bool,
    /// The largest message, in bytes, that neither stalls at TCP's initial window nor changes the window.
    quiet: u64,
    streams: Streams,
}

/// The seeds of the paths' random streams, one for each purpose. Each pair of hosts derives its own stream from a seed.
struct Streams {
    path: NamedSeed,
    path_once: NamedSeed,
    round_trip: NamedSeed,
    loss: NamedSeed,
}

/// The two NICs of a host.
struct Nics {
    egress: Nic,
    ingress: Nic,
}

struct Nic {
    delay: Delay,
    loss: f64,
}

/// A link of the plan, prepared for all pairs of hosts that it connects.
struct PreparedLink {
    /// The distribution of the delay. If `once` is set, it is drawn once per pair of hosts, and excludes the jitter.
    /// Otherwise it is drawn for each message, and includes the jitter.
    delay: Delay,
    /// Whether `delay` is drawn once per pair of hosts.
    once: bool,
    /// The jitter that each message adds to a delay which is drawn once per pair of hosts; `None` if there is no
    /// jitter.
    jitter: Option<Delay>,
    ns_per_byte: f64,
    loss: f64,
}

/// The delay of the messages from one host to another over one link or NIC.
pub(crate) enum PairDelay<'l> {
    Constant(Duration),
    Drawn(&'l Delay),
    /// A constant delay for the pair of hosts, plus a jitter that is drawn for each message.
    Jittery(Duration, &'l Delay),
}

impl<'l> From<&'l Delay> for PairDelay<'l> {
    fn from(delay: &'l Delay) -> PairDelay<'l> {
        match delay {
            Delay::Constant(constant) => PairDelay::Constant(*constant),
            drawn => PairDelay::Drawn(drawn),
        }
    }
}

impl PairDelay<'_> {
    fn is_constant(&self) -> bool {
        matches!(self, PairDelay::Constant(_))
    }

    fn draw(&self, stream: &mut SmallStream) -> Duration {
        match self {
            PairDelay::Constant(delay) => *delay,
            PairDelay::Drawn(delay) => delay.draw(stream),
            PairDelay::Jittery(constant, jitter) => (*constant + jitter.draw(stream)).min(LONGEST),
        }
    }
}

impl PreparedLink {
    fn of(link: &Link) -> PreparedLink {
        let (loss, ns_per_byte) = (link.loss, ns_per_byte(link));
        match link.drawn {
            Drawn::PerMessage => {
                PreparedLink { delay: Delay::with_jitter(link), once: false, jitter: None, ns_per_byte, loss }
            }
            Drawn::PerPair => PreparedLink {
                delay: Delay::new(&link.delay),
                once: true,
                jitter: Delay::jitter(link),
                ns_per_byte,
                loss,
            },
        }
    }

    /// Returns the delay of this link between two hosts. A part that is drawn once per pair of hosts is the same in
    /// both directions.
    fn between(&self, streams: &Streams, from: HostId, to: HostId) -> PairDelay<'_> {
        if !self.once {
            return PairDelay::from(&self.delay);
        }
        let (a, b) = (u64::from(from.0.min(to.0)), u64::from(from.0.max(to.0)));
        let constant = match &self.delay {
            Delay::Constant(constant) => *constant,
            drawn => drawn.draw(&mut streams.path_once.small_stream(a, b)),
        };
        match &self.jitter {
            None => PairDelay::Constant(constant),
            Some(Delay::Constant(jitter)) => PairDelay::Constant((constant + *jitter).min(LONGEST)),
            Some(jitter) => PairDelay::Jittery(constant, jitter),
        }
    }
}

impl LinkTable {
    /// Creates the table of the links and NICs of `plan`.
    pub fn of(plan: &Plan) -> LinkTable {
        let nics = plan.hosts.iter().map(|host| (&host.egress, &host.ingress));
        LinkTable::new(nics, &plan.network, plan.seed)
    }

    /// Creates the table of the links of `network`. `nics` has the egress and the ingress NIC of each host, in the
    /// order of host ids.
    pub fn new<'l>(nics: impl Iterator<Item = (&'l Link, &'l Link)>, network: &Network, seed: Seed) -> LinkTable {
        let (mut prepared, mut rates, mut lossy_nics) = (Vec::new(), Vec::new(), false);
        for ((egress, ingress), host) in nics.zip(0..) {
            let nic = |link: &Link, name| Nic { delay: Delay::of_nic(link, seed, name, host), loss: link.loss };
            prepared.push(Nics { egress: nic(egress, "egress"), ingress: nic(ingress, "ingress") });
            rates.push([ns_per_byte(egress), ns_per_byte(ingress)]);
            lossy_nics |= egress.loss > 0.0 || ingress.loss > 0.0;
        }
        LinkTable {
            links: Vec::new(),
            indices: HashTable::new(),
            nics: prepared,
            rates,
            lossy_nics,
            framing: Framing::of(&network.tcp),
            windowed: tcp::is_windowed(&network.tcp),
            quiet: tcp::quiet(&network.tcp),
            streams: Streams {
                path: seed.named("path"),
                path_once: seed.named("path once"),
                round_trip: seed.named("round trip"),
                loss: seed.named("loss"),
            },
            network: Box::new(network.clone()),
        }
    }

    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Prepares the links of both directions between two hosts. Returns the index of the link from `from` to `to`.
    pub(crate) fn connect(&mut self, from: HostId, to: HostId) -> u32 {
        self.prepare(to, from);
        self.prepare(from, to)
    }

    /// Returns the delay from one host to another over the link with this index.
    pub(crate) fn delay(&self, link: u32, from: HostId, to: HostId) -> PairDelay<'_> {
        self.links[link as usize].between(&self.streams, from, to)
    }

    /// Returns the random stream of a path's delays. If the path is made again after it was dropped while idle,
    /// `again` is the present time. The stream's name then includes this time, so that the delays are not repeated.
    pub(crate) fn stream(&self, from: HostId, to: HostId, again: Option<Timestamp>) -> SmallStream {
        named(self.streams.path, from, to, again)
    }

    /// Returns a TCP sender with random losses, or `None` if no link or NIC from one host to the other loses segments.
    pub(crate) fn lossy_sender(
        &self,
        from: HostId,
        to: HostId,
        link: u32,
        again: Option<Timestamp>,
    ) -> Option<Box<Sender>> {
        let lossy = self.loss(from, to, link) > 0.0;
        lossy.then(|| self.sender(from, to, link, named(self.streams.loss, from, to, again)))
    }

    /// Returns the index of the link from one host to another, and prepares the link if no path has used it yet.
    fn prepare(&mut self, from: HostId, to: HostId) -> u32 {
        let LinkTable { network, links, indices, .. } = self;
        let link = network.link(from, to);
        let address = std::ptr::from_ref(link).addr();
        if let Some(&(_, index)) = indices.find(hash(address), |(other, _)| *other == address) {
            return index;
        }
        let index = links.len() as u32;
        links.push(PreparedLink::of(link));
        indices.insert_unique(hash(address), (address, index), |(address, _)| hash(*address));
        index
    }

    /// Returns the link from one host to another; the path between them must have prepared it already.
    fn prepared(&self, from: HostId, to: HostId) -> &PreparedLink {
        let address = std::ptr::from_ref(self.network.link(from, to)).addr();
        let known = self.indices.find(hash(address), |(other, _)| *other == address);
        let (_, index) = known.expect("a path prepares its links");
        &self.links[*index as usize]
    }

    /// Returns the delays of every NIC and link from one host to another and back. A TCP handshake crosses both
    /// directions once before the first byte of data may leave (RFC 9293, section 3.5), and acknowledgements cross the
    /// reverse direction.
    fn round_trip(&self, from: HostId, to: HostId) -> [PairDelay<'_>; 6] {
        let (a, b) = (&self.nics[from.0 as usize], &self.nics[to.0 as usize]);
        let there = self.prepared(from, to).between(&self.streams, from, to);
        let back = self.prepared(to, from).between(&self.streams, to, from);
        let [out, inward, other_out, other_inward] =
            [&a.egress, &a.ingress, &b.egress, &b.ingress].map(|nic| PairDelay::from(&nic.delay));
        [out, there, other_inward, other_out, back, inward]
    }

    /// Draws the time of connection set-up, which is one round trip. It takes random values from `stream`. If there is
    /// none, it takes them from the random stream that a path from `from` to `to` would have.
    pub(crate) fn handshake(&self, from: HostId, to: HostId, stream: Option<&mut SmallStream>) -> Duration {
        if !self.network.tcp.handshake {
            return Duration::ZERO;
        }
        let delays = self.round_trip(from, to);
        match stream {
            Some(stream) => delays.iter().map(|delay| delay.draw(stream)).sum(),
            None => sum(&delays, || self.stream(from, to, None)),
        }
    }

    /// Returns the TCP sender of a connection that loses no segments.
    pub(crate) fn lossless_sender(&self, from: HostId, to: HostId, link: u32) -> Box<Sender> {
        // The sender takes no random value from this stream, because it loses nothing.
        self.sender(from, to, link, named(self.streams.loss, from, to, None))
    }

    fn sender(&self, from: HostId, to: HostId, link: u32, losses: SmallStream) -> Box<Sender> {
        let first = sum(&self.round_trip(from, to), || named(self.streams.round_trip, from, to, None));
        let (ns_per_byte, loss) = (self.slowest(from, to, link), self.loss(from, to, link));
        Box::new(Sender::new(&self.network.tcp, ns_per_byte, first, loss, losses))
    }

    /// Returns the probability that a segment is lost from one host to another, at a NIC or on the link.
    fn loss(&self, from: HostId, to: HostId, link: u32) -> f64 {
        let loss = self.links[link as usize].loss;
        if loss == 0.0 && !self.lossy_nics {
            return 0.0;
        }
        let (a, b) = (&self.nics[from.0 as usize].egress, &self.nics[to.0 as usize].ingress);
        1.0 - [a.loss, loss, b.loss].iter().map(|loss| 1.0 - loss).product::<f64>()
    }

    // -- methods that are called for every message --

    /// Returns the nanoseconds per byte of a path's own link, between the NICs; 0 if the bandwidth is unlimited.
    #[inline]
    pub(crate) fn ns_per_byte(&self, link: u32) -> f64 {
        self.links[link as usize].ns_per_byte
    }

    /// Returns the nanoseconds per byte of the slowest link or NIC from one host to another.
    #[inline]
    pub(crate) fn slowest(&self, from: HostId, to: HostId, link: u32) -> f64 {
        let ([egress, _], [_, ingress]) = (self.rates[from.0 as usize], self.rates[to.0 as usize]);
        egress.max(self.ns_per_byte(link)).max(ingress)
    }

    /// Returns the distribution of the delay that a link samples for each message, without any part that is sampled
    /// once per pair of hosts.
    #[inline]
    pub(crate) fn each_delay(&self, link: u32) -> &Delay {
        let link = &self.links[link as usize];
        link.jitter.as_ref().unwrap_or(&link.delay)
    }

    #[inline]
    pub(crate) fn is_windowed(&self) -> bool {
        self.windowed
    }

    /// Whether a message of `payload` bytes neither stalls at TCP's initial window nor changes the window.
    #[inline]
    pub(crate) fn is_quiet(&self, payload: u64) -> bool {
        payload <= self.quiet
    }
}

fn sum(delays: &[PairDelay<'_>], stream: impl FnOnce() -> SmallStream) -> Duration {
    if delays.iter().all(PairDelay::is_constant) {
        return delays
            .iter()
            .map(|delay| if let PairDelay::Constant(delay) = delay { *delay } else { Duration::ZERO })
            .sum();
    }
    let mut stream = stream();
    delays.iter().map(|delay| delay.draw(&mut stream)).sum()
}

fn named(streams: NamedSeed, from: HostId, to: HostId, again: Option<Timestamp>) -> SmallStream {
    let first = streams.derive(u64::from(from.0), u64::from(to.0));
    again.map_or(first, |now| first.derive("again", now.0, 0)).into_small_stream()
}

fn hash(address: usize) -> u64 {
    mix(address as u64)
}

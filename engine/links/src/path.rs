//! The path of messages from one host to another, between their NICs, and the TCP connection over it.
use crate::draw::{Delay, LONGEST};
use crate::table::{LinkTable, PairDelay};
use crate::tcp::{Held, Sender};
use crate::{Passage, Stage};
use actors::id::HostId;
use actors::seed::SmallStream;
use actors::time::{Duration, Timestamp};

/// The state of the path from one host to another. The data that many paths share are in the [`LinkTable`], which each
/// method takes, together with the two hosts.
///
/// A large swarm has millions of pairs of hosts, most of which exchange few and small messages. The path of such a pair
/// is a small value without allocations, and may be dropped while it is idle.
pub struct Path {
    /// The time at which the path can take the next message. Not used once the path has a [`Sender`], which keeps this
    /// time itself.
    free: Timestamp,
    delivered: Timestamp,
    state: State,
}

/// The state that a path needs to delay its messages. Each variant has the index of the path's link in the
/// [`LinkTable`].
enum State {
    /// All messages have the same delay, so the path has no random stream.
    Constant {
        link: u32,
        delay: Duration,
    },
    Drawn {
        link: u32,
        stream: SmallStream,
    },
    More {
        link: u32,
        more: Box<More>,
    },
}

/// The state of a path that has a TCP sender, or a delay that is the sum of a constant and a random part.
#[derive(Default)]
struct More {
    constant: Option<Duration>,
    stream: Option<SmallStream>,
    /// The TCP sender, kept from the start if segments may be lost, else from the first message that stalls at the
    /// initial window or changes it.
    sender: Option<Box<Sender>>,
}

const _: () = assert!(size_of::<Path>() <= 56, "with its two hosts, a path fits a cache line");

impl State {
    #[inline]
    fn link(&self) -> u32 {
        match *self {
            State::Constant { link, .. } | State::Drawn { link, .. } | State::More { link, .. } => link,
        }
    }

    #[inline]
    fn sender(&mut self) -> Option<&mut Sender> {
        match self {
            State::More { more, .. } => more.sender.as_deref_mut(),
            _ => None,
        }
    }

    fn more(&mut self) -> &mut More {
        let link = self.link();
        let more = match std::mem::replace(self, State::Constant { link, delay: Duration::ZERO }) {
            State::Constant { delay, .. } => Box::new(More { constant: Some(delay), ..More::default() }),
            State::Drawn { stream, .. } => Box::new(More { stream: Some(stream), ..More::default() }),
            State::More { more, .. } => more,
        };
        *self = State::More { link, more };
        match self {
            State::More { more, .. } => more,
            _ => unreachable!("set above"),
        }
    }
}

impl Path {
    /// Makes the path from one host to another for the first time.
    pub fn new(links: &mut LinkTable, from: HostId, to: HostId) -> Path {
        Path::make(links, from, to, None)
    }

    /// Makes a path again that was dropped while idle ([`Path::is_idle`]). The name of its random streams includes
    /// `now`, so that the new path does not repeat the random values of the dropped one.
    pub fn again(links: &mut LinkTable, from: HostId, to: HostId, now: Timestamp) -> Path {
        Path::make(links, from, to, Some(now))
    }

    fn make(links: &mut LinkTable, from: HostId, to: HostId, again: Option<Timestamp>) -> Path {
        let link = links.connect(from, to);
        let stream = || links.stream(from, to, again);
        let state = match links.delay(link, from, to) {
            PairDelay::Constant(delay) => State::Constant { link, delay },
            PairDelay::Drawn(_) => State::Drawn { link, stream: stream() },
            PairDelay::Jittery(constant, _) => {
                let more = More { constant: Some(constant), stream: Some(stream()), sender: None };
                State::More { link, more: Box::new(more) }
            }
        };
        let mut path = Path { free: Timestamp::default(), delivered: Timestamp::default(), state };
        if let Some(sender) = links.lossy_sender(from, to, link, again) {
            path.begin_sender(sender);
        }
        path
    }

    /// Adds a TCP sender to the path, which takes over the path's queue.
    #[cold]
    fn begin_sender(&mut self, mut sender: Box<Sender>) -> &mut Sender {
        sender.left(self.free);
        self.state.more().sender.insert(sender)
    }

    /// Draws the time of connection set-up, which is one round trip. It must pass before the first message.
    pub fn handshake(&mut self, links: &LinkTable, from: HostId, to: HostId) -> Duration {
        let stream = match &mut self.state {
            State::Constant { .. } => None,
            State::Drawn { stream, .. } => Some(stream),
            State::More { more, .. } => more.stream.as_mut(),
        };
        links.handshake(from, to, stream)
    }

    /// Lets a message of `payload` bytes leave its host and cross this path, and returns its state before the
    /// receiver's ingress NIC. `pair` is the sending and the receiving host. `nic` is the sender's egress NIC, or
    /// `None` if that NIC has neither delay nor bandwidth limit. `handshake` is the time of connection set-up, or 0 if
    /// the connection exists.
    #[inline]
    pub fn depart(
        &mut self,
        links: &LinkTable,
        pair: (HostId, HostId),
        nic: Option<&mut Stage>,
        now: Timestamp,
        payload: u64,
        handshake: Duration,
    ) -> Passage {
        let mut passage = Passage::begin(now);
        passage.propagate(handshake);
        if let Some(nic) = nic {
            nic.pass(&mut passage, links.framing().bytes(payload));
        }
        self.cross(links, pair, passage, payload)
    }

    #[inline]
    fn cross(&mut self, links: &LinkTable, pair: (HostId, HostId), mut passage: Passage, payload: u64) -> Passage {
        match self.queue(links, pair, passage.first, payload) {
            Some(Held { start, wait, transmit }) => {
                passage.wait_until(start);
                passage.last = passage.last.max(start + transmit);
                passage.hold(wait);
            }
            // Without TCP, only a path with a bandwidth limit of its own has a queue.
            None => {
                let ns_per_byte = links.ns_per_byte(self.state.link());
                if ns_per_byte > 0.0 {
                    passage.wait_until(self.free.max(passage.first));
                    self.free = passage.first + transmit(links.framing().bytes(payload), ns_per_byte);
                    passage.last = passage.last.max(self.free);
                }
            }
        }
        let delay = self.propagation(links);
        passage.propagate(delay);
        self.in_order(passage)
    }

    /// Adds a message to the connection's queue and returns its delays in the queue. Returns `None` if the plan models
    /// no effect of TCP on the connection.
    ///
    /// The connection has one queue, at its bottleneck: the slowest of the two NICs and the path's own link. The link
    /// needs no further queue, because each message leaves it before it leaves the bottleneck.
    #[inline]
    fn queue(&mut self, links: &LinkTable, pair: (HostId, HostId), ready: Timestamp, payload: u64) -> Option<Held> {
        if let Some(sender) = self.state.sender() {
            return Some(sender.send(ready, payload));
        }
        if !links.is_windowed() {
            return None;
        }
        let (from, to) = pair;
        if !links.is_quiet(payload) {
            let sender = links.lossless_sender(from, to, self.state.link());
            return Some(self.begin_sender(sender).send(ready, payload));
        }
        // A message that neither stalls at the initial window nor changes it has the same delays with and without a
        // [`Sender`]. For such a message no sender is created yet.
        let start = ready.max(self.free);
        let transmit = transmit(links.framing().bytes(payload), links.slowest(from, to, self.state.link()));
        self.free = start + transmit;
        Some(Held { start, wait: Duration::ZERO, transmit })
    }

    /// Delays a message until the message before it on the connection has been delivered.
    #[inline]
    pub fn in_order(&mut self, mut passage: Passage) -> Passage {
        passage.hold(self.delivered.since(passage.last));
        self.delivered = passage.last;
        passage
    }

    /// Draws the propagation delay of one message over the path's own link.
    #[inline]
    pub fn propagation(&mut self, links: &LinkTable) -> Duration {
        let each = |link: u32| -> &Delay { links.each_delay(link) };
        match &mut self.state {
            State::Constant { delay, .. } => *delay,
            State::Drawn { link, stream } => each(*link).draw(stream),
            State::More { link, more } => match (more.constant, &mut more.stream) {
                (None, None) => Duration::ZERO,
                (Some(constant), None) => constant,
                (None, Some(stream)) => each(*link).draw(stream),
                (Some(constant), Some(stream)) => (constant + each(*link).draw(stream)).min(LONGEST),
            },
        }
    }

    /// Whether earlier messages no longer affect any message that is sent at `now` or later. The state of the path's
    /// random streams does not count. An idle path may be dropped and made again ([`Path::again`]).
    pub fn is_idle(&self, now: Timestamp) -> bool {
        let sender = match &self.state {
            State::More { more, .. } => more.sender.as_ref(),
            _ => None,
        };
        self.delivered <= now && sender.map_or(self.free <= now, |sender| sender.is_idle(now))
    }

    // -- for networks that compute the shares of bandwidth in another way --

    /// Returns the nanoseconds per byte of the path's own link, between the NICs; 0 if the bandwidth is unlimited.
    pub fn ns_per_byte(&self, links: &LinkTable) -> f64 {
        links.ns_per_byte(self.state.link())
    }

    /// Returns how long a message waits for acknowledgements and retransmissions. The connection was idle before, and
    /// begins to send the message at `start`.
    pub fn admit(&mut self, links: &LinkTable, pair: (HostId, HostId), start: Timestamp, payload: u64) -> Duration {
        self.queue(links, pair, start, payload).map_or(Duration::ZERO, |held| held.wait)
    }

    /// Records that the last byte of the current message left at `now`. If other messages share the bandwidth,
    /// `now` may be later than it would be for the message alone.
    pub fn left(&mut self, now: Timestamp) {
        match self.state.sender() {
            Some(sender) => sender.left(now),
            None => self.free = now,
        }
    }
}

fn transmit(bytes: u64, ns_per_byte: f64) -> Duration {
    Duration((bytes as f64 * ns_per_byte).round() as u64)
}

//! The delays that TCP adds to whole messages on a link: slow start, restart after idle, a limited window, and loss.
//!
//! A connection with round trip R sends over a bottleneck of rate B, in segments of `mss` bytes. The plan's `Tcp`
//! settings can disable each of these effects.
//!
//! - **Slow start** (RFC 5681, section 3.1): the window w begins at `initial_window` (RFC 6928) and grows by the
//!   bytes that are acknowledged, so it doubles with each window that a message fills. While w / B is less than the
//!   time until the window's first acknowledgement, mss / B + R, the sender stalls for the difference, once for
//!   each window but the last. A message of n bytes thus takes
//!   `n / B + sum over k = 0 .. P-1 of (mss / B + R - 2^k w / B)`.
//!   P is the smaller of two numbers: the windows that n needs less one, and the windows that stall (Kurose and Ross,
//!   Computer Networking, section on TCP latency modelling; Cardwell, Savage and Anderson 2000).
//!   A window grows to at most twice the bytes that were in flight, so small messages do not grow it for large ones
//!   (RFC 7661; Linux' `tcp_is_cwnd_limited`).
//! - **Restart after idle** (RFC 2861, as Linux does with `tcp_slow_start_after_idle`): for each retransmission
//!   timeout that passes without a message the window halves, down to the initial window.
//! - **Window**: w grows at most to the receiver's window W. At W every further window stalls, so the rate
//!   is W / R.
//! - **Loss** with probability p per segment: the mean window of a long transfer is C mss / sqrt(p) with C =
//!   sqrt(3/2) (Mathis, Semke, Mahdavi and Ott 1997), which limits w as W does. A segment that is lost before the
//!   last three segments of a message is repeated one round trip later (fast retransmit, RFC 5681, section 3.2).
//!   The last three segments cannot cause three duplicate acknowledgements. A loss among them is repeated after a
//!   retransmission timeout that doubles each time (RFC 6298), and the window then is one segment.
//! - **Timeout**: R + `least_timeout`, which is the value that Linux computes where round trips hardly vary.
//!
//! R is drawn once, at the connection's set-up, because TCP's own estimate begins with the round trip of the set-up.
//! The model does not count other messages in flight on the connection against the window, and it computes stalls
//! without regard to other users of the bottleneck.
use actors::seed::SmallStream;
use actors::time::{Duration, Timestamp};
use rand::RngExt;
use scenarios::plan::Tcp;

/// The number of last segments of a message. If one of them is lost, too few duplicate acknowledgements follow for fast
/// retransmit.
const TAIL: u64 = 3;

/// The maximum number of consecutive timeouts of one loss in the model. Each lasts twice as long as the one before.
/// Linux closes a connection after 15.
const TIMEOUTS: u32 = 8;

/// The constant C of Mathis et al. for a receiver that acknowledges every segment.
const MATHIS: f64 = 1.224_744_871_391_589;

/// The sizes of segments and of their headers, which turn a message's payload into bytes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    mss: u64,
    header: u64,
}

impl Framing {
    pub fn of(tcp: &Tcp) -> Framing {
        Framing { mss: tcp.mss, header: tcp.header }
    }

    #[inline]
    pub fn bytes(&self, payload: u64) -> u64 {
        if self.header == 0 { payload } else { payload + self.header * payload.div_ceil(self.mss) }
    }
}

/// Whether the plan limits the windows of TCP connections. Without window limits and losses there is no [`Sender`].
pub(super) fn is_windowed(tcp: &Tcp) -> bool {
    tcp.initial_window.is_some() || tcp.window.is_some()
}

/// Returns the initial and the maximum window, in bytes, of a connection that loses segments with probability `loss`.
fn windows(tcp: &Tcp, loss: f64) -> (u64, u64) {
    let lossy = if loss > 0.0 { (MATHIS * tcp.mss as f64 / loss.sqrt()) as u64 } else { u64::MAX };
    let most = tcp.window.unwrap_or(u64::MAX).min(lossy).max(tcp.mss);
    (tcp.initial_window.unwrap_or(u64::MAX).min(most), most)
}

/// Returns the largest message, in bytes, that neither stalls a loss-free connection nor changes its initial window.
///
/// A window of w bytes grows to twice the bytes that were in flight, so a message of more than w / 2 bytes makes it
/// larger. A message of more than w bytes stalls.
pub(super) fn quiet(tcp: &Tcp) -> u64 {
    let (initial, most) = windows(tcp, 0.0);
    if initial == most { initial } else { initial / 2 }
}

/// The sending side of a TCP connection.
pub(super) struct Sender {
    tcp: Tcp,
    framing: Framing,
    /// The nanoseconds per byte at the connection's bottleneck.
    ns_per_byte: f64,
    round_trip: Duration,
    timeout: Duration,
    loss: f64,
    /// The current window: the number of bytes that may be in flight unacknowledged.
    window: u64,
    /// The maximum window, in bytes.
    most: u64,
    /// The time at which the last byte of the last message left the bottleneck.
    free: Timestamp,
    /// The random stream that decides which segments are lost.
    stream: SmallStream,
}

/// The delays that a TCP connection causes for one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The time at which the connection begins to send the message.
    pub start: Timestamp,
    /// The total duration of the stalls and retransmissions after `start`, while the message is sent.
    pub wait: Duration,
    /// The time that the message's bytes on the wire take at the bottleneck's rate.
    pub transmit: Duration,
}

impl Sender {
    pub fn new(tcp: &Tcp, ns_per_byte: f64, round_trip: Duration, loss: f64, stream: SmallStream) -> Sender {
        let (window, most) = windows(tcp, loss);
        Sender {
            tcp: *tcp,
            framing: Framing::of(tcp),
            ns_per_byte,
            round_trip,
            timeout: round_trip + tcp.least_timeout,
            loss,
            window,
            most,
            free: Timestamp::default(),
            stream,
        }
    }

    /// Adds a message of `bytes` of payload that is ready to leave at `ready`, and returns its delays.
    pub fn send(&mut self, ready: Timestamp, bytes: u64) -> Held {
        let start = ready.max(self.free);
        self.window = self.rested(start.since(self.free));
        let wait = self.stall(bytes) + self.repeat(bytes);
        let transmit = self.transmit(bytes);
        self.free = start + wait + transmit;
        Held { start, wait, transmit }
    }

    /// Records that the last byte of the current message left at `now`. If other messages share the bandwidth,
    /// this may be later than the time that [`Sender::send`] has computed.
    pub fn left(&mut self, now: Timestamp) {
        self.free = now;
    }

    /// Whether a message that begins at `now` or later has the same delays as on a new connection.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        let (initial, _) = windows(&self.tcp, self.loss);
        self.free <= now && self.rested(now.since(self.free)) == initial
    }

    fn transmit(&self, bytes: u64) -> Duration {
        Duration((self.framing.bytes(bytes) as f64 * self.ns_per_byte).round() as u64)
    }

    /// Returns the window, in bytes, after the connection has been idle for the time `idle`.
    fn rested(&self, idle: Duration) -> u64 {
        match self.tcp.initial_window {
            Some(initial) if self.tcp.idle_restart => {
                let timeouts = (idle.0 / self.timeout.0.max(1)).min(63);
                self.window.min((self.window >> timeouts).max(initial))
            }
            _ => self.window,
        }
    }

    /// Returns how long the sender waits for acknowledgements while it sends `bytes` of payload, and grows the window.
    fn stall(&mut self, bytes: u64) -> Duration {
        let (mut left, mut stalled) = (bytes, Duration::ZERO);
        // The acknowledgement of a window's first segment arrives one round trip after that segment was sent.
        let acknowledged = self.transmit(self.tcp.mss.min(bytes)) + self.round_trip;
        while left > self.window {
            let stall = acknowledged - self.transmit(self.window);
            if stall == Duration::ZERO {
                break;
            }
            if self.window == self.most {
                let windows = left.div_ceil(self.window) - 1;
                return stalled + Duration(stall.0.saturating_mul(windows));
            }
            stalled += stall;
            left -= self.window;
            self.grow(self.window);
        }
        self.grow(left);
        stalled
    }

    /// Grows the window after `bytes` that were in flight at once have been acknowledged.
    fn grow(&mut self, bytes: u64) {
        let limit = bytes.saturating_mul(2).min(self.most);
        self.window = self.window.max(self.window.saturating_add(bytes).min(limit));
    }

    /// Chooses the lost segments of a message at random, and returns how long their retransmissions take.
    fn repeat(&mut self, bytes: u64) -> Duration {
        if self.loss == 0.0 {
            return Duration::ZERO;
        }
        let segments = bytes.div_ceil(self.tcp.mss).max(1);
        let tail = segments.min(TAIL);
        let arrives = |segments: u64| (1.0 - self.loss).powf(segments as f64);
        let (head, tail) = (arrives(segments - tail), arrives(tail));
        let mut wait = if self.stream.random::<f64>() < head { Duration::ZERO } else { self.round_trip };
        let mut timeout = self.timeout;
        for _ in 0..TIMEOUTS {
            if self.stream.random::<f64>() < tail {
                break;
            }
            wait += timeout;
            timeout = timeout + timeout;
            self.window = self.tcp.mss;
        }
        wait
    }
}

#[cfg(test)]
mod tests;

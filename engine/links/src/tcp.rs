//! What TCP adds to a link, as a delay of whole messages: slow start, restart after idle, a limited window, and loss.
//!
//! A connection with round trip R sends over a bottleneck of rate B, in segments of `mss` bytes. Each part can be switched
//! off by the plan's `Tcp`.
//!
//! - **Slow start** (RFC 5681, section 3.1): the window w begins at `initial_window` (RFC 6928) and grows by what is acknowledged,
//!   so it doubles with each window that a message fills. While w / B is less than the time until the window's first
//!   acknowledgement, mss / B + R, the sender stalls for the difference, once for each window but the last. A message of n
//!   bytes thus takes `n / B + sum over k = 0 .. P-1 of (mss / B + R - 2^k w / B)`, where P is the number of windows that n
//!   needs less one, or of those that stall if that is less (Kurose and Ross, Computer Networking, section on TCP latency
//!   modelling; Cardwell, Savage and Anderson 2000). A window grows only as far as twice what was under way, so small messages do
//!   not grow it for large ones (RFC 7661; Linux' `tcp_is_cwnd_limited`).
//! - **Restart after idle** (RFC 2861, as Linux does by `tcp_slow_start_after_idle`): for each retransmission timeout that
//!   passes without a message the window halves, down to the initial one.
//! - **Window**: w grows to the receiver's window W and no further; beyond it every window stalls, so the rate is W / R.
//! - **Loss** with probability p a segment: the mean window of a long transfer is C mss / sqrt(p) with C = sqrt(3/2)
//!   (Mathis, Semke, Mahdavi and Ott 1997), which limits w like W. What is lost before the last three segments of a message is
//!   repeated one round trip later (fast retransmit, RFC 5681, section 3.2); of the last three, for which no three
//!   duplicate acknowledgements can come, after a retransmission timeout that doubles each time (RFC 6298), after which the
//!   window is one segment.
//! - **Timeout**: R + `least_timeout`, which is what Linux computes where round trips hardly vary.
//!
//! R is drawn once, at the connection's set-up, as TCP's own estimate begins with it. What other messages of the connection
//! have under way is not counted against the window, and stalls are computed as if nobody shared the bottleneck.
use actors::seed::SmallStream;
use actors::time::{Duration, Timestamp};
use rand::RngExt;
use scenarios::plan::Tcp;

/// Segments at a message's end whose loss no duplicate acknowledgements tell.
const TAIL: u64 = 3;

/// Timeouts in a row, each twice as long; Linux gives a connection up after 15.
const TIMEOUTS: u32 = 8;

/// The C of Mathis et al. for a receiver that acknowledges every segment.
const MATHIS: f64 = 1.224_744_871_391_589;

/// Bytes on the wire of a message cut into segments with headers.
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

/// The sending side of a connection.
pub(super) struct Sender {
    tcp: Tcp,
    framing: Framing,
    /// Nanoseconds a byte at the bottleneck.
    ns_per_byte: f64,
    round_trip: Duration,
    timeout: Duration,
    loss: f64,
    /// Bytes that may be under way, now and at most.
    window: u64,
    most: u64,
    /// When the last byte of the last message left the bottleneck.
    free: Timestamp,
    /// What losses are drawn from.
    stream: SmallStream,
}

/// What a message meets at its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// When the connection turns to it.
    pub start: Timestamp,
    /// Stalls and repetitions after that.
    pub wait: Duration,
    /// Its bytes over the bottleneck.
    pub transmit: Duration,
}

impl Sender {
    /// Nothing where neither window nor loss is modelled.
    pub fn new(tcp: &Tcp, ns_per_byte: f64, round_trip: Duration, loss: f64, stream: SmallStream) -> Option<Sender> {
        if tcp.initial_window.is_none() && tcp.window.is_none() && loss == 0.0 {
            return None;
        }
        let lossy = if loss > 0.0 { (MATHIS * tcp.mss as f64 / loss.sqrt()) as u64 } else { u64::MAX };
        let most = tcp.window.unwrap_or(u64::MAX).min(lossy).max(tcp.mss);
        Some(Sender {
            tcp: *tcp,
            framing: Framing::of(tcp),
            ns_per_byte,
            round_trip,
            timeout: round_trip + tcp.least_timeout,
            loss,
            window: tcp.initial_window.unwrap_or(u64::MAX).min(most),
            most,
            free: Timestamp::default(),
            stream,
        })
    }

    /// Takes in a message that could leave at `ready`.
    pub fn send(&mut self, ready: Timestamp, bytes: u64) -> Held {
        let start = ready.max(self.free);
        if self.tcp.idle_restart {
            self.rest(start.since(self.free));
        }
        let wait = self.stall(bytes) + self.repeat(bytes);
        let transmit = self.transmit(bytes);
        self.free = start + wait + transmit;
        Held { start, wait, transmit }
    }

    /// The last byte left later than if its message had been alone.
    pub fn left(&mut self, now: Timestamp) {
        self.free = now;
    }

    fn transmit(&self, bytes: u64) -> Duration {
        Duration((self.framing.bytes(bytes) as f64 * self.ns_per_byte).round() as u64)
    }

    /// Nothing was under way for so long.
    fn rest(&mut self, idle: Duration) {
        let Some(initial) = self.tcp.initial_window else { return };
        let timeouts = (idle.0 / self.timeout.0.max(1)).min(63);
        self.window = self.window.min((self.window >> timeouts).max(initial));
    }

    /// Waiting for acknowledgements while `bytes` leave.
    fn stall(&mut self, bytes: u64) -> Duration {
        let (mut left, mut stalled) = (bytes, Duration::ZERO);
        // The acknowledgement of a window's first segment is a round trip behind it.
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

    /// So many bytes were under way at once and are acknowledged.
    fn grow(&mut self, bytes: u64) {
        let limit = bytes.saturating_mul(2).min(self.most);
        self.window = self.window.max(self.window.saturating_add(bytes).min(limit));
    }

    /// Repeating what is lost.
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

//! The purposes of pings, and how a nonce encodes them.
use crate::time::Timestamp;

/// The purpose of a ping, encoded in its nonce.
///
/// Several parts of a node send pings independently: its DHT node, its failure detector, its next-hop probe and its
/// measurement of round-trip times. All pongs arrive at the node, and the purpose tells which part sent the ping that a
/// pong answers. The receiver of a ping echoes the nonce and does not interpret it.
///
/// The highest set bit of a nonce encodes the purpose: bit 63, bit 62, bit 61, or none of these three. The bits below
/// it hold the value of the variant, so values have 63, 62 or 61 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingPurpose {
    /// A ping of the DHT, which checks whether a contact still answers. The value is the number of the DHT's request.
    Dht(u64),
    /// A ping of a client's failure detector, which checks a peer that a request waits for. The value is the time at
    /// which the ping was sent.
    Heartbeat(Timestamp),
    /// A ping of a peer's next-hop probe, which measures round-trip times. The value is the number of the probe round.
    NextHop(u64),
    /// A latency ping of a client, which measures round-trip times. The value is the number of the client's round of
    /// latency pings.
    RoundTrip(u64),
}

const DHT: u64 = 1 << 63;
const HEARTBEAT: u64 = 1 << 62;
const NEXT_HOP: u64 = 1 << 61;

impl PingPurpose {
    /// Returns the nonce of a ping with this purpose.
    #[inline]
    pub fn nonce(self) -> u64 {
        match self {
            PingPurpose::Dht(request) => DHT | request,
            PingPurpose::Heartbeat(sent) => HEARTBEAT | sent.0,
            PingPurpose::NextHop(round) => NEXT_HOP | round,
            PingPurpose::RoundTrip(round) => round,
        }
    }

    /// Returns the purpose of the ping with this nonce. Every nonce has one.
    #[inline]
    pub fn of(nonce: u64) -> PingPurpose {
        match nonce {
            DHT.. => PingPurpose::Dht(nonce & !DHT),
            HEARTBEAT.. => PingPurpose::Heartbeat(Timestamp(nonce & !HEARTBEAT)),
            NEXT_HOP.. => PingPurpose::NextHop(nonce & !NEXT_HOP),
            _ => PingPurpose::RoundTrip(nonce),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PingPurpose::{self, Dht, Heartbeat, NextHop, RoundTrip};
    use crate::time::Timestamp;

    #[test]
    fn a_nonce_gives_back_its_purpose() {
        let year = Timestamp(365 * 86_400 * 1_000_000_000);
        for purpose in [Dht(0), Dht(u64::from(u32::MAX)), Heartbeat(year), NextHop(7), RoundTrip(0), RoundTrip(1)] {
            assert_eq!(PingPurpose::of(purpose.nonce()), purpose);
        }
        for nonce in [0, 1, u64::MAX, u64::MAX >> 1, u64::MAX >> 2, u64::MAX >> 3] {
            assert_eq!(PingPurpose::of(nonce).nonce(), nonce);
        }
    }
}

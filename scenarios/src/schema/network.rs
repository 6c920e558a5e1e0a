//! What lies between hosts: links, sites and how far they are apart, and what of TCP is modelled on top.
use crate::plan::{Drawn, Sharing};
use crate::schema::delay::Delay;
use crate::units::{Rate, Size, Time};
use serde::{Deserialize, Serialize};

/// What lies between hosts, beside their own `egress` and `ingress`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Of every path that neither `rtt` nor an entry of `links` names.
    pub default: Link,
    /// Round trips between sites; half of one takes the place of the default's delay where two sites differ.
    pub rtt: RoundTrips,
    /// The file of a profile whose measured ways between groups or sites are taken; one that has a single way has it
    /// everywhere. Nothing: none.
    pub profile: Option<String>,
    /// The last that names a path decides, also over `rtt` and `profile`.
    pub links: Vec<Between>,
    pub tcp: Transport,
    pub sharing: Sharing,
    /// Live: impose the links on the real frames.
    pub shape: bool,
}

/// One direction of a link; neither delay nor limit where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// One way.
    pub delay: Delay,
    pub drawn: Drawn,
    /// Added to the delay, drawn for each message.
    pub jitter: Delay,
    /// Nothing: no limit.
    pub bandwidth: Option<Rate>,
    /// Share of segments that are lost.
    pub loss: f64,
}

/// The path from one site or host group to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Between {
    pub from: String,
    pub to: String,
    /// The way back as well.
    #[serde(default)]
    pub both: bool,
    /// One way.
    #[serde(default)]
    pub delay: Delay,
    #[serde(default)]
    pub drawn: Drawn,
    #[serde(default)]
    pub jitter: Delay,
    /// Nothing: no limit.
    #[serde(default)]
    pub bandwidth: Option<Rate>,
    #[serde(default)]
    pub loss: f64,
}

/// Where the round trips between sites stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum RoundTrips {
    /// Sites say nothing about delay.
    #[default]
    Off,
    /// A set of world regions that comes with the program: sites are called as its regions.
    Regions(String),
    /// A file, in ms: a matrix with the sites in its first row and its first column, or a list of pairs.
    Csv(String),
}

/// What of TCP is modelled. Each of its parts can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Transport {
    /// A link is a pipe that needs no connecting.
    Off,
    Tcp {
        /// Connecting costs a round trip.
        #[serde(default = "yes")]
        handshake: bool,
        /// A window that begins small and doubles with each round trip.
        #[serde(default = "yes")]
        slow_start: bool,
        /// Of slow start, in segments.
        #[serde(default = "initial_window")]
        initial_window: u32,
        /// An idle connection loses some of its window.
        #[serde(default = "yes")]
        idle_restart: bool,
        /// What may be under way without acknowledgement; `"0 B"`: no limit.
        #[serde(default = "window")]
        window: Size,
        /// Payload of a full segment.
        #[serde(default = "mss")]
        mss: Size,
        /// Headers of a segment.
        #[serde(default = "header")]
        header: Size,
        /// The least that the retransmission timeout adds to the round trip.
        #[serde(default = "least_timeout")]
        least_timeout: Time,
    },
}

impl Default for Transport {
    /// Linux over Ethernet.
    fn default() -> Transport {
        Transport::Tcp {
            handshake: yes(),
            slow_start: yes(),
            initial_window: initial_window(),
            idle_restart: yes(),
            window: window(),
            mss: mss(),
            header: header(),
            least_timeout: least_timeout(),
        }
    }
}

fn yes() -> bool {
    true
}

/// RFC 6928, and Linux since 2.6.39.
fn initial_window() -> u32 {
    10
}

/// Half of the 6 MiB that Linux lets a receive buffer grow to (`tcp_rmem`): the other half is the kernel's own overhead
/// (`tcp_adv_win_scale`).
fn window() -> Size {
    Size(3 << 20)
}

/// An Ethernet frame's 1,500 bytes less 20 of IPv4, 20 of TCP and 12 of its timestamps.
fn mss() -> Size {
    Size(1448)
}

/// Those 52 and the 14 of Ethernet, as NIC counters and `tc` count.
fn header() -> Size {
    Size(66)
}

/// Linux' `TCP_RTO_MIN`.
fn least_timeout() -> Time {
    Time(200_000_000)
}

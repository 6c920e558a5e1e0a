//! What lies between hosts: links, sites and how far they are apart, and what of TCP is modelled on top.
use crate::plan::{Drawn, Sharing};
use crate::schema::delay::Delay;
use crate::units::{Rate, Size, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The network between hosts. A message also passes the sender's `egress` and the receiver's `ingress`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// The path between two hosts that neither `rtt` nor an entry of `links` names.
    pub default: Link,
    /// Round trips between sites. Half of one replaces the delay of `default` between hosts of different sites.
    pub rtt: RoundTrips,
    /// The file of a profile whose measured links are used between its host groups. A profile with a single link is used
    /// for all paths.
    pub profile: Option<String>,
    /// Paths between given sites or host groups. The last entry that names a path decides, also over `rtt` and `profile`.
    pub links: Vec<Between>,
    /// The parts of TCP that are modelled.
    pub tcp: Transport,
    /// How concurrent transfers share a link.
    pub sharing: Sharing,
    /// Whether a live run delays its real messages as this network would.
    pub shape: bool,
}

/// One direction of a link. The default has no delay, no bandwidth limit and no loss.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// The one-way delay.
    pub delay: Delay,
    /// How often a random delay is drawn.
    pub drawn: Drawn,
    /// A further delay, drawn for each message.
    pub jitter: Delay,
    /// The bandwidth. Without it: no limit.
    pub bandwidth: Option<Rate>,
    /// The share of TCP segments that are lost, from 0 to 1.
    pub loss: f64,
}

/// The path from one site or host group to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// A site, a host group, or one host of it.
    pub from: String,
    /// A site, a host group, or one host of it.
    pub to: String,
    /// Whether the entry holds for the opposite direction as well.
    #[serde(default)]
    pub both: bool,
    /// The one-way delay.
    #[serde(default)]
    pub delay: Delay,
    /// How often a random delay is drawn.
    #[serde(default)]
    pub drawn: Drawn,
    /// A further delay, drawn for each message.
    #[serde(default)]
    pub jitter: Delay,
    /// The bandwidth. Without it: no limit.
    #[serde(default)]
    pub bandwidth: Option<Rate>,
    /// The share of TCP segments that are lost, from 0 to 1.
    #[serde(default)]
    pub loss: f64,
}

/// The source of round trips between sites.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum RoundTrips {
    /// There is none: sites do not change delays.
    #[default]
    Off,
    /// A set of world regions of the program: `aws-2019` or `aws-2025`. The sites of hosts are names of its regions. If
    /// the set has 90th percentiles, each direction draws its delay from a log-normal distribution for each message, so
    /// that round trips have the set's median and 90th percentile; otherwise the delay is constant.
    Regions(String),
    /// A CSV file with times in ms: a matrix with the sites in its first row and column, or a list of pairs with the columns
    /// from, to, rtt_ms.
    Csv(String),
}

/// The parts of TCP that are modelled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Transport {
    /// Nothing: a link only has its delay, bandwidth and loss.
    Off,
    /// TCP as Linux has it over Ethernet.
    Tcp {
        /// Whether connecting takes a round trip.
        #[serde(default = "yes")]
        handshake: bool,
        /// Whether the congestion window begins small and doubles with each round trip.
        #[serde(default = "yes")]
        slow_start: bool,
        /// The first congestion window of slow start, in segments (RFC 6928).
        #[serde(default = "initial_window")]
        initial_window: u32,
        /// Whether the congestion window of an idle connection shrinks (RFC 2861).
        #[serde(default = "yes")]
        idle_restart: bool,
        /// The largest number of unacknowledged bytes; `"0 B"`: no limit.
        #[serde(default = "window")]
        window: Size,
        /// The payload of a full segment.
        #[serde(default = "mss")]
        mss: Size,
        /// The headers of a segment.
        #[serde(default = "header")]
        header: Size,
        /// The least time that the retransmission timeout adds to the round trip.
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

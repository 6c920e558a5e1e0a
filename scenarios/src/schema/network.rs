//! The network between hosts: links, round trips between sites, and the modelled parts of TCP.
use crate::plan::{Drawn, Sharing};
use crate::schema::delay::Delay;
use crate::units::{Rate, Size, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The network between hosts. A message passes the `egress` link of the sending host, the link between the two hosts,
/// and the `ingress` link of the receiving host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// The link between two hosts, if `rtt`, `profile` and `links` do not give one.
    pub default: Link,
    /// The round-trip times between sites. If the sites of two hosts have one, half of it replaces the delay of
    /// `default` between the hosts.
    pub rtt: RoundTrips,
    /// The file of a profile with measured links. Each link applies between the two host groups or sites that it names.
    /// If the profile has a single link, the link applies between all groups.
    pub profile: Option<String>,
    /// Links between given sites or host groups. They take precedence over `rtt` and `profile`. If several entries
    /// apply to two hosts, the last one counts.
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
    /// How often a value of `delay` is sampled, if it is a distribution.
    pub drawn: Drawn,
    /// A random time that is sampled for each message and added to its delay.
    pub jitter: Delay,
    /// The bandwidth. Without it: no limit.
    pub bandwidth: Option<Rate>,
    /// The share of TCP segments that are lost, from 0 to 0.5.
    pub loss: f64,
}

/// A link from one site or host group to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Between {
    /// The sending hosts: a site, a host group, or one host of a group.
    pub from: String,
    /// The receiving hosts: a site, a host group, or one host of a group.
    pub to: String,
    /// Whether the link also applies in the opposite direction.
    #[serde(default)]
    pub both: bool,
    /// The one-way delay.
    #[serde(default)]
    pub delay: Delay,
    /// How often a value of `delay` is sampled, if it is a distribution.
    #[serde(default)]
    pub drawn: Drawn,
    /// A random time that is sampled for each message and added to its delay.
    #[serde(default)]
    pub jitter: Delay,
    /// The bandwidth. Without it: no limit.
    #[serde(default)]
    pub bandwidth: Option<Rate>,
    /// The share of TCP segments that are lost, from 0 to 0.5.
    #[serde(default)]
    pub loss: f64,
}

/// The source of round-trip times between sites.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum RoundTrips {
    /// No source: delays do not depend on sites.
    #[default]
    Off,
    /// A built-in set of world regions, `aws-2019` or `aws-2025`. The sites of hosts must be names of these regions. In
    /// `aws-2019` delays are constant. In `aws-2025` the delay of each message is sampled from a log-normal
    /// distribution, so that round trips have nearly the published median and 90th percentile.
    Regions(String),
    /// A CSV file of round-trip times in ms: a matrix with the sites in its first row and column, or a list of pairs
    /// with the columns from, to, rtt_ms.
    Csv(String),
}

/// The parts of TCP that are modelled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Transport {
    /// No part of TCP: a message takes only the delay, jitter and bandwidth of its links. Links must not lose segments.
    Off,
    /// TCP. The defaults of its fields are those of Linux over Ethernet.
    Tcp {
        /// Whether connecting takes a round trip.
        #[serde(default = "yes")]
        handshake: bool,
        /// Whether the congestion window of a new connection begins small and doubles with each round trip.
        #[serde(default = "yes")]
        slow_start: bool,
        /// The first congestion window of slow start, in segments (RFC 6928).
        #[serde(default = "initial_window")]
        initial_window: u32,
        /// Whether the congestion window of an idle connection shrinks (RFC 2861).
        #[serde(default = "yes")]
        idle_restart: bool,
        /// The largest number of unacknowledged bytes of a connection. `"0 B"` means no limit.
        #[serde(default = "window")]
        window: Size,
        /// The largest payload of a segment.
        #[serde(default = "mss")]
        mss: Size,
        /// The size of all headers of a segment.
        #[serde(default = "header")]
        header: Size,
        /// The time that is added to the round trip to get the retransmission timeout.
        #[serde(default = "least_timeout")]
        least_timeout: Time,
    },
}

impl Default for Transport {
    /// TCP with the defaults of Linux over Ethernet.
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

/// The initial window in segments, from RFC 6928 and Linux since 2.6.39.
fn initial_window() -> u32 {
    10
}

/// The receive window: half of the 6 MiB to which a receive buffer of Linux may grow (`tcp_rmem`). The kernel reserves
/// the other half for its own overhead (`tcp_adv_win_scale`).
fn window() -> Size {
    Size(3 << 20)
}

/// The payload of a segment: the 1,500 bytes of an Ethernet frame less 20 of the IPv4 header, 20 of the TCP header and
/// 12 of the TCP timestamps.
fn mss() -> Size {
    Size(1448)
}

/// The headers of a segment: 52 bytes of IPv4 and TCP with timestamps, and 14 of Ethernet, as NIC counters and `tc`
/// count them.
fn header() -> Size {
    Size(66)
}

/// `TCP_RTO_MIN` of Linux.
fn least_timeout() -> Time {
    Time(200_000_000)
}

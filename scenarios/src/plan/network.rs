//! The network of a plan: the link between the NICs of any two hosts.
use super::{Link, Sharing, Tcp};
use actors::id::HostId;
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Network {
    /// The link of every path that neither `between` nor `sites` names. Messages within a host use no link and take no
    /// time.
    pub default: Link,
    /// The links between the sites of hosts. The table is empty unless a host group is spread over several sites.
    #[serde(default)]
    pub sites: SiteTable,
    /// The links of single paths. They take precedence over `sites`. If several entries match a path, the last one
    /// counts.
    pub between: Vec<Between>,
    pub tcp: Tcp,
    pub sharing: Sharing,
    /// Whether a live run delays its real frames as the links of the plan would.
    pub shape: bool,
}

impl Network {
    /// Returns a network with the same link between any two hosts. Connecting takes a round trip; no other effect of
    /// TCP is modelled.
    pub fn of(default: Link) -> Network {
        let (sites, between) = (SiteTable::default(), Vec::new());
        Network { default, sites, between, tcp: Tcp::PIPE, sharing: Sharing::Fifo, shape: false }
    }

    /// The link from the NIC of `from` to the NIC of `to`, in this direction only.
    pub fn link(&self, from: HostId, to: HostId) -> &Link {
        let named = self.between.iter().rfind(|between| between.from.holds(from) && between.to.holds(to));
        named.map(|between| &between.link).or_else(|| self.sites.link(from, to)).unwrap_or(&self.default)
    }
}

/// An empty table of sites is left out in text formats. Binary formats, which store no names of fields, contain it.
impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Network { default, sites, between, tcp, sharing, shape } = self;
        let left_out = serializer.is_human_readable() && *sites == SiteTable::default();
        let mut fields = serializer.serialize_struct("Network", if left_out { 5 } else { 6 })?;
        fields.serialize_field("default", default)?;
        match left_out {
            true => fields.skip_field("sites")?,
            false => fields.serialize_field("sites", sites)?,
        }
        fields.serialize_field("between", between)?;
        fields.serialize_field("tcp", tcp)?;
        fields.serialize_field("sharing", sharing)?;
        fields.serialize_field("shape", shape)?;
        fields.end()
    }
}

/// The site of each host, and a link for each ordered pair of sites.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteTable {
    pub names: Vec<String>,
    /// For each host, the index of its site in `names`.
    pub of: Vec<u32>,
    /// The links between sites. The link from site `a` to site `b` is `links[a * names.len() + b]`.
    pub links: Vec<Link>,
}

impl SiteTable {
    /// The link from the site of `from` to the site of `to`. The opposite direction may have another link. `None` if
    /// the table of sites is empty.
    pub fn link(&self, from: HostId, to: HostId) -> Option<&Link> {
        let site = |host: HostId| self.of.get(host.0 as usize).map(|site| *site as usize);
        self.links.get(site(from)? * self.names.len() + site(to)?)
    }
}

/// A link for the paths from each host of `from` to each host of `to`, in this direction only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Between {
    pub from: Hosts,
    pub to: Hosts,
    pub link: Link,
}

/// Hosts with equally spaced ids: `first`, `first + step` and so on up to `last`, which is included. With a step of 1
/// the ids are consecutive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Hosts {
    pub first: HostId,
    pub last: HostId,
    #[serde(default = "one")]
    pub step: u32,
}

fn one() -> u32 {
    1
}

impl Hosts {
    /// Returns the range that contains only `host`.
    pub fn only(host: HostId) -> Hosts {
        Hosts { first: host, last: host, step: 1 }
    }

    pub fn holds(&self, host: HostId) -> bool {
        (self.first..=self.last).contains(&host) && (host.0 - self.first.0).is_multiple_of(self.step.max(1))
    }

    pub fn count(&self) -> usize {
        ((self.last.0 - self.first.0) / self.step.max(1)) as usize + 1
    }

    /// The ids of the hosts, in ascending order.
    pub fn ids(&self) -> impl Iterator<Item = HostId> + use<> {
        (self.first.0..=self.last.0).step_by(self.step.max(1) as usize).map(HostId)
    }
}

/// A step of 1 is left out in text formats.
impl Serialize for Hosts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Hosts { first, last, step } = self;
        let left_out = serializer.is_human_readable() && *step == 1;
        let mut fields = serializer.serialize_struct("Hosts", if left_out { 2 } else { 3 })?;
        fields.serialize_field("first", first)?;
        fields.serialize_field("last", last)?;
        match left_out {
            true => fields.skip_field("step")?,
            false => fields.serialize_field("step", step)?,
        }
        fields.end()
    }
}

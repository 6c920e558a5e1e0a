//! Resolves the network between the hosts of a plan.
mod measured;
mod sites;

use super::fault::{Fault, bounded};
use super::placed::{Placed, member};
use crate::files::Files;
use crate::plan::{self, Hosts};
use crate::schema::{Delay, Link, Network, Transport};
use crate::units::{Rate, Size, Time};
use actors::id::HostId;
use actors::time::Duration;
use std::collections::BTreeSet;

pub(super) use sites::{Distances, distances};

/// The largest number of entries of a plan's `between`. All entries are searched when two hosts exchange a message for
/// the first time.
const ENTRIES: usize = 1 << 14;

/// The largest allowed size of a TCP segment's payload, and of its headers, in bytes.
const SEGMENT: u64 = 65_535;

/// The largest initial TCP window, in segments. A connection with a larger window has practically no slow start.
const INITIAL_WINDOW: u32 = 10_000;

/// Resolves the network between `hosts`. `distances` holds the round trips between sites that the scenario gives.
pub(super) fn resolve(
    network: &Network,
    distances: Option<&Distances>,
    hosts: &[Placed<'_>],
    files: &Files,
) -> Result<plan::Network, Fault> {
    let default = link("network.default", &network.default, files)?;
    let groups = groups(hosts);
    let (mut between, mut table) = (Vec::new(), plan::SiteTable::default());
    if let Some(distances) = distances {
        sites::note_unused(&network.rtt, distances, &groups, files);
        match groups.iter().any(|group| group.sites.len() > 1) {
            true => table = sites::table(distances, &groups, &default)?,
            false => between = sites::between(distances, &groups, &default)?,
        }
    }
    if let Some(name) = &network.profile {
        between.extend(measured::between(name, &groups, hosts, network.shape, files)?);
    }
    for (index, path) in network.links.iter().enumerate() {
        let at = format!("network.links.{index}");
        let given = Given {
            delay: &path.delay,
            jitter: &path.jitter,
            drawn: path.drawn,
            bandwidth: path.bandwidth,
            loss: path.loss,
        };
        let link = given.link(&at, files)?;
        let from = members(&format!("{at}.from"), &path.from, &groups)?;
        let to = members(&format!("{at}.to"), &path.to, &groups)?;
        for (&from, &to) in from.iter().flat_map(|from| to.iter().map(move |to| (from, to))) {
            between.push(plan::Between { from, to, link: link.clone() });
            if path.both {
                between.push(plan::Between { from: to, to: from, link: link.clone() });
            }
        }
    }
    if between.len() > ENTRIES {
        let message = format!(
            "the network has {} links between groups of hosts, but at most {ENTRIES} are allowed",
            between.len()
        );
        return Err(Fault::new("network", message).help("use fewer groups of hosts, for example one for each site"));
    }
    let tcp = tcp(network.tcp)?;
    if network.tcp == Transport::Off && (default.loss > 0.0 || between.iter().any(|path| path.link.loss > 0.0)) {
        let fault =
            Fault::new("network.tcp", "links lose segments, but without a TCP model no segment would be sent again");
        return Err(fault.help("write `tcp: Tcp()`, or leave `loss` out of the links"));
    }
    Ok(plan::Network { default, sites: table, between, tcp, sharing: network.sharing, shape: network.shape })
}

/// A group of hosts, which have consecutive ids.
struct Group<'a> {
    name: &'a str,
    /// The sites over which the hosts are distributed in turn, without repetition: at least one, and at most one for
    /// each host.
    sites: Vec<&'a str>,
    hosts: Hosts,
}

impl Group<'_> {
    /// The hosts of the group on a site. `None` if the group has no host there.
    fn on(&self, site: &str) -> Option<Hosts> {
        let place = self.sites.iter().position(|own| *own == site)? as u32;
        let step = self.sites.len() as u32;
        let Hosts { first, last, .. } = self.hosts;
        let first = HostId(first.0 + place);
        Some(Hosts { first, last: HostId(last.0 - (last.0 - first.0) % step), step })
    }

    /// The hosts of the group, separately for each of its sites.
    fn by_site(&self) -> Vec<Hosts> {
        self.sites.iter().filter_map(|site| self.on(site)).collect()
    }
}

fn groups<'a>(hosts: &'a [Placed<'_>]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (id, placed) in (0..).map(HostId).zip(hosts) {
        let site = placed.host.site.as_str();
        match groups.last_mut() {
            Some(last) if last.name == placed.group => {
                // The hosts of a group take its sites in turn, and no site is listed twice. So a repetition begins where
                // the first site occurs again.
                let repeats = last.sites.len() < last.hosts.count() || last.sites[0] == site;
                if !repeats {
                    last.sites.push(site);
                }
                last.hosts.last = id;
            }
            _ => groups.push(Group { name: placed.group, sites: vec![site], hosts: Hosts::only(id) }),
        }
    }
    groups
}

/// Returns the hosts that `name` means: all hosts of a site or of a group, or one host of a group, as in `t4[2]`.
fn members(path: &str, name: &str, groups: &[Group<'_>]) -> Result<Vec<Hosts>, Fault> {
    let known = || {
        let names = groups.iter().flat_map(|group| group.sites.iter().copied().chain([group.name]));
        names.collect::<BTreeSet<&str>>()
    };
    if let Some((group, index)) = member(name) {
        let Some(group) = groups.iter().find(|other| other.name == group) else {
            return Err(Fault::unknown(path, "host", name, known()));
        };
        let count = group.hosts.count() as u32;
        if index >= count {
            let fault = Fault::new(path, format!("the host `{name}` does not exist"));
            return Err(fault.help(format!("the group has {count} hosts, counted from 0")));
        }
        return Ok(vec![Hosts::only(HostId(group.hosts.first.0 + index))]);
    }
    let named = |group: &Group<'_>| if group.name == name { Some(group.hosts) } else { group.on(name) };
    let found: Vec<Hosts> = groups.iter().filter_map(named).collect();
    if found.is_empty() {
        return Err(Fault::unknown(path, "site or host", name, known()));
    }
    Ok(found)
}

/// Returns the ids of the hosts that `name` means: all hosts of a site or of a group, or one host of a group.
pub(super) fn hosts(path: &str, name: &str, hosts: &[Placed<'_>]) -> Result<Vec<HostId>, Fault> {
    let found = members(path, name, &groups(hosts))?;
    Ok(found.iter().flat_map(Hosts::ids).collect())
}

pub(super) fn link(path: &str, link: &Link, files: &Files) -> Result<plan::Link, Fault> {
    let Link { delay, drawn, jitter, bandwidth, loss } = link;
    Given { delay, drawn: *drawn, jitter, bandwidth: *bandwidth, loss: *loss }.link(path, files)
}

/// The properties that a scenario gives for a link: the default link, or a link between given sites or groups.
struct Given<'a> {
    delay: &'a Delay,
    drawn: plan::Drawn,
    jitter: &'a Delay,
    bandwidth: Option<Rate>,
    loss: f64,
}

impl Given<'_> {
    fn link(&self, path: &str, files: &Files) -> Result<plan::Link, Fault> {
        let distribution = |field: &str, delay: &Delay| {
            delay.resolve(files).map_err(|fault| Fault::delay(&format!("{path}.{field}"), delay.text(), fault))
        };
        let (delay, jitter) = (distribution("delay", self.delay)?, distribution("jitter", self.jitter)?);
        if self.bandwidth == Some(Rate(0)) {
            let fault =
                Fault::new(&format!("{path}.bandwidth"), "the link has a bandwidth of 0, so it delivers nothing");
            return Err(fault.help("leave `bandwidth` out for a link without limit"));
        }
        if !(0.0..=0.5).contains(&self.loss) {
            let message = format!("loss is {}, but must be a share of segments from 0 to 0.5", self.loss);
            return Err(Fault::new(&format!("{path}.loss"), message));
        }
        let bandwidth = self.bandwidth.map(Rate::bytes_per_second);
        Ok(plan::Link { delay, drawn: self.drawn, jitter, bandwidth, loss: self.loss })
    }
}

fn tcp(transport: Transport) -> Result<plan::Tcp, Fault> {
    let Transport::Tcp { handshake, slow_start, initial_window, idle_restart, window, mss, header, least_timeout } =
        transport
    else {
        return Ok(plan::Tcp::OFF);
    };
    let at = |field: &str| format!("network.tcp.{field}");
    bounded(&at("initial_window"), "initial_window", initial_window, 1, INITIAL_WINDOW)?;
    for (field, Size(bytes), least) in [("mss", mss, 1), ("header", header, 0)] {
        if !(least..=SEGMENT).contains(&bytes) {
            let message = format!("{field} is {}, but must be from {least} to {SEGMENT} B", Size(bytes));
            return Err(Fault::new(&at(field), message));
        }
    }
    if window != Size(0) && window < mss {
        let message = format!("the window of {window} is smaller than one segment of {mss}");
        return Err(Fault::new(&at("window"), message).help("write \"0 B\" for a window without limit"));
    }
    if least_timeout > Time(60_000_000_000) {
        return Err(Fault::new(
            &at("least_timeout"),
            format!("least_timeout is {least_timeout}, but must be at most a minute"),
        ));
    }
    Ok(plan::Tcp {
        handshake,
        mss: mss.0,
        header: header.0,
        initial_window: slow_start.then_some(u64::from(initial_window) * mss.0),
        idle_restart: idle_restart && slow_start,
        window: (window != Size(0)).then_some(window.0),
        least_timeout: Duration(least_timeout.0),
    })
}

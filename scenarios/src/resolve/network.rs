//! What lies between the hosts of a plan.
use super::fault::Fault;
use super::hosts::Placed;
use crate::plan;
use crate::schema::{Delay, Link, Network};
use crate::units::Rate;
use actors::id::HostId;
use std::collections::{BTreeMap, BTreeSet};

/// Paths that one entry may name: a plan lists each, in some hundred bytes.
const PATHS: usize = 1 << 20;

/// The network between hosts that have these names and sites.
pub(super) fn resolve(network: &Network, hosts: &[Placed<'_>]) -> Result<plan::Network, Fault> {
    let default = link("network.default", &network.default)?;
    let mut between: BTreeMap<(u32, u32), plan::Link> = BTreeMap::new();
    for (index, path) in network.links.iter().enumerate() {
        let at = format!("network.links.{index}");
        let link = link_of(&at, &path.delay, path.bandwidth)?;
        let from = members(&format!("{at}.from"), &path.from, hosts)?;
        let to = members(&format!("{at}.to"), &path.to, hosts)?;
        if from.len().saturating_mul(to.len()) > PATHS {
            let message = format!("{} by {} hosts are more than {PATHS} paths", from.len(), to.len());
            return Err(Fault::new(&at, message).help("give the groups an `egress` or `ingress` instead"));
        }
        for (&a, &b) in from.iter().flat_map(|a| to.iter().map(move |b| (a, b))).filter(|(a, b)| a != b) {
            between.insert((a, b), link.clone());
            if path.both {
                between.insert((b, a), link.clone());
            }
        }
    }
    let named = |((from, to), link)| plan::Between { from: HostId(from), to: HostId(to), link };
    Ok(plan::Network { default, between: between.into_iter().map(named).collect(), shape: network.shape })
}

pub(super) fn link(path: &str, link: &Link) -> Result<plan::Link, Fault> {
    link_of(path, &link.delay, link.bandwidth)
}

fn link_of(path: &str, delay: &Delay, bandwidth: Option<Rate>) -> Result<plan::Link, Fault> {
    let at = format!("{path}.delay");
    let delay = delay.resolve().map_err(|fault| Fault::delay(&at, delay.text(), fault))?;
    if bandwidth == Some(Rate(0)) {
        let fault = Fault::new(&format!("{path}.bandwidth"), "a link without bandwidth delivers nothing");
        return Err(fault.help("leave `bandwidth` out for a link without limit"));
    }
    Ok(plan::Link { delay, bandwidth: bandwidth.map(Rate::bytes_per_second) })
}

/// The hosts of a site or a group.
fn members(path: &str, name: &str, hosts: &[Placed<'_>]) -> Result<Vec<u32>, Fault> {
    let is_member = |placed: &Placed<'_>| placed.host.site == name || placed.group == name;
    let found: Vec<u32> = (0u32..).zip(hosts).filter(|(_, placed)| is_member(placed)).map(|(id, _)| id).collect();
    if found.is_empty() {
        let known: BTreeSet<&str> = hosts.iter().flat_map(|placed| [placed.host.site.as_str(), placed.group]).collect();
        return Err(Fault::unknown(path, "site or host", name, known));
    }
    Ok(found)
}

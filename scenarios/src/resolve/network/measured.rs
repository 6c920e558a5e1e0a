//! Links between hosts as a device profile has measured them.
use super::{Fault, Group, members};
use crate::files::Files;
use crate::plan::{Between, Hosts, Overhead};
use crate::profile::{self, ProfileError, Way};
use crate::resolve::placed::Placed;
use crate::suggest;
use std::collections::BTreeMap;

const AT: &str = "network.profile";

/// Returns the links of the profile `name` between all groups and sites that the profile names. A single link of a
/// profile applies between any two groups.
/// The send and receive overheads of the profile's devices are subtracted from the measured links, because they are
/// added to each frame separately. They are not subtracted if live frames are `shaped`, because a shaped frame is
/// delayed until the delay of the scenario's link is over, which includes the overheads.
pub(super) fn between(
    name: &str,
    groups: &[Group<'_>],
    hosts: &[Placed<'_>],
    shaped: bool,
    files: &Files,
) -> Result<Vec<Between>, Fault> {
    let profile = profile::load(name, files.folder()).map_err(|error| {
        let help =
            matches!(error, ProfileError::Unknown { .. }).then(|| suggest::hint(name, profile::names())).flatten();
        Fault { help, ..Fault::new(AT, error.to_string()) }
    })?;
    let overhead = |of: Hosts| match shaped {
        true => Overhead::NONE,
        false => hosts[of.first.0 as usize].host.device.cost.overhead,
    };
    let way = |path: &Way, from: Hosts, to: Hosts| {
        let (a, b) = (overhead(from), overhead(to));
        Between { from, to, link: path.link(a.frame + b.frame, a.per_byte + b.per_byte) }
    };
    let mut ways = Vec::new();
    match &profile.links[..] {
        [] => {
            let fault = Fault::new(AT, format!("the profile `{name}` has no links"));
            return Err(fault.help(
                "measure the links with swarmbench calibrate SCENARIO, or with swarmbench calibrate --from and a live \
                 run",
            ));
        }
        [path] => {
            let pairs = groups.iter().flat_map(|a| groups.iter().map(move |b| (a.hosts, b.hosts)));
            ways.extend(pairs.map(|(a, b)| way(path, a, b)));
        }
        paths => {
            // For each pair of groups, the index of the profile's link that joins them. The link applies to both
            // directions.
            let mut joined: BTreeMap<(Hosts, Hosts), usize> = BTreeMap::new();
            for (at, path) in paths.iter().enumerate() {
                let (from, to) = (known(&path.from, groups)?, known(&path.to, groups)?);
                for (&a, &b) in from.iter().flat_map(|a| to.iter().map(move |b| (a, b))) {
                    let first = *joined.entry((a.min(b), a.max(b))).or_insert(at);
                    if first != at {
                        return Err(twice(name, (first, &paths[first]), (at, path)));
                    }
                    ways.extend([way(path, a, b), way(path, b, a)]);
                }
            }
        }
    }
    Ok(ways)
}

/// Returns the error for two links of a profile that join the same groups, so that it is unknown which is meant.
fn twice(profile: &str, first: (usize, &Way), second: (usize, &Way)) -> Fault {
    let link = |(at, way): (usize, &Way)| {
        let median = way.rtt.get(way.rtt.len() / 2).copied().unwrap_or_default();
        format!("link {} (from `{}` to `{}`, {median} round trip)", at + 1, way.from, way.to)
    };
    let message = format!("in the profile `{profile}`, {} and {} join the same hosts", link(first), link(second));
    Fault::new(AT, message).help("each link applies to both directions; keep one of the two")
}

/// Returns the hosts of the group or site that a profile calls `name`, separately for each site of a group.
fn known(name: &str, groups: &[Group<'_>]) -> Result<Vec<Hosts>, Fault> {
    let found = members(AT, name, groups).map_err(|fault| {
        let message = format!("{}, but the profile has a link to it", fault.message);
        let help =
            "use a profile with several links only in a scenario that has the same groups or sites of hosts".to_owned();
        Fault { message, help: Some(help), ..fault }
    })?;
    let by_site = |hosts: Hosts| {
        let group = groups.iter().find(|group| group.hosts == hosts);
        group.map_or_else(|| vec![hosts], Group::by_site)
    };
    Ok(found.into_iter().flat_map(by_site).collect())
}

//! Resolves machines, hosts and devices: the orchestrator's host first, then every host of every group.
use super::fault::{Fault, bounded};
use super::network::Distances;
use super::placed::{Computers, Placed};
use super::{named, network};
use crate::files::Files;
use crate::plan;
use crate::presets::devices;
use crate::profile::{self, ProfileError};
use crate::schema::{Device, Host, Limit, Machine, Scenario, Spread, Table};
use crate::suggest;
use crate::units::{Rate, Time, Work};
use actors::limits;
use std::collections::BTreeSet;
use std::path::Path;

/// The name of the orchestrator's host and group. No group of a scenario may have this name.
pub(super) const ORCHESTRATOR: &str = "orchestrator";

pub(super) fn resolve<'a>(scenario: &'a Scenario, inputs: &Inputs<'_>) -> Result<Computers<'a>, Fault> {
    unique("hosts", "host", scenario.hosts.iter().map(|host| host.name.as_str()))?;
    unique("machines", "machine", scenario.machines.iter().map(|machine| machine.name.as_str()))?;
    let mut machines = Vec::new();
    for (index, machine) in scenario.machines.iter().enumerate() {
        machines.push(named_machine(index, machine, scenario)?);
    }
    let mut hosts = Vec::new();
    for (index, group) in scenario.hosts.iter().enumerate() {
        place(index, group, scenario, inputs, &mut machines, &mut hosts)?;
    }
    let machine = orchestrators_machine(&mut machines, &hosts);
    let device =
        plan::Device { name: ORCHESTRATOR.to_owned(), executor: plan::Executor::Elsewhere, cost: devices::cpu(1) };
    let (egress, ingress) = (plan::Link::FREE, plan::Link::FREE);
    let name = ORCHESTRATOR.to_owned();
    let orchestrator = plan::Host { site: name.clone(), name, machine, device, also: Vec::new(), egress, ingress };
    hosts.insert(0, Placed { group: ORCHESTRATOR, host: orchestrator });
    Ok(Computers { machines, hosts })
}

fn unique<'a>(path: &str, what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    for (index, name) in names.enumerate() {
        let at = format!("{path}.{index}.name");
        named(&at, what, name)?;
        if name == ORCHESTRATOR {
            let fault = Fault::new(&at, format!("`{name}` cannot be the name of a {what}"));
            return Err(fault.help("the program has a host of this name; choose another name"));
        }
        if !seen.insert(name) {
            return Err(Fault::new(&at, format!("two {what}s have the name `{name}`")));
        }
    }
    Ok(())
}

fn named_machine(index: usize, machine: &Machine, scenario: &Scenario) -> Result<plan::Machine, Fault> {
    let at = format!("machines.{index}");
    if !scenario.hosts.iter().any(|host| host.machine.as_ref() == Some(&machine.name)) {
        return Err(Fault::new(
            &format!("{at}.name"),
            format!("no host is on the machine `{}`; remove the machine, or name it in a host", machine.name),
        ));
    }
    let leases = match machine.leases {
        Limit::Off => None,
        Limit::Of(count) => {
            bounded(&format!("{at}.leases"), "leases", count, 1, limits::THREADS)?;
            Some(count)
        }
    };
    Ok(plan::Machine { name: machine.name.clone(), leases })
}

/// Adds the hosts of a group to the plan's hosts.
fn place<'a>(
    index: usize,
    group: &'a Host,
    scenario: &Scenario,
    inputs: &Inputs<'_>,
    machines: &mut Vec<plan::Machine>,
    hosts: &mut Vec<Placed<'a>>,
) -> Result<(), Fault> {
    let at = format!("hosts.{index}");
    let count = count(&at, group, scenario)?;
    if !(group.slow.is_finite() && group.slow > 0.0) {
        let message = format!("slow, the factor by which the device is slower, is {}, but must be above 0", group.slow);
        return Err(Fault::new(&format!("{at}.slow"), message));
    }
    let sites = sites(&at, group, inputs.distances)?;
    let device = inputs.hosted(&format!("{at}.device"), &group.device, group)?;
    bounded(&format!("{at}.also"), "the number of further devices", group.also.len() as u32, 0, limits::DEVICES)?;
    let further = group.also.iter().enumerate();
    let also: Vec<plan::Device> = further
        .map(|(index, also)| inputs.hosted(&format!("{at}.also.{index}"), also, group))
        .collect::<Result<_, _>>()?;
    let egress = network::link(&format!("{at}.egress"), &group.egress, inputs.files)?;
    let ingress = network::link(&format!("{at}.ingress"), &group.ingress, inputs.files)?;
    let shared = match &group.machine {
        None => None,
        Some(name) => {
            let known = scenario.machines.iter().position(|machine| machine.name == *name);
            let names = scenario.machines.iter().map(|machine| machine.name.as_str());
            let unknown = || {
                let fault = Fault::unknown(&format!("{at}.machine"), "machine", name, names);
                let declare = format!("declare the machine: machines: [Machine(name: \"{name}\")]");
                if fault.help.is_some() { fault } else { fault.help(declare) }
            };
            Some(known.ok_or_else(unknown)? as u32)
        }
    };
    for instance in 0..count {
        let name = if count == 1 { group.name.clone() } else { format!("{}[{instance}]", group.name) };
        let machine = shared.unwrap_or_else(|| {
            machines.push(plan::Machine { name: name.clone(), leases: None });
            machines.len() as u32 - 1
        });
        let host = plan::Host {
            name,
            site: sites[instance as usize % sites.len()].clone(),
            machine,
            device: device.clone(),
            also: also.clone(),
            egress: egress.clone(),
            ingress: ingress.clone(),
        };
        hosts.push(Placed { group: &group.name, host });
    }
    Ok(())
}

/// The site name of hosts in a group that names no site.
const LAN: &str = "lan";

/// Returns the sites over which the hosts of a group are distributed in turn: at least one, and none twice.
fn sites(at: &str, group: &Host, distances: Option<&Distances>) -> Result<Vec<String>, Fault> {
    let path = format!("{at}.sites");
    match (&group.site, &group.sites) {
        (Some(_), Some(_)) => {
            let fault = Fault::new(&path, format!("the hosts `{}` have a `site` and `sites`", group.name));
            Err(fault.help("leave one of the two out: `site` is for all hosts, `sites` are assigned in turn"))
        }
        (site, None) => {
            let site = site.as_deref().unwrap_or(LAN);
            named(&format!("{at}.site"), "site", site)?;
            Ok(vec![site.to_owned()])
        }
        (None, Some(Spread::All)) => {
            let Some(distances) = distances else {
                let fault = Fault::new(&path, "`sites: All` means the sites of `network.rtt`, which names none");
                return Err(
                    fault.help("name round trips, as network: Network(rtt: Regions(\"aws-2025\")), or list the sites")
                );
            };
            let names = distances.sites();
            names.iter().try_for_each(|name| named(&path, "site", name))?;
            Ok(names)
        }
        (None, Some(Spread::Over(names))) => {
            if names.is_empty() {
                let fault = Fault::new(&path, format!("the list of sites of the hosts `{}` is empty", group.name));
                return Err(fault.help("list at least one site, or leave `sites` out"));
            }
            let mut seen = BTreeSet::new();
            for (index, name) in names.iter().enumerate() {
                let at = format!("{path}.{index}");
                named(&at, "site", name)?;
                distances.map_or(Ok(()), |distances| distances.check(&at, &group.name, name))?;
                if !seen.insert(name) {
                    let fault = Fault::new(&at, format!("the site `{name}` is listed twice"));
                    return Err(
                        fault.help("the sites are assigned in turn: make another group for a site with more hosts")
                    );
                }
            }
            Ok(names.clone())
        }
    }
}

/// Returns the number of hosts of a group: the given number, or the number of clients if the clients are on this group
/// and no number is given.
pub(super) fn count(at: &str, group: &Host, scenario: &Scenario) -> Result<u32, Fault> {
    let (on, clients) = (scenario.workload.on(), scenario.workload.clients());
    let at = format!("{at}.count");
    let count = match (group.count, group.name == on) {
        (Some(count), true) if count != clients => {
            let message = format!(
                "the group has {count} hosts for {clients} clients, but each client must have a host of its own"
            );
            return Err(Fault::new(&at, message).help("leave `count` out, and each client gets a host"));
        }
        (Some(count), _) => count,
        (None, true) => clients,
        (None, false) => 1,
    };
    bounded(&at, "count", count, 1, limits::NODES as u32)?;
    Ok(count)
}

/// Returns the index of the orchestrator's machine: the machine of all other hosts if they share one, or else a new
/// machine.
fn orchestrators_machine(machines: &mut Vec<plan::Machine>, hosts: &[Placed<'_>]) -> u32 {
    match hosts {
        [first, rest @ ..] if rest.iter().all(|placed| placed.host.machine == first.host.machine) => first.host.machine,
        _ => {
            machines.push(plan::Machine { name: ORCHESTRATOR.to_owned(), leases: None });
            machines.len() as u32 - 1
        }
    }
}

/// The inputs for resolving hosts, in addition to the scenario's description of each group.
pub(super) struct Inputs<'a> {
    pub model: &'a plan::Model,
    /// The round trips between sites, if the scenario has any.
    pub distances: Option<&'a Distances>,
    /// The files of the scenario. Paths of profiles are relative to their folder.
    pub files: &'a Files,
}

impl Inputs<'_> {
    /// Returns the plan's device for a device of a host group, with the group's `slow` and `per_job`.
    fn hosted(&self, at: &str, device: &Device, group: &Host) -> Result<plan::Device, Fault> {
        let mut device = self.device(at, device)?;
        device.cost.slow = group.slow;
        let per_job = group.per_job.duration();
        device.cost.roofline.per_job += per_job;
        if let Some(table) = &mut device.cost.table {
            table.per_job += per_job;
        }
        Ok(device)
    }

    fn device(&self, at: &str, device: &Device) -> Result<plan::Device, Fault> {
        match device {
            Device::Preset(name) => {
                let cost = devices::cost(name, self.model.block_type)
                    .ok_or_else(|| Fault::unknown(&format!("{at}.0"), "device", name, devices::names()))?;
                Ok(plan::Device { name: name.clone(), executor: plan::Executor::Elsewhere, cost })
            }
            Device::Cuda { ordinal, like } => {
                let cost = devices::cost(like, self.model.block_type)
                    .ok_or_else(|| Fault::unknown(&format!("{at}.like"), "device", like, devices::names()))?;
                let executor = plan::Executor::Cuda { ordinal: *ordinal };
                Ok(plan::Device { name: format!("cuda:{ordinal}"), executor, cost })
            }
            Device::Profile(name) => {
                // If the profile has no times of the embedding and the LM head, these are computed at the speed of one
                // CPU thread.
                let mut cost = devices::cpu(1);
                self.profiled(&format!("{at}.0"), name, &mut cost)?;
                Ok(plan::Device { name: stem(name), executor: plan::Executor::Elsewhere, cost })
            }
            Device::Cpu { threads, flops, bandwidth, per_block, per_job, first_job, table: measured, profile } => {
                bounded(&format!("{at}.threads"), "threads", *threads, 1, limits::THREADS)?;
                let mut cost = devices::cpu(*threads);
                if let Some(profile) = profile {
                    self.profiled(&format!("{at}.profile"), profile, &mut cost)?;
                }
                if let Some(flops) = flops {
                    cost.roofline.flops = work(at, *flops)?;
                }
                if let Some(bandwidth) = bandwidth {
                    cost.roofline.bandwidth = rate(at, *bandwidth)?;
                }
                cost.roofline.per_block = per_block.map_or(cost.roofline.per_block, Time::duration);
                cost.roofline.per_job = per_job.map_or(cost.roofline.per_job, Time::duration);
                cost.first_job = first_job.map_or(cost.first_job, Time::duration);
                if let Some(measured) = measured {
                    cost.table = Some(table(at, measured)?);
                }
                Ok(plan::Device {
                    name: format!("cpu x{threads}"),
                    executor: plan::Executor::Cpu { threads: *threads },
                    cost,
                })
            }
            Device::Custom { flops, bandwidth, per_block, per_job, first_job, table: measured } => {
                let mut cost = plan::Cost::of(plan::Roofline {
                    flops: work(at, *flops)?,
                    bandwidth: rate(at, *bandwidth)?,
                    per_block: per_block.duration(),
                    per_job: per_job.duration(),
                });
                cost.table = measured.as_ref().map(|measured| table(at, measured)).transpose()?;
                cost.first_job = first_job.duration();
                Ok(plan::Device { name: "custom".to_owned(), executor: plan::Executor::Elsewhere, cost })
            }
        }
    }

    fn profiled(&self, at: &str, name: &str, cost: &mut plan::Cost) -> Result<(), Fault> {
        let applied = profile::load(name, self.files.folder()).and_then(|profile| profile.apply(cost, self.model));
        applied.map_err(|error| {
            let help = match error {
                ProfileError::Unknown { .. } => suggest::hint(name, profile::names()),
                ProfileError::NotMeasured { .. } => Some(
                    "measure the model on the machine that has the device: swarmbench calibrate SCENARIO".to_owned(),
                ),
                _ => None,
            };
            Fault { help, ..Fault::new(at, error.to_string()) }
        })
    }
}

/// A profile's name without folder and extension.
fn stem(name: &str) -> String {
    Path::new(name).file_stem().map_or(name.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

fn work(at: &str, flops: Work) -> Result<f64, Fault> {
    let idle =
        || Fault::new(&format!("{at}.flops"), "the device has 0 FLOP/s, so it never ends a job; give a value above 0");
    if flops == Work(0) { Err(idle()) } else { Ok(flops.0 as f64) }
}

fn rate(at: &str, bandwidth: Rate) -> Result<f64, Fault> {
    let idle = || {
        Fault::new(
            &format!("{at}.bandwidth"),
            "the device has a bandwidth of 0, so it never ends a job; give a value above 0",
        )
    };
    if bandwidth == Rate(0) { Err(idle()) } else { Ok(bandwidth.bytes_per_second()) }
}

fn table(at: &str, table: &Table) -> Result<plan::Table, Fault> {
    let points = |name: &str, points: &[(u32, Time)]| {
        let rising =
            points.windows(2).all(|pair| pair[0].0 < pair[1].0) && points.first().is_none_or(|first| first.0 > 0);
        if !rising {
            let message = format!("the sizes of the points of `{name}` must be above 0 and ascend");
            return Err(Fault::new(&format!("{at}.table.{name}"), message));
        }
        let point = |(size, time): &(u32, Time)| (f64::from(*size), time.duration().as_secs_f64());
        Ok(plan::Grid::flat(&points.iter().map(point).collect::<Vec<_>>()))
    };
    Ok(plan::Table {
        prefill: points("prefill", &table.prefill)?,
        decode: points("decode", &table.decode)?,
        per_job: table.per_job.duration(),
    })
}

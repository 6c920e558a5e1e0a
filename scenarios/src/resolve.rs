//! Resolves a scenario into a plan: chooses, names, counts and checks all values.
//!
//! The same scenario, seed, cell, repetition and files give the same plan. An impossible value gives a [`Fault`] with
//! the path of the value.
use crate::chart::Chart;
use crate::cost;
use crate::files::Files;
use crate::only::Only;
use crate::paths::{self, Path};
use crate::plan::{self, Node, Plan, Role};
use crate::schema::{self, Scenario};
use actors::id::{BlockRange, HostId};
use actors::limits;
use actors::seed::Seed;
use fault::bounded;
use placed::Computers;
use std::collections::{BTreeMap, BTreeSet};

mod events;
pub(crate) mod fault;
mod hosts;
pub(crate) mod model;
mod network;
mod placed;
mod spans;
mod swarm;
mod tokens;
mod workload;

pub(crate) use fault::Fault;

/// The number of tokens that a client generates in its warm-up before the barrier.
pub(crate) const WARM_UP: u32 = 1;

/// The cell, the repetition and the seed for which a plan is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub seed: Seed,
    pub cell: u32,
    pub repeat: u32,
}

pub(crate) fn plan(scenario: &Scenario, run: Run, files: &Files) -> Result<Plan, Fault> {
    if scenario.version != schema::VERSION {
        let message = format!(
            "this program reads scenarios of version {}, but the version given is {}",
            schema::VERSION,
            scenario.version
        );
        return Err(Fault::new("version", message));
    }
    bounded("sweep.repeat", "repeat", scenario.sweep.repeat, 1, u32::MAX)?;
    named("name", "scenario", &scenario.name)?;
    fit_for_directories(&scenario.name)?;
    let model = model::resolve(&scenario.model, files)?;
    let seed = run.seed.derive("run", u64::from(run.cell), u64::from(run.repeat));
    let asked = workload::resolve(scenario, &model, seed, files)?;
    let tokens = tokens::resolve(scenario, &model, &asked.workload, files)?;
    sized(scenario, model.shape.layers)?;
    let distances = network::distances(&scenario.network.rtt, files)?;
    let inputs = hosts::Inputs { model: &model, distances: distances.as_ref(), files };
    let computers = hosts::resolve(scenario, &inputs)?;
    let nodes = nodes(scenario, &model, &computers)?;
    let network = network::resolve(&scenario.network, distances.as_ref(), &computers.hosts, files)?;
    let policies = swarm::resolve(&scenario.swarm, &computers.hosts, &nodes)?;
    let swarm = events::Swarm { hosts: &computers.hosts, nodes: &nodes, seed, files };
    let faults = events::resolve(&scenario.events, &swarm)?;
    let workload = asked.workload;
    let open = asked.open.map(|coming| coming.seated(&computers.hosts, &nodes)).transpose()?;
    let plan = Plan {
        scenario: scenario.name.clone(),
        cell: run.cell,
        repeat: run.repeat,
        seed,
        chance: seed,
        model,
        machines: computers.machines,
        hosts: computers.hosts.into_iter().map(|placed| placed.host).collect(),
        nodes,
        network,
        policies,
        workload,
        tokens,
        open,
        objectives: objectives(&scenario.measure)?,
        timeout: positive("measure.timeout", scenario.measure.timeout)?,
        ready_within: positive("measure.ready_within", scenario.measure.ready_within)?,
        warm_up: scenario.measure.warm_up,
        faults,
    };
    roomy(&plan)?;
    events::served(&plan, &scenario.events)?;
    Ok(plan)
}

/// Checks that the path of every chart is a path of the scenario. `text` is the scenario's canonical text.
pub(crate) fn charts(scenario: &Scenario, text: &str) -> Result<(), Fault> {
    scenario.report.iter().enumerate().try_for_each(|(index, chart)| charted(chart, &format!("report.{index}"), text))
}

fn charted(chart: &Chart, at: &str, text: &str) -> Result<(), Fault> {
    let known = |part: u32, path: &str| {
        let fault = |missing: paths::NoSuchPath| Fault {
            help: missing.help,
            ..Fault::new(&format!("{at}.{part}"), missing.message)
        };
        paths::locate(text, &Path::dotted(path)).map(|_| ()).map_err(fault)
    };
    match chart {
        Chart::ThroughputVs(path) | Chart::LatencyVs(path) | Chart::Pareto(path) | Chart::Discovery(path) => {
            known(0, path)
        }
        Chart::Heatmap(x, y) => known(0, x).and_then(|()| known(1, y)),
        Chart::Only(only, chart) => {
            let wrong = |why| {
                Fault::new(&format!("{at}.0"), why).help("write a filter as path=value, and join several with &&")
            };
            Only::parse(only).map_err(wrong)?.paths().try_for_each(|path| known(0, path))?;
            charted(chart, &format!("{at}.1"), text)
        }
        Chart::LatencyCdf | Chart::Breakdown | Chart::Coverage => Ok(()),
        Chart::Timeline | Chart::Gantt | Chart::Utilisation => Ok(()),
    }
}

/// Returns the location of a file or folder that a scenario names. A relative path is relative to the scenario's
/// folder.
fn place(files: &Files, path: &str) -> String {
    files.folder().join(path).to_string_lossy().into_owned()
}

/// Checks a name of the scenario: it must be distinguishable from other names in print, and must not contain characters
/// that have a meaning in paths or in references to hosts.
fn named(path: &str, what: &str, name: &str) -> Result<(), Fault> {
    let plain = |c: char| !c.is_control() && !"/\\[]>".contains(c);
    if !name.is_empty() && name.trim() == name && name.chars().all(plain) {
        return Ok(());
    }
    let fault = Fault::new(path, format!("`{}` cannot be the name of a {what}", name.escape_debug()));
    Err(fault.help(r"a name must not be empty, begin or end with a space, or contain any of / \ [ ] >"))
}

/// Checks that a scenario's name can be part of the name of a run directory.
fn fit_for_directories(name: &str) -> Result<(), Fault> {
    // Names in a file system have at most 255 bytes. The remaining bytes are for the kind of run, a number and the
    // suffix of a partial run.
    const MOST: usize = 200;
    if name.starts_with('.') {
        let message = format!(
            "`{name}` cannot be the name of a scenario, because the directories of its results would be hidden"
        );
        return Err(Fault::new("name", message).help("give the scenario a name that does not begin with a dot"));
    }
    if name.len() > MOST {
        let message =
            format!("the name of the scenario has {} bytes, which is too long for the name of a directory", name.len());
        return Err(Fault::new("name", message).help("give the scenario a name of at most 200 bytes"));
    }
    Ok(())
}

fn positive(path: &str, time: crate::units::Time) -> Result<actors::time::Duration, Fault> {
    if time.0 == 0 { Err(Fault::new(path, "the time is 0, but must be longer")) } else { Ok(time.duration()) }
}

fn objectives(measure: &schema::Measure) -> Result<plan::Objectives, Fault> {
    if let Some(share) = measure.slo_share {
        if !(0.0..=1.0).contains(&share) {
            return Err(Fault::new(
                "measure.slo_share",
                format!("slo_share is {share}, but must be a share from 0 to 1"),
            ));
        }
        if measure.slo.is_empty() {
            let fault = Fault::new(
                "measure.slo_share",
                "slo_share requires a share of good requests, but the scenario has no objective that says which \
                 requests are good",
            );
            return Err(fault.help("add an objective, for example `slo: [Ttft(\"500 ms\")]`"));
        }
    }
    let limit = |slo: &schema::Slo| match slo {
        schema::Slo::Ttft(time) => plan::Objective::Ttft(time.duration()),
        schema::Slo::Tpot(time) => plan::Objective::Tpot(time.duration()),
        schema::Slo::E2el(time) => plan::Objective::E2el(time.duration()),
    };
    Ok(plan::Objectives { limits: measure.slo.iter().map(limit).collect(), share: measure.slo_share })
}

/// Checks that the swarm is not too large and that the model has enough blocks for the peers. The check uses only
/// counts, so a swarm that is too large takes no memory.
fn sized(scenario: &Scenario, layers: u32) -> Result<(), Fault> {
    let mut hosts = BTreeMap::new();
    let mut total = 0u64;
    for (index, group) in scenario.hosts.iter().enumerate() {
        let count = hosts::count(&format!("hosts.{index}"), group, scenario)?;
        hosts.insert(group.name.as_str(), count);
        total += u64::from(count);
    }
    let counts = scenario.peers.iter().map(|peers| {
        let hosts = match placed::member(&peers.on) {
            Some(_) => 1,
            None => hosts.get(peers.on.as_str()).copied().unwrap_or(0),
        };
        hosts.saturating_mul(peers.count)
    });
    let counts: Vec<u32> = counts.collect();
    let nodes = counts.iter().map(|count| u64::from(*count)).sum::<u64>() + u64::from(scenario.workload.clients());
    if total.max(nodes) > limits::NODES as u64 {
        let (message, most) = (format!("a swarm of {total} hosts and {nodes} peers and clients"), limits::NODES);
        let fault = Fault::new("hosts", format!("{message} is too large; at most {most} of each are allowed"));
        return Err(fault.help("lower `count` of the hosts or peers, or the workload's `clients`"));
    }
    spans::enough(&scenario.peers, &counts, layers)
}

/// Returns the nodes in order: the orchestrator, the bootstrap node, the peers, the clients.
fn nodes(scenario: &Scenario, model: &plan::Model, computers: &Computers<'_>) -> Result<Vec<Node>, Fault> {
    let on = scenario.workload.on();
    if scenario.peers.is_empty() {
        let fault = Fault::new("peers", "the swarm has no peers, so no block is served");
        return Err(fault.help("add a group of peers: Peers(on: \"name of a host\", span: Even)"));
    }
    let names = scenario.hosts.iter().map(|host| host.name.as_str());
    let mut counts = Vec::new();
    for (index, group) in scenario.peers.iter().enumerate() {
        let at = format!("peers.{index}.on");
        let count = computers.of(&group.on).count() as u32;
        if count == 0 {
            let of_group = computers.of(placed::group_of(&group.on)).count();
            let fault = Fault::unknown(&at, "host", &group.on, names.clone());
            return Err(if of_group > 0 {
                fault.help(format!("the group has {of_group} hosts, counted from 0"))
            } else {
                fault
            });
        }
        if placed::group_of(&group.on) == on {
            let fault = Fault::new(
                "workload.on",
                format!("the hosts `{on}` hold peers, but clients must have hosts of their own"),
            );
            return Err(fault.help("add a host for the clients; give both the same `machine` if they share one"));
        }
        bounded(&format!("peers.{index}.count"), "count", group.count, 1, limits::NODES as u32)?;
        let devices = scenario
            .hosts
            .iter()
            .find(|host| host.name == placed::group_of(&group.on))
            .map_or(1, |host| 1 + host.also.len());
        if let Some(device) = group.device.filter(|device| *device as usize >= devices) {
            let fault = Fault::new(
                &format!("peers.{index}.device"),
                format!("the hosts `{}` have no device {device}", group.on),
            );
            return Err(fault.help(format!(
                "each of these hosts has {devices}, counted from 0; to give each one more, write: also: \
                 [Preset(\"a100\")]"
            )));
        }
        counts.push(count.saturating_mul(group.count));
    }
    if computers.of(on).next().is_none() {
        return Err(Fault::unknown("workload.on", "host", on, names));
    }
    if let Some((group, _)) = placed::member(on) {
        let fault =
            Fault::new("workload.on", format!("`{on}` is a single host, but each client must have a host of its own"));
        return Err(fault.help(format!("name the whole group: on: \"{group}\"")));
    }
    let peers: BTreeSet<u32> = scenario.peers.iter().flat_map(|group| computers.of(&group.on)).collect();
    for (index, host) in scenario.hosts.iter().enumerate() {
        let used = |id: u32| peers.contains(&id);
        let Some(id) = computers.of(&host.name).find(|id| host.name != on && !used(*id)) else { continue };
        let at = format!("hosts.{index}.name");
        if computers.of(&host.name).any(used) {
            let name = &computers.hosts[id as usize].host.name;
            let fault = Fault::new(&at, format!("the host `{name}` holds neither peers nor clients"));
            return Err(fault.help(format!("add Peers(on: \"{name}\", ..), or lower the group's `count`")));
        }
        return Err(Fault::new(&at, format!("the hosts `{}` hold neither peers nor clients", host.name)));
    }
    swarm::within("swarm.throughput.relayed", scenario.swarm.throughput.relayed, 0.0, 1.0)?;
    if scenario.swarm.throughput.unknown.0 == 0 {
        return Err(Fault::new(
            "swarm.throughput.unknown",
            "the bandwidth is 0, so the NIC carries no token; give a bandwidth above 0",
        ));
    }
    let spans = spans::resolve(&scenario.peers, &counts, model.shape.layers)?;
    let orchestrator = HostId(0);
    let own = |host, role| Node { host, device: 0, role };
    let mut nodes = vec![own(orchestrator, Role::Orchestrator), own(orchestrator, Role::Bootstrap)];
    // For each host, the number of its peers that have been assigned to a device in turn so far.
    let mut turns = vec![0; computers.hosts.len()];
    for (group, spans) in scenario.peers.iter().zip(spans) {
        let hosts = computers.of(&group.on).flat_map(|host| std::iter::repeat_n(host, group.count as usize));
        for (host, blocks) in hosts.zip(spans) {
            let turn: &mut u32 = &mut turns[host as usize];
            let device = group.device.unwrap_or_else(|| {
                *turn += 1;
                (*turn - 1) % computers.hosts[host as usize].host.devices().count() as u32
            });
            nodes.push(peer(scenario, model, computers, group, PeerPlace { host, device, blocks }));
        }
    }
    nodes.extend(computers.of(on).map(|host| own(HostId(host), Role::Client)));
    Ok(nodes)
}

/// The host, the device and the blocks of a peer.
struct PeerPlace {
    host: u32,
    device: u32,
    blocks: BlockRange,
}

fn peer(
    scenario: &Scenario,
    model: &plan::Model,
    computers: &Computers<'_>,
    group: &schema::Peers,
    place: PeerPlace,
) -> Node {
    let PeerPlace { host, device, blocks } = place;
    let place = &computers.hosts[host as usize].host;
    let swarm = &scenario.swarm;
    let cost = place.devices().nth(device as usize).map_or(&place.device.cost, |device| &device.cost);
    let unknown = swarm.throughput.unknown.bytes_per_second();
    let reached = if group.relayed { swarm.throughput.relayed } else { 1.0 };
    let is_grouped = model.shape.kv_heads < model.shape.heads;
    let role = Role::Peer {
        blocks,
        chooses: matches!(group.span, schema::BlockSpan::Capacity { .. }),
        cache_bytes: swarm.cache.bytes(blocks.len(), model.cache_bytes_per_token_block(), is_grouped),
        inference_rps: cost::inference_rps(cost, model),
        forward_rps: cost::forward_rps(cost, model),
        network_rps: cost::network_rps(&place.egress, &place.ingress, model, unknown) * reached,
    };
    Node { host: HostId(host), device, role }
}

/// Checks that every peer's KV cache has room for at least one session.
fn roomy(plan: &Plan) -> Result<(), Fault> {
    for (_, node) in plan.peers() {
        let Role::Peer { blocks, cache_bytes, .. } = node.role else { continue };
        let session = session_bytes(plan, blocks);
        if session > cache_bytes {
            let (session, cache) = (crate::units::Size(session), crate::units::Size(cache_bytes));
            let message =
                format!("a session takes {session} of KV cache for blocks {blocks}, but a peer has only {cache}");
            return Err(Fault::new("swarm.cache", message)
                .help("raise `swarm.cache`, or lower the tokens or the batch of the requests"));
        }
    }
    Ok(())
}

/// Returns the bytes that a session of the workload reserves in the KV cache of a peer that computes `blocks` of the
/// session's route.
pub(crate) fn session_bytes(plan: &Plan, blocks: BlockRange) -> u64 {
    let length = u64::from(plan.longest().max(plan.workload.prompt + WARM_UP));
    u64::from(plan.workload.batch) * length * u64::from(blocks.len()) * plan.cache_bytes_per_token_block()
}

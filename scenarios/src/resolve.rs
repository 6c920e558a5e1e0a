//! From a scenario to a plan: everything chosen, named, counted and checked.
//!
//! The same scenario, and the same profiles beside it, give the same plan. A meaning that cannot be is a [`Fault`] with the path to blame.
use crate::cost;
use crate::files::Files;
use crate::paths::{self, Path};
use crate::plan::{self, Node, Plan, Role};
use crate::schema::{self, Scenario, Workload};
use crate::shape::Arch;
use actors::id::{BlockRange, HostId};
use actors::limits;
use actors::seed::Seed;
use fault::bounded;
use hosts::Computers;

mod events;
pub(crate) mod fault;
mod hosts;
pub(crate) mod model;
mod network;
mod spans;
mod swarm;
mod tokens;

pub(crate) use fault::Fault;

/// Tokens that a client generates before the barrier, whatever it generates after.
const WARM_UP: u32 = 1;

/// Which run of a sweep a plan is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub seed: Seed,
    pub cell: u32,
    pub repeat: u32,
}

pub(crate) fn plan(scenario: &Scenario, run: Run, files: &Files) -> Result<Plan, Fault> {
    if scenario.version != schema::VERSION {
        let message = format!("this program reads version {}, not {}", schema::VERSION, scenario.version);
        return Err(Fault::new("version", message));
    }
    bounded("sweep.repeat", "repeat", scenario.sweep.repeat, 1, u32::MAX)?;
    let model = model::resolve(&scenario.model)?;
    let workload = workload(scenario, &model)?;
    let tokens = tokens::resolve(scenario, &model, &workload)?;
    let computers = hosts::resolve(scenario, &hosts::Site { model: &model, files })?;
    let nodes = nodes(scenario, &model, &computers)?;
    let network = network::resolve(&scenario.network, &computers.hosts, files)?;
    let policies = swarm::resolve(&scenario.swarm, &computers.hosts, &nodes)?;
    let seed = run.seed.derive("run", u64::from(run.cell), u64::from(run.repeat));
    let swarm = events::Swarm { hosts: &computers.hosts, nodes: &nodes, seed, files };
    let faults = events::resolve(&scenario.events, &swarm)?;
    let plan = Plan {
        scenario: scenario.name.clone(),
        cell: run.cell,
        repeat: run.repeat,
        seed,
        model,
        machines: computers.machines,
        hosts: computers.hosts.into_iter().map(|placed| placed.host).collect(),
        nodes,
        network,
        policies,
        workload,
        tokens,
        timeout: positive("measure.timeout", scenario.measure.timeout)?,
        muster: positive("measure.muster", scenario.measure.muster)?,
        faults,
    };
    roomy(&plan)?;
    events::served(&plan, &scenario.events)?;
    Ok(plan)
}

/// Every chart's path must be one of a scenario: `text` is its canonical form.
pub(crate) fn charts(scenario: &Scenario, text: &str) -> Result<(), Fault> {
    use crate::chart::Chart;
    for (index, chart) in scenario.report.iter().enumerate() {
        let asked = match chart {
            Chart::ThroughputVs(path) | Chart::LatencyVs(path) => vec![path],
            Chart::Heatmap(x, y) => vec![x, y],
            Chart::LatencyCdf | Chart::Breakdown => vec![],
        };
        for (part, path) in asked.into_iter().enumerate() {
            paths::locate(text, &Path::dotted(path)).map_err(|missing| Fault {
                help: missing.help,
                ..Fault::new(&format!("report.{index}.{part}"), missing.message)
            })?;
        }
    }
    Ok(())
}

fn positive(path: &str, time: crate::units::Time) -> Result<actors::time::Span, Fault> {
    if time.0 == 0 { Err(Fault::new(path, "nothing can be done in no time")) } else { Ok(time.span()) }
}

fn workload(scenario: &Scenario, model: &plan::Model) -> Result<plan::Workload, Fault> {
    let &Workload::Closed { clients, micro_batches, batch, prompt, generate, .. } = &scenario.workload;
    bounded("workload.clients", "clients", clients, 1, limits::NODES as u32)?;
    bounded("workload.micro_batches", "micro_batches", micro_batches, 1, limits::REQUESTS_PER_CLIENT - 1)?;
    bounded("workload.batch", "batch", batch, 1, limits::BATCH)?;
    bounded("workload.prompt", "prompt", prompt, 1, limits::TOKENS_PER_REQUEST)?;
    bounded("workload.generate", "generate", generate, 0, limits::TOKENS_PER_REQUEST - prompt)?;
    // The family that a scenario names, not the one it runs as, has the positions.
    let shape = model::shape(&scenario.model.shape)?;
    let positions = prompt + generate.max(WARM_UP);
    if model.shape.arch == Arch::Opt && positions > shape.max_positions {
        let message = format!(
            "prompt {prompt} and generate {generate} need {positions} positions, the model has learned {}",
            shape.max_positions
        );
        let alone = prompt + WARM_UP > shape.max_positions;
        return Err(Fault::new(if alone { "workload.prompt" } else { "workload.generate" }, message));
    }
    let activation = u64::from(batch) * u64::from(prompt) * u64::from(model.shape.hidden) * model.wire.bytes();
    if activation > limits::FRAME_TENSOR_BYTES as u64 {
        let message = format!("a prompt of {prompt} tokens in {batch} rows is a frame of {activation} bytes");
        return Err(Fault::new("workload.prompt", message)
            .help(format!("a frame may have {} bytes: ask for less at once", limits::FRAME_TENSOR_BYTES)));
    }
    Ok(plan::Workload { micro_batches, batch, prompt, generate })
}

/// The orchestrator, the registry, the peers, the clients.
fn nodes(scenario: &Scenario, model: &plan::Model, computers: &Computers<'_>) -> Result<Vec<Node>, Fault> {
    let Workload::Closed { on, .. } = &scenario.workload;
    if scenario.peers.is_empty() {
        let fault = Fault::new("peers", "a swarm of zero peers serves no block");
        return Err(fault.help("add a group: Peers(on: \"name of a host\", span: Even)"));
    }
    let names = scenario.hosts.iter().map(|host| host.name.as_str());
    let mut counts = Vec::new();
    for (index, group) in scenario.peers.iter().enumerate() {
        let at = format!("peers.{index}.on");
        let count = computers.of(&group.on).count() as u32;
        if count == 0 {
            return Err(Fault::unknown(&at, "host", &group.on, names.clone()));
        }
        if scenario.peers[..index].iter().any(|other| other.on == group.on) {
            return Err(Fault::new(&at, format!("the hosts `{}` hold peers already", group.on)));
        }
        if group.on == *on {
            let fault =
                Fault::new("workload.on", format!("the hosts `{on}` hold peers: clients have hosts of their own"));
            return Err(fault.help("add a host for the clients; name one `machine` for both if they share it"));
        }
        counts.push(count);
    }
    if computers.of(on).next().is_none() {
        return Err(Fault::unknown("workload.on", "host", on, names));
    }
    for (index, host) in scenario.hosts.iter().enumerate() {
        if host.name != *on && !scenario.peers.iter().any(|group| group.on == host.name) {
            let message = format!("the hosts `{}` hold neither peers nor clients", host.name);
            return Err(Fault::new(&format!("hosts.{index}.name"), message));
        }
    }
    let spans = spans::resolve(&scenario.peers, &counts, model.shape.layers)?;
    let orchestrator = HostId(0);
    let mut nodes =
        vec![Node { host: orchestrator, role: Role::Orchestrator }, Node { host: orchestrator, role: Role::Registry }];
    for (group, spans) in scenario.peers.iter().zip(spans) {
        let seats = computers.of(&group.on).zip(spans);
        nodes.extend(seats.map(|(host, blocks)| peer(scenario, model, computers, host, blocks)));
    }
    nodes.extend(computers.of(on).map(|host| Node { host: HostId(host), role: Role::Client }));
    if nodes.len() > limits::NODES {
        let message = format!("a swarm of {} nodes is more than {}", nodes.len(), limits::NODES);
        return Err(Fault::new("hosts", message));
    }
    Ok(nodes)
}

fn peer(scenario: &Scenario, model: &plan::Model, computers: &Computers<'_>, host: u32, blocks: BlockRange) -> Node {
    let cost = &computers.hosts[host as usize].host.device.cost;
    let inference_rps = cost::inference_rps(cost, model);
    Node { host: HostId(host), role: Role::Peer { blocks, cache_bytes: scenario.swarm.cache.0, inference_rps } }
}

/// Every peer must have room for at least one session.
fn roomy(plan: &Plan) -> Result<(), Fault> {
    for (_, node) in plan.peers() {
        let Role::Peer { blocks, cache_bytes, .. } = node.role else { continue };
        let session = session_bytes(plan, blocks);
        if session > cache_bytes {
            let (session, cache) = (crate::units::Size(session), crate::units::Size(cache_bytes));
            let message = format!("a session takes {session} of KV cache for blocks {blocks}, a peer has {cache}");
            return Err(Fault::new("swarm.cache", message).help("raise `swarm.cache`, or ask for fewer tokens or rows"));
        }
    }
    Ok(())
}

/// What a session of the workload reserves at a peer that computes `blocks` of its route.
pub(crate) fn session_bytes(plan: &Plan, blocks: BlockRange) -> u64 {
    let workload = &plan.workload;
    let length = u64::from(workload.prompt) + u64::from(workload.generate.max(WARM_UP));
    u64::from(workload.batch) * length * u64::from(blocks.len()) * plan.cache_bytes_per_token_block()
}

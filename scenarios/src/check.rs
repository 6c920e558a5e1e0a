//! Looking at a whole sweep before anything runs.
use crate::adapt::{Adaptation, Adapted};
use crate::cell::CellKey;
use crate::error::ScenarioError;
use crate::load::Loaded;
use crate::plan::{Executor, Plan, Role, Sharing, Weights};
use crate::resolve::{model, session_bytes};
use crate::sweep::{Cell, Overrides};
use crate::units::Size;
use actors::limits;
use actors::seed::Seed;
use std::collections::BTreeSet;

/// What a sweep consists of.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub name: String,
    pub repeats: u32,
    pub cells: Vec<CellSummary>,
    /// The models whose dimensions are run as another family's.
    pub adapted: Vec<Adapted>,
    /// What is allowed but will hardly be wanted.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellSummary {
    pub key: CellKey,
    /// Without the orchestrator's.
    pub hosts: usize,
    pub peers: usize,
    pub clients: usize,
}

impl Loaded {
    /// Checks every cell of the sweep.
    pub fn check(&self, overrides: &Overrides) -> Result<Summary, ScenarioError> {
        let mut summary = Summary {
            name: self.scenario.name.clone(),
            repeats: self.repeats(overrides)?,
            cells: Vec::new(),
            adapted: Vec::new(),
            warnings: Vec::new(),
        };
        for cell in self.cells(overrides)? {
            let plan = cell.plan(Seed(0), 0)?;
            adapt(&mut summary.adapted, &cell, &plan);
            for warning in warnings(&plan).into_iter().chain(cell.warnings(&plan)) {
                if !summary.warnings.contains(&warning) {
                    summary.warnings.push(warning);
                }
            }
            let (peers, clients) = (plan.peers().count(), plan.clients().count());
            summary.cells.push(CellSummary { key: cell.key, hosts: plan.hosts.len() - 1, peers, clients });
        }
        Ok(summary)
    }
}

/// What an adapted model keeps, and how far its work is from the original at the workload's last token.
fn adapt(adapted: &mut Vec<Adapted>, cell: &Cell, plan: &Plan) {
    let Ok(own) = model::shape(&cell.scenario.model.shape) else { return };
    let adaptation = Adaptation::of(&own, plan.model.shape.arch);
    if adaptation.changes() {
        let distances =
            adaptation.distances(plan.model.block_type, plan.model.cache_value_bytes, plan.longest().saturating_sub(1));
        Adapted::add(adapted, cell.key.index, adaptation, distances);
    }
}

fn warnings(plan: &Plan) -> Vec<String> {
    let mut warnings = Vec::new();
    let clients = plan.clients().count() as u64;
    // Where requests come by themselves, a client may hold several.
    let each = plan.open.as_ref().map_or(1, |open| u64::from(open.in_flight).min(open.arrivals.len() as u64));
    let clients = clients * each;
    if clients > limits::SESSIONS_PER_PEER as u64 {
        let most = limits::SESSIONS_PER_PEER;
        warnings.push(format!("{clients} sessions may be wanted at once, a peer holds {most}: some will be refused"));
    }
    for (_, node) in plan.peers() {
        let Role::Peer { blocks, cache_bytes, .. } = node.role else { continue };
        let session = session_bytes(plan, blocks);
        if session.saturating_mul(clients) > cache_bytes {
            warnings.push(format!(
                "a peer of blocks {blocks} has a KV cache of {} and {clients} sessions may want {} each: some will be refused",
                Size(cache_bytes),
                Size(session)
            ));
        }
    }
    for (host, id) in plan.hosts.iter().zip(0..).skip(1) {
        let busy =
            plan.nodes.iter().filter(|node| node.host.0 == id).map(|node| node.device).collect::<BTreeSet<_>>().len();
        if busy <= host.also.len() {
            let (name, devices) = (&host.name, 1 + host.also.len());
            warnings.push(format!("{} of the {devices} devices of {name} compute for nobody", devices - busy));
        }
    }
    warnings.sort();
    warnings.dedup();
    warnings
}

/// What the live world of one machine cannot do of a plan, and what would be needed; empty if it can do all.
pub fn live_obstacles(plan: &Plan) -> Vec<String> {
    let mut obstacles = Vec::new();
    if plan.model.weights == Weights::Echo {
        obstacles.push("an echo model has no weights; to run one: --set 'model.weights=Random(seed: 1)'".to_owned());
    }
    let mut machines = BTreeSet::new();
    for (index, group) in groups(plan).into_iter().enumerate() {
        let Some(first) = group.first().map(|host| &plan.hosts[*host]) else { continue };
        let names = match group.as_slice() {
            [_] => format!("host {}", first.name),
            [.., last] => format!("hosts {} to {}", first.name, plan.hosts[*last].name),
            [] => continue,
        };
        let further = |(number, device): (usize, _)| match number {
            0 => (format!("hosts.{index}.device"), device),
            number => (format!("hosts.{index}.also.{}", number - 1), device),
        };
        let absent =
            first.devices().enumerate().find(|(_, device)| device.executor == Executor::Elsewhere).map(further);
        let cpus = first.devices().filter_map(|device| match device.executor {
            Executor::Cpu { threads } => Some(threads),
            _ => None,
        });
        let cpus: Vec<u32> = cpus.collect();
        if let Some((path, device)) = absent {
            obstacles.push(format!(
                "{names}: the device {} is not on this machine, only the simulation knows it; to run on a CPU: \
                 --set '{path}=Cpu(threads: 1)'",
                device.name
            ));
        } else if cpus.len() > 1 && cpus.iter().any(|threads| *threads > 1) {
            obstacles.push(format!(
                "{names}: CPU devices of one process share its threads, so each may have one alone; give each \
                 `Cpu(threads: 1)`, or make them hosts of one machine"
            ));
        } else {
            machines.extend(group.iter().map(|host| plan.hosts[*host].machine));
        }
    }
    if machines.len() > 1 {
        obstacles.push(format!(
            "its CPUs are of {} machines, and this is one: hosts that share it must take turns on its cores; \
             --set 'machines=[Machine(name: \"here\")]' and for each of its hosts --set hosts.0.machine=here",
            machines.len()
        ));
    }
    if plan.network.shape && plan.network.sharing == Sharing::Fair {
        obstacles.push(
            "a host that shapes its frames does not know what else is on its way to the other's: max-min fair sharing \
             is the simulation's alone; --set network.sharing=Fifo, or --set network.shape=false"
                .to_owned(),
        );
    }
    obstacles
}

/// The hosts of each group of the scenario, in its order, without the orchestrator's.
fn groups(plan: &Plan) -> Vec<Vec<usize>> {
    let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
    for (index, host) in plan.hosts.iter().enumerate().skip(1) {
        let name = host.name.split('[').next().unwrap_or_default();
        match groups.last_mut() {
            Some((last, hosts)) if *last == name => hosts.push(index),
            _ => groups.push((name, vec![index])),
        }
    }
    groups.into_iter().map(|(_, hosts)| hosts).collect()
}

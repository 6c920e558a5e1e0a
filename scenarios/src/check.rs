//! Checks a whole sweep before anything runs.
use crate::adapt::{self, Adaptation, Adapted};
use crate::cell::CellKey;
use crate::error::ScenarioError;
use crate::load::Loaded;
use crate::plan::{Executor, Plan, Role, Sharing, Weights, WorkloadKind};
use crate::resolve::{model, session_bytes};
use crate::sweep::{Cell, Overrides};
use crate::units::Size;
use crate::warning_kind::Kind;
use actors::id::{BlockRange, HostId, NodeId};
use actors::limits;
use actors::seed::Seed;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A summary of a checked sweep: its cells, hosts, adapted models and warnings.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    pub name: String,
    pub repeats: u32,
    pub cells: Vec<CellSummary>,
    /// The models that the sweep runs as another family.
    pub adapted: Vec<Adapted>,
    /// Warnings about values that are allowed but rarely intended, at most one of each kind.
    pub warnings: Vec<Warning>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellSummary {
    pub key: CellKey,
    /// The number of hosts, not counting the orchestrator's host.
    pub hosts: usize,
    pub peers: usize,
    pub clients: usize,
}

/// A warning about values that are allowed but rarely intended, in one cell or in several.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    kind: Kind,
    /// The severity of the warning in the worst cell. Severities of one kind of warning can be compared.
    excess: f64,
    /// The text of the warning for the worst cell.
    pub text: String,
    /// The key of the cell where the warning is most severe. `None` if the sweep varies nothing.
    pub worst: Option<CellKey>,
    /// The numbers of all cells that have this warning, in order.
    pub cells: Vec<u32>,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.worst, self.cells.as_slice()) {
            (Some(worst), [_, _, ..]) => {
                let values: Vec<_> = worst.values.iter().map(|(path, value)| format!("{path}={value}")).collect();
                let (cells, index, values) = (adapt::numbers(&self.cells), worst.index, values.join(", "));
                write!(f, "{cells}, worst in cell {index} ({values}): {}", self.text)
            }
            (Some(worst), _) => write!(f, "cell {}: {}", worst.index, self.text),
            (None, _) => f.write_str(&self.text),
        }
    }
}

impl Loaded {
    /// Checks every cell of the sweep.
    ///
    /// # Errors
    /// The first error in the scenario, in the overrides, or in a cell.
    pub fn check(&self, overrides: &Overrides) -> Result<Summary, ScenarioError> {
        let mut summary = Summary::new(self.scenario.name.clone(), self.repeats(overrides)?);
        for cell in self.cells(overrides)? {
            let plan = cell.plan(Seed(0), 0)?;
            summary.add(&cell, &plan);
        }
        Ok(summary)
    }
}

impl Summary {
    /// Returns the summary of a sweep without any cells.
    pub fn new(name: String, repeats: u32) -> Summary {
        Summary { name, repeats, cells: Vec::new(), adapted: Vec::new(), warnings: Vec::new() }
    }

    /// Adds a cell to the summary, with the plan of one of the cell's repetitions.
    pub fn add(&mut self, cell: &Cell, plan: &Plan) {
        adapt(&mut self.adapted, cell, plan);
        for (kind, excess, text) in warnings(plan).into_iter().chain(cell.warnings(plan)) {
            // If the sweep varies nothing, it has only one cell, which a warning does not name.
            let worst = Some(cell.key.clone()).filter(|key| !key.values.is_empty());
            match self.warnings.iter_mut().find(|known| known.kind == kind) {
                Some(known) => {
                    known.cells.push(cell.key.index);
                    if excess > known.excess {
                        (known.excess, known.text, known.worst) = (excess, text, worst);
                    }
                }
                None => self.warnings.push(Warning { kind, excess, text, worst, cells: vec![cell.key.index] }),
            }
        }
        let (peers, clients) = (plan.peers().count(), plan.clients().count());
        self.cells.push(CellSummary { key: cell.key.clone(), hosts: plan.hosts.len() - 1, peers, clients });
    }
}

/// Records the dimensions that an adapted model keeps, and how the work for the last token of the longest request
/// differs between the adapted and the original model.
fn adapt(adapted: &mut Vec<Adapted>, cell: &Cell, plan: &Plan) {
    let Ok(own) = model::shape(&cell.scenario.model.shape) else { return };
    let adaptation = Adaptation::of(&own, plan.model.shape.arch);
    if adaptation.changes() {
        let distances =
            adaptation.distances(plan.model.block_type, plan.model.cache_value_bytes, plan.longest().saturating_sub(1));
        Adapted::add(adapted, cell.key.index, adaptation, distances);
    }
}

/// Returns the largest number of sessions that the workload can have open at once: one for each client of a closed-loop
/// workload, or one for each request in flight of an open-loop workload.
fn sessions(plan: &Plan) -> u64 {
    let open = match plan.workload_kind() {
        WorkloadKind::Closed { .. } => return plan.clients().count() as u64,
        WorkloadKind::Open(open) => open,
    };
    let mut requests: BTreeMap<NodeId, u64> = BTreeMap::new();
    for arrival in &open.arrivals {
        *requests.entry(arrival.client).or_default() += 1;
    }
    requests.values().map(|requests| u64::from(open.in_flight).min(*requests)).sum()
}

/// Returns the warnings of a plan, at most one of each kind. Each has the severity and the text for the most affected
/// host, peer or event.
fn warnings(plan: &Plan) -> Vec<(Kind, f64, String)> {
    let mut warnings = Vec::new();
    let (sessions, most) = (sessions(plan), limits::SESSIONS_PER_PEER as u64);
    if sessions > most {
        let text = format!(
            "{sessions} sessions may be open at once, but a peer holds at most {most}, so a peer may refuse some"
        );
        warnings.push((Kind::Sessions, sessions as f64, text));
    }
    let block = session_bytes(plan, BlockRange { start: 0, end: 1 });
    let crowded = plan.peers().filter_map(|(id, node)| {
        let Role::Peer { blocks, cache_bytes, .. } = node.role else { return None };
        let session = block.saturating_mul(u64::from(blocks.len()));
        let wanted = session.saturating_mul(sessions);
        (wanted > cache_bytes).then(|| (wanted as f64 / cache_bytes.max(1) as f64, id, blocks, cache_bytes, session))
    });
    let crowded: Vec<_> = crowded.collect();
    if let Some(&(excess, id, blocks, cache, session)) = crowded.iter().rev().max_by(|a, b| a.0.total_cmp(&b.0)) {
        let fit = cache.checked_div(session).unwrap_or(sessions);
        warnings.push((
            Kind::Cache,
            excess,
            format!(
                "{} (blocks {blocks}) may refuse sessions: its KV cache of {} has room for {fit} sessions of {}, but \
                 {sessions} may be open at once{}",
                plan.called(id),
                Size(cache),
                Size(session),
                others(crowded.len() - 1, "peer"),
            ),
        ));
    }
    let mut used: BTreeMap<HostId, BTreeSet<u32>> = BTreeMap::new();
    for node in &plan.nodes {
        used.entry(node.host).or_default().insert(node.device);
    }
    let idle = plan.hosts.iter().zip(0..).skip(1).filter_map(|(host, id)| {
        let devices = 1 + host.also.len();
        let idle = devices - used.get(&HostId(id)).map_or(0, BTreeSet::len);
        (idle > 0).then_some((idle, devices, &host.name))
    });
    let idle: Vec<_> = idle.collect();
    if let Some((count, devices, name)) = idle.iter().rev().max_by_key(|(idle, ..)| idle) {
        let others = others(idle.len() - 1, "host");
        let text = format!("{count} of the {devices} devices of {name} are used by no peer or client{others}");
        warnings.push((Kind::Devices, *count as f64, text));
    }
    warnings
}

/// Returns the end of a warning that names one host or peer but applies to `count` others as well.
fn others(count: usize, what: &str) -> String {
    match count {
        0 => String::new(),
        1 => format!("; the same holds for one other {what}"),
        _ => format!("; the same holds for {count} other {what}s"),
    }
}

/// Returns a text for each part of a plan that a live run on one machine cannot execute, with what would be needed
/// instead. The list is empty if a live run is possible.
pub fn live_obstacles(plan: &Plan) -> Vec<String> {
    let mut obstacles = Vec::new();
    if plan.model.weights == Weights::Echo {
        obstacles.push(
            "an echo model has no weights and cannot run live; give the model weights: --set \
             'model.weights=Random(seed: 1)'"
                .to_owned(),
        );
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
                "{names}: the device {} is not on this machine and can only be simulated; to run on a CPU instead: \
                 --set '{path}=Cpu(threads: 1)'",
                device.name
            ));
        } else if cpus.len() > 1 && cpus.iter().any(|threads| *threads > 1) {
            obstacles.push(format!(
                "{names}: the CPU devices of a host share the threads of one process, so each may have only one \
                 thread; give each device `Cpu(threads: 1)`, or make the devices separate hosts of one machine"
            ));
        } else {
            machines.extend(group.iter().map(|host| plan.hosts[*host].machine));
        }
    }
    if machines.len() > 1 {
        obstacles.push(format!(
            "the scenario has CPUs of {} machines, but a live run has only this machine, whose cores the hosts must \
             share in turn; leave `machines` and each host's `machine` out, or --set 'machines=[Machine(name: \"here\")]' \
             and for each host --set hosts.0.machine=here",
            machines.len()
        ));
    }
    if plan.network.shape && plan.network.sharing == Sharing::Fair {
        obstacles.push(
            "max-min fair sharing can only be simulated, since a host that shapes its frames live does not know the \
             traffic of other hosts; --set network.sharing=Fifo, or --set network.shape=false"
                .to_owned(),
        );
    }
    obstacles
}

/// Returns the hosts of each host group, in the order of the scenario, without the orchestrator's host.
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

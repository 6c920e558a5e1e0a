//! The calibration swarms: small swarms that measure a machine's devices and transport for a sweep.
//!
//! Each swarm has one client or more and two peers with block ranges of different length, on the scenario's own machine
//! with its leases and threads. The different lengths separate the cost of a block from the cost of a job. Everything
//! is measured under the conditions of the sweep: between real frames, and while other processes work. The measured
//! prompt lengths and batch sizes are those of the sweep, or some of them.
use actors::id::{BlockRange, HostId};
use actors::message::Forwarding;
use actors::time::Duration;
use scenarios::plan::{Distribution, Executor, Host, Link, Network, Node, Plan, Role, Tcp};
use std::collections::BTreeSet;

/// The largest number of prompt lengths that are measured: the smallest and the largest of the sweep, and some between.
const PROMPTS: usize = 6;

/// The largest number of batch sizes that are measured: the smallest and the largest of the sweep, and one between.
const BATCHES: usize = 3;

/// The number of decode steps after each prefill of a calibration swarm.
const DECODES: u32 = 24;

/// The number of requests of each calibration swarm.
const REQUESTS: u32 = 3;

/// The number of requests of a probe. Together they compute for some tenths of a second, which averages out short
/// variations of the machine's speed.
const PROBED: u32 = 8;

/// The interval between the client's pings in the swarm that measures round-trip times. It is short enough for many
/// pings within a step or two, and long enough that pings do not delay other work.
const PINGED: Duration = Duration::from_millis(2);

/// The network delays of the calibration swarms with a shaped network. They are longer than the rest of a frame's time,
/// short enough that a run has many frames, and different enough to show how the cost of waking up grows with the idle
/// time.
const DELAYS: [Duration; 2] = [Duration::from_millis(3), Duration::from_millis(12)];

/// The largest number of clients in the calibration swarm whose devices are never idle.
const CLIENTS: u32 = 4;

/// Returns the calibration swarms for `plans`, each as a plan: one for each pair of a batch size and a prompt length,
/// one that measures round-trip times, and one for each of `DELAYS`, in which devices wait for the network. If a plan
/// has several clients, there is also a swarm whose devices are never idle.
///
/// # Errors
/// Returns the reason why these plans cannot be measured on this machine.
pub fn swarms(plans: &[Plan]) -> Result<Vec<Plan>, String> {
    let base = plans.first().ok_or("the scenario has no cell to calibrate for")?;
    if let Some(other) = plans.iter().find(|plan| plan.model != base.model) {
        return Err(format!(
            "cells 0 and {} serve different models; calibrate for one model at a time, with --set or --only",
            other.cell
        ));
    }
    let hosts = HostTemplates::of(base)?;
    let prompts = spread(plans.iter().map(|plan| plan.workload.prompt), PROMPTS);
    let batches = spread(plans.iter().map(|plan| plan.workload.batch), BATCHES);
    let mut swarms = Vec::new();
    for &batch in &batches {
        for &prompt in &prompts {
            swarms.push(hosts.swarm(base, 1, batch, prompt));
        }
    }
    let mut pinged = hosts.swarm(base, 1, batches[0], prompts[prompts.len() - 1]);
    pinged.policies.pings.every = PINGED;
    pinged.workload.micro_batches = 2 * REQUESTS;
    swarms.push(pinged);
    let clients = plans.iter().map(|plan| plan.clients().count() as u32).max().unwrap_or(1);
    if clients > 1 {
        swarms.push(hosts.swarm(base, clients.min(CLIENTS), batches[0], prompts[0]));
    }
    for delay in DELAYS {
        let mut shaped = hosts.swarm(base, 1, batches[0], prompts[0]);
        shaped.network.default = Link::new(Distribution::Constant(delay), None);
        shaped.network.shape = true;
        swarms.push(shaped);
    }
    Ok(swarms)
}

/// Returns the probes for `plans`, one for each calibrated prompt length. A probe is a short run that does the same
/// work each time, so its times show how fast the machine is at present.
///
/// # Errors
/// Returns the reason why these plans cannot be measured on this machine.
pub fn probes(plans: &[Plan]) -> Result<Vec<Plan>, String> {
    let base = plans.first().ok_or("the scenario has no cell to calibrate for")?;
    let prompts = spread(plans.iter().map(|plan| plan.workload.prompt), PROMPTS);
    let templates = HostTemplates::of(base)?;
    let probe = |prompt: u32| {
        let mut probe = templates.swarm(base, 1, base.workload.batch, prompt);
        probe.workload.micro_batches = PROBED;
        probe
    };
    Ok(prompts.into_iter().map(probe).collect())
}

/// The hosts that the calibration swarms are built of.
struct HostTemplates {
    peer: Host,
    client: Host,
    cache_bytes: u64,
}

impl HostTemplates {
    fn of(plan: &Plan) -> Result<HostTemplates, String> {
        let (peer, client) = (plan.peers().next(), plan.clients().next());
        let (Some((_, peer)), Some((_, client))) = (peer, client) else {
            return Err("the scenario must have a peer and a client".to_owned());
        };
        let Role::Peer { cache_bytes, .. } = peer.role else { return Err("the peer has no blocks".to_owned()) };
        // Each host of a calibration swarm has only the device on which its node computes.
        let alone = |node: &Node| {
            let host = plan.host(node.host).clone();
            let device = host.devices().nth(node.device as usize).unwrap_or(&host.device).clone();
            Host { device, also: Vec::new(), ..host }
        };
        let (peer, client) = (alone(peer), alone(client));
        for host in [&peer, &client] {
            if host.device.executor == Executor::Elsewhere {
                return Err(format!(
                    "the device {} of host {} is not on this machine; give the host a device that runs here, for \
                     example --set 'hosts.0.device=Cpu(threads: 1)'",
                    host.device.name, host.name
                ));
            }
        }
        Ok(HostTemplates { peer, client, cache_bytes })
    }

    /// Returns a swarm of `clients` clients and two peers. The first peer holds a quarter of the blocks, and the second
    /// holds the others. Each request has `batch` rows and a prompt of `prompt` tokens.
    fn swarm(&self, base: &Plan, clients: u32, batch: u32, prompt: u32) -> Plan {
        let layers = base.model.shape.layers;
        let cut = (layers / 4).max(1);
        let spans = [(0, cut), (cut, layers)].into_iter().filter(|(start, end)| start < end);
        let mut plan = base.clone();
        plan.hosts.truncate(1);
        plan.nodes.truncate(2);
        let mut add = |host: &Host, name: String, role: Role| {
            let (egress, ingress) = (Link::FREE, Link::FREE);
            plan.nodes.push(Node { host: HostId(plan.hosts.len() as u32), device: 0, role });
            plan.hosts.push(Host { name, egress, ingress, ..host.clone() });
        };
        for (index, (start, end)) in spans.enumerate() {
            let (blocks, cache_bytes) = (BlockRange { start, end }, self.cache_bytes);
            add(
                &self.peer,
                format!("peer/{index}"),
                Role::Peer {
                    blocks,
                    chooses: false,
                    cache_bytes,
                    inference_rps: 1.0,
                    forward_rps: 1.0,
                    network_rps: 1.0,
                },
            );
        }
        for index in 0..clients {
            add(&self.client, format!("client/{index}"), Role::Client);
        }
        loopback(&mut plan);
        plan.policies.forwarding = Forwarding::Relay;
        plan.workload.batch = batch;
        plan.workload.prompt = prompt;
        plan.workload.generate = DECODES + 1;
        plan.workload.micro_batches = REQUESTS;
        plan
    }
}

/// Replaces the plan's network by the loopback of one machine: its links have no delay and no limit, so frames take
/// only the time of the hosts' overheads.
///
/// A live run without a shaped network uses the loopback, whatever network the scenario describes.
pub fn loopback(plan: &mut Plan) {
    plan.network = Network { tcp: Tcp::OFF, sharing: plan.network.sharing, ..Network::of(Link::FREE) };
    for host in &mut plan.hosts {
        (host.egress, host.ingress) = (Link::FREE, Link::FREE);
    }
}

/// Returns at most `most` of the distinct values in ascending order: the smallest, the largest, and between them values
/// at even steps in the sorted list.
fn spread(values: impl Iterator<Item = u32>, most: usize) -> Vec<u32> {
    let values: Vec<u32> = values.collect::<BTreeSet<_>>().into_iter().collect();
    if values.len() <= most {
        return values;
    }
    let last = values.len() - 1;
    (0..most).map(|at| values[(at * last + (most - 1) / 2) / (most - 1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::{probes, spread, swarms};
    use actors::seed::Seed;
    use actors::time::Duration;
    use scenarios::Overrides;
    use scenarios::plan::Role;

    #[test]
    fn the_sizes_are_those_of_the_sweep() {
        let cells = scenarios::load("quickstart").expect("it is there").cells(&Overrides::default()).expect("cells");
        let plans: Vec<_> = cells.iter().map(|cell| cell.plan(Seed(1), 0).expect("a plan")).collect();
        let swarms = swarms(&plans).expect("CPUs can be measured");
        let prompts: Vec<u32> = swarms.iter().map(|plan| plan.workload.prompt).collect();
        assert_eq!(prompts, [16, 64, 64, 16, 16, 16]);
        assert_eq!(swarms.iter().filter(|plan| plan.policies.pings.every > Duration::ZERO).count(), 1);
        assert_eq!(swarms.iter().filter(|plan| plan.network.shape).count(), 2);
        for plan in swarms.iter().chain(&probes(&plans).expect("likewise")) {
            let spans: Vec<u32> = plan
                .nodes
                .iter()
                .filter_map(|node| match node.role {
                    Role::Peer { blocks, .. } => Some(blocks.len()),
                    _ => None,
                })
                .collect();
            assert_eq!(spans, [1, 3], "two spans tell a block from a job");
            let clients = plan.clients().count();
            assert_eq!((plan.hosts.len(), plan.nodes.len()), (3 + clients, 4 + clients));
        }
        let clients: Vec<usize> = swarms.iter().map(|plan| plan.clients().count()).collect();
        assert_eq!(clients, [1, 1, 1, 2, 1, 1], "one of them is never idle");
    }

    #[test]
    fn what_is_not_here_cannot_be_measured() {
        let cells = scenarios::load("flexgen-petals-opt6.7b").expect("it is there").cells(&Overrides::default());
        let plan = cells.expect("cells")[0].plan(Seed(1), 0).expect("a plan");
        assert!(swarms(&[plan]).expect_err("a T4 is elsewhere").contains("t4"));
    }

    #[test]
    fn the_ends_are_always_among_the_chosen() {
        assert_eq!(spread([3, 1, 2, 2].into_iter(), 6), [1, 2, 3]);
        assert_eq!(spread(1..=100, 3), [1, 51, 100]);
    }
}

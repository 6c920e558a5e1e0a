//! Variants of a plan for sensitivity analysis. Each variant has one input changed.
use crate::plan::{Distribution, Link, Overhead, Plan, Role, Sharing};
use actors::id::HostId;
use actors::message::Forwarding;
use actors::policy::Scheduling;
use actors::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A numeric parameter of the scenario that the sensitivity analysis multiplies by a factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    Delay,
    Bandwidth,
    PeerTime,
    ClientTime,
    Overhead,
}

impl Input {
    pub const ALL: [Input; 5] = [Input::Delay, Input::Bandwidth, Input::PeerTime, Input::ClientTime, Input::Overhead];

    pub fn name(self) -> &'static str {
        match self {
            Input::Delay => "delays of links",
            Input::Bandwidth => "bandwidths of links",
            Input::PeerTime => "time of the peers' jobs",
            Input::ClientTime => "time of the clients' jobs",
            Input::Overhead => "overheads of hosts",
        }
    }

    /// Returns the plan with this input multiplied by `factor`. `None` if the plan does not have the input.
    pub fn scaled(self, plan: &Plan, factor: f64) -> Option<Plan> {
        let mut changed = plan.clone();
        match self {
            Input::Delay => each_link(&mut changed, |link| {
                link.delay = stretched(&link.delay, factor);
                link.jitter = stretched(&link.jitter, factor);
            }),
            Input::Bandwidth => {
                each_link(&mut changed, |link| link.bandwidth = link.bandwidth.map(|rate| rate * factor))
            }
            Input::PeerTime => each_device(&mut changed, true, factor),
            Input::ClientTime => each_device(&mut changed, false, factor),
            Input::Overhead => {
                let devices = changed.hosts.iter_mut().flat_map(|host| host.devices_mut());
                devices.for_each(|device| overheads(&mut device.cost.overhead, factor));
            }
        }
        (changed != *plan).then_some(changed)
    }
}

/// Returns variants of the plan with another policy or setting, each with its name.
pub fn choices(plan: &Plan) -> Vec<(String, Plan)> {
    let mut choices = Vec::new();
    let mut offer = |name: &str, change: &dyn Fn(&mut Plan)| {
        let mut changed = plan.clone();
        change(&mut changed);
        if changed != *plan {
            choices.push((name.to_owned(), changed));
        }
    };
    offer("forwarding: Relay", &|plan| plan.policies.forwarding = Forwarding::Relay);
    offer("forwarding: Push", &|plan| plan.policies.forwarding = Forwarding::Push);
    offer("sharing: Fifo", &|plan| plan.network.sharing = Sharing::Fifo);
    offer("sharing: Fair", &|plan| plan.network.sharing = Sharing::Fair);
    // Batches as large as in practice: all waiting steps, up to 512 tokens and 64 steps.
    let together = Scheduling::Continuous { tokens: 512, steps: 64 };
    let batches = |plan: &Plan| {
        matches!(plan.policies.scheduling, Scheduling::Continuous { .. } | Scheduling::PrefillThenDecode { .. })
    };
    match batches(plan) {
        true => offer("no batching", &|plan| plan.policies.scheduling = Scheduling::Fifo),
        false => offer("batching: 512 tokens", &|plan| plan.policies.scheduling = together),
    }
    offer("no slow start", &|plan| plan.network.tcp.initial_window = None);
    offer("no jitter of devices", &|plan| {
        let devices = plan.hosts.iter_mut().flat_map(|host| host.devices_mut());
        devices.for_each(|device| device.cost.jitter = crate::plan::Jitter::Off);
    });
    offer("no core leases", &|plan| plan.machines.iter_mut().for_each(|machine| machine.leases = None));
    choices
}

fn each_link(plan: &mut Plan, change: impl Fn(&mut Link)) {
    change(&mut plan.network.default);
    plan.network.sites.links.iter_mut().for_each(&change);
    plan.network.between.iter_mut().for_each(|between| change(&mut between.link));
    for host in &mut plan.hosts {
        change(&mut host.egress);
        change(&mut host.ingress);
    }
}

fn each_device(plan: &mut Plan, of_peers: bool, factor: f64) {
    let serves = |role: &Role| if of_peers { matches!(role, Role::Peer { .. }) } else { *role == Role::Client };
    let hosts: BTreeSet<HostId> = plan.nodes.iter().filter(|node| serves(&node.role)).map(|node| node.host).collect();
    for host in hosts {
        plan.hosts[host.0 as usize].devices_mut().for_each(|device| device.cost.slow *= factor);
    }
}

fn overheads(over: &mut Overhead, factor: f64) {
    let Overhead { to_device, from_device, hand_over, frame, idle, .. } = over;
    for span in [to_device, from_device, hand_over, frame, idle] {
        *span = scaled(*span, factor);
    }
    over.per_byte *= factor;
}

fn scaled(span: Duration, factor: f64) -> Duration {
    Duration::from_secs_f64(span.as_secs_f64() * factor)
}

/// Returns the distribution of `factor` times a sample of `delay`.
fn stretched(delay: &Distribution, factor: f64) -> Distribution {
    let by = |span: &Duration| scaled(*span, factor);
    match delay {
        Distribution::Constant(span) => Distribution::Constant(by(span)),
        Distribution::Uniform { low, high } => Distribution::Uniform { low: by(low), high: by(high) },
        Distribution::Normal { mean, std } => Distribution::Normal { mean: by(mean), std: by(std) },
        Distribution::LogNormal { median, sigma } => Distribution::LogNormal { median: by(median), sigma: *sigma },
        Distribution::Gamma { shape, scale } => Distribution::Gamma { shape: *shape, scale: by(scale) },
        Distribution::Pareto { scale, shape } => Distribution::Pareto { scale: by(scale), shape: *shape },
        Distribution::Weibull { scale, shape } => Distribution::Weibull { scale: by(scale), shape: *shape },
        Distribution::Empirical(spans) => Distribution::Empirical(spans.iter().map(by).collect::<Arc<[Duration]>>()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Input, choices};
    use crate::Overrides;
    use crate::plan::Distribution;
    use actors::seed::Seed;
    use actors::time::Duration;

    #[test]
    fn only_what_a_plan_has_can_be_varied() {
        let cells = crate::load("flexgen-petals-opt6.7b").expect("it is there").cells(&Overrides::default());
        let plan = cells.expect("cells")[0].plan(Seed(1), 0).expect("a plan");
        let slower = Input::Delay.scaled(&plan, 2.0).expect("its peers are far away");
        assert_eq!(slower.hosts[1].egress.delay, Distribution::Constant(Duration::from_millis(20)));
        assert!(Input::Overhead.scaled(&plan, 2.0).is_none(), "nobody has measured any");
        let half = Input::PeerTime.scaled(&plan, 0.5).expect("it has a peer");
        assert_eq!((half.hosts[1].device.cost.slow, plan.hosts[1].device.cost.slow), (0.5, 1.0));
        let names: Vec<String> = choices(&plan).into_iter().map(|choice| choice.0).collect();
        assert!(names.contains(&"forwarding: Push".to_owned()), "{names:?}");
        assert!(!names.contains(&"forwarding: Relay".to_owned()), "it relays already");
        assert!(names.contains(&"batching: 512 tokens".to_owned()), "{names:?}");
        assert!(!names.contains(&"no batching".to_owned()), "it has none");
    }
}

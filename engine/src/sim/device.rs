//! The simulated devices: each executes one job at a time, first come first served, at the plan's cost.
//!
//! Hosts of one machine take turns at its core leases, first come first served, as live hosts do.
use actors::id::{HostId, NodeId};
use actors::message::{Activation, Computed, Job, Output, Work};
use actors::time::{Moment, Span};
use scenarios::cost;
use scenarios::plan::Plan;
use std::collections::VecDeque;

pub struct Devices<'p> {
    plan: &'p Plan,
    devices: Vec<Device>,
    machines: Vec<Machine>,
}

#[derive(Default)]
struct Device {
    /// The first is running once the device holds a lease.
    jobs: VecDeque<(NodeId, Job)>,
    started: Moment,
    warmed_up: bool,
}

struct Machine {
    leases: u32,
    waiting: VecDeque<HostId>,
}

/// A job that has begun, and when it will be over.
pub struct Begun {
    pub host: HostId,
    pub until: Moment,
}

impl<'p> Devices<'p> {
    pub fn new(plan: &'p Plan) -> Devices<'p> {
        let machine = |machine: &scenarios::plan::Machine| Machine {
            leases: machine.leases.unwrap_or(u32::MAX),
            waiting: VecDeque::new(),
        };
        Devices {
            plan,
            devices: plan.hosts.iter().map(|_| Device::default()).collect(),
            machines: plan.machines.iter().map(machine).collect(),
        }
    }

    /// Gives a job to the device of `host`; if that begins it, says until when.
    pub fn submit(&mut self, now: Moment, host: HostId, node: NodeId, job: Job) -> Option<Begun> {
        let device = &mut self.devices[host.0 as usize];
        device.jobs.push_back((node, job));
        if device.jobs.len() > 1 {
            return None;
        }
        self.ask_for_lease(now, host)
    }

    fn ask_for_lease(&mut self, now: Moment, host: HostId) -> Option<Begun> {
        let machine = &mut self.machines[self.plan.host(host).machine as usize];
        if machine.leases == 0 {
            machine.waiting.push_back(host);
            return None;
        }
        machine.leases -= 1;
        Some(self.begin(now, host))
    }

    fn begin(&mut self, now: Moment, host: HostId) -> Begun {
        let device = &mut self.devices[host.0 as usize];
        let (_, job) = device.jobs.front().expect("a lease is asked for a job");
        let spec = &self.plan.host(host).device.cost;
        let model = &self.plan.model;
        let mut took = match &job.work {
            Work::Embed { batch, tokens, .. } => cost::embed_time(spec, model, u32::from(*batch), *tokens),
            Work::Blocks { blocks, position, input, .. } => {
                cost::blocks_time(spec, model, blocks.len(), u32::from(input.batch), input.tokens, *position)
            }
            Work::Head { input } => cost::head_time(spec, model, u32::from(input.batch)),
            // Before the warm-up, so outside of everything that is measured.
            Work::Load | Work::Release { .. } => Span::ZERO,
        };
        if !device.warmed_up && !matches!(job.work, Work::Load) {
            device.warmed_up = true;
            took += spec.first_job;
        }
        device.started = now;
        Begun { host, until: now + took }
    }

    /// Ends the running job of `host`: whose it was, its result, and the jobs that begin now that it has ended.
    pub fn finish(&mut self, now: Moment, host: HostId) -> (NodeId, Computed, [Option<Begun>; 2]) {
        let device = &mut self.devices[host.0 as usize];
        let (node, job) = device.jobs.pop_front().expect("a running job is in the queue");
        let more = !device.jobs.is_empty();
        let started = device.started;
        let computed = Computed { ticket: job.ticket, started, finished: now, output: Ok(self.output(job.work)) };
        let machine = &mut self.machines[self.plan.host(host).machine as usize];
        machine.leases = machine.leases.saturating_add(1);
        // This device's next job queues behind the others that wait for the machine.
        let next = machine.waiting.pop_front();
        let handed_over = next.map(|next| {
            self.machines[self.plan.host(next).machine as usize].leases -= 1;
            self.begin(now, next)
        });
        let own = if more { self.ask_for_lease(now, host) } else { None };
        (node, computed, [handed_over, own])
    }

    fn output(&self, work: Work) -> Output {
        match work {
            Work::Load | Work::Release { .. } => Output::Loaded,
            Work::Embed { batch, tokens, .. } => Output::Hidden(Activation {
                tokens,
                batch,
                hidden: u16::try_from(self.plan.model.shape.hidden).expect("a plan keeps to limits::HIDDEN"),
                dtype: self.plan.model.wire,
                data: None,
            }),
            Work::Blocks { input, .. } => Output::Hidden(input),
            Work::Head { .. } => Output::Tokens(None),
        }
    }
}

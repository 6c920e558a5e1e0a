//! The simulated devices: each executes one job at a time, first come first served, at the plan's cost.
//!
//! Hosts of one machine take turns at its core leases, first come first served, as live hosts do. What a live host needs
//! beside computing (the way to the device's thread, the hand-over of a lease) is the device's [`Overhead`].
use super::echo::Echo;
use super::observed::Observed;
use actors::id::{HostId, NodeId, SessionId};
use actors::message::{Activation, Computed, Job, Output, Piece, Work};
use actors::seed::SmallStream;
use actors::time::{Moment, Span};
use rand::RngExt;
use rand_distr::{Distribution, LogNormal};
use scenarios::cost;
use scenarios::plan::{Cost, Jitter, Overhead, Plan, Weights};
use std::collections::VecDeque;

pub struct Devices<'p> {
    plan: &'p Plan,
    devices: Vec<Device>,
    machines: Vec<Machine>,
    /// Times that a live run was observed to take, in place of the plan's costs.
    observed: Option<Observed>,
    /// Values beside the costs, where the plan's model has them.
    echo: Option<Echo>,
}

struct Device {
    /// The first is running once the device holds a lease.
    jobs: VecDeque<Waiting>,
    started: Moment,
    /// When the running job will be over.
    until: Moment,
    running: bool,
    /// Counts jobs that were to end, see [`Begun`].
    version: u32,
    warmed_up: bool,
    factor: Factor,
}

/// A job that the device has been given.
struct Waiting {
    node: NodeId,
    job: Job,
    /// When it has reached the device's thread.
    ready: Moment,
}

/// The device's jitter, made ready to draw from, with the device's own stream.
enum Factor {
    One,
    LogNormal(Box<(LogNormal<f64>, SmallStream)>),
    Quantiles(Box<(Vec<f64>, SmallStream)>),
}

impl Factor {
    fn new(jitter: &Jitter, plan: &Plan, host: u64) -> Factor {
        let stream = || plan.seed.small_stream("device", host, 0);
        match jitter {
            Jitter::Off => Factor::One,
            Jitter::LogNormal { sigma } => {
                // The mean of exp(N(mu, sigma)) is exp(mu + sigma^2 / 2).
                let drawn = LogNormal::new(-sigma * sigma / 2.0, *sigma);
                drawn.map_or(Factor::One, |drawn| Factor::LogNormal(Box::new((drawn, stream()))))
            }
            Jitter::Quantiles(factors) => Factor::Quantiles(Box::new((factors.clone(), stream()))),
        }
    }

    fn stretch(&mut self, time: Span) -> Span {
        let factor = match self {
            Factor::One => return time,
            Factor::LogNormal(drawn) => drawn.0.sample(&mut drawn.1),
            Factor::Quantiles(drawn) => {
                let (factors, stream) = (&drawn.0, &mut drawn.1);
                let at = stream.random::<f64>() * (factors.len() - 1) as f64;
                let below = (at as usize).min(factors.len() - 2);
                factors[below] + (factors[below + 1] - factors[below]) * (at - below as f64)
            }
        };
        Span::from_secs_f64(time.as_secs_f64() * factor)
    }
}

struct Machine {
    leases: u32,
    waiting: VecDeque<HostId>,
}

impl Device {
    fn new(cost: &Cost, plan: &Plan, host: u64) -> Device {
        let factor = Factor::new(&cost.jitter, plan, host);
        Device {
            jobs: VecDeque::new(),
            started: Moment::default(),
            until: Moment::default(),
            running: false,
            version: 0,
            warmed_up: false,
            factor,
        }
    }
}

/// What a job takes by the plan, on a device that is warm and steady.
fn planned(spec: &Cost, plan: &Plan, work: &Work) -> Span {
    let model = &plan.model;
    match work {
        Work::Embed { batch, tokens, .. } => cost::embed_time(spec, model, u32::from(*batch), *tokens),
        Work::Blocks(piece) => cost::batch_time(spec, model, piece.blocks.len(), std::iter::once(item(piece))),
        Work::Batch(pieces) => {
            let blocks = pieces.first().map_or(0, |piece| piece.blocks.len());
            cost::batch_time(spec, model, blocks, pieces.iter().map(item))
        }
        Work::Head { input, .. } => cost::head_time(spec, model, u32::from(input.batch)),
        // Before the warm-up, so outside of everything that is measured.
        Work::Load { .. } | Work::Release { .. } => Span::ZERO,
    }
}

fn item(piece: &Piece) -> cost::Item {
    cost::Item { rows: u32::from(piece.input.batch), tokens: piece.input.tokens, position: piece.position }
}

/// A job that has begun, and when it will be over.
pub struct Begun {
    pub host: HostId,
    pub until: Moment,
    /// Which job of the device it is; another takes its place if the host crashes or stands still.
    pub version: u32,
}

impl<'p> Devices<'p> {
    pub fn new(plan: &'p Plan) -> Devices<'p> {
        let machine = |machine: &scenarios::plan::Machine| Machine {
            leases: machine.leases.unwrap_or(u32::MAX),
            waiting: VecDeque::new(),
        };
        Devices {
            plan,
            devices: plan.hosts.iter().zip(0..).map(|(host, id)| Device::new(&host.device.cost, plan, id)).collect(),
            machines: plan.machines.iter().map(machine).collect(),
            observed: None,
            echo: (plan.model.weights == Weights::Echo).then(|| Echo::new(plan.model.shape.vocab)),
        }
    }

    /// Forgets what `node` keeps of a session.
    pub fn release(&mut self, node: NodeId, session: SessionId) {
        if let Some(echo) = &mut self.echo {
            echo.release(node, session);
        }
    }

    /// Takes the times of jobs from a live run instead of the plan.
    pub fn observing(&mut self, observed: Observed) {
        self.observed = Some(observed);
    }

    fn overhead(&self, host: HostId) -> &Overhead {
        &self.plan.host(host).device.cost.overhead
    }

    /// From the end of a job of `host` until its node knows.
    pub fn way_back(&self, host: HostId) -> Span {
        self.overhead(host).from_device
    }

    /// Gives a job to the device of `host`; if that begins it, says until when.
    pub fn submit(&mut self, now: Moment, host: HostId, node: NodeId, job: Job) -> Option<Begun> {
        let ready = now + self.overhead(host).to_device;
        let device = &mut self.devices[host.0 as usize];
        device.jobs.push_back(Waiting { node, job, ready });
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

    /// The device of `host` has its lease at `now`: it begins as soon as its job has reached it.
    fn begin(&mut self, now: Moment, host: HostId) -> Begun {
        let device = &mut self.devices[host.0 as usize];
        let Waiting { node, job, ready } = device.jobs.front().expect("a lease is asked for a job");
        let spec = &self.plan.host(host).device.cost;
        let observed = self.observed.as_mut().and_then(|observed| observed.take(*node, &job.work));
        let took = observed.unwrap_or_else(|| {
            let mut took = device.factor.stretch(planned(spec, self.plan, &job.work));
            if !device.warmed_up && !matches!(job.work, Work::Load { .. }) {
                device.warmed_up = true;
                took += spec.first_job;
            }
            took
        });
        device.started = now.max(*ready);
        device.until = device.started + took;
        device.running = true;
        device.version += 1;
        Begun { host, until: device.until, version: device.version }
    }

    /// Which job of `host` is to end next.
    pub fn version(&self, host: HostId) -> u32 {
        self.devices[host.0 as usize].version
    }

    /// The running job of `host` will be over then.
    pub fn ends(&mut self, host: HostId, until: Moment) {
        self.devices[host.0 as usize].until = until;
    }

    /// The running job of `host` ends so much later, if there is one.
    pub fn put_off(&mut self, host: HostId, by: Span) -> Option<Begun> {
        let device = &mut self.devices[host.0 as usize];
        if !device.running {
            return None;
        }
        device.version += 1;
        device.until = device.until + by;
        Some(Begun { host, until: device.until, version: device.version })
    }

    /// Forgets the jobs of `host` and what its nodes keep; the job that begins with the lease it held, if there is one.
    pub fn crash(&mut self, now: Moment, host: HostId, nodes: &[NodeId]) -> Option<Begun> {
        if let Some(echo) = &mut self.echo {
            nodes.iter().for_each(|node| echo.forget(*node));
        }
        let device = &mut self.devices[host.0 as usize];
        device.jobs.clear();
        device.version += 1;
        device.warmed_up = false;
        let held = std::mem::take(&mut device.running);
        let machine = &mut self.machines[self.plan.host(host).machine as usize];
        machine.waiting.retain(|waiting| *waiting != host);
        if !held {
            return None;
        }
        machine.leases = machine.leases.saturating_add(1);
        let next = machine.waiting.pop_front()?;
        machine.leases -= 1;
        let has_it = now + self.overhead(next).hand_over;
        Some(self.begin(has_it, next))
    }

    /// Ends the running job of `host`: whose it was, its result, and the jobs that begin now that it has ended.
    pub fn finish(&mut self, now: Moment, host: HostId) -> (NodeId, Computed, [Option<Begun>; 2]) {
        let device = &mut self.devices[host.0 as usize];
        let Waiting { node, job, .. } = device.jobs.pop_front().expect("a running job is in the queue");
        let more = !device.jobs.is_empty();
        device.running = false;
        let started = device.started;
        let output = Ok(self.output(node, job.work));
        let computed = Computed { ticket: job.ticket, started, finished: now, output };
        let machine = &mut self.machines[self.plan.host(host).machine as usize];
        machine.leases = machine.leases.saturating_add(1);
        // This device's next job queues behind the others that wait for the machine.
        let next = machine.waiting.pop_front();
        let handed_over = next.map(|next| {
            self.machines[self.plan.host(next).machine as usize].leases -= 1;
            let has_it = now + self.overhead(next).hand_over;
            self.begin(has_it, next)
        });
        let own = if more { self.ask_for_lease(now, host) } else { None };
        (node, computed, [handed_over, own])
    }

    fn hidden(&mut self, node: NodeId, piece: Piece) -> Activation {
        match &mut self.echo {
            Some(echo) => echo.blocks(node, piece),
            None => piece.input,
        }
    }

    fn output(&mut self, node: NodeId, work: Work) -> Output {
        match work {
            Work::Load { .. } | Work::Release { .. } => Output::Loaded,
            Work::Embed { batch, tokens, position, ids } => {
                let hidden = u16::try_from(self.plan.model.shape.hidden).expect("a plan keeps to limits::HIDDEN");
                let hollow = Activation { tokens, batch, hidden, dtype: self.plan.model.wire, data: None };
                Output::Hidden(match (&self.echo, ids) {
                    (Some(echo), Some(ids)) => echo.embed(position, &ids, hollow),
                    _ => hollow,
                })
            }
            Work::Blocks(piece) => Output::Hidden(self.hidden(node, piece)),
            Work::Batch(pieces) => Output::Batch(pieces.into_iter().map(|piece| self.hidden(node, piece)).collect()),
            Work::Head { input, .. } => Output::Tokens(self.echo.as_ref().and_then(|echo| echo.head(&input))),
        }
    }
}

//! The simulated devices. Each executes one job at a time, first come, first served, and a job takes the time that the
//! plan's cost model gives.
//!
//! Peers that share a device wait for it in one queue. The devices of one machine share its core leases, first come,
//! first served, as live devices do. A live host also spends time outside of the job itself: it passes the job to the
//! device's thread, and passes a core lease on from one device to another. The device's [`Overhead`] models that time.
use super::cpu_steal::Computing;
use super::echo::Echo;
use super::observed::Observed;
use actors::id::{HostId, NodeId, SessionId};
use actors::message::{Activation, Computed, Job, Output, Piece, Work};
use actors::seed::SmallStream;
use actors::time::{Duration, Timestamp};
use rand_distr::{Distribution, LogNormal};
use scenarios::cost;
use scenarios::plan::{Cost, Jitter, Overhead, Plan, Weights};
use std::collections::VecDeque;

/// The index of a device in the simulation. The first device of each host has the host's number; all other devices
/// follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

pub struct Devices<'p> {
    plan: &'p Plan,
    devices: Vec<Device<'p>>,
    /// The device on which each node computes.
    of_node: Vec<Slot>,
    /// For each node, the start of the last job that read its weights, and the share of the weights that was not in the
    /// CPU's caches then.
    read: Vec<(Timestamp, f64)>,
    machines: Vec<Machine>,
    /// The measured job times of a live run, which replace the plan's costs; `None` to use the plan's costs.
    observed: Option<Observed>,
    /// The values that devices compute, if the plan's model has values and not only costs.
    echo: Option<Echo>,
}

struct Device<'p> {
    host: HostId,
    machine: u32,
    cost: &'p Cost,
    /// The jobs in the order of their arrival. The first job runs once the device holds a core lease.
    jobs: VecDeque<Waiting>,
    started: Timestamp,
    /// The time at which the running job ends.
    until: Timestamp,
    running: bool,
    /// The number of job ends that were scheduled or cancelled so far. It tells a valid job end from a cancelled one
    /// (see [`Begun`]).
    version: u32,
    warmed_up: bool,
    factor: Factor,
    /// The CPU steal of the device's core; `None` if there is none.
    cpu_steal: Option<Box<Computing>>,
}

/// A job in the queue of a device.
struct Waiting {
    node: NodeId,
    job: Job,
    /// The time at which the job reaches the device's thread.
    ready: Timestamp,
    /// The sessions of the job that were released while the job waited or ran. Their caches are freed when the job
    /// ends.
    released: Vec<SessionId>,
}

/// Whether `work` computes blocks for a step of `session`.
fn is_of(work: &Work, session: SessionId) -> bool {
    match work {
        Work::Blocks(piece) => piece.session == session,
        Work::Batch(pieces) => pieces.iter().any(|piece| piece.session == session),
        _ => false,
    }
}

/// The random factor by which each job's time is multiplied, sampled from the device's own random stream.
enum Factor {
    One,
    LogNormal(Box<(LogNormal<f64>, SmallStream)>),
}

impl Factor {
    /// Creates the random factor of a device; `number` is the index of the device on its host.
    fn new(jitter: &Jitter, plan: &Plan, host: HostId, number: u64) -> Factor {
        let stream = || plan.chance.small_stream("device", host.0.into(), number);
        match jitter {
            Jitter::Off => Factor::One,
            Jitter::LogNormal { sigma } => {
                // The mean of exp(N(mu, sigma)) is exp(mu + sigma^2 / 2).
                let drawn = LogNormal::new(-sigma * sigma / 2.0, *sigma);
                drawn.map_or(Factor::One, |drawn| Factor::LogNormal(Box::new((drawn, stream()))))
            }
        }
    }

    fn stretch(&mut self, time: Duration) -> Duration {
        let factor = match self {
            Factor::One => return time,
            Factor::LogNormal(drawn) => drawn.0.sample(&mut drawn.1),
        };
        Duration::from_secs_f64(time.as_secs_f64() * factor)
    }
}

struct Machine {
    leases: u32,
    waiting: VecDeque<Slot>,
}

impl<'p> Device<'p> {
    fn new(cost: &'p Cost, plan: &Plan, host: HostId, number: u64) -> Device<'p> {
        let factor = Factor::new(&cost.jitter, plan, host, number);
        let stolen = || plan.chance.small_stream("device stolen", host.0.into(), number);
        Device {
            host,
            machine: plan.host(host).machine,
            cost,
            jobs: VecDeque::new(),
            started: Timestamp::default(),
            until: Timestamp::default(),
            running: false,
            version: 0,
            warmed_up: false,
            factor,
            cpu_steal: Computing::of(cost.overhead.cpu_steal, stolen),
        }
    }
}

/// Returns the time that a job takes by the plan's cost model, without jitter, and without the extra time of a device's
/// first job.
fn planned(spec: &Cost, plan: &Plan, work: &Work) -> Duration {
    let model = &plan.model;
    match work {
        Work::Embed { batch, tokens, .. } => cost::embed_time(spec, model, u32::from(*batch), *tokens),
        Work::Blocks(piece) => cost::batch_time(spec, model, piece.blocks.len(), std::iter::once(item(piece))),
        Work::Batch(pieces) => {
            let blocks = pieces.first().map_or(0, |piece| piece.blocks.len());
            cost::batch_time(spec, model, blocks, pieces.iter().map(item))
        }
        Work::Head { input, .. } => cost::head_time(spec, model, u32::from(input.batch)),
        Work::Benchmark { benchmark, .. } => {
            let item = cost::Item { rows: 1, tokens: benchmark.tokens, position: benchmark.position };
            cost::batch_time(spec, model, 1, std::iter::once(item))
        }
        // Loading and releasing take no time: they happen outside of all measurements.
        Work::Load { .. } | Work::Release { .. } => Duration::ZERO,
    }
}

/// Returns the extra time that a job takes because some of its weights are not in the CPU's caches, and updates `read`:
/// the time at which the weights were last read, and the share of them that was not in the caches then.
fn cold(spec: &Cost, work: &Work, read: &mut (Timestamp, f64), started: Timestamp) -> Duration {
    let blocks = match work {
        Work::Blocks(piece) => Some(piece.blocks.len()),
        Work::Batch(pieces) => Some(pieces.first().map_or(0, |piece| piece.blocks.len())),
        Work::Head { .. } => None,
        Work::Embed { .. } | Work::Load { .. } | Work::Benchmark { .. } | Work::Release { .. } => {
            return Duration::ZERO;
        }
    };
    let share = spec.cold.again(read.1, started.since(read.0));
    *read = (started, share);
    match blocks {
        Some(blocks) => cost::cold_blocks_time(spec, blocks, share),
        None => cost::cold_head_time(spec, share),
    }
}

fn item(piece: &Piece) -> cost::Item {
    cost::Item { rows: u32::from(piece.input.batch), tokens: piece.input.tokens, position: piece.position }
}

/// A job that has begun, and the time at which it ends.
pub struct Begun {
    pub slot: Slot,
    pub host: HostId,
    pub until: Timestamp,
    /// The version of the device's job end. An event with an earlier version is ignored, because a crash or a stall of
    /// the host has cancelled that job end.
    pub version: u32,
}

impl<'p> Devices<'p> {
    pub fn new(plan: &'p Plan) -> Devices<'p> {
        let machine = |machine: &scenarios::plan::Machine| Machine {
            leases: machine.leases.unwrap_or(u32::MAX),
            waiting: VecDeque::new(),
        };
        let hosts = || plan.hosts.iter().zip(0..).map(|(host, id)| (host, HostId(id)));
        let mut devices: Vec<Device<'p>> =
            hosts().map(|(host, id)| Device::new(&host.device.cost, plan, id, 0)).collect();
        let mut further = Vec::with_capacity(plan.hosts.len());
        for (host, id) in hosts() {
            further.push(devices.len() as u32);
            devices.extend(host.also.iter().zip(1..).map(|(also, number)| Device::new(&also.cost, plan, id, number)));
        }
        let slot = |node: &scenarios::plan::Node| match node.device.checked_sub(1) {
            None => Slot(node.host.0),
            Some(beyond) => Slot(further[node.host.0 as usize] + beyond),
        };
        Devices {
            plan,
            of_node: plan.nodes.iter().map(slot).collect(),
            read: vec![(Timestamp::default(), 1.0); plan.nodes.len()],
            devices,
            machines: plan.machines.iter().map(machine).collect(),
            observed: None,
            echo: (plan.model.weights == Weights::Echo).then(|| Echo::new(plan.model.shape.vocab)),
        }
    }

    /// Drops the KV cache of a session at a node. If the device still has jobs of that session, the cache is dropped
    /// again when they end.
    pub fn release(&mut self, node: NodeId, session: SessionId) {
        let Some(echo) = &mut self.echo else { return };
        echo.release(node, session);
        let jobs = &mut self.devices[self.of_node[node.0 as usize].0 as usize].jobs;
        let under_way = jobs.iter_mut().filter(|waiting| waiting.node == node && is_of(&waiting.job.work, session));
        under_way.for_each(|waiting| waiting.released.push(session));
    }

    /// Returns a session that still has a KV cache on a device, and the cache's node; `None` if there is none. Always
    /// `None` if the plan's model computes no values.
    pub fn holding(&self) -> Option<(NodeId, SessionId)> {
        self.echo.as_ref().and_then(Echo::holding)
    }

    /// Makes jobs take the times that were measured in a live run instead of the times of the plan's cost model.
    pub fn observing(&mut self, observed: Observed) {
        self.observed = Some(observed);
    }

    fn overhead(&self, slot: Slot) -> &'p Overhead {
        &self.devices[slot.0 as usize].cost.overhead
    }

    /// Returns the time from the end of a job until its node has the result.
    pub fn way_back(&self, slot: Slot, computed: &Computed) -> Duration {
        self.overhead(slot).way_back(computed.finished.since(computed.started))
    }

    /// Returns the time from the moment when a waiting device gets a core lease until it begins its first job.
    fn hand_over(&self, now: Timestamp, slot: Slot) -> Duration {
        let ready = self.devices[slot.0 as usize].jobs.front().map_or(now, |waiting| waiting.ready);
        self.overhead(slot).handed_over(now.since(ready))
    }

    /// Submits a job of `node` to its device. If the device gets a core lease and begins the job at once, returns the
    /// job with its end.
    pub fn submit(&mut self, now: Timestamp, node: NodeId, job: Job) -> Option<Begun> {
        let slot = self.of_node[node.0 as usize];
        let idle = now.since(self.devices[slot.0 as usize].until);
        let ready = now + self.overhead(slot).way_there(idle);
        let device = &mut self.devices[slot.0 as usize];
        device.jobs.push_back(Waiting { node, job, ready, released: Vec::new() });
        if device.jobs.len() > 1 {
            return None;
        }
        self.ask_for_lease(now, slot)
    }

    fn machine(&mut self, slot: Slot) -> &mut Machine {
        &mut self.machines[self.devices[slot.0 as usize].machine as usize]
    }

    fn ask_for_lease(&mut self, now: Timestamp, slot: Slot) -> Option<Begun> {
        let machine = self.machine(slot);
        if machine.leases == 0 {
            machine.waiting.push_back(slot);
            return None;
        }
        machine.leases -= 1;
        Some(self.begin(now, slot))
    }

    /// Begins the first job of a device that got its core lease at `now`. The job begins later if it has not reached
    /// the device yet.
    fn begin(&mut self, now: Timestamp, slot: Slot) -> Begun {
        let device = &mut self.devices[slot.0 as usize];
        let Waiting { node, job, ready, .. } = device.jobs.front().expect("a lease is asked for a job");
        let spec = device.cost;
        let observed = self.observed.as_mut().and_then(|observed| observed.take(*node, &job.work));
        let started = now.max(*ready);
        let cold = cold(spec, &job.work, &mut self.read[node.0 as usize], started);
        let took = observed.unwrap_or_else(|| {
            let mut took = device.factor.stretch(planned(spec, self.plan, &job.work) + cold);
            if !device.warmed_up && !matches!(job.work, Work::Load { .. }) {
                device.warmed_up = true;
                took += spec.first_job;
            }
            if let Some(cpu_steal) = &mut device.cpu_steal {
                took += cpu_steal.within(took);
            }
            took
        });
        device.started = started;
        device.until = started + took;
        device.running = true;
        device.version += 1;
        Begun { slot, host: device.host, until: device.until, version: device.version }
    }

    /// Returns the host of a device, and the present version of the device's job end.
    pub fn version(&self, slot: Slot) -> (HostId, u32) {
        let device = &self.devices[slot.0 as usize];
        (device.host, device.version)
    }

    /// Sets the end of the device's running job.
    pub fn ends(&mut self, slot: Slot, until: Timestamp) {
        self.devices[slot.0 as usize].until = until;
    }

    fn of_host(&self, host: HostId) -> Vec<Slot> {
        (0..).zip(&self.devices).filter(|(_, device)| device.host == host).map(|(slot, _)| Slot(slot)).collect()
    }

    /// Delays the end of the running jobs of `host` by `by`, and returns their new ends.
    pub fn put_off(&mut self, host: HostId, by: Duration) -> Vec<Begun> {
        let mut running = self.of_host(host);
        running.retain(|slot| self.devices[slot.0 as usize].running);
        let later = |slot: Slot| {
            let device = &mut self.devices[slot.0 as usize];
            device.version += 1;
            device.until = device.until + by;
            Begun { slot, host, until: device.until, version: device.version }
        };
        running.into_iter().map(later).collect()
    }

    /// Drops the jobs of `host` and the KV caches of `nodes`. Returns the jobs of other hosts that begin because core
    /// leases became free.
    pub fn crash(&mut self, now: Timestamp, host: HostId, nodes: &[NodeId]) -> Vec<Begun> {
        if let Some(echo) = &mut self.echo {
            nodes.iter().for_each(|node| echo.forget(*node));
        }
        let slots = self.of_host(host);
        let mut held = 0;
        for &slot in &slots {
            let device = &mut self.devices[slot.0 as usize];
            device.jobs.clear();
            device.version += 1;
            device.warmed_up = false;
            held += u32::from(std::mem::take(&mut device.running));
        }
        let machine = self.plan.host(host).machine as usize;
        self.machines[machine].waiting.retain(|waiting| !slots.contains(waiting));
        let mut begun = Vec::new();
        for _ in 0..held {
            let machine = &mut self.machines[machine];
            machine.leases = machine.leases.saturating_add(1);
            let Some(next) = machine.waiting.pop_front() else { continue };
            machine.leases -= 1;
            let has_it = now + self.hand_over(now, next);
            begun.push(self.begin(has_it, next));
        }
        begun
    }

    /// Ends the running job of a device. Returns the job's node, its result, and the jobs that begin because this job
    /// has ended.
    pub fn finish(&mut self, now: Timestamp, slot: Slot) -> (NodeId, Computed, [Option<Begun>; 2]) {
        let device = &mut self.devices[slot.0 as usize];
        let Waiting { node, job, released, .. } = device.jobs.pop_front().expect("a running job is in the queue");
        let more = !device.jobs.is_empty();
        device.running = false;
        let started = device.started;
        let output = Ok(self.output(node, job.work));
        if let Some(echo) = &mut self.echo {
            released.into_iter().for_each(|session| echo.release(node, session));
        }
        let computed = Computed { ticket: job.ticket, started, finished: now, output };
        let machine = self.machine(slot);
        machine.leases = machine.leases.saturating_add(1);
        // The device's next job gets a core lease only after the other devices that already wait for a lease of this
        // machine.
        let next = machine.waiting.pop_front();
        let handed_over = next.map(|next| {
            self.machine(next).leases -= 1;
            let has_it = now + self.hand_over(now, next);
            self.begin(has_it, next)
        });
        let own = if more { self.ask_for_lease(now, slot) } else { None };
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
            Work::Benchmark { .. } => Output::Benchmarked,
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

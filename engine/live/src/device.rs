//! A host's device: one thread that owns the weights and the KV caches, and executes one job at a time.
//!
//! Jobs enter through a bounded queue, and results return to the arbiter (the host's main thread) as [`Computed`]; the
//! arbiter never blocks. If the machine has core leases, a job holds a lease while it runs, and the job's start and end
//! are read from the clock while the lease is held. No job ends the thread: after an error or a panic only the job has
//! failed. An idle device sleeps instead of spinning: a spinning device would occupy the core that the arbiter needs to
//! send the last result (30 us of spinning cost 35 us per hop).
mod bench;
mod blockwise;

use super::arrival::Arrival;
use super::clock;
use super::core_lease::{Lease, TicketLock, Turn};
use super::cores::Cores;
use actors::id::{HostId, NodeId};
use actors::limits;
use actors::message::{Computed, Job, Output, Refusal, Work};
use actors::record::{Event, Scored};
use actors::time::Timestamp;
use actors::world::panic_text;
use bench::{Bench, Fault};
use scenarios::plan::Plan;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use topology::fault_windows::FaultWindows;

/// The handle by which a host's arbiter submits jobs to one of its devices.
pub struct Device {
    jobs: Option<SyncSender<(NodeId, Job, Place)>>,
    line: Arc<Line>,
    thread: Option<JoinHandle<()>>,
}

/// The place in the machine's core queue that was taken for a job. `None` if the machine has no leases, or if the job
/// waits behind another job of the same device.
type Place = Option<io::Result<Turn>>;

/// A device's access to the core queue of its machine. The device has at most one place in the core queue, for the
/// first of its jobs.
///
/// A job that finds its device idle is queued by the arbiter. A job that waits for another job is queued by the
/// device's thread at the end of that job, before its lease is released. The order in the queue is therefore the order
/// of events, as in the simulation, regardless of when and where the kernel schedules this thread.
struct Line {
    ticket_lock: Option<TicketLock>,
    /// The number of jobs that were submitted and are not done yet.
    pending: Mutex<u32>,
}

impl Line {
    fn pending(&self) -> MutexGuard<'_, u32> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks the running job as done. If another job waits, takes a place in the core queue for it.
    fn end(&self) -> Place {
        let mut pending = self.pending();
        *pending = pending.saturating_sub(1);
        if *pending > 0 { self.line_up() } else { None }
    }

    fn line_up(&self) -> Place {
        self.ticket_lock.as_ref().map(TicketLock::line_up)
    }
}

impl Device {
    /// Starts the device's thread. Its results and load failures are sent to `arrivals`.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn start(
        plan: Arc<Plan>,
        executor: scenarios::plan::Executor,
        ticket_lock: Option<TicketLock>,
        cores: Option<Cores>,
        slowdown: DeviceSlowdown,
        arrivals: UnboundedSender<Arrival>,
    ) -> io::Result<Device> {
        let (jobs, inbox) = sync_channel(limits::QUEUED_JOBS);
        let line = Arc::new(Line { ticket_lock, pending: Mutex::new(0) });
        let worker = Worker { bench: Bench::new(plan, executor), line: line.clone(), slowdown, arrivals };
        let thread = thread::Builder::new().name("device".to_owned()).spawn(move || {
            // The first job starts candle's thread pools. Their threads inherit the cores to which this thread is
            // confined.
            cores.iter().for_each(Cores::compute);
            worker.work(&inbox);
        })?;
        Ok(Device { jobs: Some(jobs), line, thread: Some(thread) })
    }

    /// Submits a job to the device. If the device's queue is full, returns as an error the answer for the job's node,
    /// [`Refusal::Busy`].
    pub fn give(&self, node: NodeId, job: Job) -> Result<(), Computed> {
        let (ticket, release) = (job.ticket, matches!(job.work, Work::Release { .. }));
        if let Some(jobs) = &self.jobs {
            let mut pending = self.line.pending();
            let place = if release || *pending > 0 { None } else { self.line.line_up() };
            match jobs.try_send((node, job, place)) {
                Ok(()) => {
                    *pending += u32::from(!release);
                    return Ok(());
                }
                Err(TrySendError::Full((.., place)) | TrySendError::Disconnected((.., place))) => {
                    if let (Some(ticket_lock), Some(Ok(turn))) = (&self.line.ticket_lock, place) {
                        ticket_lock.give_up(turn);
                    }
                }
            }
        }
        let now = clock::now();
        Err(Computed { ticket, started: now, finished: now, output: Err(Refusal::Busy) })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // The thread ends after the job that it is running.
            let _ = thread.join();
        }
    }
}

/// The state that the device's thread owns.
struct Worker {
    bench: Bench,
    line: Arc<Line>,
    slowdown: DeviceSlowdown,
    arrivals: UnboundedSender<Arrival>,
}

/// The factor by which the plan's slow-device faults lengthen jobs at present.
#[derive(Clone)]
pub struct DeviceSlowdown {
    here: HostId,
    /// The plan's fault windows; `None` if the plan never slows a device.
    windows: Option<Arc<Mutex<FaultWindows>>>,
}

impl DeviceSlowdown {
    /// Creates the slowdown of the devices on the host `here` from the plan's fault windows.
    pub fn new(here: HostId, windows: FaultWindows) -> DeviceSlowdown {
        DeviceSlowdown { here, windows: (!windows.is_empty()).then(|| Arc::new(Mutex::new(windows))) }
    }

    /// Sets the time of the barrier's release. The times of some fault windows count from it.
    pub fn release(&self, at: Timestamp) {
        if let Some(windows) = &self.windows {
            windows.lock().unwrap_or_else(PoisonError::into_inner).release(at);
        }
    }

    /// Sleeps for as long as the slowdown lengthens a job that began at `started` and has just ended. Returns whether
    /// it slept.
    fn bear(&self, started: Timestamp) -> bool {
        let Some(windows) = &self.windows else { return false };
        let by = windows.lock().unwrap_or_else(PoisonError::into_inner).slow_device(started, self.here);
        let more = clock::now().since(started).as_secs_f64() * (by - 1.0).max(0.0);
        if more > 0.0 {
            thread::sleep(Duration::from_secs_f64(more));
        }
        more > 0.0
    }
}

impl Worker {
    fn work(mut self, inbox: &Receiver<(NodeId, Job, Place)>) {
        let mut next: Place = None;
        while let Ok((node, job, place)) = inbox.recv() {
            if let Work::Release { session } = job.work {
                self.bench.release(node, session);
                continue;
            }
            let place = place.or(next.take());
            let choice = match &job.work {
                Work::Head { request, output, .. } => Some((*request, *output)),
                _ => None,
            };
            let loading = matches!(job.work, Work::Load { .. });
            let Done { started, finished, result, mut lease } =
                execute(&mut self.bench, &self.line, place, node, job.work);
            let finished = match self.slowdown.windows.is_some() {
                // The lease is released before the sleep and before the next job is queued: otherwise the executors
                // queued behind that job would wait for as long as this thread sleeps.
                true => {
                    drop(lease.take());
                    if self.slowdown.bear(started) { clock::now() } else { finished }
                }
                false => finished,
            };
            next = self.line.end();
            let output = result.map_err(|fault| {
                tracing::error!("the device of {} failed: {fault}", self.bench.called(node));
                if loading {
                    let _ = self.arrivals.send(Arrival::LoadFailed { node, what: fault.to_string() });
                }
                fault.refusal()
            });
            let token = match &output {
                Ok(Output::Tokens(rows)) => rows.as_ref().and_then(|rows| rows.first().copied()),
                _ => None,
            };
            if let Some(((request, output), best)) = choice.zip(self.bench.take_scores()) {
                let scored = Scored { request, output, token, best };
                let _ = self.arrivals.send(Arrival::Seen(Event::Scored(Box::new(scored))));
            }
            let computed = Computed { ticket: job.ticket, started, finished, output };
            // The result is sent before the lease is released. Otherwise the kernel might run the next holder of the
            // lease on this core before this thread sends the result.
            if self.arrivals.send(Arrival::Computed { node, computed }).is_err() {
                return;
            }
            drop(lease);
        }
    }
}

/// A finished job whose lease is not yet released.
struct Done<'a> {
    started: Timestamp,
    finished: Timestamp,
    result: Result<Output, Fault>,
    lease: Option<Lease<'a>>,
}

/// Executes a job while holding a core lease, if the machine has leases.
fn execute<'a>(bench: &mut Bench, line: &'a Line, place: Place, node: NodeId, work: Work) -> Done<'a> {
    let taken = line.ticket_lock.as_ref().map(|ticket_lock| match place {
        Some(turn) => ticket_lock.take(turn?),
        None => ticket_lock.take(ticket_lock.line_up()?),
    });
    let (lease, refused) = match taken.transpose() {
        Ok(lease) => (lease, None),
        Err(why) => (None, Some(Fault::Lease(why.to_string()))),
    };
    let started = clock::now();
    let result = match refused {
        None => catch_unwind(AssertUnwindSafe(|| bench.execute(node, work)))
            .unwrap_or_else(|panic| Err(Fault::Panic(panic_text(panic.as_ref())))),
        Some(fault) => Err(fault),
    };
    Done { started, finished: clock::now(), result, lease }
}

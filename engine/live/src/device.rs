//! A host's device: one thread that owns candle, the weights and the caches, and does one job at a time.
//!
//! Jobs go in by a bounded queue and come back to the arbiter as [`Computed`]; the arbiter never waits. Where hosts share
//! a machine, a job holds a core lease while it runs, and its stamps are taken within. Nothing a job does ends the
//! thread: an error or a panic is that job's failure. An idle device sleeps and does not spin for its next job: it would
//! keep the core that its arbiter needs to send the last one's result on (30 us of it cost 35 us a hop).
mod bench;
mod blockwise;

use super::clock;
use super::core_lease::{Lease, TicketLock, Turn};
use super::cores::Cores;
use super::local::Arrival;
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

/// The arbiter's end of a device.
pub struct Device {
    jobs: Option<SyncSender<(NodeId, Job, Place)>>,
    line: Arc<Line>,
    thread: Option<JoinHandle<()>>,
}

/// A job's place in the queue for a core: none where the machine has no leases, or as long as another job of the device is
/// to be done before it.
type Place = Option<io::Result<Turn>>;

/// A device's way to the cores of its machine: it is in the queue for them once, for the first of its jobs.
///
/// A job that finds its device idle is lined up by the arbiter, and one that waits for another by the device's thread at
/// that one's end, before its lease is given back. So the order is that of events, as in the simulation, wherever and
/// whenever the kernel lets this thread run on.
struct Line {
    ticket_lock: Option<TicketLock>,
    /// Jobs that were given and are not done.
    pending: Mutex<u32>,
}

impl Line {
    fn pending(&self) -> MutexGuard<'_, u32> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job is done: the place of the one after it, if there is one.
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
    /// Starts the thread. Its results, and what keeps it from loading, go to `arrivals`.
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
            // candle's pools are started by the first job, and stay where this thread is.
            cores.iter().for_each(Cores::compute);
            worker.work(&inbox);
        })?;
        Ok(Device { jobs: Some(jobs), line, thread: Some(thread) })
    }

    /// Gives the device a job, or back the refusal that answers it.
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
            // It ends with the job it is at.
            let _ = thread.join();
        }
    }
}

/// What the thread owns.
struct Worker {
    bench: Bench,
    line: Arc<Line>,
    slowdown: DeviceSlowdown,
    arrivals: UnboundedSender<Arrival>,
}

/// How much slower than it is the plan wants the device to be at present.
#[derive(Clone)]
pub struct DeviceSlowdown {
    here: HostId,
    /// Nothing: never.
    windows: Option<Arc<Mutex<FaultWindows>>>,
}

impl DeviceSlowdown {
    pub fn new(here: HostId, windows: FaultWindows) -> DeviceSlowdown {
        DeviceSlowdown { here, windows: (!windows.is_empty()).then(|| Arc::new(Mutex::new(windows))) }
    }

    /// The barrier was released then.
    pub fn release(&self, at: Timestamp) {
        if let Some(windows) = &self.windows {
            windows.lock().unwrap_or_else(PoisonError::into_inner).release(at);
        }
    }

    /// Sleeps for what a job that has begun at `started` is to take longer than it took; whether it had to.
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
                // Those behind it would wait until it has slept, were it lined up before.
                true => {
                    drop(lease.take());
                    if self.slowdown.bear(started) { clock::now() } else { finished }
                }
                false => finished,
            };
            next = self.line.end();
            let output = result.map_err(|fault| {
                tracing::error!("the device of {node} failed: {fault}");
                if loading {
                    let _ = self.arrivals.send(Arrival::LoadFailed { node, what: fault.to_string() });
                }
                Refusal::DeviceFailed
            });
            if let Some(((request, output), best)) = choice.zip(self.bench.take_scores()) {
                let _ = self.arrivals.send(Arrival::Seen(Event::Scored(Box::new(Scored { request, output, best }))));
            }
            let computed = Computed { ticket: job.ticket, started, finished, output };
            // Before the lease is given back, for then the kernel may let its next holder run on this core at once.
            if self.arrivals.send(Arrival::Computed { node, computed }).is_err() {
                return;
            }
            drop(lease);
        }
    }
}

/// A job that was done, its holder's lease not yet given back.
struct Done<'a> {
    started: Timestamp,
    finished: Timestamp,
    result: Result<Output, Fault>,
    lease: Option<Lease<'a>>,
}

/// Does a job under a lease.
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

//! A host's device: one thread that owns candle, the weights and the caches, and does one job at a time.
//!
//! Jobs go in by a bounded queue and come back to the arbiter as [`Computed`]; the arbiter never waits. Where hosts share
//! a machine, a job holds a core lease while it runs, and its stamps are taken within. Nothing a job does ends the
//! thread: an error or a panic is that job's failure. An idle device sleeps and does not spin for its next job: it would
//! keep the core that its arbiter needs to send the last one's result on (30 us of it cost 35 us a hop).
mod bench;
mod blockwise;

use super::clock;
use super::cores::Cores;
use super::lease::{Turn, Turnstile};
use super::local::Arrival;
use crate::spells::Spells;
use actors::id::{HostId, NodeId};
use actors::limits;
use actors::message::{Computed, Job, Output, Refusal, Work};
use actors::record::{Event, Scored};
use actors::time::Moment;
use actors::world::panic_text;
use bench::{Bench, Fault};
use scenarios::plan::Plan;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// The arbiter's end of a device.
pub struct Device {
    jobs: Option<SyncSender<(NodeId, Job)>>,
    thread: Option<JoinHandle<()>>,
}

impl Device {
    /// Starts the thread. Its results, and what keeps it from loading, go to `arrivals`.
    pub fn start(
        plan: Arc<Plan>,
        executor: scenarios::plan::Executor,
        (turnstile, cores): (Option<Turnstile>, Option<Cores>),
        strain: Strain,
        arrivals: UnboundedSender<Arrival>,
    ) -> io::Result<Device> {
        let (jobs, inbox) = sync_channel(limits::QUEUED_JOBS);
        let worker = Worker { bench: Bench::new(plan, executor), turnstile: turnstile.map(Arc::new), strain, arrivals };
        let thread = thread::Builder::new().name("device".to_owned()).spawn(move || {
            // candle's pools are started by the first job, and stay where this thread is.
            cores.iter().for_each(Cores::compute);
            worker.work(&inbox);
        })?;
        Ok(Device { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Gives the device a job, or back the refusal that answers it.
    pub fn give(&self, node: NodeId, job: Job) -> Result<(), Computed> {
        let ticket = job.ticket;
        let sent = self.jobs.as_ref().map(|jobs| jobs.try_send((node, job)));
        if matches!(sent, Some(Ok(()))) {
            return Ok(());
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
    turnstile: Option<Arc<Turnstile>>,
    strain: Strain,
    arrivals: UnboundedSender<Arrival>,
}

/// How much slower than it is the plan wants the device to be at present.
#[derive(Clone)]
pub struct Strain {
    here: HostId,
    /// Nothing: never.
    spells: Option<Arc<Mutex<Spells>>>,
}

impl Strain {
    pub fn new(here: HostId, spells: Spells) -> Strain {
        Strain { here, spells: (!spells.is_empty()).then(|| Arc::new(Mutex::new(spells))) }
    }

    /// The barrier was released then.
    pub fn release(&self, at: Moment) {
        if let Some(spells) = &self.spells {
            spells.lock().unwrap_or_else(PoisonError::into_inner).release(at);
        }
    }

    /// Sleeps for what a job that has begun at `started` is to take longer than it took; whether it had to.
    fn bear(&self, started: Moment) -> bool {
        let Some(spells) = &self.spells else { return false };
        let by = spells.lock().unwrap_or_else(PoisonError::into_inner).slow_device(started, self.here);
        let more = clock::now().since(started).as_secs_f64() * (by - 1.0).max(0.0);
        if more > 0.0 {
            thread::sleep(Duration::from_secs_f64(more));
        }
        more > 0.0
    }
}

/// A job with its device's place in the queue for a core, where the machine has leases.
struct Next {
    node: NodeId,
    job: Job,
    turn: Option<io::Result<Turn>>,
}

impl Worker {
    fn work(mut self, inbox: &Receiver<(NodeId, Job)>) {
        let mut next = None;
        while let Some(Next { node, job, turn }) = next.take().or_else(|| self.next(|| inbox.recv().ok())) {
            let choice = match &job.work {
                Work::Head { request, output, .. } => Some((*request, *output)),
                _ => None,
            };
            let loading = matches!(job.work, Work::Load { .. });
            let (computed, fault);
            (computed, fault, next) = self.execute(node, job, turn, inbox);
            if let Some(fault) = fault {
                tracing::error!("the device of {node} failed: {fault}");
                if loading {
                    let _ = self.arrivals.send(Arrival::LoadFailed { node, what: fault });
                }
            }
            if let Some(((request, output), best)) = choice.zip(self.bench.take_scores()) {
                let _ = self.arrivals.send(Arrival::Seen(Event::Scored(Box::new(Scored { request, output, best }))));
            }
            if self.arrivals.send(Arrival::Computed { node, computed }).is_err() {
                return;
            }
        }
    }

    /// The next job that `receive` gives, lined up for a core; what needs none is done at once.
    fn next(&mut self, mut receive: impl FnMut() -> Option<(NodeId, Job)>) -> Option<Next> {
        loop {
            let (node, job) = receive()?;
            if let Work::Release { session } = job.work {
                self.bench.release(node, session);
                continue;
            }
            let turn = self.turnstile.as_deref().map(Turnstile::line_up);
            return Some(Next { node, job, turn });
        }
    }

    /// Does a job under a lease; says what went wrong beside the refusal that the node gets, and which job is next.
    ///
    /// A job that waits already is lined up before the lease is given back: behind those who wait for it, and before
    /// whoever comes later, wherever the kernel lets this thread run on.
    fn execute(
        &mut self,
        node: NodeId,
        Job { ticket, work }: Job,
        turn: Option<io::Result<Turn>>,
        inbox: &Receiver<(NodeId, Job)>,
    ) -> (Computed, Option<String>, Option<Next>) {
        let (turnstile, bench) = (self.turnstile.clone(), &mut self.bench);
        let turn = turnstile.as_ref().zip(turn);
        let lease = turn.map(|(turnstile, turn)| turn.and_then(|turn| turnstile.take(turn))).transpose();
        let started = clock::now();
        let result = match &lease {
            Ok(_) => catch_unwind(AssertUnwindSafe(|| bench.execute(node, work)))
                .unwrap_or_else(|panic| Err(Fault::Panic(panic_text(panic.as_ref())))),
            Err(why) => Err(Fault::Lease(why.to_string())),
        };
        let computed = clock::now();
        // Not where it may have to sleep before it can go on: those behind it would wait for that.
        let next = if self.strain.spells.is_none() { self.next(|| inbox.try_recv().ok()) } else { None };
        drop(lease);
        let finished = if self.strain.bear(started) { clock::now() } else { computed };
        let (output, fault): (Result<Output, Refusal>, _) = match result {
            Ok(output) => (Ok(output), None),
            Err(fault) => (Err(Refusal::DeviceFailed), Some(fault.to_string())),
        };
        (Computed { ticket, started, finished, output }, fault, next)
    }
}

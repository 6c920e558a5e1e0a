//! Many simulations in parallel, each on one thread, with their results in the order of their plans.
use super::{HORIZON, is_deterministic, run};
use scenarios::plan::Plan;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use topology::outcome::Run;

/// The settings for simulating a batch of plans.
pub struct Pool<'a> {
    pub threads: usize,
    /// Whether to run each plan twice and compare the two runs.
    pub twice: bool,
    /// A flag that, once set, keeps further simulations from beginning.
    pub interrupt: &'a AtomicBool,
}

/// A finished simulation.
pub struct Finished {
    pub run: Run,
    /// Whether two runs of the plan were equal; true if it ran only once.
    pub deterministic: bool,
}

impl Pool<'_> {
    /// Runs `plans` and passes each result to `each`, in the order of the plans, until `each` fails or the interrupt is
    /// set.
    ///
    /// # Errors
    /// Returns the first error of `each`.
    pub fn run<E>(&self, plans: &[Plan], mut each: impl FnMut(usize, Finished) -> Result<(), E>) -> Result<(), E> {
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let threads = self.threads.clamp(1, plans.len().max(1));
            let (sender, receiver) = mpsc::sync_channel(2 * threads);
            let start = |_| {
                let (sender, next, stop) = (sender.clone(), &next, &stop);
                let work = move || {
                    while !stop.load(Ordering::Relaxed) && !self.interrupt.load(Ordering::Relaxed) {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(plan) = plans.get(index) else { break };
                        if sender.send((index, self.finish(plan))).is_err() {
                            break;
                        }
                    }
                };
                std::thread::Builder::new().spawn_scoped(scope, work).ok()
            };
            // The system may grant fewer threads than requested.
            let started = (0..threads).map_while(start).count();
            drop(sender);
            if started == 0 {
                let wanted = |_: &_| !self.interrupt.load(Ordering::Relaxed);
                let mut rest = plans.iter().enumerate().take_while(wanted);
                return rest.try_for_each(|(index, plan)| each(index, self.finish(plan)));
            }
            let mut early = BTreeMap::new();
            let mut due = 0;
            for (index, finished) in receiver {
                early.insert(index, finished);
                while let Some(finished) = early.remove(&due) {
                    if let Err(error) = each(due, finished) {
                        stop.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                    due += 1;
                }
            }
            Ok(())
        })
    }

    fn finish(&self, plan: &Plan) -> Finished {
        if self.twice {
            let (run, deterministic) = is_deterministic(plan, HORIZON);
            Finished { run, deterministic }
        } else {
            Finished { run: run(plan, HORIZON), deterministic: true }
        }
    }
}

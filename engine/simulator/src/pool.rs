//! Many simulations at once: each on one thread, as many as there are cores, their results in the order of their plans.
use super::{HORIZON, is_deterministic, run};
use scenarios::plan::Plan;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use topology::outcome::Run;

/// How to simulate a batch of plans.
pub struct Pool<'a> {
    pub threads: usize,
    /// Run everything twice and compare.
    pub twice: bool,
    /// Begin no further simulation once this is set.
    pub interrupt: &'a AtomicBool,
}

/// A simulation that is over.
pub struct Finished {
    pub run: Run,
    /// Two runs of the plan were the same; always so unless asked to run twice.
    pub deterministic: bool,
}

impl Pool<'_> {
    /// Runs `plans` and hands each result to `each`, in the order of the plans, until that fails or an interrupt comes.
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
            // The system may have room for fewer threads than were asked for.
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

//! Runs many simulations in parallel, each on one thread, and returns their results in the order of their plans.
use super::{HORIZON, is_deterministic, run_into};
use actors::record::Recorder;
use scenarios::plan::Plan;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use topology::outcome::Run;

/// The settings for simulating a batch of plans.
pub struct Pool<'a> {
    pub threads: usize,
    /// Whether to simulate each plan twice and compare the two runs.
    pub twice: bool,
    /// Once this is true, no further simulation begins.
    pub interrupt: &'a AtomicBool,
}

/// A finished simulation. Its events have gone to its recorder.
pub struct Finished<R> {
    pub run: Run,
    /// The recorder, or what was made of it.
    pub recorder: R,
    /// Whether two simulations of the plan were equal; true if the plan was simulated only once.
    pub deterministic: bool,
}

impl Pool<'_> {
    /// Simulates `plans` and passes each result to `each`, in the order of the plans. Each simulation gets a recorder
    /// of its own from `recorder`. After the simulation, its thread converts the recorder by `seal`. Ends early if
    /// `each` fails or the interrupt is set.
    ///
    /// # Errors
    /// Returns the first error of `each`.
    pub fn run<R: Recorder, S: Send, E>(
        &self,
        plans: &[Plan],
        recorder: impl Fn(usize) -> R + Sync,
        seal: impl Fn(R) -> S + Sync,
        mut each: impl FnMut(usize, Finished<S>) -> Result<(), E>,
    ) -> Result<(), E> {
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let threads = self.threads.clamp(1, plans.len().max(1));
            let (sender, receiver) = mpsc::sync_channel(2 * threads);
            let start = |_| {
                let (sender, next, stop, recorder, seal) = (sender.clone(), &next, &stop, &recorder, &seal);
                let work = move || {
                    while !stop.load(Ordering::Relaxed) && !self.interrupt.load(Ordering::Relaxed) {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(plan) = plans.get(index) else { break };
                        if sender.send((index, self.finish(plan, recorder(index), seal))).is_err() {
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
                return rest.try_for_each(|(index, plan)| each(index, self.finish(plan, recorder(index), &seal)));
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

    fn finish<R: Recorder, S>(&self, plan: &Plan, mut recorder: R, seal: &impl Fn(R) -> S) -> Finished<S> {
        let (run, deterministic) = match self.twice {
            true => is_deterministic(plan, HORIZON, &mut recorder),
            false => (run_into(plan, HORIZON, &mut recorder), true),
        };
        Finished { run, recorder: seal(recorder), deterministic }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HORIZON, run, run_into};
    use actors::record::{Event, Recorder};
    use actors::seed::Seed;
    use scenarios::Overrides;
    use scenarios::plan::Plan;
    use topology::outcome::Outcome;

    /// A recorder for tests that closes after this number of events.
    struct Until(usize, Vec<Event>);

    impl Recorder for Until {
        fn record(&mut self, event: Event) {
            self.1.push(event);
        }

        fn is_open(&self) -> bool {
            self.1.len() < self.0
        }
    }

    fn plan() -> Plan {
        let cells = scenarios::load("churn").expect("it is there").cells(&Overrides::default()).expect("cells");
        cells[0].plan(Seed(1), 0).expect("a plan")
    }

    #[test]
    fn a_recorder_gets_the_events_that_a_run_would_keep_and_a_closed_one_ends_the_run() {
        let plan = plan();
        let whole = run(&plan, HORIZON);
        let mut recorder = Until(usize::MAX, Vec::new());
        let recorded = run_into(&plan, HORIZON, &mut recorder);
        assert!(recorded.events.is_empty() && recorder.1 == whole.events);
        assert_eq!((recorded.outcome, recorded.trace), (whole.outcome, whole.trace));
        let mut recorder = Until(1000, Vec::new());
        let cut = run_into(&plan, HORIZON, &mut recorder);
        assert_eq!(cut.outcome, Outcome::Interrupted);
        assert!(recorder.1.len() < whole.events.len() && whole.events.starts_with(&recorder.1));
    }
}

//! The self-benchmark of a peer: it measures the speed of one of the peer's blocks before the peer first announces
//! itself as ONLINE (Petals: `server/throughput.py`). It runs one-token steps into a growing KV cache, and then steps
//! of many tokens.
//!
//! This module is a pure state machine: it returns the next step, and is given the time that each step took on the
//! device. The first step of each kind is a warm-up and does not count. The network's throughput is not measured but
//! taken from the configuration.
use crate::message::Benchmark;
use crate::placement::Speed;
use crate::policy::Probe;
use crate::time::{Duration, Timestamp};

/// The progress of a self-benchmark.
#[derive(Debug)]
pub struct SelfBenchmark {
    /// The two kinds of steps: first decode steps, then forward steps.
    kinds: [Kind; 2],
    /// The index in `kinds` of the kind that is being measured; 2 once both are done.
    at: usize,
}

/// The progress of one kind of steps.
#[derive(Debug)]
struct Kind {
    probe: Probe,
    /// The number of steps begun so far, including the warm-up.
    steps: u32,
    /// The total device time of the steps, without the warm-up.
    worked: Duration,
    /// The time at which the device began the warm-up step.
    began: Option<Timestamp>,
}

impl SelfBenchmark {
    /// Returns a benchmark of `decode` steps, which extend one KV cache, followed by `forward` steps, which each begin
    /// a new KV cache.
    pub fn new(decode: Probe, forward: Probe) -> SelfBenchmark {
        let kind = |probe| Kind { probe, steps: 0, worked: Duration::ZERO, began: None };
        SelfBenchmark { kinds: [kind(decode), kind(forward)], at: 0 }
    }

    /// Returns the next step to run; `None` once the benchmark is complete.
    pub fn next(&mut self) -> Option<Benchmark> {
        let grows = self.at == 0;
        let kind = self.kinds.get_mut(self.at)?;
        let Probe { tokens, steps, .. } = kind.probe;
        let position = if grows { kind.steps * tokens } else { 0 };
        let max_length = if grows { (steps + 1) * tokens } else { tokens };
        kind.steps += 1;
        Some(Benchmark { tokens, position, max_length })
    }

    /// Records that the device computed the last step from `started` to `finished`. A kind is complete after its
    /// configured number of steps, or earlier if its time limit (`Probe::most`, counted from the start of the warm-up)
    /// is over and at least one step besides the warm-up was measured.
    pub fn took(&mut self, started: Timestamp, finished: Timestamp) {
        let Some(kind) = self.kinds.get_mut(self.at) else { return };
        let began = *kind.began.get_or_insert(started);
        if kind.steps > 1 {
            kind.worked += finished.since(started);
        }
        let late = kind.probe.most > Duration::ZERO && finished.since(began) >= kind.probe.most;
        if kind.steps > kind.probe.steps || late && kind.steps > 1 {
            self.at += 1;
        }
    }

    /// Returns the measured speed. The network's throughput, and the speed of a kind of steps without a measurement,
    /// are taken from the configured speed `told`.
    pub fn speed(&self, told: Speed) -> Speed {
        let rate = |kind: &Kind, otherwise: f64| match kind.worked {
            Duration::ZERO => otherwise,
            worked => f64::from((kind.steps - 1) * kind.probe.tokens) / worked.as_secs_f64(),
        };
        let [decode, forward] = &self.kinds;
        Speed {
            inference_rps: rate(decode, told.inference_rps),
            forward_rps: rate(forward, told.forward_rps),
            network_rps: told.network_rps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SelfBenchmark;
    use crate::message::Benchmark;
    use crate::placement::Speed;
    use crate::policy::Probe;
    use crate::time::{Duration, Timestamp};

    const TOLD: Speed = Speed { inference_rps: 1.0, forward_rps: 1.0, network_rps: 7.0 };

    /// Runs all steps on a device that takes `took` for each, and returns the steps.
    fn measure(self_benchmark: &mut SelfBenchmark, took: impl Fn(Benchmark) -> Duration) -> Vec<Benchmark> {
        let (mut trials, mut now) = (Vec::new(), Timestamp::default());
        while let Some(benchmark) = self_benchmark.next() {
            trials.push(benchmark);
            let finished = now + took(benchmark);
            self_benchmark.took(now, finished);
            now = finished;
        }
        trials
    }

    #[test]
    fn it_counts_all_steps_but_the_first_of_each_kind() {
        let probe = |tokens, steps| Probe { tokens, steps, most: Duration::ZERO };
        let mut self_benchmark = SelfBenchmark::new(probe(1, 100), probe(1024, 10));
        let trials = measure(&mut self_benchmark, |benchmark| match (benchmark.tokens, benchmark.position) {
            (1, 0) => Duration::from_secs(9),
            (1, _) => Duration::from_millis(5),
            _ => Duration::from_millis(512),
        });
        assert_eq!((trials.len(), trials[0].max_length), (101 + 11, 101));
        assert!((0..101).eq(trials[..101].iter().map(|benchmark| benchmark.position)), "into a cache that grows");
        assert!(trials[101..].iter().all(|benchmark| (benchmark.position, benchmark.max_length) == (0, 1024)));
        let speed = self_benchmark.speed(TOLD);
        assert_eq!((speed.inference_rps, speed.forward_rps, speed.network_rps), (200.0, 2000.0, 7.0));
    }

    #[test]
    fn it_ends_in_time_if_it_is_to() {
        let probe = |tokens| Probe { tokens, steps: 1000, most: Duration::from_millis(50) };
        let mut self_benchmark = SelfBenchmark::new(probe(1), probe(10));
        let trials = measure(&mut self_benchmark, |_| Duration::from_millis(20));
        assert_eq!(trials.len(), 3 + 3);
        assert_eq!((self_benchmark.speed(TOLD).inference_rps, self_benchmark.speed(TOLD).forward_rps), (50.0, 500.0));
        let slow = measure(&mut SelfBenchmark::new(probe(1), probe(10)), |_| Duration::from_secs(3));
        assert_eq!(slow.len(), 2 + 2, "at least one of each counts");
    }
}

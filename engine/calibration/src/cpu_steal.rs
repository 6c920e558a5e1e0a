//! Fits CPU steal: how often and for how long the hypervisor takes a core away from this machine. The fit uses the time
//! that a device takes to hand a result to its node. This takes microseconds, but milliseconds if the hypervisor has
//! taken away the node's core.
use super::time;
use scenarios::profile;

/// If handing a result from a device to its node takes more than this number of seconds, the excess counts as CPU
/// steal.
const LONG: f64 = 300e-6;

/// The minimum number of results that took longer than `LONG`. With fewer, no CPU steal is fitted, and the machine
/// counts as having none.
const ENOUGH: usize = 5;

/// The fitted CPU steal of a core.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CpuSteal {
    /// The mean time from the end of an interruption to the start of the next, in seconds.
    pub every: f64,
    /// The mean length of an interruption, in seconds.
    pub last: f64,
}

impl CpuSteal {
    /// Fits CPU steal to `hand_overs`: for each result, the time in seconds in which the device handed it to its node.
    /// The model is that interruptions begin at random times and have exponentially distributed lengths. If an
    /// interruption is under way at a job's end, its remaining length then has the same distribution. So the share
    /// `last / every * exp(-LONG / last)` of the hand-overs takes longer than `LONG`, and these take on average `LONG +
    /// last`.
    pub fn fit(hand_overs: &[f64]) -> CpuSteal {
        let long: Vec<f64> =
            hand_overs.iter().filter(|hand_over| **hand_over > LONG).map(|hand_over| hand_over - LONG).collect();
        if long.len() < ENOUGH {
            return CpuSteal::default();
        }
        let last = long.iter().sum::<f64>() / long.len() as f64;
        let share = long.len() as f64 / hand_overs.len() as f64;
        // If interruptions had to take half of the time or more, or to follow each other within a millisecond, the
        // delays have a different cause.
        let every = last / share * (-LONG / last).exp();
        if every > last.max(1e-3) { CpuSteal { every, last } } else { CpuSteal::default() }
    }

    pub fn written(&self) -> profile::CpuSteal {
        profile::CpuSteal { every: time(self.every), last: time(self.last) }
    }
}

#[cfg(test)]
mod tests {
    use super::CpuSteal;
    use actors::seed::mix;

    #[test]
    fn how_often_and_for_how_long_cores_were_stolen_is_found_again() {
        let (every, last) = (0.3, 2e-3);
        let mut drawn = 0u64;
        let mut exponential = |mean: f64| {
            drawn += 1;
            -mean * ((mix(drawn) as f64 + 1.0) / 2f64.powi(64)).ln()
        };
        let (mut start, mut end) = (0.0, 0.0);
        // For ten minutes, a device hands over a result every millisecond. Without CPU steal this takes 10 us.
        let mut hand_overs = Vec::new();
        for now in (0..600_000).map(|at| 1e-3 * f64::from(at)) {
            while end < now {
                start = end + exponential(every);
                end = start + exponential(last);
            }
            hand_overs.push(10e-6 + if start <= now { end - now } else { 0.0 });
        }
        let found = CpuSteal::fit(&hand_overs);
        assert!((found.every / every - 1.0).abs() < 0.1 && (found.last / last - 1.0).abs() < 0.1, "{found:?}");
        assert_eq!(
            CpuSteal::fit(&hand_overs[..50]),
            CpuSteal::default(),
            "what comes once or twice may have been anything"
        );
    }
}

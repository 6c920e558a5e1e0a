//! Fits CPU steal: how often and for how long the hypervisor takes a core from work. The fit uses the hand-overs of
//! results from devices to their nodes. A hand-over takes microseconds, but milliseconds if the core that is to receive
//! the result is stolen at that time.
use super::time;
use scenarios::profile;

/// The duration in seconds above which a hand-over from a device counts as delayed by steal.
const LONG: f64 = 300e-6;

/// The number of long hand-overs that a run must have at least for a fit of steal.
const ENOUGH: usize = 5;

/// `every`: the mean seconds between two interruptions by steal. `last`: the mean seconds of an interruption.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CpuSteal {
    pub every: f64,
    pub last: f64,
}

impl CpuSteal {
    /// Fits the steal to hand-overs from devices, in seconds. If interruptions come at random times with exponential
    /// lengths, the remaining length at a job's end is exponential with the same mean. The share
    /// `last / every * exp(-LONG / last)` of the hand-overs is then long, and their mean excess over LONG is the mean
    /// of all lengths.
    pub fn fit(hand_overs: &[f64]) -> CpuSteal {
        let long: Vec<f64> =
            hand_overs.iter().filter(|hand_over| **hand_over > LONG).map(|hand_over| hand_over - LONG).collect();
        if long.len() < ENOUGH {
            return CpuSteal::default();
        }
        let last = long.iter().sum::<f64>() / long.len() as f64;
        let share = long.len() as f64 / hand_overs.len() as f64;
        // A larger share of long hand-overs would have another cause than steal.
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
        // The data has a hand-over of 10 us each millisecond, for ten minutes.
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

//! How often, and for how long, a core is taken from those that have work for it: by the ways back from devices, which take
//! some microseconds, and some milliseconds where the core that was to hear of the job is stolen then.
use super::time;
use scenarios::profile;

/// What a way back takes at least, in seconds, whose core was stolen.
const LONG: f64 = 300e-6;

/// Long ways back by which it is believed.
const ENOUGH: usize = 5;

/// In seconds, the means: from one time to the next, and how long one lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CpuSteal {
    pub every: f64,
    pub last: f64,
}

impl CpuSteal {
    /// By ways back, in seconds. Where the lengths of what comes at random times are exponential, so is what is left of them
    /// when a job ends, with the same mean: p = last / every * exp(-LONG / last) of the ways back are long, and what they
    /// exceed that by has the mean of all.
    pub fn fit(ways: &[f64]) -> CpuSteal {
        let long: Vec<f64> = ways.iter().filter(|way| **way > LONG).map(|way| way - LONG).collect();
        if long.len() < ENOUGH {
            return CpuSteal::default();
        }
        let last = long.iter().sum::<f64>() / long.len() as f64;
        let share = long.len() as f64 / ways.len() as f64;
        // Were more of them long, it would be no matter of cores.
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
        // A way back of 10 us each millisecond, for ten minutes.
        let mut ways = Vec::new();
        for now in (0..600_000).map(|at| 1e-3 * f64::from(at)) {
            while end < now {
                start = end + exponential(every);
                end = start + exponential(last);
            }
            ways.push(10e-6 + if start <= now { end - now } else { 0.0 });
        }
        let found = CpuSteal::fit(&ways);
        assert!((found.every / every - 1.0).abs() < 0.1 && (found.last / last - 1.0).abs() < 0.1, "{found:?}");
        assert_eq!(CpuSteal::fit(&ways[..50]), CpuSteal::default(), "what comes once or twice may have been anything");
    }
}

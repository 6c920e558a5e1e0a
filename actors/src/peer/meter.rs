//! Measurement of a peer's recent load: the share of time in which its device was busy, and the duration of its steps.
//! The peer reports both to clients.
use crate::time::{Duration, Timestamp};

/// The length of a window in which busy time is counted. The reported busy fraction covers the last complete window and
/// the current one.
const WINDOW: Duration = Duration::from_secs(1);

/// The newest job has the weight 1 / `SMOOTHING` in the exponential average of step times.
const SMOOTHING: u64 = 8;

/// The meter of one peer's load.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// The start of the current window.
    window: Timestamp,
    /// The busy time in the current window.
    busy: Duration,
    /// The busy time in the window before the current one; zero if no job ended in that window.
    before: Duration,
    /// The exponential average of the time of a one-token step, in ns; 0 before the first one.
    step: u64,
}

impl Meter {
    /// Counts a job of `steps` steps that has ended now and kept the device busy for `took`. With `decode`, the time
    /// per step (`took` / `steps`) enters the average of one-token steps.
    #[inline]
    pub fn worked(&mut self, now: Timestamp, took: Duration, steps: u32, decode: bool) {
        self.advance(now);
        self.busy += took;
        if decode && steps > 0 {
            let share = took.0 / u64::from(steps);
            self.step = match self.step {
                0 => share,
                step => (step * (SMOOTHING - 1) + share) / SMOOTHING,
            };
        }
    }

    #[inline]
    fn advance(&mut self, now: Timestamp) {
        let passed = now.since(self.window);
        if passed < WINDOW {
            return;
        }
        self.before = if passed < WINDOW + WINDOW { self.busy } else { Duration::ZERO };
        self.busy = Duration::ZERO;
        self.window = Timestamp(now.0 - passed.0 % WINDOW.0);
    }

    /// Returns the fraction of time in which the device was busy, in thousandths (0 to 1000), over the last complete
    /// window and the current one. A job counts in the window in which it ends, with its whole duration; the result is
    /// clamped to 1000.
    pub fn busy(&mut self, now: Timestamp) -> u16 {
        self.advance(now);
        let (busy, of) = (self.before + self.busy, WINDOW + now.since(self.window));
        (busy.0.saturating_mul(1000) / of.0).min(1000) as u16
    }

    /// Returns the average time of a one-token step, in microseconds, rounded up; 0 before the first one.
    pub fn step(&self) -> u32 {
        u32::try_from(self.step.div_ceil(1000)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::Meter;
    use crate::time::{Duration, Timestamp};

    #[test]
    fn it_tells_the_share_of_lately_and_forgets() {
        let mut meter = Meter::default();
        let at = |ms| Timestamp::default() + Duration::from_millis(ms);
        for job in 1..=20u64 {
            meter.worked(at(job * 100), Duration::from_millis(40), 2, true);
        }
        assert!((360..=440).contains(&meter.busy(at(2_000))), "{}", meter.busy(at(2_000)));
        assert_eq!(meter.step(), 20_000);
        meter.worked(at(2_100), Duration::from_millis(100), 1, false);
        assert_eq!(meter.step(), 20_000, "a prefill is no step");
        assert_eq!(meter.busy(at(10_000)), 0);
    }
}

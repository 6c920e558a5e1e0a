//! How busy a peer has been lately, and how long its steps take: what it tells clients of its load.
use crate::time::{Duration, Timestamp};

/// Work is counted in windows of this length; what is told is the last whole one and the present.
const WINDOW: Duration = Duration::from_secs(1);

/// The weight of the newest step in the average is one of so many.
const SMOOTHING: u64 = 8;

#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// When the present window began.
    window: Timestamp,
    busy: Duration,
    before: Duration,
    /// Average of one-token steps, in ns.
    step: u64,
}

impl Meter {
    /// A job of `steps` steps has ended, which took `took`; `decode` if they were of one token each.
    #[inline]
    pub fn worked(&mut self, now: Timestamp, took: Duration, steps: u32, decode: bool) {
        self.turn(now);
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
    fn turn(&mut self, now: Timestamp) {
        let passed = now.since(self.window);
        if passed < WINDOW {
            return;
        }
        self.before = if passed < WINDOW + WINDOW { self.busy } else { Duration::ZERO };
        self.busy = Duration::ZERO;
        self.window = Timestamp(now.0 - passed.0 % WINDOW.0);
    }

    /// Thousandths of the last window and the present one in which there was work.
    pub fn busy(&mut self, now: Timestamp) -> u16 {
        self.turn(now);
        let (busy, of) = (self.before + self.busy, WINDOW + now.since(self.window));
        (busy.0.saturating_mul(1000) / of.0).min(1000) as u16
    }

    /// Microseconds of a one-token step; 0 before the first.
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

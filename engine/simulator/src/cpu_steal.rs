//! CPU steal: a core of a virtual machine stops although it has work, because the hypervisor uses the physical core for
//! another machine.
use actors::seed::{Seed, SmallStream};
use actors::time::{Duration, Timestamp};
use rand_distr::{Distribution, Exp1};
use scenarios::plan::{CpuSteal, Plan};
use std::collections::VecDeque;

/// For each machine, the CPU steal of the core that sends and receives the messages of all nodes on the machine.
pub struct Serving {
    machines: Vec<Option<StealTimeline>>,
}

impl Serving {
    /// Returns the CPU steal of all machines, or `None` if no machine has any. `cpu_steal` has the machine and the CPU
    /// steal of each node. The first node of a machine with CPU steal decides for the machine.
    pub fn of(plan: &Plan, cpu_steal: impl Iterator<Item = (usize, CpuSteal)>) -> Option<Serving> {
        let mut machines: Vec<Option<StealTimeline>> = plan.machines.iter().map(|_| None).collect();
        for (machine, cpu_steal) in cpu_steal {
            let course = || StealTimeline::new(cpu_steal, plan.chance, machine as u64);
            machines[machine] = machines[machine].take().or_else(course);
        }
        machines.iter().any(Option::is_some).then_some(Serving { machines })
    }

    /// Returns the time at which work on `machine` ends that begins at `from` and would end at `until` without CPU
    /// steal. Forgets the stolen intervals that ended before `now`.
    pub fn through(&mut self, now: Timestamp, machine: usize, from: Timestamp, until: Timestamp) -> Timestamp {
        match &mut self.machines[machine] {
            Some(course) => course.through(now, from, until),
            None => until,
        }
    }
}

/// The random intervals in which one core is stolen. They are generated only as far into the future as callers have
/// asked.
struct StealTimeline {
    cpu_steal: CpuSteal,
    stream: SmallStream,
    ahead: VecDeque<(Timestamp, Timestamp)>,
    /// The end of the last interval that was generated.
    drawn: Timestamp,
}

impl StealTimeline {
    fn new(cpu_steal: CpuSteal, seed: Seed, machine: u64) -> Option<StealTimeline> {
        let stream = seed.small_stream("steal", machine, 0);
        (cpu_steal.every > Duration::ZERO).then(|| StealTimeline {
            cpu_steal,
            stream,
            ahead: VecDeque::new(),
            drawn: Timestamp::default(),
        })
    }

    fn through(&mut self, now: Timestamp, from: Timestamp, mut until: Timestamp) -> Timestamp {
        while self.ahead.front().is_some_and(|(_, end)| *end < now) {
            self.ahead.pop_front();
        }
        for next in 0.. {
            if next == self.ahead.len() {
                let start = self.drawn + exponential(self.cpu_steal.every, &mut self.stream);
                self.drawn = start + exponential(self.cpu_steal.last, &mut self.stream);
                self.ahead.push_back((start, self.drawn));
            }
            let (start, end) = self.ahead[next];
            if start >= until {
                break;
            }
            until = until + end.since(start.max(from));
        }
        until
    }
}

/// The CPU steal of a core that runs jobs. Each job draws stolen intervals of its own. This is enough, because a stolen
/// job delays no other jobs than those queued behind it.
pub struct Computing {
    cpu_steal: CpuSteal,
    stream: SmallStream,
}

impl Computing {
    pub fn of(cpu_steal: CpuSteal, stream: impl FnOnce() -> SmallStream) -> Option<Box<Computing>> {
        (cpu_steal.every > Duration::ZERO).then(|| Box::new(Computing { cpu_steal, stream: stream() }))
    }

    /// Returns the time that CPU steal adds to a job that takes `took` without CPU steal.
    pub fn within(&mut self, took: Duration) -> Duration {
        let (mut by, mut at) = (Duration::ZERO, exponential(self.cpu_steal.every, &mut self.stream));
        while at < took {
            by += exponential(self.cpu_steal.last, &mut self.stream);
            at += exponential(self.cpu_steal.every, &mut self.stream);
        }
        by
    }
}

fn exponential(mean: Duration, stream: &mut SmallStream) -> Duration {
    let drawn: f64 = Exp1.sample(stream);
    Duration((mean.0 as f64 * drawn) as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::{Computing, StealTimeline};
    use actors::seed::Seed;
    use actors::time::{Duration, Timestamp};
    use scenarios::plan::CpuSteal;

    const STEAL: CpuSteal = CpuSteal { every: Duration::from_millis(100), last: Duration::from_millis(2) };

    #[test]
    fn work_whose_core_is_stolen_is_done_by_as_much_later() {
        let mut course = StealTimeline::new(STEAL, Seed(3), 0).unwrap();
        let before = course.through(Timestamp(0), Timestamp(0), Timestamp(1));
        assert_eq!(before, Timestamp(1), "none begins at once");
        let (start, end) = course.ahead[0];
        let mut through = |from: u64, until: u64| course.through(Timestamp(0), Timestamp(from), Timestamp(until)).0;
        let whole = end.since(start).0;
        assert_eq!(through(start.0 - 10, start.0), start.0, "it was through with it");
        assert_eq!(through(start.0 - 10, start.0 + 10), start.0 + 10 + whole);
        assert_eq!(through(start.0 + 5, start.0 + 15), end.0 + 10, "it is begun when the core goes on");
        assert_eq!(through(end.0, end.0 + 10), end.0 + 10);
    }

    #[test]
    fn cores_are_stolen_as_often_and_for_as_long_as_is_said() {
        let mut course = StealTimeline::new(STEAL, Seed(3), 0).unwrap();
        let second = 1_000_000_000;
        let held_up = |from: u64, until: u64| until.saturating_sub(from) as f64 / second as f64;
        let mut all = 0.0;
        for at in 0..2000 {
            let (from, until) = (at * second, (at + 1) * second);
            all += held_up(until, course.through(Timestamp(from), Timestamp(from), Timestamp(until)).0);
        }
        // Each second of work is interrupted about ten times, for 2 ms on average.
        assert!((all / 2000.0 / 0.02 - 1.0).abs() < 0.05, "{all}");
        assert!(course.ahead.len() < 100, "those that are over are forgotten");
        let mut computing = Computing::of(STEAL, || Seed(5).small_stream("test", 0, 0)).unwrap();
        let all: u64 = (0..200_000).map(|_| computing.within(Duration::from_millis(10)).0).sum();
        assert!((all as f64 / 200_000.0 / 0.2e6 - 1.0).abs() < 0.05, "{all}");
        assert!(Computing::of(CpuSteal::NONE, || unreachable!()).is_none());
    }
}

//! The load of a machine: the shares of its CPU time that went to a run, to other programs, and to other virtual
//! machines.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::read_to_string;
use std::time::Duration;

/// The time for which the machine is observed before a live run begins: thirty ticks of the kernel's clock per core.
const OBSERVED: Duration = Duration::from_millis(300);

/// A machine counts as busy if others take at least this share of its CPU time. The daemons of an idle machine take
/// less. On a machine with two cores, this share is a tenth of one core, which is more than live repetitions on an idle
/// machine differ.
const BUSY: f64 = 0.05;

/// The load of the machine before and during a run. Values that the system does not report are `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineLoad {
    /// The mean numbers of runnable threads over the 1, 5 and 15 minutes before the start of the run.
    pub average_at_start: Option<[f64; 3]>,
    /// The mean numbers of runnable threads over the 1, 5 and 15 minutes before the end of the run.
    pub average_at_end: Option<[f64; 3]>,
    /// The shares of the CPU time in the 0.3 s before a live run began. `None` for a simulation, which no load changes.
    pub before: Option<CpuShares>,
    /// The shares of the CPU time from the start of the run to its end.
    pub during: Option<CpuShares>,
}

/// Shares of a machine's total CPU time, each from 0 to 1. The rest is idle time and the handling of interrupts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuShares {
    /// The share of this program and its child processes.
    pub ours: f64,
    /// The share of other programs.
    pub others: f64,
    /// The share that the hypervisor gave to other virtual machines (`steal` in `/proc/stat`).
    pub stolen: f64,
}

/// The CPU time since the start of the machine, in ticks of the kernel's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuTime {
    all: u64,
    programs: u64,
    stolen: u64,
    /// The CPU time of this process, and of its child processes that have ended and been reaped.
    ours: u64,
}

impl MachineLoad {
    /// Returns the load at the start of a run. For a live run, observes the machine for 0.3 s.
    pub fn at_start(live: bool) -> MachineLoad {
        let before = if live { CpuTime::now().and_then(CpuTime::observe) } else { None };
        MachineLoad { average_at_start: load_average(), before, ..MachineLoad::default() }
    }

    /// Adds the load at the end of a run. `start` is the CPU time at its start.
    pub fn end(&mut self, start: Option<CpuTime>) {
        self.average_at_end = load_average();
        self.during = start.and_then(|start| CpuTime::now()?.since(&start));
    }
}

impl fmt::Display for MachineLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(
            self.average_at_start.map(|average| format!("the load average was {:.1} at the start", average[0])),
        );
        for (when, shares) in [("before", self.before), ("during", self.during)] {
            let of = |CpuShares { others, stolen, .. }| {
                format!(
                    "{when} the run, {} of the CPU time went to other programs and {} was stolen by other virtual \
                     machines",
                    percent(others),
                    percent(stolen)
                )
            };
            parts.extend(shares.map(of));
        }
        f.write_str(&parts.join("; "))
    }
}

impl CpuShares {
    /// Returns a sentence about the CPU time that others took, if this was enough to disturb a measurement.
    pub fn busy(&self) -> Option<String> {
        if self.others + self.stolen < BUSY {
            return None;
        }
        let mut parts = Vec::new();
        if percent(self.others) != "0 %" {
            parts.push(format!("{} of its CPU time went to other programs", percent(self.others)));
        }
        if percent(self.stolen) != "0 %" {
            parts.push(format!("{} of its CPU time was stolen by other virtual machines", percent(self.stolen)));
        }
        Some(format!("this machine was busy: {}", parts.join(", ")))
    }
}

impl CpuTime {
    pub fn now() -> Option<CpuTime> {
        CpuTime::read(&read_to_string("/proc/stat").ok()?, &read_to_string("/proc/self/stat").ok()?)
    }

    /// Reads the texts of `/proc/stat` and `/proc/self/stat`, as proc(5) describes them.
    fn read(machine: &str, process: &str) -> Option<CpuTime> {
        let ticks = |text: &str| text.split_whitespace().map(|word| word.parse().ok()).collect::<Option<Vec<u64>>>();
        // The fields are user, nice, system, idle, iowait, irq, softirq, steal. Later fields are contained in user and
        // nice.
        let cpu = ticks(machine.lines().find_map(|line| line.strip_prefix("cpu "))?)?;
        let [user, nice, system, _, _, _, _, stolen] = *cpu.first_chunk()?;
        // The second field is the program's name in parentheses, which may hold any character. Fields 14 to 17 are
        // times.
        let fields: Vec<&str> = process.rsplit_once(')')?.1.split_whitespace().collect();
        let ours = ticks(&fields.get(11..15)?.join(" "))?.iter().sum();
        let all: u64 = cpu[..8].iter().sum();
        (all > 0).then_some(CpuTime { all, programs: user + nice + system, stolen, ours })
    }

    /// Observes the machine for 0.3 s and returns the shares of CPU time.
    fn observe(self) -> Option<CpuShares> {
        std::thread::sleep(OBSERVED);
        CpuTime::now()?.since(&self)
    }

    /// Returns the shares between `start` and `self`, or `None` if no time has passed.
    fn since(&self, start: &CpuTime) -> Option<CpuShares> {
        let all = self.all.checked_sub(start.all).filter(|all| *all > 0)? as f64;
        let ours = self.ours.saturating_sub(start.ours);
        let others = self.programs.saturating_sub(start.programs).saturating_sub(ours);
        let stolen = self.stolen.saturating_sub(start.stolen);
        let share = |ticks: u64| ((ticks as f64 / all).min(1.0) * 1e4).round() / 1e4;
        Some(CpuShares { ours: share(ours), others: share(others), stolen: share(stolen) })
    }
}

fn load_average() -> Option<[f64; 3]> {
    let text = read_to_string("/proc/loadavg").ok()?;
    let averages: Vec<f64> = text.split_whitespace().map_while(|word| word.parse().ok()).collect();
    averages.first_chunk().copied()
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::{CpuShares, CpuTime};

    #[test]
    fn shares_are_those_of_all_cpus_between_two_readings() {
        let read = |machine: &str, process: &str| CpuTime::read(machine, process).expect("both are whole");
        let process = |user: u32, waited: u32| {
            format!("7 (a ) b) S 1 7 7 0 -1 4194304 97 0 0 0 {user} 5 {waited} 2 20 0 1 0 668875 3133440 359")
        };
        let start = read("cpu  1000 100 200 5000 10 0 20 30 400 0\ncpu0 1 2 3", &process(50, 0));
        let end = read("cpu  1300 150 250 5400 10 0 20 80 500 0\ncpu0 1 2 3", &process(80, 190));
        // 850 ticks lie between the readings: programs took 400 of them (this program 220), 50 were stolen, and 400
        // were idle.
        let shares = end.since(&start).expect("time has passed");
        assert_eq!(shares, CpuShares { ours: 0.2588, others: 0.2118, stolen: 0.0588 });
        assert_eq!(start.since(&start), None);
        assert_eq!(CpuTime::read("cpu  0 0 0 0 0 0 0 0", &process(1, 1)), None, "a system that does not count");
        assert_eq!(CpuTime::read("cpu  1 2", &process(1, 1)), None);
        assert_eq!(CpuTime::read("cpu  1 2 3 4 5 6 7 8", "7 (cat) R 1"), None);
    }

    #[test]
    fn a_machine_is_busy_when_others_take_much_of_it() {
        let busy = |others: f64, stolen: f64| CpuShares { ours: 0.5, others, stolen }.busy();
        assert_eq!(busy(0.03, 0.01), None);
        let by_programs = "this machine was busy: 37 % of its CPU time went to other programs";
        assert_eq!(busy(0.37, 0.0).as_deref(), Some(by_programs));
        let both = format!("{by_programs}, 4 % of its CPU time was stolen by other virtual machines");
        assert_eq!(busy(0.37, 0.04), Some(both));
        let stolen = "this machine was busy: 8 % of its CPU time was stolen by other virtual machines";
        assert_eq!(busy(0.001, 0.08).as_deref(), Some(stolen));
    }
}

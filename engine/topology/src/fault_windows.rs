//! The faults of a plan that last for a time, and the functions that look them up, in simulated and live runs: which
//! hosts are cut off from each other, which devices and links are slow, and until when.
use actors::id::HostId;
use actors::time::{Duration, Timestamp};
use scenarios::plan::{Plan, What, When};

/// The partitions, slow devices and slow links of a plan, each with the window of time in which it is active.
#[derive(Clone, Debug)]
pub struct FaultWindows {
    started: Timestamp,
    released: Option<Timestamp>,
    windows: Vec<Window>,
}

#[derive(Clone, Debug)]
struct Window {
    at: When,
    lasts: Duration,
    what: What,
}

impl FaultWindows {
    /// Returns the fault windows of a run that started at `started`. Windows that count from the barrier's release are
    /// inactive until [`FaultWindows::release`] is called.
    pub fn of(plan: &Plan, started: Timestamp) -> FaultWindows {
        let lasting = |fault: &scenarios::plan::Fault| match fault.what {
            What::Partition { lasts, .. } | What::SlowLink { lasts, .. } | What::SlowDevice { lasts, .. } => {
                Some(Window { at: fault.at, lasts, what: fault.what.clone() })
            }
            _ => None,
        };
        FaultWindows { started, released: None, windows: plan.faults.iter().filter_map(lasting).collect() }
    }

    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Sets the time of the barrier's release.
    pub fn release(&mut self, at: Timestamp) {
        self.released = Some(at);
    }

    /// Returns the faults that are active at `now`, each with the time at which it ends.
    fn present(&self, now: Timestamp) -> impl Iterator<Item = (&What, Timestamp)> {
        self.windows.iter().filter_map(move |window| {
            let begins = match window.at {
                When::Start(after) => self.started + after,
                When::Release(after) => self.released? + after,
                When::Steps { .. } => return None,
            };
            let ends = begins + window.lasts;
            (begins <= now && now < ends).then_some((&window.what, ends))
        })
    }

    /// Returns the time until which a partition separates the hosts `a` and `b`: the end of the last such partition
    /// that is active at `now`, or `None` if no active partition separates them.
    pub fn apart(&self, now: Timestamp, a: HostId, b: HostId) -> Option<Timestamp> {
        let cuts = |groups: &[Vec<HostId>]| {
            let side = |host| groups.iter().position(|group| group.contains(&host));
            matches!((side(a), side(b)), (Some(a), Some(b)) if a != b)
        };
        let ends = self.present(now).filter_map(|(what, ends)| match what {
            What::Partition { groups, .. } if cuts(groups) => Some(ends),
            _ => None,
        });
        ends.max()
    }

    /// Returns the factor by which messages from host `a` to host `b` take longer to propagate and to transfer at
    /// `now`: the product of the factors of all active slow links, or 1 if there is none.
    pub fn slow_link(&self, now: Timestamp, a: HostId, b: HostId) -> f64 {
        let factors = self.present(now).filter_map(|(what, _)| match what {
            What::SlowLink { from, to, by, .. } if from.contains(&a) && to.contains(&b) => Some(*by),
            _ => None,
        });
        factors.product()
    }

    /// Returns the factor by which a job on the host `here` takes longer at `now`: the product of the factors of all
    /// active slow devices, or 1 if there is none.
    pub fn slow_device(&self, now: Timestamp, here: HostId) -> f64 {
        let factors = self.present(now).filter_map(|(what, _)| match what {
            What::SlowDevice { host, by, .. } if *host == here => Some(*by),
            _ => None,
        });
        factors.product()
    }
}

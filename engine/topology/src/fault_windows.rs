//! Faults that last for a while, as a pure lookup that both worlds can ask: who is cut off, what is slow, and until when.
use actors::id::HostId;
use actors::time::{Duration, Timestamp};
use scenarios::plan::{Plan, What, When};

/// The partitions and the slow devices and links of a plan.
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
    /// Those of a run that started at this moment; faults that count from the release wait for it.
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

    /// The barrier was released then.
    pub fn release(&mut self, at: Timestamp) {
        self.released = Some(at);
    }

    /// Those that are on at `now`, and when each ends.
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

    /// Until when nothing passes between two hosts; nothing if it does.
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

    /// How many times as long the way from one host to another takes.
    pub fn slow_link(&self, now: Timestamp, a: HostId, b: HostId) -> f64 {
        let factors = self.present(now).filter_map(|(what, _)| match what {
            What::SlowLink { from, to, by, .. } if from.contains(&a) && to.contains(&b) => Some(*by),
            _ => None,
        });
        factors.product()
    }

    /// How many times as long a job takes.
    pub fn slow_device(&self, now: Timestamp, here: HostId) -> f64 {
        let factors = self.present(now).filter_map(|(what, _)| match what {
            What::SlowDevice { host, by, .. } if *host == here => Some(*by),
            _ => None,
        });
        factors.product()
    }
}

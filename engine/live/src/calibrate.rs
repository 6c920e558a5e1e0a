//! Measures how long a core lease takes to pass from one executor to the next. The events of a run do not show this
//! overhead.
use super::core_lease::{Leases, TicketLock};
use super::cores::Cores;
use super::{LiveError, awake, clock};
use actors::time::{Duration, Timestamp};
use scenarios::plan::Plan;
use std::sync::Mutex;
use std::thread;

/// How long each executor keeps the core lease in the measurement: about as long as one job of a decode step.
const HELD: Duration = Duration::from_micros(400);

/// The number of leases that each of the two executors takes in the measurement.
const TURNS: usize = 150;

/// Returns the time from the release of a core lease by one executor until the waiting executor holds the lease. The
/// result is the median of up to a few hundred such changes between two executors that alternate. They run on the cores
/// on which the plan's jobs run.
///
/// # Errors
/// If the lock files of the leases cannot be created or locked.
pub fn hand_over(plan: &Plan) -> Result<Duration, LiveError> {
    let dir = Leases::new().map_err(LiveError::io("creating a directory for core leases"))?;
    let _awake = awake::keep();
    let machine = plan.peers().next().map_or(0, |(_, peer)| plan.host(peer.host).machine);
    let cores = Cores::of(plan, machine);
    let turns: Mutex<Vec<(Timestamp, Timestamp, usize)>> = Mutex::default();
    let take_turns = |who: usize| -> std::io::Result<()> {
        cores.iter().for_each(Cores::compute);
        let ticket_lock = TicketLock::open(dir.path(), 1, 2)?;
        for _ in 0..TURNS {
            let lease = ticket_lock.take(ticket_lock.line_up()?)?;
            let began = clock::now();
            while clock::now().since(began) < HELD {
                std::hint::spin_loop();
            }
            let ended = clock::now();
            drop(lease);
            if let Ok(mut turns) = turns.lock() {
                turns.push((began, ended, who));
            }
        }
        Ok(())
    };
    let done = thread::scope(|scope| {
        let other = scope.spawn(|| take_turns(1));
        let one = scope.spawn(|| take_turns(0));
        one.join().unwrap_or(Ok(())).and(other.join().unwrap_or(Ok(())))
    });
    done.map_err(LiveError::io("taking core leases"))?;
    let mut turns = turns.into_inner().unwrap_or_default();
    turns.sort();
    let changed = turns.windows(2).filter(|pair| pair[0].2 != pair[1].2);
    let mut gaps: Vec<Duration> = changed.map(|pair| pair[1].0.since(pair[0].1)).collect();
    gaps.sort();
    Ok(gaps.get(gaps.len() / 2).copied().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use actors::time::Duration;

    #[test]
    fn a_lease_takes_a_while_to_change_hands() {
        let cells = scenarios::load("quickstart").expect("it is there").cells(&scenarios::Overrides::default());
        let plan = cells.expect("it has cells")[0].plan(actors::seed::Seed(1), 0).expect("a plan");
        let took = super::hand_over(&plan).expect("file locks work here");
        assert!(took > Duration::ZERO && took < Duration::from_millis(20), "{took}");
    }
}

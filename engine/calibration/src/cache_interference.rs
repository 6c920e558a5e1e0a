//! The fit of cache interference: the excess of frames among those of other clients over a simulation without that
//! term. The simulation includes the queueing of frames for each other, so queueing is not counted as interference.
use super::message_overheads;
use super::overheads::solitary;
use rows::ObservedRun;
use rows::stats::steady_mean;
use std::collections::BTreeMap;

/// Whether a run shows cache interference: several clients on this machine's own network.
pub fn among_other_clients(run: &ObservedRun) -> bool {
    !solitary(run) && !run.plan.network.shape
}

/// Live runs with cache interference, compared with simulated runs of the same plans.
#[derive(Default)]
pub struct CacheInterference {
    /// For each run, the ratio of live to simulated frame times, and the share of other clients among all clients.
    runs: Vec<(f64, f64)>,
}

impl CacheInterference {
    /// Adds a run, if both its live and its simulated version have frames between peers.
    pub fn compare(&mut self, live: &ObservedRun, simulated: &ObservedRun) {
        let [live_times, simulated] = [live, simulated].map(by_size);
        let both = live_times.iter().filter_map(|(bytes, live)| Some((live / simulated.get(bytes)?).ln()));
        let logs: Vec<f64> = both.filter(|log| log.is_finite()).collect();
        if !logs.is_empty() {
            let ratio = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
            self.runs.push((ratio, 1.0 - 1.0 / live.plan.clients().count() as f64));
        }
    }

    /// Returns the relative increase of a frame's time among only other clients' frames that the simulation still
    /// lacks.
    pub fn more(&self) -> f64 {
        rows::stats::median(self.runs.iter().map(|(ratio, others)| (ratio - 1.0) / others).collect()).unwrap_or(0.0)
    }
}

/// Returns the mean time of frames from one peer to the next, by their bytes.
fn by_size(run: &ObservedRun) -> BTreeMap<u64, f64> {
    let mut times: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for start in message_overheads::starts(run, |_| 0.0) {
        times.entry(start.bytes).or_default().push(start.seconds);
    }
    times.into_iter().filter_map(|(bytes, times)| Some((bytes, steady_mean(times)?))).collect()
}

//! What frames take longer among those of other clients, by the simulation that knows nothing of it: so what they wait for
//! each other there is not taken for it.
use super::message_overheads;
use super::overheads::solitary;
use rows::ObservedRun;
use rows::stats::steady_mean;
use std::collections::BTreeMap;

/// Whether a run shows what cache_interference costs: several clients on this machine's own network.
pub fn in_company(run: &ObservedRun) -> bool {
    !solitary(run) && !run.plan.network.shape
}

/// Live runs in cache_interference beside simulated ones of the same plans.
#[derive(Default)]
pub struct CacheInterference {
    /// Of each: by how much live frames took longer, and which share of those about them were of others.
    runs: Vec<(f64, f64)>,
}

impl CacheInterference {
    /// Adds a run, if frames from peer to peer were seen in both worlds.
    pub fn compare(&mut self, live: &ObservedRun, simulated: &ObservedRun) {
        let [live_times, simulated] = [live, simulated].map(by_size);
        let both = live_times.iter().filter_map(|(bytes, live)| Some((live / simulated.get(bytes)?).ln()));
        let logs: Vec<f64> = both.filter(|log| log.is_finite()).collect();
        if !logs.is_empty() {
            let ratio = (logs.iter().sum::<f64>() / logs.len() as f64).exp();
            self.runs.push((ratio, 1.0 - 1.0 / live.plan.clients().count() as f64));
        }
    }

    /// By which share of itself a frame takes longer among others' alone than the simulation has it.
    pub fn more(&self) -> f64 {
        rows::stats::median(self.runs.iter().map(|(ratio, others)| (ratio - 1.0) / others).collect()).unwrap_or(0.0)
    }
}

/// What frames of so many bytes took from one peer to the next.
fn by_size(run: &ObservedRun) -> BTreeMap<u64, f64> {
    let mut times: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for start in message_overheads::starts(run, |_| 0.0) {
        times.entry(start.bytes).or_default().push(start.seconds);
    }
    times.into_iter().filter_map(|(bytes, times)| Some((bytes, steady_mean(times)?))).collect()
}

//! Small estimators that several fits of the calibration share.
use rows::stats::{median, steady_mean};
use std::collections::BTreeMap;

/// Returns for each kind the median over the rounds of the mean time in a round. The input is (round, kind, time).
pub(super) fn middles<K: Ord>(times: impl Iterator<Item = (u32, K, f64)>) -> BTreeMap<K, f64> {
    let mut kinds: BTreeMap<K, BTreeMap<u32, Vec<f64>>> = BTreeMap::new();
    for (round, kind, time) in times {
        kinds.entry(kind).or_default().entry(round).or_default().push(time);
    }
    let middle = |rounds: BTreeMap<u32, Vec<f64>>| median(rounds.into_values().filter_map(steady_mean).collect());
    kinds.into_iter().filter_map(|(kind, rounds)| Some((kind, middle(rounds)?))).collect()
}

pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

//! Fits the times of embeddings and LM heads.
use super::cold_cache::ColdCache;
use super::estimate::seconds;
use super::jobs::{Head, Points};
use rows::ObservedRun;
use rows::stats::steady_mean;
use std::collections::BTreeMap;

/// Returns the fitted times of embeddings as (new tokens, seconds), and of LM heads with warm weights as (rows,
/// seconds). The time of an embedding is at least that of every smaller embedding.
pub(super) fn ends(seen: &[ObservedRun], heads: &[Head], cold: &ColdCache) -> (Points, Points) {
    let (mut embed, mut head): (BTreeMap<u32, Vec<f64>>, BTreeMap<u32, Vec<f64>>) = Default::default();
    for step in seen.iter().flat_map(|run| &run.tokens).filter(|step| !step.request.is_warmup() && step.output > 0) {
        embed.entry(u32::from(step.batch) * step.tokens).or_default().push(seconds(step.embedding));
    }
    for of in heads {
        head.entry(of.rows).or_default().push((of.seconds - cold.of_head(of)).max(of.seconds * 0.05));
    }
    let means = |times: BTreeMap<u32, Vec<f64>>| {
        times.into_iter().filter_map(|(size, times)| Some((size, steady_mean(times)?))).collect::<Points>()
    };
    let mut embed = means(embed);
    let mut least = 0.0f64;
    embed.iter_mut().for_each(|point| {
        least = least.max(point.1);
        point.1 = least;
    });
    (embed, means(head))
}

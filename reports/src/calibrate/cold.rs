//! What weights that have left the caches cost: from jobs that are alike but for how long ago their weights were read.
use super::Seen;
use super::jobs::{BUCKET, Job, Phase};
use crate::fold::TokenRow;
use crate::stats::quantile;
use scenarios::plan;
use scenarios::profile;
use std::collections::BTreeMap;

/// In seconds; see [`plan::Cold`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cold {
    per_block: f64,
    head: f64,
    half_after: f64,
}

/// Those half times among which the best is chosen: 0.25 ms to 64 ms.
const HALVES: std::ops::Range<i32> = -2..7;

/// Warm weights take some time too: so much of any job's time, but for the lowest few, may be the cold's.
const MOST: f64 = 0.8;

/// Of each of a group: seconds since its weights were read, and its time.
type Alike = Vec<(f64, f64)>;

impl Cold {
    /// Least squares within groups of like decode steps of peers, and of clients' decode steps.
    pub fn fit(jobs: &[Job], seen: &[Seen]) -> Cold {
        let mut blocks: BTreeMap<(u32, u32, u32), Alike> = BTreeMap::new();
        for job in jobs.iter().filter(|job| job.phase == Phase::Decode) {
            let key = (job.size, job.context / BUCKET, job.blocks);
            blocks.entry(key).or_default().push((job.since, job.seconds / f64::from(job.blocks)));
        }
        let mut ends: BTreeMap<u16, Alike> = BTreeMap::new();
        for step in seen.iter().flat_map(|run| &run.tokens) {
            if !step.request.is_warmup() && step.output > 0 && step.tokens == 1 {
                ends.entry(step.batch).or_default().push((since_head(step), head(step)));
            }
        }
        let (blocks, ends) = (steady(blocks), steady(ends));
        let halves = HALVES.map(|power| 1e-3 * 2f64.powi(power));
        let fits = halves.filter_map(|half| slope(&blocks, half).map(|(slope, left)| (left, slope, half)));
        let best = fits.min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, per_block, half_after)) = best else { return Cold::default() };
        let head = slope(&ends, half_after).map_or(0.0, |(slope, _)| slope);
        Cold { per_block, head, half_after }
    }

    fn share(&self, since: f64) -> f64 {
        let span = actors::time::Span::from_secs_f64;
        plan::Cold::share(span(self.half_after), span(since))
    }

    /// Seconds of a peer's job that are the cold's.
    pub fn of_job(&self, job: &Job) -> f64 {
        self.per_block * f64::from(job.blocks) * self.share(job.since)
    }

    /// Seconds of a client's head that are the cold's.
    pub fn of_head(&self, step: &TokenRow) -> f64 {
        self.head * self.share(since_head(step))
    }

    pub fn written(&self) -> profile::Cold {
        let time = super::time;
        profile::Cold { per_block: time(self.per_block), head: time(self.head), half_after: time(self.half_after) }
    }
}

/// Seconds of a client's head.
pub(super) fn head(step: &TokenRow) -> f64 {
    step.parts.client.saturating_sub(step.embedding) as f64 / 1e9
}

/// Seconds since the head of the step before, which was over when this one began.
fn since_head(step: &TokenRow) -> f64 {
    step.took as f64 / 1e9
}

/// The groups, with the times that stick out brought back to the 5th and the 95th percentile.
fn steady<K>(groups: BTreeMap<K, Alike>) -> Vec<Alike> {
    let mut groups: Vec<Alike> = groups.into_values().filter(|group| group.len() > 1).collect();
    for group in &mut groups {
        let mut times: Vec<f64> = group.iter().map(|point| point.1).collect();
        times.sort_by(f64::total_cmp);
        if let (Some(low), Some(high)) = (quantile(&times, 0.05), quantile(&times, 0.95)) {
            group.iter_mut().for_each(|point| point.1 = point.1.clamp(low, high));
        }
    }
    groups
}

/// (seconds for a whole share, what is left of the squares), if times are longer the longer ago it was.
fn slope(groups: &[Alike], half: f64) -> Option<(f64, f64)> {
    let (mut xx, mut xy, mut yy, mut whole) = (0.0, 0.0, 0.0, Vec::new());
    for group in groups {
        let count = group.len() as f64;
        let share = |since: f64| since / (since + half);
        let (x, y) = group.iter().fold((0.0, 0.0), |sum, point| (sum.0 + share(point.0), sum.1 + point.1));
        for (since, seconds) in group {
            let (dx, dy) = (share(*since) - x / count, seconds - y / count);
            xx += dx * dx;
            xy += dx * dy;
            yy += dy * dy;
            // If all of it were the cold's.
            whole.push(seconds / share(*since));
        }
    }
    let slope = (xx > 0.0 && xy > 0.0).then(|| xy / xx)?;
    whole.retain(|seconds| seconds.is_finite());
    whole.sort_by(f64::total_cmp);
    let most = MOST * quantile(&whole, 0.05)?;
    Some((slope.min(most), yy - slope * xy))
}

#[cfg(test)]
mod tests {
    use super::{Cold, Job, Phase};

    #[test]
    fn what_cold_weights_cost_is_told_from_what_blocks_cost() {
        let job = |at: u32| {
            let (blocks, since) = (2 + 4 * (at % 2), 1e-4 * 1.05f64.powi(at as i32 % 160));
            let cold = 120e-6 * since / (since + 4e-3);
            // A part in a hundred of noise, the same each time.
            let noise = 1.0 + 0.01 * f64::from((at * 7919 % 200) as i32 - 100) / 100.0;
            let seconds = (30e-6 + f64::from(blocks) * (200e-6 + cold)) * noise;
            Job { phase: Phase::Decode, size: 1, context: 40, blocks, seconds, since, round: 0 }
        };
        let jobs: Vec<Job> = (0..800).map(job).collect();
        let cold = Cold::fit(&jobs, &[]);
        assert_eq!(cold.half_after, 4e-3);
        assert!((cold.per_block / 120e-6 - 1.0).abs() < 0.05, "{cold:?}");
        let always_warm: Vec<Job> = jobs.iter().map(|job| Job { seconds: 1e-3 - job.since * 1e-4, ..*job }).collect();
        assert_eq!(Cold::fit(&always_warm, &[]), Cold::default(), "nothing that is faster for it is cold");
    }

    #[test]
    fn cold_weights_may_take_several_times_as_long_as_warm_ones() {
        // Half of the jobs come at once, half after a network's delay.
        let job = |at: u32| {
            let since = if at.is_multiple_of(2) { 3e-4 } else { 8e-3 + 2e-4 * f64::from(at % 60) };
            let cold = 250e-6 * since / (since + 2e-3);
            Job {
                phase: Phase::Decode,
                size: 1,
                context: 40,
                blocks: 2,
                seconds: 2.0 * (70e-6 + cold),
                since,
                round: 0,
            }
        };
        let cold = Cold::fit(&(0..400).map(job).collect::<Vec<_>>(), &[]);
        assert!((cold.per_block / 250e-6 - 1.0).abs() < 0.02 && cold.half_after == 2e-3, "{cold:?}");
    }
}

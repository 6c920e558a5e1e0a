//! Fits the cold-cache penalty: the extra time that a job takes if its weights are cold, which means that they have
//! left the CPU caches. The fit compares jobs that differ only in the share of cold weights.
use super::jobs::{BUCKET, Gaps, Head, Job, Phase};
use actors::time::Duration;
use rows::stats::quantile;
use scenarios::plan;
use scenarios::profile;
use scenarios::units::Time;
use std::collections::BTreeMap;

/// The fitted cold-cache penalty, and the share of cold weights in each computation that the fit used.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ColdCache {
    /// How fast weights become cold, and what share of them a job leaves cold. The penalties in it are zero.
    law: plan::ColdCache,
    /// The extra time of a block if all of its weights are cold, in seconds.
    per_block: f64,
    /// The extra time of an LM head if all of its weights are cold, in seconds.
    head: f64,
    /// The share of cold weights in each peer's job, by [`Job::at`].
    jobs: Vec<f64>,
    /// The share of cold weights in each computation of an LM head, by [`Head::at`].
    heads: Vec<f64>,
}

/// The candidates for the time after which half of the warm weights have become cold, as powers of two in ms: 0.25 ms
/// to 64 ms.
const HALVES: std::ops::Range<i32> = -2..7;

/// The candidates for the share of the cold weights that are still cold after a job.
const LEFT: [f64; 7] = [0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9];

/// The largest share of a job's time that the fit may explain as cold-cache penalty, because jobs with warm weights
/// take time too. About 5 % of the jobs, those with the lowest ratios of time to cold share, may exceed it.
const MOST: f64 = 0.8;

fn law(half_after: f64, left: f64) -> plan::ColdCache {
    plan::ColdCache { half_after: Duration::from_secs_f64(half_after), left, ..plan::ColdCache::OFF }
}

/// Returns the share of cold weights at the start of each job. For each job, `gaps` has the time from the start of the
/// previous job on the same weights to the job's start, in seconds. After an infinite gap, all weights are cold.
pub(super) fn shares(law: &plan::ColdCache, gaps: &[f64]) -> Vec<f64> {
    let mut before = 1.0;
    let next = |gap: &f64| {
        before = if gap.is_finite() { law.again(before, Duration::from_secs_f64(*gap)) } else { 1.0 };
        before
    };
    gaps.iter().map(next).collect()
}

/// A group of similar computations. Each has its index in [`Gaps`] and its time in seconds: for a peer's job, the time
/// per block.
type Alike = Vec<(usize, f64)>;

impl ColdCache {
    /// Fits the cold-cache penalty by least squares to the times of decode steps: of the jobs of peers, and of the LM
    /// heads of clients. Jobs are compared only if they have equal numbers of rows and of blocks, and similar contexts.
    /// LM heads are compared only if they have equal numbers of rows.
    pub fn fit((jobs, gaps): (&[Job], &Gaps), (heads, between_heads): (&[Head], &Gaps)) -> ColdCache {
        let mut blocks: BTreeMap<(u32, u32, u32), Alike> = BTreeMap::new();
        for job in jobs.iter().filter(|job| job.phase == Phase::Decode) {
            let key = (job.size, job.context / BUCKET, job.blocks);
            blocks.entry(key).or_default().push((job.at, job.seconds / f64::from(job.blocks)));
        }
        let mut ends: BTreeMap<u32, Alike> = BTreeMap::new();
        for head in heads.iter().filter(|head| !head.prefill) {
            ends.entry(head.rows).or_default().push((head.at, head.seconds));
        }
        let (blocks, ends) = (steady(blocks), steady(ends));
        let laws = HALVES.flat_map(|power| LEFT.map(|left| law(1e-3 * 2f64.powi(power), left)));
        let fits = laws.filter_map(|law| slope(&blocks, &shares(&law, gaps)).map(|(slope, left)| (left, slope, law)));
        let Some((_, per_block, law)) = fits.min_by(|a, b| a.0.total_cmp(&b.0)) else { return ColdCache::default() };
        let of_heads = shares(&law, between_heads);
        let head = slope(&ends, &of_heads).map_or(0.0, |(slope, _)| slope);
        ColdCache { law, per_block, head, jobs: shares(&law, gaps), heads: of_heads }
    }

    /// Returns how much of a peer's job time is cold-cache penalty, in seconds.
    pub fn of_job(&self, job: &Job) -> f64 {
        self.per_block * f64::from(job.blocks) * self.jobs.get(job.at).copied().unwrap_or(0.0)
    }

    /// Returns how much of the time of a client's LM head is cold-cache penalty, in seconds.
    pub fn of_head(&self, head: &Head) -> f64 {
        self.head * self.heads.get(head.at).copied().unwrap_or(0.0)
    }

    pub fn written(&self) -> profile::ColdCache {
        let time = super::time;
        let plan::ColdCache { half_after, left, .. } = self.law;
        profile::ColdCache {
            per_block: time(self.per_block),
            head: time(self.head),
            half_after: Time(half_after.0),
            left,
        }
    }
}

/// Returns the groups of at least two computations. In each group, times below its 5th percentile are raised to it, and
/// times above its 95th percentile are lowered to it.
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

/// Fits the growth of the times in the groups with the share of cold weights. Returns the extra time in seconds if all
/// weights are cold, and the remaining sum of squared errors. Returns `None` if times do not grow with this share.
fn slope(groups: &[Alike], shares: &[f64]) -> Option<(f64, f64)> {
    let (mut xx, mut xy, mut yy, mut whole) = (0.0, 0.0, 0.0, Vec::new());
    for group in groups {
        let count = group.len() as f64;
        let (x, y) = group.iter().fold((0.0, 0.0), |sum, point| (sum.0 + shares[point.0], sum.1 + point.1));
        for (at, seconds) in group {
            let (dx, dy) = (shares[*at] - x / count, seconds - y / count);
            xx += dx * dx;
            xy += dx * dy;
            yy += dy * dy;
            // An upper bound of the extra time if all weights are cold: the whole time of this computation counts as
            // penalty.
            whole.push(seconds / shares[*at]);
        }
    }
    let slope = (xx > 0.0 && xy > 0.0).then(|| xy / xx)?;
    whole.retain(|seconds| seconds.is_finite());
    whole.sort_by(f64::total_cmp);
    let slope = slope.min(MOST * quantile(&whole, 0.05)?);
    Some((slope, yy - 2.0 * slope * xy + slope * slope * xx))
}

#[cfg(test)]
mod tests {
    use super::{ColdCache, Job, Phase, law, shares};
    use actors::time::Duration;
    use scenarios::plan;

    const LAW: plan::ColdCache =
        plan::ColdCache { half_after: Duration::from_millis(4), left: 0.8, ..plan::ColdCache::OFF };

    /// Returns 900 decode jobs of four blocks and the gaps before them. If all weights are cold, a job takes
    /// `per_block` seconds longer for each block.
    fn jobs(law: plan::ColdCache, gap: impl Fn(usize) -> f64, per_block: f64) -> (Vec<Job>, Vec<f64>) {
        let gaps: Vec<f64> = (0..900).map(|at| if at == 0 { f64::INFINITY } else { gap(at) }).collect();
        let job = |(at, share): (usize, f64)| {
            // Each time deviates by up to 1 %, in the same way in every run of the test.
            let noise = 1.0 + 0.01 * ((at * 7919 % 200) as f64 - 100.0) / 100.0;
            let seconds = (30e-6 + 4.0 * (150e-6 + per_block * share)) * noise;
            Job { phase: Phase::Decode, size: 1, context: 40, blocks: 4, seconds, at, round: 0 }
        };
        (shares(&law, &gaps).into_iter().enumerate().map(job).collect(), gaps)
    }

    fn fit((jobs, gaps): &(Vec<Job>, Vec<f64>)) -> ColdCache {
        ColdCache::fit((jobs, gaps), (&[], &Vec::new()))
    }

    fn after_prefill(at: usize) -> f64 {
        if at.is_multiple_of(30) { 13e-3 } else { [0.5e-3, 2e-3, 6e-3][at / 30 % 3] }
    }

    #[test]
    fn what_cold_weights_cost_is_told_from_what_blocks_cost() {
        let cold = fit(&jobs(LAW, after_prefill, 120e-6));
        assert_eq!(cold.law, LAW);
        assert!((cold.per_block / 120e-6 - 1.0).abs() < 0.05, "{}", cold.per_block);
        let mut warm = jobs(LAW, after_prefill, 0.0);
        let shares = shares(&LAW, &warm.1);
        warm.0.iter_mut().for_each(|job| job.seconds = 1e-3 - 1e-4 * shares[job.at]);
        assert_eq!(fit(&warm), ColdCache::default(), "nothing that is faster for it is cold");
    }

    #[test]
    fn caches_that_keep_what_was_read_once_leave_nothing_cold() {
        // Half of the jobs start 0.3 ms after the job before them, and half after a network delay of at least 8 ms.
        let law = law(2e-3, 0.0);
        let gap = |at: usize| if at.is_multiple_of(2) { 3e-4 } else { 8e-3 + 2e-4 * (at % 60) as f64 };
        let cold = fit(&jobs(law, gap, 400e-6));
        assert_eq!(cold.law, law);
        assert!((cold.per_block / 400e-6 - 1.0).abs() < 0.05, "{}", cold.per_block);
    }
}

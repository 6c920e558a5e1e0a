//! The machine's speed in the course of a live sweep, from the probes that run between its cells.
//!
//! A single probe is short, so its result is noisy, and the machine's speed drifts. The speed at a cell is therefore
//! the median of several probes before and after the cell. Leave-one-out cross-validation chooses how many: the number
//! with which the medians predict each probe best from the probes around it. Successive probes have different prompt
//! sizes. A difference between sizes that lasts throughout the sweep is an error of the profile and not drift. It is
//! corrected by a factor for each size.
use super::drift::{Shape, scale};
use rows::probe::{Drift, Probed};
use rows::stats::median;
use scenarios::plan::Plan;
use std::collections::BTreeMap;

/// If every prompt size has at least this many probes, each size gets its own factor.
const ENOUGH: usize = 8;

/// If a prompt size has fewer probes than this, no size gets its own factor.
const SOME: usize = 3;

/// If the size with the fewest probes has at least `SOME` but fewer than `ENOUGH` of them, the sizes get their own
/// factors only if these reduce the timeline's prediction error to this share or less. Some reduction is due to chance,
/// because the factors are fitted to the same probes.
const MUCH: f64 = 0.75;

/// The speed at a cell is the median of the n probes before the cell and the n probes after it. These are the
/// candidates for n.
const REACHES: [usize; 5] = [1, 2, 4, 8, 16];

/// The machine's speed in the course of a live sweep.
#[derive(Clone, Debug, Default)]
pub struct DriftTimeline {
    /// The results of the probes, in the order in which they ran.
    pub probes: Vec<Probed>,
    /// The factors that correct the profile's times at each prompt size.
    shapes: Vec<Shape>,
    decode: FactorTimeline,
    prefill: FactorTimeline,
    /// The drifts of three overheads: of handing jobs to devices, of handing results back, and of sending frames.
    over: [FactorTimeline; 3],
}

/// One factor of the drift over time.
#[derive(Clone, Debug, Default)]
struct FactorTimeline {
    /// The logarithm of the factor at each probe; `None` if the probe did not measure it.
    logs: Vec<Option<f64>>,
    /// The factor at a cell is the median over this many probes before the cell and as many after it.
    reach: usize,
}

impl DriftTimeline {
    pub fn of(probes: Vec<Probed>) -> DriftTimeline {
        let course = |part: fn(&Drift) -> f64| {
            let log = |probe: &Probed| probe.drift.map(|drift| part(&drift).ln()).filter(|log| log.is_finite());
            probes.iter().map(log).collect::<Vec<_>>()
        };
        let [mut decode, mut prefill] = [course(|drift| drift.decode), course(|drift| drift.prefill)];
        let over = [course(|drift| drift.to_device), course(|drift| drift.from_device), course(|drift| drift.frame)];
        let sizes: Vec<u32> = probes.iter().map(|probe| probe.size).collect();
        let [decodes, prefills] = [&mut decode, &mut prefill].map(|logs| take_shape(&sizes, logs));
        let shapes = decodes.into_iter().zip(prefills);
        let shapes = shapes.map(|((size, decode), (_, prefill))| Shape { size, decode, prefill }).collect();
        DriftTimeline {
            probes,
            shapes,
            decode: FactorTimeline::new(decode),
            prefill: FactorTimeline::new(prefill),
            over: over.map(FactorTimeline::new),
        }
    }

    /// Removes the drift: the machine then has the profile's speed throughout.
    pub(super) fn forget_drift(&mut self) {
        let courses = [&mut self.decode, &mut self.prefill].into_iter().chain(&mut self.over);
        courses.for_each(|course| course.logs.fill(None));
    }

    /// Removes the size factors: the profile then counts as exact at each size.
    pub(super) fn forget_sizes(&mut self) {
        self.shapes.clear();
    }

    /// Scales the costs of the plan's devices to the machine's speed between the probe with the index `probe` and the
    /// next probe.
    pub fn apply(&self, probe: usize, plan: &mut Plan) {
        let drift = self.after(probe);
        for device in plan.hosts.iter_mut().flat_map(|host| host.devices_mut()) {
            scale(&drift, &mut device.cost, &self.shapes);
        }
    }

    /// Returns the drift between the probe with the index `probe` and the next probe.
    fn after(&self, probe: usize) -> Drift {
        let at = |course: &FactorTimeline| course.around(probe + 1, probe + 1).map_or(1.0, f64::exp);
        let [to_device, from_device, frame] = self.over.each_ref().map(at);
        Drift { decode: at(&self.decode), prefill: at(&self.prefill), to_device, from_device, frame }
    }
}

/// Finds a factor for each prompt size, removes it from the logarithms of the probes with that size, and returns (size,
/// factor) pairs. If there are too few probes for this (see `SOME`, `ENOUGH` and `MUCH`), all factors are 1.
fn take_shape(sizes: &[u32], logs: &mut [Option<f64>]) -> Vec<(u32, f64)> {
    let mut by_size: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (size, log) in sizes.iter().zip(logs.iter()) {
        by_size.entry(*size).or_default().extend(*log);
    }
    let least = by_size.values().map(Vec::len).min().unwrap_or(0);
    let shape: BTreeMap<u32, f64> =
        by_size.into_iter().map(|(size, logs)| (size, median(logs).unwrap_or(0.0))).collect();
    let apart: Vec<Option<f64>> = sizes.iter().zip(&*logs).map(|(size, log)| Some((*log)? - shape[size])).collect();
    let missed = |logs: &[Option<f64>]| FactorTimeline::new(logs.to_vec()).missed();
    if least < SOME || least < ENOUGH && missed(&apart) > MUCH * missed(logs) {
        return shape.into_keys().map(|size| (size, 1.0)).collect();
    }
    logs.copy_from_slice(&apart);
    shape.into_iter().map(|(size, log)| (size, log.exp())).collect()
}

impl FactorTimeline {
    fn new(logs: Vec<Option<f64>>) -> FactorTimeline {
        let course = |reach| FactorTimeline { logs: logs.clone(), reach };
        let mut all: Vec<FactorTimeline> = REACHES.map(course).into();
        let best = (0..all.len()).min_by(|a, b| all[*a].missed().total_cmp(&all[*b].missed())).unwrap_or(0);
        all.swap_remove(best)
    }

    /// Returns the sum of the absolute differences between each probe and the prediction of it from the probes around
    /// it.
    fn missed(&self) -> f64 {
        let misses = self.logs.iter().enumerate();
        misses.filter_map(|(at, log)| Some((self.around(at, at + 1)? - (*log)?).abs())).sum()
    }

    /// Returns the median of the last `reach` probes before the index `left` and the first `reach` probes from the
    /// index `right` on, or of as many as there are.
    fn around(&self, left: usize, right: usize) -> Option<f64> {
        let before = &self.logs[left.saturating_sub(self.reach)..left.min(self.logs.len())];
        let after = &self.logs[right.min(self.logs.len())..(right + self.reach).min(self.logs.len())];
        median(before.iter().chain(after).flatten().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Drift, DriftTimeline, Probed};

    /// Returns a random deviation from -0.01 to 0.01 for the probe with this index, the same at each call.
    fn noise(at: usize) -> f64 {
        (at * 7919 % 200) as f64 / 1e4 - 0.01
    }

    fn drift(decode: f64, prefill: f64, over: f64) -> Drift {
        Drift { decode, prefill, to_device: over, from_device: over, frame: over }
    }

    fn probes(count: usize, level: impl Fn(usize) -> f64) -> Vec<Probed> {
        let probe = |at: usize| {
            let (size, off) = [(16, 1.2), (64, 1.0), (256, 0.9)][at % 3];
            let level = level(at) * (1.0 + noise(at));
            Probed { size, drift: Some(drift(level, level * off, 1.0 / level)) }
        };
        (0..count).map(probe).collect()
    }

    #[test]
    fn what_sizes_are_off_by_is_told_from_the_hour() {
        // From probe 30 on, the machine takes 1.5 times as long.
        let timeline = DriftTimeline::of(probes(60, |at| if at < 30 { 1.0 } else { 1.5 }));
        for (at, level) in [(5, 1.0), (20, 1.0), (40, 1.5), (58, 1.5)] {
            let ratio = |size: usize| {
                let now = timeline.after(at);
                now.prefill * timeline.shapes[size].prefill / level
            };
            for (size, off) in [(0, 1.2), (1, 1.0), (2, 0.9)] {
                assert!((ratio(size) / off - 1.0).abs() < 0.02, "probe {at}, size {size}: {}", ratio(size));
            }
            assert!((timeline.after(at).frame * level - 1.0).abs() < 0.02);
        }
    }

    #[test]
    fn few_probes_say_nothing_of_sizes() {
        let timeline = DriftTimeline::of(probes(7, |_| 1.3));
        assert!(timeline.shapes.iter().all(|shape| (shape.decode, shape.prefill) == (1.0, 1.0)));
        assert!((timeline.after(2).decode / 1.3 - 1.0).abs() < 0.02);
        assert_eq!(DriftTimeline::of(Vec::new()).after(0), drift(1.0, 1.0, 1.0));
    }

    #[test]
    fn sizes_that_differ_no_more_than_probes_do_share_one_factor() {
        let alike = |at: usize| Probed { size: [16, 64, 256][at % 3], drift: Some(drift(1.0 + noise(at), 1.0, 1.0)) };
        let timeline = DriftTimeline::of((0..12).map(alike).collect());
        assert!(timeline.shapes.iter().all(|shape| shape.decode == 1.0), "{:?}", timeline.shapes);
        let few = DriftTimeline::of(probes(9, |_| 1.3));
        for (shape, off) in few.shapes.iter().zip([1.2, 1.0, 0.9]) {
            assert!((shape.prefill / 1.3 / off - 1.0).abs() < 0.02, "three of each tell: {shape:?}");
        }
    }

    #[test]
    fn noise_is_told_by_many_probes_and_a_step_by_few() {
        // Every fourth probe is disturbed and takes 1.4 times as long.
        let noisy = DriftTimeline::of(probes(60, |at| if at % 4 == 1 { 1.4 } else { 1.0 }));
        assert!(noisy.decode.reach > 1);
        assert!((0..60).all(|at| noisy.after(at).decode < 1.02), "the disturbed do not count");
        let steps = DriftTimeline::of(probes(60, |at| 1.0 + 0.2 * (at / 6) as f64));
        assert!(steps.decode.reach <= 2, "{}", steps.decode.reach);
    }
}

//! Fits the time of hand-overs and frames: a constant, a cost per byte, and the cost of waking up a thread or a
//! connection, which grows with its idle time.
use super::estimate::middles;
use actors::time::Duration;
use scenarios::plan::{ColdCache, Overhead};
use std::collections::BTreeMap;

/// The candidates for the idle time after which waking up costs half of its maximum, as powers of two in ms: 0.25 ms to
/// 64 ms.
const HALVES: std::ops::Range<i32> = -2..7;

/// A cost of waking up is accepted only if it reduces the squared error of the fit by more than this share.
const WORTH: f64 = 0.1;

/// The number of measurements beyond which a group of similar hand-overs or frames gets no more weight, so that one
/// frequent kind does not dominate the fit.
const MOST: usize = 20;

/// The measured time of a hand-over or a frame, or of several similar ones in succession. A hand-over passes a job to a
/// device, or its result back to the node. A frame passes a message from host to host.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub round: u32,
    /// The bytes of each frame; 0 for hand-overs to and from devices.
    pub bytes: u64,
    /// The number of successive hand-overs or frames.
    pub count: u32,
    /// For each hand-over or frame that its thread or connection made after being idle, the idle time in seconds.
    pub still: Vec<f64>,
    /// The total time of all `count` hand-overs or frames, in seconds.
    pub seconds: f64,
}

/// The cost of waking up a thread or a connection: after `g` idle seconds, a hand-over or a frame takes `idle * g / (g
/// + half_after)` seconds longer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Wake {
    pub idle: f64,
    pub half_after: f64,
}

/// The time in seconds of a hand-over or a frame that no idle time preceded: the constant `start`, plus `per_byte` for
/// each byte.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Line {
    pub start: f64,
    pub per_byte: f64,
}

impl Wake {
    pub fn of(over: &Overhead) -> Wake {
        Wake { idle: over.idle.as_secs_f64(), half_after: over.half_after.as_secs_f64() }
    }

    pub fn after(&self, still: f64) -> f64 {
        let span = Duration::from_secs_f64;
        self.idle * ColdCache::share(span(self.half_after), span(still))
    }

    /// Fits one cost of waking up to several kinds of hand-overs and frames, each of which has a [`Line`] of its own.
    /// The fit minimises the squares of the errors relative to the measured times. If the cost improves the fit too
    /// little, the result is zero.
    pub fn fit(kinds: &[&[Start]]) -> Wake {
        let kinds: Vec<Vec<Group>> = kinds.iter().map(|starts| groups(starts)).collect();
        let best = |half_after: f64| {
            let points: Vec<Vec<Point>> =
                kinds.iter().map(|groups| groups.iter().map(|group| group.point(half_after)).collect()).collect();
            let left = |idle: f64| points.iter().map(|points| line(points, idle).1).sum::<f64>();
            let most = points.iter().flatten().map(|point| point.y).fold(0.0, f64::max);
            let idle = least(most, left);
            (left(idle), left(0.0), Wake { idle, half_after })
        };
        let halves = HALVES.map(|power| best(1e-3 * 2f64.powi(power)));
        let best = halves.min_by(|a, b| a.0.total_cmp(&b.0));
        let believed = best.filter(|(left, without, _)| *left < (1.0 - WORTH) * without);
        believed.map_or(Wake::default(), |(_, _, wake)| wake)
    }
}

impl Line {
    /// Fits a line to (bytes, seconds) points by least squares of the relative errors. The cost per byte is 0 if all
    /// points have the same bytes.
    pub fn through(points: &[(f64, f64)]) -> Line {
        let seen = points.iter().filter(|point| point.1 > 0.0);
        let points = seen.map(|&(bytes, y)| Point { bytes, share: 0.0, y, weight: 1.0 / (y * y) });
        line(&points.collect::<Vec<_>>(), 0.0).0
    }

    pub fn fit(starts: &[Start], wake: Wake) -> Line {
        let points: Vec<Point> = groups(starts).iter().map(|group| group.point(wake.half_after)).collect();
        line(&points, wake.idle).0
    }

    /// Returns the time in seconds of a hand-over or a frame of `bytes` bytes that no idle time preceded.
    pub fn of(&self, bytes: u64) -> f64 {
        self.start + self.per_byte * bytes as f64
    }

    pub fn predict(&self, start: &Start, wake: Wake) -> f64 {
        f64::from(start.count) * self.of(start.bytes) + start.still.iter().map(|still| wake.after(*still)).sum::<f64>()
    }
}

/// A group of similar hand-overs or frames. `seconds` is the median over the measurement rounds of the mean time in a
/// round.
struct Group<'a> {
    bytes: f64,
    count: f64,
    starts: Vec<&'a Start>,
    seconds: f64,
}

fn groups(starts: &[Start]) -> Vec<Group<'_>> {
    // Two values are similar if they have the same `bytes` and `count`, and if their mean idle seconds lie between the
    // same two powers of two.
    let key = |start: &Start| {
        let mean = start.still.iter().sum::<f64>() / start.still.len().max(1) as f64;
        (start.bytes, start.count, mean.max(1e-6).log2().floor() as i32)
    };
    let mut alike: BTreeMap<(u64, u32, i32), Vec<&Start>> = BTreeMap::new();
    starts.iter().for_each(|start| alike.entry(key(start)).or_default().push(start));
    let seconds = middles(starts.iter().map(|start| (start.round, key(start), start.seconds.max(0.0))));
    let group = |(key, starts)| {
        let (bytes, count, _) = key;
        let seconds = seconds.get(&key).copied().unwrap_or(0.0);
        Group { bytes: bytes as f64, count: f64::from(count), starts, seconds }
    };
    alike.into_iter().map(group).collect()
}

/// The mean hand-over or frame of a group. It takes `y` seconds, which contain `share` times the maximum cost of waking
/// up.
struct Point {
    bytes: f64,
    share: f64,
    y: f64,
    weight: f64,
}

impl Group<'_> {
    fn point(&self, half_after: f64) -> Point {
        let wake = Wake { idle: 1.0, half_after };
        let shares = self.starts.iter().flat_map(|start| &start.still).map(|still| wake.after(*still)).sum::<f64>();
        let y = self.seconds / self.count;
        Point {
            bytes: self.bytes,
            share: shares / self.starts.len() as f64 / self.count,
            y,
            weight: self.starts.len().min(MOST) as f64 / (y * y).max(1e-18),
        }
    }
}

/// Subtracts `idle * share` from the time of each point, and fits a line with coefficients of at least 0. Returns the
/// line and the remaining weighted sum of squared errors.
fn line(points: &[Point], idle: f64) -> (Line, f64) {
    let rest = |point: &Point| point.y - idle * point.share;
    let sum = |of: &dyn Fn(&Point) -> f64| points.iter().map(|point| point.weight * of(point)).sum::<f64>();
    let (w, wx, wy) = (sum(&|_| 1.0), sum(&|point| point.bytes), sum(&rest));
    let (wxx, wxy) = (sum(&|point| point.bytes * point.bytes), sum(&|point| point.bytes * rest(point)));
    let bend = w * wxx - wx * wx;
    let slope = if bend > 0.0 { ((w * wxy - wx * wy) / bend).max(0.0) } else { 0.0 };
    let start = if w > 0.0 { (wy - slope * wx) / w } else { 0.0 };
    let line = match start < 0.0 {
        true => Line { start: 0.0, per_byte: if wxx > 0.0 { (wxy / wxx).max(0.0) } else { 0.0 } },
        false => Line { start, per_byte: slope },
    };
    let left = sum(&|point| {
        let off = rest(point) - line.start - line.per_byte * point.bytes;
        off * off
    });
    (line, left)
}

/// Returns the argument from 0 to `most` at which `of` is minimal; `of` must first fall and then rise.
fn least(most: f64, of: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, most);
    for _ in 0..60 {
        let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if of(a) <= of(b) { high = b } else { low = a }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::{Line, Start, Wake};

    /// Returns frames of four sizes after idle times of different length, in three rounds. In the second round every
    /// frame takes 1.6 times as long.
    fn starts(line: Line, wake: Wake, count: u32) -> Vec<Start> {
        let mut all = Vec::new();
        for round in 0..3 {
            for (bytes, unit) in [(1_050, 0.4e-3), (16_400, 2e-3), (65_600, 7e-3), (262_200, 25e-3)] {
                for at in 0..30 {
                    let still = vec![unit * f64::from(1 + at % 7); count as usize];
                    let mut start = Start { round, bytes, count, still, seconds: 0.0 };
                    // Each time deviates by up to 2 %, in the same way in every run of the test.
                    let noise = 1.0 + 0.02 * f64::from((at * 7919 % 200) - 100) / 100.0;
                    start.seconds = line.predict(&start, wake) * noise * if round == 1 { 1.6 } else { 1.0 };
                    all.push(start);
                }
            }
        }
        all
    }

    const FRAME: Line = Line { start: 9e-6, per_byte: 0.25e-9 };
    const JOB: Line = Line { start: 14e-6, per_byte: 0.05e-9 };

    #[test]
    fn what_bytes_and_what_stillness_cost_are_told_apart() {
        let truth = Wake { idle: 15e-6, half_after: 4e-3 };
        let (frames, jobs) = (starts(FRAME, truth, 4), starts(JOB, truth, 1));
        let wake = Wake::fit(&[&frames, &jobs]);
        for (starts, line) in [(&frames, FRAME), (&jobs, JOB)] {
            let found = Line::fit(starts, wake);
            for start in starts.iter().filter(|start| start.round != 1) {
                let (found, said) = (found.predict(start, wake), line.predict(start, truth));
                assert!((found / said - 1.0).abs() < 0.03, "{found} against {said} for {start:?}");
            }
        }
        assert!((wake.idle / truth.idle - 1.0).abs() < 0.2, "{wake:?}");
    }

    #[test]
    fn stillness_that_costs_nothing_is_not_found() {
        let frames = starts(FRAME, Wake::default(), 2);
        let wake = Wake::fit(&[&frames, &[]]);
        assert!(wake.idle < 0.1 * FRAME.start, "noise alone has {wake:?}");
        let found = Line::fit(&frames, wake);
        assert!((found.start / FRAME.start - 1.0).abs() < 0.05, "{found:?}");
        assert!((found.per_byte / FRAME.per_byte - 1.0).abs() < 0.05, "{found:?}");
        assert_eq!(Line::fit(&[], wake), Line::default());
    }
}

//! Interpolation and extrapolation of measured times: linear, and more work never takes less time.
use crate::plan::Grid;

impl Grid {
    /// Makes a grid with the single context 0 from (size, seconds) points that were measured without contexts.
    pub fn flat(points: &[(f64, f64)]) -> Grid {
        Grid::new(&[(0.0, points.to_vec())])
    }

    /// Makes a monotone grid from rows of (context, points), all with the same sizes. Measured times that decrease
    /// while the work grows are noise. They are replaced by the nearest times that do not decrease (isotonic regression
    /// by pooling adjacent violators, Ayer et al. 1955), first along sizes and then along contexts. The pass along
    /// contexts keeps times non-decreasing along sizes.
    pub fn new(rows: &[(f64, Vec<(f64, f64)>)]) -> Grid {
        let sizes: Vec<f64> = rows.first().map(|row| row.1.iter().map(|point| point.0).collect()).unwrap_or_default();
        if sizes.is_empty() {
            return Grid::default();
        }
        let contexts = rows.iter().map(|row| row.0).collect();
        let mut table: Vec<Vec<f64>> = rows.iter().map(|row| row.1.iter().map(|point| point.1).collect()).collect();
        table.iter_mut().for_each(|row| pool(row));
        for at in 0..sizes.len() {
            let mut column: Vec<f64> = table.iter().map(|row| row[at]).collect();
            pool(&mut column);
            table.iter_mut().zip(column).for_each(|(row, value)| row[at] = value);
        }
        Grid { sizes, contexts, seconds: table.concat() }
    }

    pub fn is_empty(&self) -> bool {
        self.seconds.is_empty()
    }

    /// Returns the time of one block for `size` and `context` in seconds, or `None` if the grid is empty.
    ///
    /// Between points the time is interpolated linearly. Below the smallest size the line through the first two points
    /// is extended, but the time is at least the first time multiplied by `size` / smallest size. Above the largest
    /// size the line through the last two points is extended. Below the first context the time is that of the first
    /// context. Beyond the last context the time of attention grows with size times context, at the steepest measured
    /// rate.
    pub fn seconds(&self, size: f64, context: f64) -> Option<f64> {
        let last = self.contexts.len().checked_sub(1)?;
        let measured = (self.sizes[0]..=self.sizes[self.sizes.len() - 1]).contains(&size);
        // The extrapolated lines of two contexts may cross outside the measured sizes. The maximum over this and all
        // shorter contexts ensures that a longer context never takes less time.
        let row = |at: usize| {
            let from = if measured { at } else { 0 };
            (from..=at).map(|at| line(&self.sizes, self.row(at), size)).fold(0.0, f64::max)
        };
        if context <= self.contexts[0] || last == 0 {
            return Some(row(0) + self.attention(size, context));
        }
        if context >= self.contexts[last] {
            return Some(row(last) + self.attention(size, context));
        }
        let above = self.contexts.partition_point(|at| *at < context).clamp(1, last);
        let (low, high) = (self.contexts[above - 1], self.contexts[above]);
        let (a, b) = (row(above - 1), row(above));
        Some(a + (b - a) * (context - low) / (high - low))
    }

    fn row(&self, at: usize) -> &[f64] {
        &self.seconds[at * self.sizes.len()..(at + 1) * self.sizes.len()]
    }

    /// The time of attention to the part of the context beyond the last measured context, in seconds.
    fn attention(&self, size: f64, context: f64) -> f64 {
        let Some(last) = self.contexts.len().checked_sub(1).filter(|last| *last > 0) else { return 0.0 };
        let beyond = context - self.contexts[last];
        if beyond <= 0.0 {
            return 0.0;
        }
        let (first, end) = (self.row(0), self.row(last));
        let length = self.contexts[last] - self.contexts[0];
        let rate = (0..self.sizes.len()).map(|at| (end[at] - first[at]) / (self.sizes[at] * length));
        rate.fold(0.0, f64::max) * size * beyond
    }
}

/// Interpolates linearly between points with ascending x, and extends the first and the last line beyond them. Below
/// the first point the result is at least the first value multiplied by `x` / first x, because the line may reach zero
/// while a device still needs time. A single point gives a constant.
pub(super) fn line(xs: &[f64], ys: &[f64], x: f64) -> f64 {
    let (Some(&first), true) = (ys.first(), xs.len() > 1) else { return ys.first().copied().unwrap_or(0.0) };
    let right = xs.partition_point(|point| *point < x).clamp(1, xs.len() - 1);
    let (x0, x1, y0, y1) = (xs[right - 1], xs[right], ys[right - 1], ys[right]);
    let slope = if x1 > x0 { (y1 - y0) / (x1 - x0) } else { 0.0 };
    let y = y0 + slope * (x - x0);
    if x < xs[0] { y.max(first * x / xs[0]) } else { y.max(0.0) }
}

/// Replaces `values` by the nearest non-decreasing sequence in the sense of least squares.
pub(super) fn pool(values: &mut [f64]) {
    // The pooled runs of values as (mean, length), with ascending means.
    let mut blocks: Vec<(f64, usize)> = Vec::with_capacity(values.len());
    for &value in values.iter() {
        let mut block = (value, 1);
        while let Some(&(mean, length)) = blocks.last().filter(|last| last.0 > block.0) {
            let total = length + block.1;
            block = ((mean * length as f64 + block.0 * block.1 as f64) / total as f64, total);
            blocks.pop();
        }
        blocks.push(block);
    }
    let pooled = blocks.into_iter().flat_map(|(mean, length)| std::iter::repeat_n(mean, length));
    values.iter_mut().zip(pooled).for_each(|(value, mean)| *value = mean);
}

#[cfg(test)]
mod tests {
    use crate::plan::Grid;
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, prop_assert, proptest};

    /// Grids of arbitrary times over many orders of magnitude.
    fn grid() -> impl Strategy<Value = Grid> {
        (1usize..6, 1usize..5).prop_flat_map(|(sizes, contexts)| {
            let rising = |count| {
                vec(0.5..400.0f64, count).prop_map(|steps| {
                    steps
                        .iter()
                        .scan(0.0, |at, step| {
                            *at += step;
                            Some(*at)
                        })
                        .collect::<Vec<f64>>()
                })
            };
            (rising(sizes), rising(contexts), vec(1e-6..1e-2f64, sizes * contexts)).prop_map(
                |(sizes, contexts, times)| {
                    let row = |(context, times): (&f64, &[f64])| {
                        (*context, sizes.iter().copied().zip(times.iter().copied()).collect())
                    };
                    Grid::new(&contexts.iter().zip(times.chunks(sizes.len())).map(row).collect::<Vec<_>>())
                },
            )
        })
    }

    proptest! {
        #[test]
        fn more_work_never_takes_less_time(
            grid in grid(),
            (small, more) in (0.0..3000.0f64, 0.0..2000.0f64),
            (short, longer) in (0.0..3000.0f64, 0.0..2000.0f64),
        ) {
            let at = |size, context| grid.seconds(size, context).expect("it has points");
            let least = at(small, short);
            prop_assert!(least.is_finite() && least >= 0.0);
            prop_assert!(at(small + more, short) >= least * (1.0 - 1e-9), "a larger size");
            prop_assert!(at(small, short + longer) >= least * (1.0 - 1e-9), "a longer context");
        }

        #[test]
        fn what_was_measured_and_rises_is_kept(times in vec(1e-6..1e-3f64, 4)) {
            let mut rising = times;
            rising.sort_by(f64::total_cmp);
            let points: Vec<(f64, f64)> = [1.0, 2.0, 4.0, 8.0].into_iter().zip(rising).collect();
            let grid = Grid::new(&[(0.0, points.clone()), (100.0, points.clone())]);
            for (size, seconds) in points {
                for context in [0.0, 50.0, 100.0, 500.0] {
                    prop_assert!((grid.seconds(size, context).expect("it has points") - seconds).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn between_and_beyond_points_it_is_linear() {
        let grid = Grid::flat(&[(2.0, 4.0), (4.0, 5.0), (8.0, 6.0)]);
        for (x, y) in [(2.0, 4.0), (3.0, 4.5), (4.0, 5.0), (12.0, 7.0), (1.0, 3.5)] {
            assert_eq!(grid.seconds(x, 77.0), Some(y), "at {x}");
        }
        assert_eq!(Grid::flat(&[(2.0, 4.0)]).seconds(9.0, 0.0), Some(4.0));
        assert_eq!(Grid::default().seconds(9.0, 0.0), None);
        assert!(Grid::flat(&[(10.0, 1.0), (11.0, 100.0)]).seconds(1.0, 0.0).is_some_and(|y| y > 0.0));
    }

    #[test]
    fn a_longer_context_costs_in_proportion_to_the_size() {
        let grid = Grid::new(&[(0.0, vec![(1.0, 1.0), (2.0, 1.2)]), (100.0, vec![(1.0, 1.1), (2.0, 1.4)])]);
        assert_eq!(grid.seconds(1.0, 50.0), Some(1.05));
        assert!((grid.seconds(1.0, 200.0).expect("beyond") - 1.2).abs() < 1e-12);
        assert!((grid.seconds(2.0, 200.0).expect("beyond") - 1.6).abs() < 1e-12);
    }

    #[test]
    fn a_time_that_falls_is_pooled_with_its_neighbour() {
        let grid = Grid::flat(&[(1.0, 3.0), (2.0, 1.0), (3.0, 5.0)]);
        assert_eq!(grid.seconds, vec![2.0, 2.0, 5.0]);
    }
}

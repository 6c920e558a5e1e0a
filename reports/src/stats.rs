//! Pure statistics of samples: quantiles with their order-statistic intervals, and means of repetitions with their t
//! interval.
//!
//! A quantile for which the sample is too small is withheld; the result is then the number of samples that the quantile
//! needs. Finite input never gives a non-finite result.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// The confidence of every printed interval.
pub const CONFIDENCE: f64 = 0.95;

pub use rows::stats::quantile;

/// Returns the order statistics between which the population's `p`-quantile lies with [`CONFIDENCE`], for any
/// distribution. A binomial (n, p) variable lies below the lower rank with a probability of at most (1 -
/// [`CONFIDENCE`]) / 2, and above the upper rank with at most the same probability (David and Nagaraja 2003, section
/// 7.1). A bound is `None` if no order statistic is far enough out.
pub fn quantile_interval(sorted: &[f64], p: f64) -> (Option<f64>, Option<f64>) {
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let n = sorted.len();
    // `ln` is the logarithm of the probability that k of n values are below the quantile.
    let (mut ln, mut below, mut ends) = (n as f64 * (1.0 - p).ln(), 0.0, (None, None));
    for (k, value) in sorted.iter().enumerate() {
        // `below` is now the probability that at most k - 1 values are below the quantile.
        if below <= tail {
            ends.0 = (k > 0).then(|| sorted[k - 1]);
        }
        below += ln.exp();
        if below >= 1.0 - tail && ends.1.is_none() {
            ends.1 = Some(*value);
        }
        ln += ((n - k) as f64 / (k + 1) as f64).ln() + p.ln() - (1.0 - p).ln();
    }
    ends
}

/// Returns the smallest sample size at which order statistics can bound a `p`-quantile with [`CONFIDENCE`].
///
/// The widest such interval is [minimum, maximum], which covers the quantile with probability 1 - p^n - (1-p)^n (David
/// and Nagaraja 2003, section 7.1). So p50 needs 6 samples, p90 needs 29, p95 needs 59, and p99 needs 299.
pub fn samples_needed(p: f64) -> usize {
    let covers = |n: i32| 1.0 - p.powi(n) - (1.0 - p).powi(n) >= CONFIDENCE;
    (1..100_000).find(|&n| covers(n)).unwrap_or(100_000) as usize
}

/// A quantile, or the number of samples that it needs if the sample is too small.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Percentile {
    Value(f64),
    /// The sample is too small; the quantile needs this many samples in total.
    Withheld {
        needs: usize,
    },
}

impl Percentile {
    /// Returns the `p`-quantile of values in ascending order.
    pub fn of(sorted: &[f64], p: f64) -> Percentile {
        let needs = samples_needed(p);
        match quantile(sorted, p) {
            Some(value) if sorted.len() >= needs => Percentile::Value(value),
            _ => Percentile::Withheld { needs },
        }
    }

    pub fn value(self) -> Option<f64> {
        match self {
            Percentile::Value(value) => Some(value),
            Percentile::Withheld { .. } => None,
        }
    }
}

/// The summary of a sample of latencies.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    pub count: usize,
    pub mean: f64,
    /// The standard deviation of the sample, with the divisor n - 1; `None` for one value.
    pub std: Option<f64>,
    pub min: f64,
    pub max: f64,
    pub p50: Percentile,
    pub p90: Percentile,
    pub p95: Percentile,
    pub p99: Percentile,
}

impl Distribution {
    /// Summarises a sample; `None` for an empty sample.
    pub fn of(mut values: Vec<f64>) -> Option<Distribution> {
        values.sort_unstable_by(f64::total_cmp);
        let sample = Sample::of(&values)?;
        Some(Distribution {
            count: values.len(),
            mean: sample.mean,
            std: sample.std,
            min: values[0],
            max: values[values.len() - 1],
            p50: Percentile::of(&values, 0.50),
            p90: Percentile::of(&values, 0.90),
            p95: Percentile::of(&values, 0.95),
            p99: Percentile::of(&values, 0.99),
        })
    }
}

/// The mean of a sample with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub count: usize,
    pub mean: f64,
    /// The standard deviation, with the divisor n - 1; `None` for one value.
    pub std: Option<f64>,
    /// The standard error of the mean, std / sqrt(n); `None` for one value.
    pub stderr: Option<f64>,
    /// Half the width of the 95 % t interval of the mean; `None` for one value.
    pub half_width: Option<f64>,
}

impl Sample {
    /// Summarises a sample; `None` for an empty sample.
    pub fn of(values: &[f64]) -> Option<Sample> {
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let std = (count > 1).then(|| {
            let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
            (squares / (count - 1) as f64).sqrt()
        });
        let stderr = std.map(|std| std / (count as f64).sqrt());
        let half_width = stderr.map(|stderr| stderr * t_quantile(count - 1));
        Some(Sample { count, mean, std, stderr, half_width })
    }

    /// Returns the coefficient of variation, std / |mean|, or `None` for one value or a mean of 0.
    pub fn cv(&self) -> Option<f64> {
        self.std.filter(|_| self.mean != 0.0).map(|std| std / self.mean.abs())
    }
}

/// Returns the factor by which a standard error is multiplied to give half of a 95 % interval: the 97.5 % quantile of
/// Student's t distribution with `freedom` degrees of freedom. 0 degrees of freedom count as 1.
pub fn t_quantile(freedom: usize) -> f64 {
    let student = StudentsT::new(0.0, 1.0, freedom.max(1) as f64).expect("its parameters are positive");
    student.inverse_cdf(1.0 - (1.0 - CONFIDENCE) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::{Distribution, Percentile, Sample, quantile, quantile_interval, samples_needed, t_quantile};
    use proptest::prelude::{prop_assert, proptest};

    #[test]
    fn quantiles_are_those_of_numpy() {
        // The expected values are those of numpy.quantile([1, 2, 4, 8, 16], [0, .1, .25, .5, .9, 1]).
        let values = [1.0, 2.0, 4.0, 8.0, 16.0];
        let of = |p| quantile(&values, p).expect("not empty");
        for (p, expected) in [(0.0, 1.0), (0.1, 1.4), (0.25, 2.0), (0.5, 4.0), (0.9, 12.8), (1.0, 16.0)] {
            assert!((of(p) - expected).abs() < 1e-12, "p{p}: {} is not {expected}", of(p));
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
    }

    #[test]
    fn a_quantile_lies_between_the_ranks_that_a_binomial_gives() {
        // The ranks count from 1. They were computed from sums of the binomial (n, p) in exact arithmetic. `None`: no
        // order statistic bounds the quantile.
        for (n, p, ranks) in [
            (35, 0.5, (Some(12), Some(24))),
            (35, 0.95, (Some(30), None)),
            (121, 0.5, (Some(50), Some(72))),
            (121, 0.95, (Some(110), Some(120))),
            (1, 0.5, (None, None)),
            (0, 0.5, (None, None)),
        ] {
            let values: Vec<f64> = (1..=n).map(f64::from).collect();
            let (low, high) = quantile_interval(&values, p);
            assert_eq!((low, high), (ranks.0.map(f64::from), ranks.1.map(f64::from)), "p{p} of {n}");
        }
    }

    #[test]
    fn t_quantiles_are_those_of_the_tables() {
        let table = [(1, 12.706205), (2, 4.302653), (3, 3.182446), (4, 2.776445), (9, 2.262157), (10, 2.228139)];
        for (freedom, expected) in table.into_iter().chain([(30, 2.042272), (101, 1.983731), (1000, 1.962339)]) {
            assert!((t_quantile(freedom) - expected).abs() < 1e-6, "{freedom}: {}", t_quantile(freedom));
        }
    }

    #[test]
    fn a_percentile_is_withheld_until_order_statistics_can_bound_it() {
        assert_eq!([0.5, 0.9, 0.95, 0.99].map(samples_needed), [6, 29, 59, 299]);
        let five: Vec<f64> = (0..5).map(f64::from).collect();
        assert_eq!(Percentile::of(&five, 0.5), Percentile::Withheld { needs: 6 });
        let six: Vec<f64> = (0..6).map(f64::from).collect();
        assert_eq!(Percentile::of(&six, 0.5), Percentile::Value(2.5));
    }

    #[test]
    fn one_repetition_has_a_mean_and_no_interval() {
        let one = Sample::of(&[3.0]).expect("not empty");
        assert_eq!((one.mean, one.std, one.half_width, one.cv()), (3.0, None, None, None));
        let three = Sample::of(&[1.0, 2.0, 3.0]).expect("not empty");
        assert!((three.half_width.expect("three") - 2.484_138).abs() < 1e-5);
    }

    proptest! {
        #[test]
        fn quantiles_are_ordered_and_within_the_sample(values in proptest::collection::vec(-1e12..1e12f64, 1..400)) {
            let d = Distribution::of(values.clone()).expect("not empty");
            let mut sorted = values;
            sorted.sort_by(f64::total_cmp);
            let mut before = d.min;
            for p in 0..=100 {
                let q = quantile(&sorted, f64::from(p) / 100.0).expect("not empty");
                prop_assert!(before <= q && q <= d.max);
                before = q;
            }
            prop_assert!(d.min <= d.mean + 1e-3 && d.mean <= d.max + 1e-3);
        }
    }
}

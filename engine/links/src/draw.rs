//! Distributions of delay, with parameters that are computed once, before the first random delay.
//!
//! Every message draws its delays from these types, so they are kept small: less common distributions are boxed.
use actors::seed::{Seed, SmallStream};
use actors::time::Duration;
use rand::RngExt;
use rand::distr::Uniform;
use rand_distr::{Distribution as _, Gamma, LogNormal, Normal, Pareto, Weibull};
use scenarios::plan::{Distribution, Drawn, Link};
use std::sync::Arc;

/// The distribution of the delay of one NIC or link, with its parameters computed in advance.
#[derive(Clone)]
pub(super) enum Delay {
    Constant(Duration),
    Uniform(Uniform<u64>),
    Normal(Normal<f64>),
    LogNormal(LogNormal<f64>),
    Rare(Box<Rare>),
}

#[derive(Clone)]
pub(super) enum Rare {
    Gamma(Gamma<f64>),
    Pareto(Pareto<f64>),
    Weibull(Weibull<f64>),
    Empirical(Arc<[Duration]>),
    /// The sum of a delay and a jitter, both drawn for each message.
    Sum(Delay, Delay),
}

impl Delay {
    /// Returns the delay of a NIC of `host`; `name` is `egress` or `ingress`. A delay that the plan draws once for the
    /// whole run is drawn here, from a random stream of its own.
    pub fn of_nic(link: &Link, seed: Seed, name: &str, host: u32) -> Delay {
        if link.drawn == Drawn::PerMessage {
            return Delay::with_jitter(link);
        }
        let mut stream = seed.small_stream(&format!("{name} once"), 0, u64::from(host));
        let constant = Delay::Constant(Delay::new(&link.delay).draw(&mut stream));
        Delay::jitter(link).map_or(constant.clone(), |jitter| constant.plus(jitter))
    }

    /// Returns the delay that a link draws for each message, jitter included.
    pub fn with_jitter(link: &Link) -> Delay {
        let delay = Delay::new(&link.delay);
        match Delay::jitter(link) {
            None => delay,
            Some(jitter) => delay.plus(jitter),
        }
    }

    /// Returns the jitter of a link, or `None` if it has none.
    pub fn jitter(link: &Link) -> Option<Delay> {
        (link.jitter != Distribution::ZERO).then(|| Delay::new(&link.jitter))
    }

    fn plus(self, jitter: Delay) -> Delay {
        match (self, jitter) {
            (Delay::Constant(delay), Delay::Constant(jitter)) => Delay::Constant((delay + jitter).min(LONGEST)),
            (delay, jitter) => Delay::Rare(Box::new(Rare::Sum(delay, jitter))),
        }
    }

    /// Converts a distribution of the plan. Invalid parameters, which no valid plan has, give a constant delay instead:
    /// the mean, the median, the scale or the lower bound of the distribution.
    pub fn new(distribution: &Distribution) -> Delay {
        let seconds = |span: &Duration| span.as_secs_f64();
        let rare = |rare: Rare| Delay::Rare(Box::new(rare));
        match distribution {
            Distribution::Constant(span) => Delay::Constant(*span),
            Distribution::Uniform { low, high } => {
                let uniform = Uniform::new_inclusive(low.0, high.0);
                uniform.map_or(Delay::Constant(*low), Delay::Uniform)
            }
            Distribution::Normal { mean, std } => {
                let normal = Normal::new(seconds(mean), seconds(std));
                normal.map_or(Delay::Constant(*mean), Delay::Normal)
            }
            Distribution::LogNormal { median, sigma } => {
                let log_normal = LogNormal::new(seconds(median).ln(), *sigma);
                log_normal.map_or(Delay::Constant(*median), Delay::LogNormal)
            }
            Distribution::Gamma { shape, scale } => {
                let gamma = Gamma::new(*shape, seconds(scale));
                gamma.map_or(Delay::Constant(*scale), |gamma| rare(Rare::Gamma(gamma)))
            }
            Distribution::Pareto { scale, shape } => {
                let pareto = Pareto::new(seconds(scale), *shape);
                pareto.map_or(Delay::Constant(*scale), |pareto| rare(Rare::Pareto(pareto)))
            }
            Distribution::Weibull { scale, shape } => {
                let weibull = Weibull::new(seconds(scale), *shape);
                weibull.map_or(Delay::Constant(*scale), |weibull| rare(Rare::Weibull(weibull)))
            }
            Distribution::Empirical(samples) if samples.is_empty() => Delay::Constant(Duration::ZERO),
            Distribution::Empirical(samples) => rare(Rare::Empirical(samples.clone())),
        }
    }

    pub fn is_zero(&self) -> bool {
        matches!(self, Delay::Constant(Duration::ZERO))
    }

    #[inline]
    pub fn draw(&self, stream: &mut SmallStream) -> Duration {
        match self {
            Delay::Constant(span) => *span,
            Delay::Uniform(uniform) => Duration(uniform.sample(stream)),
            Delay::Normal(normal) => Duration::from_secs_f64(normal.sample(stream)),
            Delay::LogNormal(log_normal) => Duration::from_secs_f64(log_normal.sample(stream)),
            Delay::Rare(rare) => rare.draw(stream),
        }
    }
}

/// The largest delay that is ever drawn. Larger random values of heavy-tailed distributions are reduced to it.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);

impl Rare {
    fn draw(&self, stream: &mut SmallStream) -> Duration {
        let drawn = match self {
            Rare::Gamma(gamma) => Duration::from_secs_f64(gamma.sample(stream)),
            Rare::Pareto(pareto) => Duration::from_secs_f64(pareto.sample(stream).min(LONGEST.as_secs_f64())),
            Rare::Weibull(weibull) => Duration::from_secs_f64(weibull.sample(stream).min(LONGEST.as_secs_f64())),
            Rare::Empirical(samples) => samples[stream.random_range(0..samples.len())],
            Rare::Sum(delay, jitter) => delay.draw(stream) + jitter.draw(stream),
        };
        drawn.min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::Delay;
    use actors::seed::Seed;
    use actors::time::Duration;
    use scenarios::plan::{Distribution, Drawn, Link};

    /// Returns the mean and the standard deviation, in seconds, of many random values of a distribution.
    fn moments(distribution: Distribution) -> (f64, f64) {
        const DRAWS: usize = 200_000;
        let delay = Delay::with_jitter(&Link::new(distribution, None));
        let mut stream = Seed(2).small_stream("test", 0, 0);
        let drawn: Vec<f64> = (0..DRAWS).map(|_| delay.draw(&mut stream).as_secs_f64()).collect();
        let mean = drawn.iter().sum::<f64>() / DRAWS as f64;
        let variance = drawn.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / DRAWS as f64;
        (mean, variance.sqrt())
    }

    #[test]
    fn each_distribution_has_its_moments() {
        let (ms, span) = (1e-3, Duration::from_millis(10));
        let near = |distribution: Distribution, mean: f64, std: f64| {
            let (found, spread) = moments(distribution.clone());
            assert!((found / mean - 1.0).abs() < 0.01, "{distribution:?}: mean {found}, not {mean}");
            assert!((spread - std).abs() < 0.03 * mean, "{distribution:?}: std {spread}, not {std}");
        };
        near(Distribution::Constant(span), 10.0 * ms, 0.0);
        near(Distribution::Uniform { low: Duration::ZERO, high: span }, 5.0 * ms, 10.0 * ms / 12f64.sqrt());
        near(Distribution::Normal { mean: span, std: Duration::from_millis(1) }, 10.0 * ms, 1.0 * ms);
        let (sigma, half) = (0.5f64, 0.125f64);
        let mean = 10.0 * ms * half.exp();
        near(Distribution::LogNormal { median: span, sigma }, mean, mean * ((sigma * sigma).exp() - 1.0).sqrt());
        near(Distribution::Gamma { shape: 4.0, scale: span }, 40.0 * ms, 20.0 * ms);
        // For a Pareto distribution of shape a, in units of the scale: mean a/(a-1), variance a/((a-1)^2 (a-2)).
        near(Distribution::Pareto { scale: span, shape: 5.0 }, 12.5 * ms, 10.0 * ms * (5.0f64 / 48.0).sqrt());
        // For a Weibull distribution of shape 2: Gamma(1 + 1/2) = sqrt(pi)/2, and Gamma(2) = 1.
        let mean = std::f64::consts::PI.sqrt() / 2.0;
        near(
            Distribution::Weibull { scale: span, shape: 2.0 },
            10.0 * ms * mean,
            10.0 * ms * (1.0 - mean * mean).sqrt(),
        );
        let samples: Vec<Duration> = [1, 2, 3, 10].map(Duration::from_millis).to_vec();
        near(Distribution::Empirical(samples.into()), 4.0 * ms, 12.5f64.sqrt() * ms);
    }

    #[test]
    fn a_nic_with_a_delay_that_is_drawn_once_has_its_jitter_on_top() {
        let uniform =
            |low, high| Distribution::Uniform { low: Duration::from_millis(low), high: Duration::from_millis(high) };
        let link = Link { drawn: Drawn::PerPair, ..Link::new(uniform(1, 100), None) };
        let mut stream = Seed(9).small_stream("test", 0, 0);
        let once = Delay::of_nic(&link, Seed(3), "egress", 7).draw(&mut stream);
        let jittery = Delay::of_nic(&Link { jitter: uniform(0, 3), ..link }, Seed(3), "egress", 7);
        for _ in 0..20 {
            let drawn = jittery.draw(&mut stream);
            assert!(drawn >= once && drawn <= once + Duration::from_millis(3), "{drawn}, not {once} and up to 3 ms");
        }
    }
}

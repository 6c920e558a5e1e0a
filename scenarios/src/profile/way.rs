//! A measured link between hosts, and its conversion to a link of a plan.
use crate::plan::{Distribution, Link};
use crate::units::{Rate, Time};
use actors::time::Duration;
use serde::{Deserialize, Serialize};

/// The size of a ping or pong frame in bytes. Such a frame consists of a header only.
const PING_BYTES: f64 = 64.0;

/// The measured link between the hosts of two groups or sites. It applies in both directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    pub from: String,
    pub to: String,
    /// The round trips of a small frame in ascending order, all equally likely. They include the send and receive
    /// overheads of the ping and of the pong.
    pub rtt: Vec<Time>,
    /// The measured bandwidth of large frames. It is lower than the bandwidth of the link alone, because it includes
    /// the send and receive overheads. `None` if fewer than two frame sizes were measured.
    #[serde(default)]
    pub bandwidth: Option<Rate>,
}

impl Way {
    /// Returns the link in one direction, without the overheads of the hosts. `ends` is the fixed overhead of a frame
    /// at its sender and its receiver together, and `per_byte` the overhead of each byte at both together, in seconds.
    /// Both are subtracted from the measured values.
    ///
    /// The delays of the two directions are assumed to be equally distributed and independent. Each then has half the
    /// mean of the round trip and its standard deviation divided by the square root of two, so that the sum has the
    /// round trip's mean and variance. Negative delays become 0.
    pub fn link(&self, ends: Duration, per_byte: f64) -> Link {
        let draws: Vec<f64> = self.rtt.iter().map(|time| time.duration().as_secs_f64()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let ends = ends.as_secs_f64() + PING_BYTES * per_byte;
        let one_way = |rtt: &f64| {
            let seconds = mean / 2.0 + (rtt - mean) / std::f64::consts::SQRT_2 - ends;
            Duration::from_secs_f64(seconds.max(0.0))
        };
        let ways: Vec<Duration> = draws.iter().map(one_way).collect();
        let delay = match &ways[..] {
            [first, rest @ ..] if rest.iter().all(|way| way == first) => Distribution::Constant(*first),
            _ => Distribution::Empirical(ways.into()),
        };
        // The measured time of a byte includes the link and the overheads of sender and receiver.
        let of_link = self.bandwidth.map(|rate| 1.0 / rate.bytes_per_second() - per_byte);
        Link::new(delay, of_link.filter(|seconds| *seconds > 0.0).map(f64::recip))
    }
}

#[cfg(test)]
mod tests {
    use super::Way;
    use crate::plan::{Distribution, Link};
    use crate::units::{Rate, Time};
    use actors::time::Duration;

    fn way(rtt: &[u64], bandwidth: Option<Rate>) -> Way {
        let rtt = rtt.iter().map(|us| Time(us * 1000)).collect();
        Way { from: "here".to_owned(), to: "there".to_owned(), rtt, bandwidth }
    }

    #[test]
    fn two_ways_have_the_mean_and_the_variance_of_the_round_trip() {
        let way = way(&[1005, 1030, 1125, 1600, 3500], None);
        let Distribution::Empirical(ways) = way.link(Duration::ZERO, 0.0).delay else { panic!("it varies") };
        let moments = |values: Vec<f64>| {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64)
        };
        let (mean, variance) = moments(ways.iter().map(|way| way.as_secs_f64()).collect());
        let (trip, wide) = moments([1005.0, 1030.0, 1125.0, 1600.0, 3500.0].map(|us| us / 1e6).to_vec());
        assert!((2.0 * mean / trip - 1.0).abs() < 1e-6 && (2.0 * variance / wide - 1.0).abs() < 1e-3);
    }

    #[test]
    fn what_the_ends_pay_is_not_paid_again() {
        let rate = Rate(800_000_000);
        let way = way(&[2000; 20], Some(rate));
        let free = Link::new(Distribution::Constant(Duration::from_micros(1000)), Some(1e8));
        assert_eq!(way.link(Duration::ZERO, 0.0), free);
        let link = way.link(Duration::from_micros(300), 5e-9);
        assert_eq!(link.delay, Distribution::Constant(Duration::from_secs_f64(700e-6 - 64.0 * 5e-9)));
        assert!((link.bandwidth.expect("the link is as slow as its ends") / 2e8 - 1.0).abs() < 1e-6);
        assert_eq!(way.link(Duration::from_secs(1), 1.0), Link::FREE, "all of it was the ends");
    }
}

//! A one-way delay: a constant ("10 ms") or a distribution (`LogNormal(median: "45 ms", sigma: 0.1)`).
//!
//! A delay is kept as text until it is resolved, because no derived type reads both forms. Errors can then point at a
//! position in this text.
use crate::files::{Files, TableError};
use crate::plan::Distribution;
use crate::raw::{Raw, options};
use crate::units::Time;
use actors::limits;
use actors::time::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Delay(Raw);

impl Default for Delay {
    fn default() -> Delay {
        Delay(Raw::new("\"0 s\"").expect("a string is RON"))
    }
}

/// A delay: a time, or a distribution. A negative sample is replaced by 0.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Delay")]
pub(crate) enum Written {
    /// A uniform distribution.
    Uniform {
        /// The least delay.
        low: Time,
        /// The largest delay.
        high: Time,
    },
    /// A normal distribution.
    Normal {
        /// The mean.
        mean: Time,
        /// The standard deviation.
        std: Time,
    },
    /// A log-normal distribution.
    LogNormal {
        /// The median.
        median: Time,
        /// The standard deviation of ln(delay), from 0 to 10.
        sigma: f64,
    },
    /// A gamma distribution.
    Gamma {
        /// The shape parameter, from 0.1 to 1000.
        shape: f64,
        /// The scale parameter. The mean is shape x scale.
        scale: Time,
    },
    /// A Pareto distribution.
    Pareto {
        /// The least delay.
        scale: Time,
        /// The shape parameter, from 0.1 to 1000.
        shape: f64,
    },
    /// A Weibull distribution.
    Weibull {
        /// The scale parameter.
        scale: Time,
        /// The shape parameter, from 0.1 to 1000.
        shape: f64,
    },
    /// The delays in a column of a CSV file, all equally likely.
    Empirical {
        /// The path of the file.
        file: String,
        /// The name of the column. It ends in the unit of the column's times, as `rtt_ms`.
        column: String,
        /// Whether the column has round-trip times. If so, each delay is half of a round-trip time.
        #[serde(default)]
        round_trip: bool,
    },
}

/// The error in the text of a delay.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A syntax error, with ron's position in the text of the delay.
    Written(ron::error::SpannedError),
    Meaning(String),
    /// An error in a table that the delay names.
    Table(TableError),
}

impl From<String> for Fault {
    fn from(message: String) -> Fault {
        Fault::Meaning(message)
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Fault {
        Fault::Table(error)
    }
}

impl Delay {
    pub fn text(&self) -> &str {
        self.0.text()
    }

    pub(crate) fn resolve(&self, files: &Files) -> Result<Distribution, Fault> {
        let text = self.text();
        let is_name = text.starts_with(|c: char| c.is_alphabetic());
        if !is_name {
            let constant: Time = options().from_str(text).map_err(Fault::Written)?;
            return Ok(Distribution::Constant(constant.duration()));
        }
        let written: Written = options().from_str(text).map_err(Fault::Written)?;
        written.distribution(files)
    }
}

impl Written {
    fn distribution(self, files: &Files) -> Result<Distribution, Fault> {
        match self {
            Written::Uniform { low, high } if low > high => {
                Err(format!("low is {low} and high is {high}, but low must not be above high; swap them").into())
            }
            Written::Uniform { low, high } => Ok(Distribution::Uniform { low: low.duration(), high: high.duration() }),
            Written::Normal { mean, std } => Ok(Distribution::Normal { mean: mean.duration(), std: std.duration() }),
            Written::LogNormal { sigma, .. } if !(sigma.is_finite() && (0.0..=10.0).contains(&sigma)) => {
                Err(format!("sigma, the standard deviation of ln(delay), is {sigma}, but must be from 0 to 10").into())
            }
            Written::LogNormal { median: Time(0), .. } => {
                Err("the median of a log-normal delay is 0, but must be above 0".to_owned().into())
            }
            Written::LogNormal { median, sigma } => Ok(Distribution::LogNormal { median: median.duration(), sigma }),
            Written::Gamma { shape, scale } => {
                let (shape, scale) = shaped(shape, scale)?;
                Ok(Distribution::Gamma { shape, scale })
            }
            Written::Pareto { scale, shape } => {
                let (shape, scale) = shaped(shape, scale)?;
                Ok(Distribution::Pareto { scale, shape })
            }
            Written::Weibull { scale, shape } => {
                let (shape, scale) = shaped(shape, scale)?;
                Ok(Distribution::Weibull { scale, shape })
            }
            Written::Empirical { file, column, round_trip } => {
                let samples = files.times(&file, &column)?;
                let share = if round_trip { 2 } else { 1 };
                let delays = samples.iter().map(|time| Duration(time.0 / share)).collect();
                Ok(Distribution::Empirical(thinned(delays).into()))
            }
        }
    }
}

/// Checks the shape and the scale of a distribution. Other shapes would give delays that hardly vary, or delays too
/// long for any clock.
fn shaped(shape: f64, scale: Time) -> Result<(f64, Duration), String> {
    if !(shape.is_finite() && (0.1..=1000.0).contains(&shape)) {
        return Err(format!("shape is {shape}, but must be from 0.1 to 1000"));
    }
    if scale == Time(0) {
        return Err("scale is 0, but must be a time above 0".to_owned());
    }
    Ok((shape, scale.duration()))
}

/// Sorts the samples. If there are more than [`limits::DELAY_SAMPLES`], returns that many evenly spaced quantiles of
/// them.
fn thinned(mut samples: Vec<Duration>) -> Vec<Duration> {
    samples.sort_unstable();
    let (count, most) = (samples.len(), limits::DELAY_SAMPLES);
    if count <= most {
        return samples;
    }
    (0..most).map(|share| samples[(2 * share + 1) * count / (2 * most)]).collect()
}

#[cfg(test)]
mod tests {
    use super::thinned;
    use actors::limits::DELAY_SAMPLES;
    use actors::time::Duration;

    #[test]
    fn many_samples_keep_their_quantiles() {
        let count = DELAY_SAMPLES as u64 * 10;
        let kept = thinned((0..count).rev().map(Duration).collect());
        assert_eq!(kept.len(), DELAY_SAMPLES);
        assert!(kept.is_sorted());
        assert_eq!((kept[0], kept[DELAY_SAMPLES - 1]), (Duration(5), Duration(count - 5)));
        assert_eq!(thinned(vec![Duration(3), Duration(1)]), [Duration(1), Duration(3)]);
    }
}

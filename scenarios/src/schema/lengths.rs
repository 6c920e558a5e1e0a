//! A number of tokens: a constant (`512`) or a distribution (`LogNormal(median: 512, sigma: 0.8)`).
//!
//! The number is kept as text until it is resolved, like a delay.
use crate::files::Files;
use crate::raw::{Raw, options};
use crate::schema::delay::Fault;
use actors::seed::Stream;
use rand::RngExt;
use rand_distr::{Distribution, LogNormal, Normal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lengths(Raw);

/// A number of tokens: a constant, or a distribution. Samples of `Normal` and `LogNormal` are rounded and at least 1.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Lengths")]
pub(crate) enum Written {
    /// A uniform distribution.
    Uniform {
        /// The least number.
        low: u32,
        /// The largest number.
        high: u32,
    },
    /// A normal distribution.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// A log-normal distribution.
    LogNormal {
        /// The median.
        median: f64,
        /// The standard deviation of ln(tokens), from 0 to 10.
        sigma: f64,
    },
    /// The numbers in a column of a CSV file, all equally likely.
    Empirical {
        /// The path of the file.
        file: String,
        /// The name of the column.
        column: String,
    },
}

/// A parsed distribution of numbers of tokens.
pub(crate) enum Drawn {
    Constant(u32),
    Uniform { low: u32, high: u32 },
    Normal(Normal<f64>),
    LogNormal(LogNormal<f64>),
    Empirical(Arc<[u32]>),
}

impl Lengths {
    pub fn text(&self) -> &str {
        self.0.text()
    }

    pub(crate) fn resolve(&self, files: &Files) -> Result<Drawn, Fault> {
        let text = self.text();
        if !text.starts_with(|c: char| c.is_alphabetic()) {
            return options().from_str(text).map(Drawn::Constant).map_err(Fault::Written);
        }
        let written: Written = options().from_str(text).map_err(Fault::Written)?;
        written.drawn(files)
    }
}

impl Written {
    fn drawn(self, files: &Files) -> Result<Drawn, Fault> {
        match self {
            Written::Uniform { low, high } if low > high => {
                Err(format!("low is {low} and high is {high}, but low must not be above high; swap them").into())
            }
            Written::Uniform { low, high } => Ok(Drawn::Uniform { low, high }),
            Written::Normal { mean, std } if mean.is_finite() && mean >= 1.0 => Normal::new(mean, std)
                .map(Drawn::Normal)
                .map_err(|_| format!("std is {std}, but must be a number of tokens that is not negative").into()),
            Written::Normal { mean, .. } => Err(format!("the mean is {mean}, but must be at least one token").into()),
            Written::LogNormal { median, sigma }
                if median.is_finite() && median >= 1.0 && (0.0..=10.0).contains(&sigma) =>
            {
                LogNormal::new(median.ln(), sigma).map(Drawn::LogNormal).map_err(|why| why.to_string().into())
            }
            Written::LogNormal { median, sigma } => Err(format!(
                "the median is {median} and sigma is {sigma}, but the median must be at least one token, and sigma, \
                 the standard deviation of ln(tokens), must be from 0 to 10"
            )
            .into()),
            Written::Empirical { file, column } => Ok(Drawn::Empirical(files.counts(&file, &column)?)),
        }
    }
}

impl Drawn {
    pub fn draw(&self, stream: &mut Stream) -> u32 {
        // The cast clamps the number to the range of u32.
        let whole = |tokens: f64| (tokens.round() as u32).max(1);
        match self {
            Drawn::Constant(tokens) => *tokens,
            Drawn::Uniform { low, high } => stream.random_range(*low..=*high),
            Drawn::Normal(normal) => whole(normal.sample(stream)),
            Drawn::LogNormal(log_normal) => whole(log_normal.sample(stream)),
            Drawn::Empirical(counts) => counts[stream.random_range(0..counts.len())],
        }
    }
}

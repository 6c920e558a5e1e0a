//! A one-way delay: a constant ("10 ms") or a distribution (`LogNormal(median: "45 ms", sigma: 0.1)`).
//!
//! Kept as text until it is resolved, for no derived type reads both; so its errors know where in the text they are.
use crate::plan::Distribution;
use crate::raw::{Raw, options};
use crate::units::Time;
use actors::time::Span;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Delay(Raw);

impl Default for Delay {
    fn default() -> Delay {
        Delay(Raw::new("\"0 s\"").expect("a string is RON"))
    }
}

/// As people write it. Lengths of time carry units.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "Delay")]
enum Written {
    Uniform { low: Time, high: Time },
    Normal { mean: Time, std: Time },
    LogNormal { median: Time, sigma: f64 },
}

/// What a delay's text does not say properly.
#[derive(Debug)]
pub(crate) enum Fault {
    /// With ron's position in the delay's own text.
    Written(ron::error::SpannedError),
    Meaning(String),
}

impl Delay {
    pub fn text(&self) -> &str {
        self.0.text()
    }

    pub(crate) fn resolve(&self) -> Result<Distribution, Fault> {
        let text = self.text();
        let is_name = text.starts_with(|c: char| c.is_alphabetic());
        if !is_name {
            let constant: Time = options().from_str(text).map_err(Fault::Written)?;
            return Ok(Distribution::Constant(constant.span()));
        }
        match options().from_str(text).map_err(Fault::Written)? {
            Written::Uniform { low, high } if low > high => {
                Err(Fault::Meaning(format!("low is {low} and high is {high}: swap them")))
            }
            Written::Uniform { low, high } => Ok(Distribution::Uniform { low: low.span(), high: high.span() }),
            Written::Normal { mean, std } => Ok(Distribution::Normal { mean: mean.span(), std: std.span() }),
            Written::LogNormal { sigma, .. } if !(sigma.is_finite() && (0.0..=10.0).contains(&sigma)) => {
                Err(Fault::Meaning(format!("sigma is {sigma}: it is the deviation of ln(delay), from 0 to 10")))
            }
            Written::LogNormal { median: Time(0), .. } => {
                Err(Fault::Meaning("the median of a log-normal delay is above 0".to_owned()))
            }
            Written::LogNormal { median, sigma } => Ok(Distribution::LogNormal { median: Span(median.0), sigma }),
        }
    }
}

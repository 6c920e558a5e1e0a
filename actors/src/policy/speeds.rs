//! The source of the speed that a peer announces.
use crate::time::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a peer knows the speed of its device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound(deserialize = "T: Deserialize<'de> + Default"))]
#[schemars(bound = "T: JsonSchema + Serialize + Default")]
pub enum Speeds<T = Duration> {
    /// From the cost model of its device, in both worlds.
    #[default]
    Told,
    /// It measures one of its blocks before it announces itself, as in Petals; a simulated peer measures the modelled device.
    Measured {
        /// The measurement of one-token steps.
        decode: Probe<T>,
        /// The measurement of longer steps.
        forward: Probe<T>,
    },
}

/// A measurement that a peer makes of its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(bound = "T: JsonSchema + Serialize + Default")]
pub struct Probe<T = Duration> {
    /// The tokens of each step.
    pub tokens: u32,
    /// The number of measured steps. One step before them is not measured.
    pub steps: u32,
    /// The time after which no further step begins, except that at least one is measured; zero: no limit.
    #[serde(default)]
    pub most: T,
}

impl<T> Speeds<T> {
    /// Returns the same source with each time converted by `to`.
    pub fn map<U>(self, to: impl Fn(T) -> U) -> Speeds<U> {
        let probe = |Probe { tokens, steps, most }| Probe { tokens, steps, most: to(most) };
        match self {
            Speeds::Told => Speeds::Told,
            Speeds::Measured { decode, forward } => Speeds::Measured { decode: probe(decode), forward: probe(forward) },
        }
    }
}

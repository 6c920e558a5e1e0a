//! The source of the speed that a peer announces.
use crate::time::Duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a peer knows the speed of its device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound(deserialize = "T: Deserialize<'de> + Default"))]
#[schemars(bound = "T: JsonSchema + Serialize + Default")]
pub enum Speeds<T = Duration> {
    /// The peer takes the speed from the cost model of its device, in simulations and in live runs.
    #[default]
    Told,
    /// The peer measures one of its blocks before it announces itself, as in Petals. A simulated peer measures its
    /// modelled device.
    Measured {
        /// The measurement of one-token steps.
        decode: Probe<T>,
        /// The measurement of longer steps.
        forward: Probe<T>,
    },
}

/// The settings by which a peer measures the speed of its device for one length of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(bound = "T: JsonSchema + Serialize + Default")]
pub struct Probe<T = Duration> {
    /// The number of tokens of each measured step.
    pub tokens: u32,
    /// The number of measured steps. One further step before them warms up and is not measured.
    pub steps: u32,
    /// The time after which no further step is measured. At least one step is always measured. Zero: no limit.
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

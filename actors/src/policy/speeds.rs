//! The source of the speed that a peer announces.
use crate::time::Duration;
use serde::{Deserialize, Serialize};

/// The source of the speed that a peer announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speeds {
    /// The cost model of the peer's device, as the simulation uses it.
    #[default]
    Told,
    /// A self-benchmark on one of the peer's blocks, before the peer announces itself. In a simulation, it runs on the
    /// modelled device.
    Measured { decode: Probe, forward: Probe },
}

/// The steps of a peer's self-benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The tokens of each step.
    pub tokens: u32,
    /// The number of measured steps. One warm-up step before them is not measured.
    pub steps: u32,
    /// The time after which no further step begins, except that at least one step is measured. Zero means no limit.
    pub most: Duration,
}

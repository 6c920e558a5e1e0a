//! How peers come to know how fast they are.
use crate::time::Duration;
use serde::{Deserialize, Serialize};

/// How peers come to know how fast they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speeds {
    /// By the cost of their device, as the simulation has it.
    #[default]
    Told,
    /// They measure it on one of their blocks before they announce themselves; in a simulation, on the modelled device.
    Measured { decode: Probe, forward: Probe },
}

/// Steps by which a peer measures itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Of each step.
    pub tokens: u32,
    /// How many steps are measured, after one that is not.
    pub steps: u32,
    /// No further step begins after this; zero: however long it takes.
    pub most: Duration,
}

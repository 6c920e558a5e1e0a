//! Probes: short live runs of fixed work, which show how fast the machine is at that time.
use serde::{Deserialize, Serialize};

/// By what the profile's times are multiplied to be today's.
///
/// One-token steps and longer ones drift apart: the first wait for memory, which neighbours share, the others for the core.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    pub decode: f64,
    pub prefill: f64,
    /// Of overheads: the way to a device, the way back from it, and frames.
    pub to_device: f64,
    pub from_device: f64,
    pub frame: f64,
}

/// One probe: the tokens of its prompts, and its times over the profile's, if it showed any.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    pub size: u32,
    pub drift: Option<Drift>,
}

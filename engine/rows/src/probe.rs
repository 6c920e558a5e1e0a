//! Probes: short live runs of fixed work, which show how fast the machine is at that time.
use serde::{Deserialize, Serialize};

/// The machine's drift: the factors that turn the profile's times into the times at a probe.
///
/// Decode and longer steps have separate factors: one-token steps wait for memory, which other machines of the
/// hypervisor share, and longer steps wait for the core.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    pub decode: f64,
    pub prefill: f64,
    /// Factors of the overheads: the hand-over to a device, the hand-over from it, and frames.
    pub to_device: f64,
    pub from_device: f64,
    pub frame: f64,
}

/// One probe: the number of its prompts' tokens, and its times relative to the profile's if it measured any.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    pub size: u32,
    pub drift: Option<Drift>,
}

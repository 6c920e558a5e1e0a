//! Probes: short live runs of fixed work, which show how fast the machine is at that time.
use serde::{Deserialize, Serialize};

/// The drift of a machine: the factors that turn the times in a profile into the times at a probe.
///
/// Decode and longer steps have separate factors: one-token steps wait for memory, which other machines of the
/// hypervisor share, and longer steps wait for the core.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    pub decode: f64,
    pub prefill: f64,
    /// The factor of the time that passes between a host's request for a job and the start of the job on a device.
    pub to_device: f64,
    /// The factor of the time that passes between the end of a job on a device and the receipt of its result.
    pub from_device: f64,
    /// The factor of the overhead of sending and receiving a frame.
    pub frame: f64,
}

/// One probe: the number of prompt tokens of its requests, and the drift that it measured, if it measured any.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    pub size: u32,
    pub drift: Option<Drift>,
}

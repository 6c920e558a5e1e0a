//! What to try: scenario files, their sweeps, and the fully explicit plans that the engine runs.
#![forbid(unsafe_code)]

pub mod cell;
pub mod chart;
pub mod cost;
pub mod plan;
pub mod shape;
pub mod units;

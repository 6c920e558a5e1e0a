//! What simulated and live runs share: which actors are spawned from a plan, which faults are active, which hosts hold
//! each block, and how the run ended.
#![forbid(unsafe_code)]

pub mod fault_windows;
pub mod holders;
pub mod outcome;
pub mod spawn;

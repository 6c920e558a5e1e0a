//! The code that simulated and live runs share: which actors a plan has, which faults are active, which hosts hold each
//! block, and how a run ended.
#![forbid(unsafe_code)]

pub mod fault_windows;
pub mod holders;
pub mod outcome;
pub mod spawn;

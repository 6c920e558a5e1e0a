//! Everything the two worlds share about one run: which actors are spawned from a plan, which fault windows are open,
//! which hosts hold each block, and how the run ended.
#![forbid(unsafe_code)]

pub mod fault_windows;
pub mod holders;
pub mod outcome;
pub mod spawn;

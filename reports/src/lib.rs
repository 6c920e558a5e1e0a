//! Results of runs: from events to rows, measures, a run directory, tables and charts. This crate never talks to
//! actors.
#![forbid(unsafe_code)]

pub mod cells;
pub mod chart;
pub mod claim;
pub mod draw;
pub mod error;
mod figures;
pub mod files;
pub mod load;
pub mod manifest;
pub mod measures;
pub mod observed;
pub mod published;
pub mod read;
pub mod run_timeline;
pub mod sensitivity;
pub mod sheet;
pub mod stats;
pub mod summary;
pub mod table;
pub mod theme;
pub mod twin;
pub mod write;

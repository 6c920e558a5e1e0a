//! Scenario files, their sweeps, and the fully explicit plans that the engine runs.
//!
//! `load` reads a file into a [`schema::Scenario`] and keeps its text. `Loaded::cells` applies the command line's
//! overrides and the sweep. `Cell::plan` resolves a cell into a plan. Each error of these functions points at the place
//! in the file or at the flag that caused it.
#![forbid(unsafe_code)]

pub mod adapt;
mod beyond;
pub mod cell;
pub mod chart;
mod check;
pub mod columns;
pub mod cost;
mod error;
mod files;
pub mod guard;
pub mod input;
pub mod library;
mod load;
pub mod only;
mod origin;
pub mod paths;
pub mod plan;
pub mod presets;
pub mod profile;
pub mod published;
pub mod raw;
pub mod reference;
mod renamed;
mod resolve;
pub mod schema;
pub mod sensitivity;
pub mod shape;
mod source;
mod suggest;
mod sweep;
mod text;
pub mod tokens;
pub mod units;
mod warning_kind;

pub use check::{CellSummary, Summary, Warning, live_obstacles};
pub use error::{At, ScenarioError};
pub use input::{shortened, shortened_to};
pub use load::{Loaded, load};
pub use suggest::nearest;
pub use sweep::{Cell, Overrides};

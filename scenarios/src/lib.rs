//! What to try: scenario files, their sweeps, and the fully explicit plans that the engine runs.
//!
//! `load` reads a file into a [`schema::Scenario`] and remembers its text; `Loaded::cells` applies a command line's
//! overrides and the sweep; `Cell::plan` makes a cell explicit. An error at any of these points at what a person wrote.
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
mod nearest;
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
mod sweep;
mod text;
pub mod tokens;
pub mod units;
mod warning_kind;

pub use check::{CellSummary, Summary, Warning, live_obstacles};
pub use error::{At, ScenarioError};
pub use load::{Loaded, load};
pub use nearest::nearest;
pub use sweep::{Cell, Overrides};

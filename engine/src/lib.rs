//! The two worlds: one graph of actors, simulated on one thread or live over TCP and candle.
#![deny(unsafe_code)]

mod holders;
pub mod link;
pub mod live;
pub mod model;
pub mod outcome;
pub mod sim;
pub mod soak;
pub mod spells;
pub mod stage;

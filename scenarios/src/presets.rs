//! Built-in data, each number with its source: published models and devices by name, the policies of a published swarm,
//! and round trips between regions of the world.
pub mod devices;
pub mod models;
pub mod regions;
pub mod swarm;

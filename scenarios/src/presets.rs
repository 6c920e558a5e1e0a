//! Published models and devices by name, the policies of a published swarm, and how far the regions of the world are
//! apart, each number with its source.
pub mod devices;
pub mod models;
pub mod regions;
pub mod swarm;

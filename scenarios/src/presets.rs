//! Published models and devices by name, each number with its source.
pub mod devices;
pub mod models;

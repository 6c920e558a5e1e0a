//! The actors of the swarm: their typed messages, their pure state machines, the thin actix actors around these, and
//! the interface through which the actors act on the outside.
//!
//! A *core* is a plain struct whose methods take an input and push [`world::Effect`]s. The actor around a core forwards
//! messages to the core. This crate uses no socket, no clock, no tensor library and no simulation kernel. [`world`] is
//! the only interface to the outside. The engine implements it twice: for simulations and for live runs.
#![forbid(unsafe_code)]

mod actor_impls;
pub mod announce;
pub mod canary;
pub mod client;
pub mod dht;
pub mod echo;
pub mod history;
pub mod id;
pub mod invariants;
pub mod limits;
pub mod message;
pub mod orchestrator;
pub mod peer;
pub mod placement;
pub mod policy;
pub mod record;
pub mod route;
pub mod seed;
pub mod time;
pub mod world;

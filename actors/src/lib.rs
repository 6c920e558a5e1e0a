//! The actors of the swarm: typed messages, pure state machines, thin actix actors, and the interface through which
//! they act.
//!
//! A *core* is a plain struct whose methods take an input and push [`world::Effect`]s. The actor around a core forwards
//! messages to it. This crate uses no socket, no clock, no tensor library and no simulation kernel. [`world`] is the
//! only interface to the outside, and the engine implements it twice: in the simulator and in the live swarm.
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

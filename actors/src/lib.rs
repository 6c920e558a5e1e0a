//! What everyone in the swarm says and does: typed messages, pure cores, thin actix actors, and the port they act through.
//!
//! A *core* is a plain struct whose methods take what happened and push [`world::Effect`]s; the actor around it forwards
//! messages. Nothing here knows a socket, a clock, a tensor library or the simulation kernel: [`world`] is the only door,
//! and the engine stands on its other side, twice.
#![forbid(unsafe_code)]

mod actor_impls;
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

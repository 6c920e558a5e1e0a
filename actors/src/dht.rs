//! Finding peers: who serves which blocks.
//!
//! One registry node answers for the whole swarm, by the messages that a distributed table would use.
pub mod registry;

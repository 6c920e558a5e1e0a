//! The rows of one live run together with its plan.
use crate::{HopRow, TokenRow};
use actors::record::Pinged;
use scenarios::plan::Plan;

/// The rows of one live run, as the calibration uses them.
#[derive(Clone, Debug)]
pub struct ObservedRun {
    pub plan: Plan,
    pub hops: Vec<HopRow>,
    pub tokens: Vec<TokenRow>,
    pub pings: Vec<Pinged>,
    /// The round that the run belongs to. All runs of a round are made before the next round begins, so figures that
    /// differ between rounds show how much the machine itself drifts.
    pub round: u32,
}

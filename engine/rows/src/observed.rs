//! The plan of one live run, and the rows of its result tables.
use crate::{HopRow, TokenRow};
use actors::record::Pinged;
use scenarios::plan::Plan;

/// The plan of one live run, and the rows of its result tables. The calibration fits a profile to such runs.
#[derive(Clone, Debug)]
pub struct ObservedRun {
    pub plan: Plan,
    pub hops: Vec<HopRow>,
    pub tokens: Vec<TokenRow>,
    pub pings: Vec<Pinged>,
    /// The number of the round of runs to which this run belongs. All runs of a round are made before the next round
    /// begins. Differences between rounds therefore show how much the machine itself drifts.
    pub round: u32,
}

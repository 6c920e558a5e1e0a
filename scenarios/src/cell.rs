//! The key of a sweep's cell: the varied paths and their values.
use serde::{Deserialize, Serialize};

/// The key of one cell of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CellKey {
    /// The number of the cell in the order of the sweep, counted from 0.
    pub index: u32,
    /// The varied fields as (path, value as text). Every cell of a sweep has the same paths in the same order. A struct
    /// is split into its fields: an axis over `hosts.0.egress` gives the paths `hosts.0.egress.delay` and
    /// `hosts.0.egress.bandwidth`. String values have no quotes.
    pub values: Vec<(String, String)>,
}

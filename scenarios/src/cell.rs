//! The name of a sweep's point: what was varied, and to which values.
use serde::{Deserialize, Serialize};

/// A point of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CellKey {
    /// Counted from 0 in the order of the sweep.
    pub index: u32,
    /// (path, value as text) of every leaf that the sweep varies, the same paths in the same order in every cell. A
    /// structured value is taken apart: an axis over `hosts.0.egress` gives `hosts.0.egress.delay` and
    /// `hosts.0.egress.bandwidth`. Strings stand without their quotes.
    pub values: Vec<(String, String)>,
}

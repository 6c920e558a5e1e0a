//! What others have measured of systems that the library has as scenarios, so that predictions can be held against it.
use crate::raw;
use crate::units::Time;
use serde::{Deserialize, Serialize};

const PUBLISHED: &str = include_str!("../published/published.ron");

/// A system, by the scenario that describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    pub scenario: String,
    /// Which cell of the scenario's sweep; nothing: its only one.
    #[serde(default)]
    pub only: Option<String>,
    /// From the barrier's release: what ended in it counts. Nothing: the whole run.
    #[serde(default)]
    pub window: Option<(Time, Time)>,
    pub figures: Vec<Figure>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    pub measure: Measure,
    pub value: f64,
    /// How far off the prediction may be, as a fraction of the value.
    pub within: f64,
    /// A constant of the prediction was fitted to it.
    #[serde(default)]
    pub calibrated: bool,
    /// Why the prediction does not keep `within`.
    #[serde(default)]
    pub missed: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Measure {
    /// One-token steps that ended in the window, a second.
    DecodeThroughput,
    /// A quantile of the times of such steps, in ms.
    DecodeLatency(f64),
    /// A quantile of the times to the first token, in ms, of requests whose first token came in the window.
    PromptLatency(f64),
    /// A column of `cells.csv`.
    Column(String),
}

/// All of them.
pub fn systems() -> Result<Vec<System>, ron::error::SpannedError> {
    raw::options().from_str(PUBLISHED)
}

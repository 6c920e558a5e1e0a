//! What others have measured of systems that the library has as scenarios, so that predictions can be held against it.
use crate::files::Files;
use crate::raw;
use crate::units::Time;
use actors::time::Duration;
use serde::{Deserialize, Serialize};
use std::path::Path;

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
    /// The trace that the scenario replays, where its column `first_ms` says how long each prompt took.
    #[serde(default)]
    pub queries: Option<String>,
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
    pub missed: Option<Miss>,
}

/// A known error of a prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Miss {
    /// The largest known error, as a fraction of the published value. A test fails if the prediction gets worse.
    pub by: f64,
    /// The reason.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Measure {
    /// One-token steps that ended in the window, a second.
    DecodeThroughput,
    /// A quantile of the times of such steps, in ms.
    DecodeLatency(f64),
    /// A quantile of the times to the first token, in ms, of requests whose first token came in the window. Where others
    /// open no sessions, their time begins when the prompt leaves: what finding a route and opening sessions takes is left
    /// out.
    PromptLatency(f64),
    /// A column of `cells.csv`.
    Column(String),
}

/// A request of a run that others have measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Query {
    /// From the run's beginning.
    pub sent: Duration,
    /// To its first token.
    pub first: Duration,
}

impl System {
    /// The requests that its figures are of, in the order of the trace; none where nobody says.
    pub fn measured(&self) -> Result<Vec<Query>, String> {
        let Some(file) = &self.queries else { return Ok(Vec::new()) };
        let files = Files::of(Path::new("."));
        let times = |column: &str| files.times(file, column).map_err(|error| error.to_string());
        let (sent, first) = (times("at_s")?, times("first_ms")?);
        Ok(sent.iter().zip(first.iter()).map(|(&sent, &first)| Query { sent, first }).collect())
    }
}

/// All of them.
pub fn systems() -> Result<Vec<System>, ron::error::SpannedError> {
    raw::options().from_str(PUBLISHED)
}

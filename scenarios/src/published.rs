//! Published measurements of the systems that built-in scenarios describe, for comparison with predictions.
use crate::files::Files;
use crate::raw;
use crate::units::Time;
use actors::time::Duration;
use serde::{Deserialize, Serialize};
use std::path::Path;

const PUBLISHED: &str = include_str!("../published/published.ron");

/// A published system and the scenario that describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    pub scenario: String,
    /// The filter that selects one cell of the scenario's sweep. `None` if the sweep has a single cell.
    #[serde(default)]
    pub only: Option<String>,
    /// The start and the end of the measurement window, as times after the barrier's release. Only steps and requests
    /// that ended in the window count. `None` for the whole run.
    #[serde(default)]
    pub window: Option<(Time, Time)>,
    /// The trace that the scenario replays. Its column `first_ms` holds the measured time to each request's first
    /// token.
    #[serde(default)]
    pub queries: Option<String>,
    pub figures: Vec<Figure>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    pub measure: Measure,
    pub value: f64,
    /// The accepted error of the prediction, as a fraction of the published value.
    pub within: f64,
    /// Whether a constant of the prediction was fitted to this figure.
    #[serde(default)]
    pub calibrated: bool,
    /// The reason why the error of the prediction exceeds `within`, if it does.
    #[serde(default)]
    pub missed: Option<Miss>,
}

/// A known error of a prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Miss {
    /// The largest known error, as a fraction of the published value. A test fails if the error becomes larger.
    pub by: f64,
    /// The reason for the error of the prediction.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Measure {
    /// The number of one-token steps per second that ended in the measurement window.
    DecodeThroughput,
    /// A quantile of the times of the one-token steps that ended in the measurement window, in ms. The argument is the
    /// level of the quantile, from 0 to 1.
    DecodeLatency(f64),
    /// A quantile of the times to the first token in ms, over the requests that got their first token within the
    /// measurement window. The argument is the level of the quantile, from 0 to 1. The time begins when the prompt is
    /// sent. It does not include finding a route and opening sessions, because the published systems open no sessions.
    PromptLatency(f64),
    /// The value in the column of `cells.csv` that has this name.
    Column(String),
}

/// A request of a published run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Query {
    /// The time from the beginning of the run until the request was sent.
    pub sent: Duration,
    /// The time to the first token.
    pub first: Duration,
}

impl System {
    /// Returns the requests on which the system's published figures are based, in the order of the trace. Empty if the
    /// system names no trace.
    ///
    /// # Errors
    /// If a column of the trace cannot be read.
    pub fn measured(&self) -> Result<Vec<Query>, String> {
        let Some(file) = &self.queries else { return Ok(Vec::new()) };
        let files = Files::of(Path::new("."));
        let times = |column: &str| files.times(file, column).map_err(|error| error.to_string());
        let (sent, first) = (times("at_s")?, times("first_ms")?);
        Ok(sent.iter().zip(first.iter()).map(|(&sent, &first)| Query { sent, first }).collect())
    }
}

/// Returns all published systems.
///
/// # Errors
/// If the built-in file cannot be parsed.
pub fn systems() -> Result<Vec<System>, ron::error::SpannedError> {
    raw::options().from_str(PUBLISHED)
}

//! The order in which a peer computes waiting steps.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The order in which a peer computes waiting steps, and how many of them are one job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Scheduling {
    /// One step at a time, first come, first served.
    #[default]
    Fifo,
    /// One step at a time, one-token steps before longer ones. Prompts wait while decode steps arrive.
    DecodeFirst,
    /// One step at a time, first come, first served. Longer steps are computed block by block, with other steps
    /// between, as in Petals (`inference_session.py`, `MAX_SHORT_INFERENCE_TOKENS`: 128).
    Split {
        /// The largest number of tokens, over all rows, of a step that is computed whole and not block by block.
        whole: u32,
    },
    /// Continuous batching (Yu et al. 2022, Orca): steps of several sessions in one job, in the order of arrival.
    Continuous {
        /// The largest number of tokens of a job, over all rows. A single step may have more.
        tokens: u32,
        /// The largest number of steps of a job.
        steps: u32,
    },
    /// Two kinds of jobs in turn: waiting prompts, then all waiting one-token steps, as the workers of Helix do around
    /// vLLM 0.4 (Mei et al. 2025).
    PrefillThenDecode {
        /// The largest number of prompt tokens of a job.
        tokens: u32,
    },
}

//! The prefill policy: whether a client sends its prompt whole or in chunks.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The part of a prompt that one step carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Prefill {
    /// The whole prompt in one step, as in Petals.
    #[default]
    Whole,
    /// The prompt in chunks. Each chunk is sent when the one before has returned, so that peers can compute steps of
    /// other sessions in between (Agrawal et al. 2023, SARATHI).
    Chunked {
        /// The number of tokens of each row in one chunk.
        tokens: u32,
    },
}

impl Prefill {
    /// Returns the number of tokens per row that the next step carries, when `left` tokens of the prompt are not sent
    /// yet.
    pub fn next(self, left: u32) -> u32 {
        match self {
            Prefill::Whole => left,
            Prefill::Chunked { tokens } => left.min(tokens.max(1)),
        }
    }
}

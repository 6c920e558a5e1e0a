//! How a client sends its prompt: whole, or in chunks.
use serde::{Deserialize, Serialize};

/// How much of a prompt goes through the route at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Prefill {
    /// All of it in one step, as in Petals.
    #[default]
    Whole,
    /// So many tokens of each row, one chunk after another: each sets out when the last has returned, so that the steps of
    /// others come between (Agrawal et al. 2023, SARATHI).
    Chunked { tokens: u32 },
}

impl Prefill {
    /// Tokens of each row of the next step, of `left` that the prompt has yet.
    pub fn next(self, left: u32) -> u32 {
        match self {
            Prefill::Whole => left,
            Prefill::Chunked { tokens } => left.min(tokens.max(1)),
        }
    }
}

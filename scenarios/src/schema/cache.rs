//! The size of a peer's KV cache: bytes for the whole peer, or tokens for each of its blocks.
use crate::raw::{Raw, options};
use crate::units::Size;
use schemars::JsonSchema;
use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// The size for all blocks of a peer together. A scenario writes only the size, such as `"4 GiB"`.
    Bytes(Size),
    /// A number of tokens in each block of a peer: `full` for a model without grouped-query attention, `grouped` for a
    /// model with it.
    Tokens { full: u32, grouped: u32 },
}

/// The size of a peer's KV cache: bytes for the whole peer, or tokens for each block.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Cache")]
pub(crate) enum Written {
    /// A number of tokens in each block of the peer.
    Tokens {
        /// The number for models without grouped-query attention.
        full: u32,
        /// The number for models with grouped-query attention.
        grouped: u32,
    },
}

impl Cache {
    /// Returns the size in bytes of the KV cache of a peer with `blocks` blocks.
    pub(crate) fn bytes(self, blocks: u32, bytes_per_token_block: u64, is_grouped: bool) -> u64 {
        match self {
            Cache::Bytes(size) => size.0,
            Cache::Tokens { full, grouped } => {
                let tokens = if is_grouped { grouped } else { full };
                u64::from(tokens) * u64::from(blocks) * bytes_per_token_block
            }
        }
    }
}

impl Serialize for Cache {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Cache::Bytes(size) => size.serialize(serializer),
            Cache::Tokens { full, grouped } => Written::Tokens { full, grouped }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Cache {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cache, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        let wrong = |error: ron::error::SpannedError| de::Error::custom(error.code);
        if !raw.text().starts_with(|c: char| c.is_alphabetic()) {
            return options().from_str(raw.text()).map(Cache::Bytes).map_err(wrong);
        }
        let Written::Tokens { full, grouped } = options().from_str(raw.text()).map_err(wrong)?;
        Ok(Cache::Tokens { full, grouped })
    }
}

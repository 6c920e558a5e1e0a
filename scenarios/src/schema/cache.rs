//! What the KV caches of a peer may take: bytes, or tokens in each of its blocks.
use crate::raw::{Raw, options};
use crate::units::Size;
use schemars::JsonSchema;
use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Over all blocks; written as the size.
    Bytes(Size),
    /// In each block of a peer, whatever they take: `full` of a model whose every head has keys and values of its own,
    /// `grouped` where heads share them.
    Tokens { full: u32, grouped: u32 },
}

/// The size of a peer's KV cache: bytes for the whole peer, or tokens for each block.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "Cache")]
pub(crate) enum Written {
    /// A number of tokens in each block of the peer.
    Tokens {
        /// The number for models whose heads each have keys and values of their own.
        full: u32,
        /// The number for models with grouped-query attention.
        grouped: u32,
    },
}

impl Cache {
    /// Bytes of a peer with so many blocks.
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

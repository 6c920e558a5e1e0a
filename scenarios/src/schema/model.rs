//! Which model is served, and in which number formats.
use crate::shape::{Arch, WeightType};
use actors::message::WireType;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub shape: Shape,
    /// Executes the shape's dimensions as another family, where a swarm serves only that one: hidden size, heads, layers
    /// and vocabulary carry over, the rest follows the other family's conventions.
    #[serde(default)]
    pub run_as: Option<Arch>,
    /// Of the peers' blocks.
    #[serde(default = "f32_weights")]
    pub dtype: WeightType,
    /// Of the client's embedding and head.
    #[serde(default = "f32_weights")]
    pub ends: WeightType,
    /// Of activations between nodes: `Int8(block: 64)` packs them, with a scale for each block of so many values; else it
    /// is also the type of the values in KV caches. Where nothing is said: F32 with F32 blocks, else F16.
    #[serde(default)]
    pub wire: Option<WireType>,
    #[serde(default)]
    pub weights: Weights,
}

/// The dimensions: a published model by its size, or one's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Shape {
    Opt(String),
    Bloom(String),
    Llama(String),
    Custom {
        arch: Arch,
        layers: u32,
        hidden: u32,
        heads: u32,
        /// As many as `heads`, where nothing is said.
        #[serde(default)]
        kv_heads: Option<u32>,
        /// The family's convention, where nothing is said: 4 x hidden; Llama 8/3 x hidden, up to a multiple of 256.
        #[serde(default)]
        ffn: Option<u32>,
        vocab: u32,
        #[serde(default = "positions")]
        max_positions: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Weights {
    /// Drawn from a seed.
    Random { seed: u64 },
    /// A Hugging Face folder: a path from the scenario's folder on.
    Dir(String),
    /// Simulation only: in place of values, hashes of everything that the KV caches should hold, so that an entry that is
    /// lost, doubled or misplaced changes the generated tokens.
    Echo,
}

impl Default for Weights {
    fn default() -> Weights {
        Weights::Random { seed: 1 }
    }
}

fn f32_weights() -> WeightType {
    WeightType::F32
}

fn positions() -> u32 {
    2048
}

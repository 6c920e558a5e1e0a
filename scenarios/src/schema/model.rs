//! The model that a swarm serves, and its number formats.
use crate::shape::{Arch, WeightType};
use actors::message::WireType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The model that the swarm serves, and its number formats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The dimensions of the model.
    pub shape: Shape,
    /// The family whose blocks are executed in place of the model's own. The hidden size and the numbers of heads,
    /// layers, vocabulary tokens and positions stay the same; the other dimensions follow the conventions of that
    /// family.
    #[serde(default)]
    pub run_as: Option<Arch>,
    /// The number format of the blocks' weights.
    #[serde(default = "f32_weights")]
    pub dtype: WeightType,
    /// The number format of the client's embedding and LM head.
    #[serde(default = "f32_weights", alias = "ends")]
    pub client_dtype: WeightType,
    /// The number format of activations between nodes. Unless this format is `Int8`, KV caches have the same format.
    /// Without `wire`: `F32` if `dtype` is `F32`, else `F16`.
    #[serde(default)]
    pub wire: Option<WireType>,
    /// The source of the model's weights.
    #[serde(default)]
    pub weights: Weights,
}

/// The dimensions of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Shape {
    /// A published OPT model by its size, as `Opt("30b")`.
    Opt(String),
    /// A published BLOOM model by its size, as `Bloom("176b")`.
    Bloom(String),
    /// A published Llama model by its version and size, as `Llama("3-8b")`.
    Llama(String),
    /// A model with the given dimensions.
    Custom {
        /// The family, which determines how a block computes.
        arch: Arch,
        /// The number of blocks.
        layers: u32,
        /// The hidden size.
        hidden: u32,
        /// The number of attention heads.
        heads: u32,
        /// The number of key and value heads. Without it: as many as `heads`.
        #[serde(default)]
        kv_heads: Option<u32>,
        /// The size of the feed-forward layer. Without it: 4 x hidden; for Llama 8/3 x hidden, rounded up to a multiple
        /// of 256.
        #[serde(default)]
        ffn: Option<u32>,
        /// The number of tokens of the vocabulary.
        vocab: u32,
        /// The longest context, in tokens.
        #[serde(default = "positions")]
        max_positions: u32,
    },
}

/// The source of a model's weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Weights {
    /// Random weights. The model then has no tokenizer.
    Random {
        /// The seed of the weights.
        seed: u64,
    },
    /// The weights in a Hugging Face folder, which has a `config.json` and safetensors files.
    Dir(String),
    /// Simulation only: an echo model, which has no weights. Each generated token is a hash of everything that the KV
    /// caches should contain, so a cache entry that is lost, doubled or misplaced changes the generated text.
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

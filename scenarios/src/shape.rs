//! The dimensions of a decoder-only transformer, and the number formats of its weights.
use serde::{Deserialize, Serialize};

/// A family of decoder blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arch {
    /// Learned positions, biases, ReLU (Zhang et al. 2022).
    Opt,
    /// ALiBi, biases, tanh GELU (BigScience 2022).
    Bloom,
    /// Rotary positions, RMS norm, SwiGLU, grouped-query attention (Touvron et al. 2023).
    Llama,
}

/// What determines the cost of a block: all sizes in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    pub arch: Arch,
    pub layers: u32,
    pub hidden: u32,
    pub heads: u32,
    /// Heads of keys and values; equal to `heads` without grouped-query attention.
    pub kv_heads: u32,
    pub ffn: u32,
    pub vocab: u32,
    pub max_positions: u32,
}

impl Shape {
    pub fn head_dim(&self) -> u32 {
        self.hidden / self.heads
    }
}

/// The number format that weights are held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WeightType {
    F32,
    F16,
    Bf16,
    Int8,
    Int4,
}

impl WeightType {
    /// Bytes of one weight. The scales of quantised blocks count as well: 32 values share 2 bytes (GGML's q8_0, q4_0).
    pub fn bytes(self) -> f64 {
        match self {
            WeightType::F32 => 4.0,
            WeightType::F16 | WeightType::Bf16 => 2.0,
            WeightType::Int8 => 1.0625,
            WeightType::Int4 => 0.5625,
        }
    }
}

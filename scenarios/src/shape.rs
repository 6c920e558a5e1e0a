//! The dimensions of a decoder-only transformer, and the number formats of its weights.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A family of decoder models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Arch {
    /// Learned positions, biases, ReLU (Zhang et al. 2022).
    Opt,
    /// ALiBi, biases, tanh GELU (BigScience 2022).
    Bloom,
    /// Rotary positions, RMS norm, SwiGLU, grouped-query attention (Touvron et al. 2023).
    Llama,
}

/// The dimensions that determine the cost of a block, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    pub arch: Arch,
    pub layers: u32,
    pub hidden: u32,
    pub heads: u32,
    /// The number of key and value heads, which equals `heads` without grouped-query attention.
    pub kv_heads: u32,
    pub ffn: u32,
    pub vocab: u32,
    pub max_positions: u32,
}

impl Shape {
    pub fn head_dim(&self) -> u32 {
        self.hidden / self.heads
    }

    /// Returns the shape with `scale` times the layers and the heads, at least one of each. The width of a head, the
    /// ratio of query heads to key heads, the ratio of the FFN's width to the hidden size, the vocabulary and the
    /// positions stay the same. A dimension that would overflow is set to the largest value of its type.
    pub fn scaled(&self, scale: f64) -> Shape {
        let times = |count: u32| ((f64::from(count) * scale).round() as u32).max(1);
        let kv_heads = times(self.kv_heads);
        let heads = kv_heads.saturating_mul(self.heads / self.kv_heads);
        let hidden = heads.saturating_mul(self.head_dim());
        let ffn = u64::from(self.ffn) * u64::from(hidden) / u64::from(self.hidden);
        let ffn = u32::try_from(ffn).unwrap_or(u32::MAX).max(1);
        Shape { layers: times(self.layers), heads, kv_heads, hidden, ffn, ..*self }
    }
}

/// The number format of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WeightType {
    /// 32-bit floating point.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// 8-bit quantisation with a scale for each 32 values (q8_0 of GGML).
    Int8,
    /// 4-bit quantisation with a scale for each 32 values (q4_0 of GGML).
    Int4,
}

impl WeightType {
    /// Bytes of one weight, including the scales of quantised blocks: 32 values share 2 bytes (GGML's q8_0, q4_0).
    pub fn bytes(self) -> f64 {
        match self {
            WeightType::F32 => 4.0,
            WeightType::F16 | WeightType::Bf16 => 2.0,
            WeightType::Int8 => 1.0625,
            WeightType::Int4 => 0.5625,
        }
    }
}

//! The parts of a checkpoint's `config.json` that affect the computation.
mod file;
mod keys;
mod published;

pub use keys::{Keys, unexpected};

use super::error::ModelError;
use actors::limits;
use scenarios::shape::{Arch, Shape};

/// The configuration of an executable model.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub shape: Shape,
    pub form: Form,
    /// Whether the LM head is the transposed embedding.
    pub tied: bool,
    pub eps: f64,
}

/// The settings that exist in one architecture only.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    Opt(OptForm),
    Bloom(BloomForm),
    Llama(LlamaForm),
}

/// The settings of OPT models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptForm {
    /// Whether the norms come before attention and feed-forward; the 350m checkpoint has them after the residuals.
    pub norm_first: bool,
    pub final_norm: bool,
    /// Width of the embedding (`word_embed_proj_dim`). If it differs from the hidden size, projections connect the two.
    pub embed_width: usize,
    pub biases: bool,
}

/// The settings of BLOOM models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BloomForm {
    /// The key `apply_residual_connection_post_layernorm`.
    pub residual_after_norm: bool,
}

/// The settings of Llama models.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LlamaForm {
    pub rope_theta: f64,
    pub rope_scaling: RopeScaling,
    pub attention_bias: bool,
    pub mlp_bias: bool,
}

/// How rotary positions are stretched beyond the context length of the original training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    Unscaled,
    Linear { factor: f64 },
    Llama3 { factor: f64, low_freq_factor: f64, high_freq_factor: f64, original_positions: f64 },
}

impl Config {
    /// Returns the usual form of a shape's architecture.
    ///
    /// # Errors
    /// If the shape's dimensions are out of range or inconsistent.
    pub fn of(shape: &Shape) -> Result<Config, ModelError> {
        check(shape)?;
        let config = match shape.arch {
            Arch::Opt => Config {
                shape: *shape,
                form: Form::Opt(OptForm {
                    norm_first: true,
                    final_norm: true,
                    embed_width: shape.hidden as usize,
                    biases: true,
                }),
                tied: true,
                eps: 1e-5,
            },
            Arch::Bloom => Config {
                shape: *shape,
                form: Form::Bloom(BloomForm { residual_after_norm: false }),
                tied: true,
                eps: 1e-5,
            },
            Arch::Llama => Config {
                shape: *shape,
                form: Form::Llama(LlamaForm {
                    rope_theta: 10_000.0,
                    rope_scaling: RopeScaling::Unscaled,
                    attention_bias: false,
                    mlp_bias: false,
                }),
                tied: false,
                eps: 1e-5,
            },
        };
        Ok(config)
    }

    /// The width of hidden states.
    pub fn hidden(&self) -> usize {
        self.shape.hidden as usize
    }

    /// The number of query heads.
    pub fn heads(&self) -> usize {
        self.shape.heads as usize
    }

    /// The number of key and value heads.
    pub fn kv_heads(&self) -> usize {
        self.shape.kv_heads as usize
    }

    /// The number of values per head.
    pub fn head_dim(&self) -> usize {
        self.shape.head_dim() as usize
    }

    /// The width of the feed-forward layer.
    pub fn ffn(&self) -> usize {
        self.shape.ffn as usize
    }

    /// The number of tokens in the vocabulary.
    pub fn vocab(&self) -> usize {
        self.shape.vocab as usize
    }
}

fn check(shape: &Shape) -> Result<(), ModelError> {
    let sizes = [
        ("layers", shape.layers, limits::HOPS_PER_ROUTE as u32),
        ("hidden", shape.hidden, limits::HIDDEN),
        ("heads", shape.heads, shape.hidden),
        ("kv_heads", shape.kv_heads, shape.heads),
        ("ffn", shape.ffn, limits::FFN),
        ("vocab", shape.vocab, limits::VOCABULARY),
        ("max_positions", shape.max_positions, limits::TOKENS_PER_REQUEST),
    ];
    if let Some((name, size, most)) = sizes.into_iter().find(|(_, size, most)| *size == 0 || size > most) {
        return Err(ModelError::Shape(format!("{name} is {size}: it may be 1 to {most}")));
    }
    if !shape.hidden.is_multiple_of(shape.heads) {
        return Err(ModelError::Shape(format!("hidden {} is not a multiple of {} heads", shape.hidden, shape.heads)));
    }
    if !shape.heads.is_multiple_of(shape.kv_heads) {
        let Shape { heads, kv_heads, .. } = shape;
        return Err(ModelError::Shape(format!("{heads} heads are not a multiple of {kv_heads} key/value heads")));
    }
    if shape.arch == Arch::Llama && !shape.head_dim().is_multiple_of(2) {
        return Err(ModelError::Shape(format!("rotary positions want an even head size, not {}", shape.head_dim())));
    }
    if shape.arch == Arch::Bloom && Some(shape.ffn) != shape.hidden.checked_mul(4) {
        let Shape { hidden, ffn, .. } = shape;
        return Err(ModelError::Shape(format!("BLOOM's ffn is 4 x hidden: {ffn} does not go with {hidden}")));
    }
    if shape.arch != Arch::Llama && shape.heads != shape.kv_heads {
        return Err(ModelError::Shape(format!(
            "{:?} has no grouped-query attention: kv_heads must be heads",
            shape.arch
        )));
    }
    Ok(())
}

//! The parts of a checkpoint's `config.json` that affect the computation.
mod file;
mod json;
mod keys;
mod published;

pub use json::Json;
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
    /// Whether the norms are applied before attention and feed-forward. OPT-350m applies them after; all other
    /// checkpoints apply them before.
    pub norm_first: bool,
    pub final_norm: bool,
    /// Width of the embedding (`word_embed_proj_dim`). If it differs from the hidden size, projections connect the two.
    pub embed_width: usize,
    pub biases: bool,
}

/// The settings of BLOOM models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BloomForm {
    /// The key `apply_residual_connection_post_layernorm`: whether residuals are taken after the norm.
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
    /// Returns the configuration of a model with the dimensions `shape` and the usual settings of its architecture.
    ///
    /// # Errors
    /// If the shape's dimensions are out of range or inconsistent.
    pub fn of(shape: &Shape) -> Result<Config, ModelError> {
        check(shape, &Names::of_shape()).map_err(ModelError::Shape)?;
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

/// The names of a shape's sizes in error messages: the scenario's words, or the keys as a `config.json` writes them.
struct Names {
    layers: String,
    hidden: String,
    heads: String,
    kv_heads: String,
    ffn: String,
    vocab: String,
    max_positions: String,
}

impl Names {
    fn of_shape() -> Names {
        let [layers, hidden, heads] = ["layers", "hidden", "heads"].map(str::to_owned);
        let [kv_heads, ffn, vocab, max_positions] = ["kv_heads", "ffn", "vocab", "max_positions"].map(str::to_owned);
        Names { layers, hidden, heads, kv_heads, ffn, vocab, max_positions }
    }
}

fn check(shape: &Shape, names: &Names) -> Result<(), String> {
    let Shape { arch, layers, hidden, heads, kv_heads, ffn, vocab, max_positions } = *shape;
    let sizes = [
        (&names.layers, layers, limits::HOPS_PER_ROUTE as u32),
        (&names.hidden, hidden, limits::HIDDEN),
        (&names.heads, heads, hidden),
        (&names.kv_heads, kv_heads, heads),
        (&names.ffn, ffn, limits::FFN),
        (&names.vocab, vocab, limits::VOCABULARY),
        (&names.max_positions, max_positions, limits::TOKENS_PER_REQUEST),
    ];
    if let Some((name, size, most)) = sizes.into_iter().find(|(_, size, most)| *size == 0 || size > most) {
        return Err(format!("{name} is {size}, but it must be from 1 to {most}"));
    }
    if !hidden.is_multiple_of(heads) {
        return Err(format!("{} is {hidden}, but it must be a multiple of {} ({heads})", names.hidden, names.heads));
    }
    if !heads.is_multiple_of(kv_heads) {
        return Err(format!(
            "{} is {heads}, but it must be a multiple of {} ({kv_heads})",
            names.heads, names.kv_heads
        ));
    }
    if arch == Arch::Llama && !shape.head_dim().is_multiple_of(2) {
        let (width, heads) = (&names.hidden, &names.heads);
        return Err(format!("rotary positions need an even head size, but {width} / {heads} is {}", shape.head_dim()));
    }
    if arch == Arch::Bloom && Some(ffn) != hidden.checked_mul(4) {
        return Err(format!(
            "the ffn size of BLOOM must be 4 times the hidden size, but ffn is {ffn} and hidden is {hidden}"
        ));
    }
    if arch != Arch::Llama && heads != kv_heads {
        return Err(format!("{arch:?} has no grouped-query attention, so kv_heads must equal heads"));
    }
    Ok(())
}

//! BLOOM (BigScience 2022): ALiBi, biases, tanh GELU, and a norm after the embedding. The computation is the same as in
//! Hugging Face's `BloomForCausalLM`.
use super::attention::{Attention, BatchEntry};
use super::block::Block;
use super::config::{BloomForm, Config};
use super::embedding_and_head::Parts;
use super::error::ModelError;
use super::linear::{Activation, Linear};
use super::norm::Norm;
use super::tensors::{Specs, Tensors};
use candle_core::Tensor;

struct BloomBlock {
    attention_norm: Norm,
    attention: Attention,
    ffn_norm: Norm,
    up: Linear,
    down: Linear,
    residual_after_norm: bool,
}

impl Block for BloomBlock {
    fn matrices(&self) -> Vec<&Linear> {
        vec![&self.attention.qkv, &self.attention.out, &self.up, &self.down]
    }

    fn forward(&self, x: &Tensor, entries: &mut [BatchEntry<'_>]) -> Result<Tensor, ModelError> {
        let normed = self.attention_norm.forward(x)?;
        let residual = if self.residual_after_norm { &normed } else { x };
        let x = (residual + self.attention.forward(&normed, entries)?)?;
        let normed = self.ffn_norm.forward(&x)?;
        let residual = if self.residual_after_norm { &normed } else { &x };
        let wide = self.up.forward(&normed, Activation::GeluTanh)?;
        Ok((residual + self.down.forward(&wide, Activation::Identity)?)?)
    }
}

/// Lists the tensors of block `index`.
pub fn block_specs(config: &Config, index: u32) -> Specs {
    let (hidden, ffn) = (config.hidden(), config.ffn());
    let mut specs = Specs::under(format!("transformer.h.{index}."));
    specs.layer_norm("input_layernorm", hidden);
    specs.linear("self_attention.query_key_value", hidden, 3 * hidden, true);
    specs.linear("self_attention.dense", hidden, hidden, true);
    specs.layer_norm("post_attention_layernorm", hidden);
    specs.linear("mlp.dense_h_to_4h", hidden, ffn, true);
    specs.linear("mlp.dense_4h_to_h", ffn, hidden, true);
    specs
}

/// Builds a block from its loaded tensors.
pub fn block(config: &Config, form: &BloomForm, tensors: &mut Tensors) -> Result<Box<dyn Block>, ModelError> {
    // The stored rows are [heads, (q, k, v), head_dim]; attention needs all query rows first.
    tensors.regroup("self_attention.query_key_value", config.heads(), 3)?;
    let (qkv, out) = (tensors.linear("self_attention.query_key_value")?, tensors.linear("self_attention.dense")?);
    Ok(Box::new(BloomBlock {
        attention_norm: tensors.layer_norm("input_layernorm", config.eps)?,
        attention: Attention { qkv, out, heads: config.heads(), kv_heads: config.kv_heads() },
        ffn_norm: tensors.layer_norm("post_attention_layernorm", config.eps)?,
        up: tensors.linear("mlp.dense_h_to_4h")?,
        down: tensors.linear("mlp.dense_4h_to_h")?,
        residual_after_norm: form.residual_after_norm,
    }))
}

/// Lists the tensors outside the blocks: embedding, norms and LM head.
pub fn client_specs(config: &Config) -> Specs {
    let (hidden, vocab) = (config.hidden(), config.vocab());
    let mut specs = Specs::under("");
    specs.tokens("transformer.word_embeddings", vocab, hidden, config.tied);
    specs.layer_norm("transformer.word_embeddings_layernorm", hidden);
    specs.last_layer_norm("transformer.ln_f", hidden);
    if !config.tied {
        specs.embedding("lm_head", vocab, hidden);
    }
    specs
}

/// Builds the embedding and head from their loaded tensors.
pub fn ends(config: &Config, tensors: &mut Tensors) -> Result<Parts, ModelError> {
    Ok(Parts {
        tokens: tensors.weight("transformer.word_embeddings")?,
        project_in: None,
        positions: None,
        first_norm: Some(tensors.layer_norm("transformer.word_embeddings_layernorm", config.eps)?),
        last_norm: Some(tensors.layer_norm("transformer.ln_f", config.eps)?),
        project_out: None,
        head: if config.tied { None } else { Some(tensors.weight("lm_head")?) },
    })
}

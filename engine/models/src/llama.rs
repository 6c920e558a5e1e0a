//! Llama (Touvron et al. 2023; Grattafiori et al. 2024): rotary positions, RMS norm, SwiGLU, grouped queries. The
//! computation is the same as in Hugging Face's `LlamaForCausalLM`.
use super::attention::{Attention, BatchEntry};
use super::block::Block;
use super::config::{Config, LlamaForm};
use super::embedding_and_head::Parts;
use super::error::ModelError;
use super::linear::{Activation, Linear};
use super::norm::Norm;
use super::tensors::{Specs, Tensors};
use candle_core::Tensor;

struct LlamaBlock {
    attention_norm: Norm,
    attention: Attention,
    ffn_norm: Norm,
    /// The fused projection: first the rows of the gate projection, then the rows of the up projection.
    gate_up: Linear,
    down: Linear,
}

impl Block for LlamaBlock {
    fn matrices(&self) -> Vec<&Linear> {
        vec![&self.attention.qkv, &self.attention.out, &self.gate_up, &self.down]
    }

    fn forward(&self, x: &Tensor, entries: &mut [BatchEntry<'_>]) -> Result<Tensor, ModelError> {
        let x = (x + self.attention.forward(&self.attention_norm.forward(x)?, entries)?)?;
        let wide = self.gate_up.forward(&self.ffn_norm.forward(&x)?, Activation::Identity)?;
        Ok((&x + self.down.forward(&candle_nn::ops::swiglu(&wide)?, Activation::Identity)?)?)
    }
}

/// Lists the tensors of block `index`.
pub fn block_specs(config: &Config, form: &LlamaForm, index: u32) -> Specs {
    let (hidden, ffn, kv) = (config.hidden(), config.ffn(), config.kv_heads() * config.head_dim());
    let mut specs = Specs::under(format!("model.layers.{index}."));
    specs.rms_norm("input_layernorm", hidden);
    specs.linear("self_attn.q_proj", hidden, hidden, form.attention_bias);
    specs.linear("self_attn.k_proj", hidden, kv, form.attention_bias);
    specs.linear("self_attn.v_proj", hidden, kv, form.attention_bias);
    specs.linear("self_attn.o_proj", hidden, hidden, form.attention_bias);
    specs.rms_norm("post_attention_layernorm", hidden);
    specs.linear("mlp.gate_proj", hidden, ffn, form.mlp_bias);
    specs.linear("mlp.up_proj", hidden, ffn, form.mlp_bias);
    specs.linear("mlp.down_proj", ffn, hidden, form.mlp_bias);
    specs
}

/// Builds a block from its loaded tensors.
pub fn block(config: &Config, tensors: &mut Tensors) -> Result<Box<dyn Block>, ModelError> {
    let qkv = tensors.fused(&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"])?;
    let out = tensors.linear("self_attn.o_proj")?;
    Ok(Box::new(LlamaBlock {
        attention_norm: tensors.rms_norm("input_layernorm", config.eps)?,
        attention: Attention { qkv, out, heads: config.heads(), kv_heads: config.kv_heads() },
        ffn_norm: tensors.rms_norm("post_attention_layernorm", config.eps)?,
        gate_up: tensors.fused(&["mlp.gate_proj", "mlp.up_proj"])?,
        down: tensors.linear("mlp.down_proj")?,
    }))
}

/// Lists the tensors outside the blocks: embedding, last norm and LM head.
pub fn client_specs(config: &Config) -> Specs {
    let (hidden, vocab) = (config.hidden(), config.vocab());
    let mut specs = Specs::under("");
    specs.tokens("model.embed_tokens", vocab, hidden, config.tied);
    specs.last_rms_norm("model.norm", hidden);
    if !config.tied {
        specs.embedding("lm_head", vocab, hidden);
    }
    specs
}

/// Builds the embedding and head from their loaded tensors.
pub fn ends(config: &Config, tensors: &mut Tensors) -> Result<Parts, ModelError> {
    Ok(Parts {
        tokens: tensors.weight("model.embed_tokens")?,
        project_in: None,
        positions: None,
        first_norm: None,
        last_norm: Some(tensors.rms_norm("model.norm", config.eps)?),
        project_out: None,
        head: if config.tied { None } else { Some(tensors.weight("lm_head")?) },
    })
}

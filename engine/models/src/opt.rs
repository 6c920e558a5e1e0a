//! OPT (Zhang et al. 2022): learned positions, biases, ReLU. The computation is the same as in Hugging Face's
//! `OPTForCausalLM`.
use super::attention::{Attention, BatchEntry};
use super::block::Block;
use super::config::{Config, OptForm};
use super::embedding_and_head::{Learned, Parts};
use super::error::ModelError;
use super::linear::{Activation, Linear};
use super::norm::Norm;
use super::tensors::{Specs, Tensors};
use candle_core::Tensor;

/// The number of unused rows at the start of the position table.
const POSITION_OFFSET: usize = 2;

struct OptBlock {
    attention_norm: Norm,
    attention: Attention,
    ffn_norm: Norm,
    fc1: Linear,
    fc2: Linear,
    norm_first: bool,
}

impl Block for OptBlock {
    fn matrices(&self) -> Vec<&Linear> {
        vec![&self.attention.qkv, &self.attention.out, &self.fc1, &self.fc2]
    }

    fn forward(&self, x: &Tensor, entries: &mut [BatchEntry<'_>]) -> Result<Tensor, ModelError> {
        if self.norm_first {
            let x = (x + self.attention.forward(&self.attention_norm.forward(x)?, entries)?)?;
            Ok((&x + self.feed_forward(&self.ffn_norm.forward(&x)?)?)?)
        } else {
            let x = self.attention_norm.forward(&(x + self.attention.forward(x, entries)?)?)?;
            self.ffn_norm.forward(&(&x + self.feed_forward(&x)?)?)
        }
    }
}

impl OptBlock {
    fn feed_forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.fc2.forward(&self.fc1.forward(x, Activation::Relu)?, Activation::Identity)
    }
}

/// Lists the tensors of block `index`.
pub fn block_specs(config: &Config, form: &OptForm, index: u32) -> Specs {
    let (hidden, ffn) = (config.hidden(), config.ffn());
    let mut specs = Specs::under(format!("model.decoder.layers.{index}."));
    for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
        specs.linear(&format!("self_attn.{name}"), hidden, hidden, form.biases);
    }
    specs.layer_norm("self_attn_layer_norm", hidden);
    specs.linear("fc1", hidden, ffn, form.biases);
    specs.linear("fc2", ffn, hidden, form.biases);
    specs.layer_norm("final_layer_norm", hidden);
    specs
}

/// Builds a block from its loaded tensors.
pub fn block(config: &Config, form: &OptForm, tensors: &mut Tensors) -> Result<Box<dyn Block>, ModelError> {
    let qkv = tensors.fused(&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"])?;
    let out = tensors.linear("self_attn.out_proj")?;
    Ok(Box::new(OptBlock {
        attention_norm: tensors.layer_norm("self_attn_layer_norm", config.eps)?,
        attention: Attention { qkv, out, heads: config.heads(), kv_heads: config.kv_heads() },
        ffn_norm: tensors.layer_norm("final_layer_norm", config.eps)?,
        fc1: tensors.linear("fc1")?,
        fc2: tensors.linear("fc2")?,
        norm_first: form.norm_first,
    }))
}

/// Lists the tensors outside the blocks: embeddings, projections, last norm and LM head.
pub fn client_specs(config: &Config, form: &OptForm) -> Specs {
    let (hidden, width, vocab) = (config.hidden(), form.embed_width, config.vocab());
    let mut specs = Specs::under("");
    specs.tokens("model.decoder.embed_tokens", vocab, width, config.tied);
    specs.embedding("model.decoder.embed_positions", config.shape.max_positions as usize + POSITION_OFFSET, hidden);
    if width != hidden {
        specs.linear("model.decoder.project_in", width, hidden, false);
        specs.linear("model.decoder.project_out", hidden, width, false);
    }
    if form.final_norm {
        specs.last_layer_norm("model.decoder.final_layer_norm", hidden);
    }
    if !config.tied {
        specs.embedding("lm_head", vocab, width);
    }
    specs
}

/// Builds the embedding and head from their loaded tensors.
pub fn ends(config: &Config, form: &OptForm, tensors: &mut Tensors) -> Result<Parts, ModelError> {
    let projected = form.embed_width != config.hidden();
    let mut project = |name| if projected { tensors.linear(name).map(Some) } else { Ok(None) };
    let (project_in, project_out) = (project("model.decoder.project_in")?, project("model.decoder.project_out")?);
    let table = tensors.plain("model.decoder.embed_positions.weight")?;
    let norm = "model.decoder.final_layer_norm";
    Ok(Parts {
        tokens: tensors.weight("model.decoder.embed_tokens")?,
        project_in,
        positions: Some(Learned { table, offset: POSITION_OFFSET }),
        first_norm: None,
        last_norm: if form.final_norm { Some(tensors.layer_norm(norm, config.eps)?) } else { None },
        project_out,
        head: if config.tied { None } else { Some(tensors.weight("lm_head")?) },
    })
}

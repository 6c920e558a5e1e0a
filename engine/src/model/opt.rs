//! OPT (Zhang et al. 2022): learned positions, biases, ReLU. As Hugging Face's `OPTForCausalLM` computes it.
use super::attention::{Step, attend, split_heads};
use super::cache::BlockCache;
use super::config::{Config, OptForm};
use super::error::ModelError;
use super::linear::{Activation, Linear, Weight};
use super::norm::LayerNorm;
use super::tensors::{Specs, Tensors};
use candle_core::{DType, Result, Tensor};

/// The table of positions begins with two rows that are never used.
const POSITION_OFFSET: usize = 2;

pub struct Block {
    attention_norm: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    ffn_norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    scale: f64,
    norm_first: bool,
}

/// The tensors of block `index`.
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

impl Block {
    pub fn load(config: &Config, form: &OptForm, tensors: &mut Tensors) -> std::result::Result<Block, ModelError> {
        Ok(Block {
            attention_norm: tensors.layer_norm("self_attn_layer_norm", config.eps)?,
            q: tensors.linear("self_attn.q_proj")?,
            k: tensors.linear("self_attn.k_proj")?,
            v: tensors.linear("self_attn.v_proj")?,
            out: tensors.linear("self_attn.out_proj")?,
            ffn_norm: tensors.layer_norm("final_layer_norm", config.eps)?,
            fc1: tensors.linear("fc1")?,
            fc2: tensors.linear("fc2")?,
            heads: config.heads(),
            scale: (config.head_dim() as f64).powf(-0.5),
            norm_first: form.norm_first,
        })
    }

    /// `x`: [batch, tokens, hidden] -> the same.
    pub fn forward(&self, x: &Tensor, cache: &mut BlockCache, step: &Step) -> Result<Tensor> {
        if self.norm_first {
            let x = (x + self.attention(&self.attention_norm.forward(x)?, cache, step)?)?;
            &x + self.feed_forward(&self.ffn_norm.forward(&x)?)?
        } else {
            let x = self.attention_norm.forward(&(x + self.attention(x, cache, step)?)?)?;
            self.ffn_norm.forward(&(&x + self.feed_forward(&x)?)?)
        }
    }

    fn attention(&self, x: &Tensor, cache: &mut BlockCache, step: &Step) -> Result<Tensor> {
        let q = (self.q.forward(x, Activation::Identity)? * self.scale)?;
        let k = self.k.forward(x, Activation::Identity)?;
        let v = self.v.forward(x, Activation::Identity)?;
        let [q, k, v] = [split_heads(&q, self.heads)?, split_heads(&k, self.heads)?, split_heads(&v, self.heads)?];
        self.out.forward(&attend(&q, &k, &v, cache, step)?, Activation::Identity)
    }

    fn feed_forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fc2.forward(&self.fc1.forward(x, Activation::Relu)?, Activation::Identity)
    }
}

/// Embedding, last norm and head.
pub struct Ends {
    tokens: Weight,
    positions: Tensor,
    project_in: Option<Linear>,
    project_out: Option<Linear>,
    norm: Option<LayerNorm>,
    head: Option<Weight>,
    compute: DType,
}

pub fn ends_specs(config: &Config, form: &OptForm) -> Specs {
    let (hidden, width, vocab) = (config.hidden(), form.embed_width, config.vocab());
    let mut specs = Specs::under("");
    specs.embedding("model.decoder.embed_tokens", vocab, width);
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

impl Ends {
    pub fn load(config: &Config, form: &OptForm, tensors: &mut Tensors) -> std::result::Result<Ends, ModelError> {
        let projected = form.embed_width != config.hidden();
        let project_in = if projected { Some(tensors.linear("model.decoder.project_in")?) } else { None };
        let project_out = if projected { Some(tensors.linear("model.decoder.project_out")?) } else { None };
        let norm = if form.final_norm {
            Some(tensors.layer_norm("model.decoder.final_layer_norm", config.eps)?)
        } else {
            None
        };
        Ok(Ends {
            tokens: tensors.weight("model.decoder.embed_tokens")?,
            positions: tensors.plain("model.decoder.embed_positions.weight")?,
            project_in,
            project_out,
            norm,
            head: if config.tied { None } else { Some(tensors.weight("lm_head")?) },
            compute: tensors.compute,
        })
    }

    /// `ids`: [batch, tokens] -> [batch, tokens, hidden].
    pub fn embed(&self, ids: &Tensor, position: usize) -> Result<Tensor> {
        let (batch, tokens) = ids.dims2()?;
        let x = self.tokens.rows(&ids.flatten_all()?, self.compute)?.reshape((batch, tokens, ()))?;
        let x = match &self.project_in {
            Some(project) => project.forward(&x, Activation::Identity)?,
            None => x,
        };
        x.broadcast_add(&self.positions.narrow(0, POSITION_OFFSET + position, tokens)?)
    }

    /// `x`: [rows, hidden] -> [rows, vocab].
    pub fn logits(&self, x: &Tensor) -> Result<Tensor> {
        let x = match &self.norm {
            Some(norm) => norm.forward(x)?,
            None => x.clone(),
        };
        let x = match &self.project_out {
            Some(project) => project.forward(&x, Activation::Identity)?,
            None => x,
        };
        self.head.as_ref().unwrap_or(&self.tokens).multiply(&x)
    }
}

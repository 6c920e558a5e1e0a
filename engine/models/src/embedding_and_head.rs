//! The part of the model that the client runs: the embedding before the first block, and the last norm and LM head
//! after the last block.
use super::config::Config;
use super::error::ModelError;
use super::finite::{check_finite, overflow};
use super::linear::{Activation, Linear, Weight};
use super::norm::Norm;
use super::source::Source;
use actors::message::NotFinite;
use candle_core::{DType, Device, Tensor};
use scenarios::shape::WeightType;

/// The embedding, last norm and LM head of a model, loaded on a device.
pub struct EmbeddingAndHead {
    config: Config,
    parts: Parts,
    device: Device,
    compute: DType,
}

/// The tensors outside the blocks for any architecture, in the order of their use.
pub struct Parts {
    pub tokens: Weight,
    pub project_in: Option<Linear>,
    pub positions: Option<Learned>,
    pub first_norm: Option<Norm>,
    pub last_norm: Option<Norm>,
    pub project_out: Option<Linear>,
    /// The LM head; `None` if the embedding `tokens` serves as the head too (tied).
    pub head: Option<Weight>,
}

/// A table of learned position embeddings. Its row `offset` belongs to position 0.
pub struct Learned {
    pub table: Tensor,
    pub offset: usize,
}

impl EmbeddingAndHead {
    /// Loads the embedding, the norms outside the blocks and the LM head, and no other tensors.
    ///
    /// # Errors
    /// If a tensor is missing, has the wrong shape or type, or cannot be read.
    pub fn load(source: &Source, weight_type: WeightType, device: &Device) -> Result<EmbeddingAndHead, ModelError> {
        let config = source.config().clone();
        let mut tensors = source.part(config.client_specs(), weight_type, device)?;
        let parts = config.ends(&mut tensors)?;
        Ok(EmbeddingAndHead { config, parts, device: device.clone(), compute: tensors.compute })
    }

    /// Returns the hidden states that enter the first block, `[batch, tokens, hidden]` in f32. `ids` are `[batch,
    /// tokens]` row by row, and their first tokens are at `position`.
    ///
    /// # Errors
    /// If the rows are empty or unequal, an id is outside the vocabulary, the positions exceed the position table, or a
    /// value is not finite.
    pub fn embed(&self, ids: &[u32], batch: usize, position: usize) -> Result<Tensor, ModelError> {
        let vocab = self.config.vocab();
        if batch == 0 || ids.is_empty() || !ids.len().is_multiple_of(batch) {
            return Err(ModelError::Input {
                found: vec![ids.len()],
                wanted: format!("ids for {batch} rows of equal length"),
            });
        }
        if let Some(id) = ids.iter().copied().find(|id| *id as usize >= vocab) {
            return Err(ModelError::Token { id, vocab });
        }
        let tokens = ids.len() / batch;
        let parts = &self.parts;
        let ids = Tensor::from_slice(ids, batch * tokens, &self.device)?;
        let mut x = parts.tokens.rows(&ids, self.compute)?.reshape((batch, tokens, ()))?;
        if let Some(project) = &parts.project_in {
            x = project.forward(&x, Activation::Identity)?;
        }
        if let Some(Learned { table, offset }) = &parts.positions {
            let capacity = table.dim(0)? - offset;
            if position + tokens > capacity {
                return Err(ModelError::Full { position, tokens, capacity });
            }
            x = x.broadcast_add(&table.narrow(0, offset + position, tokens)?)?;
        }
        if let Some(norm) = &parts.first_norm {
            x = norm.forward(&x).map_err(overflow(NotFinite::Embedding))?;
        }
        check_finite(&x, String::new).map_err(overflow(NotFinite::Embedding))?;
        Ok(x.to_dtype(DType::F32)?)
    }

    /// Returns the scores of the token that follows the last token of `x`. `x` is `[batch, tokens, hidden]`; the scores
    /// are `[batch, vocab]` in f32.
    ///
    /// # Errors
    /// If `x` has no tokens, if its hidden size differs from the model's, or if the norm overflows.
    pub fn logits(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let tokens = match *x.dims() {
            [_, tokens, hidden] if tokens > 0 && hidden == self.config.hidden() => tokens,
            _ => {
                let wanted = format!("[batch, tokens, {}]", self.config.hidden());
                return Err(ModelError::Input { found: x.dims().to_vec(), wanted });
            }
        };
        let parts = &self.parts;
        let mut x = x.narrow(1, tokens - 1, 1)?.squeeze(1)?.to_device(&self.device)?.to_dtype(self.compute)?;
        if let Some(norm) = &parts.last_norm {
            x = norm.forward(&x).map_err(overflow(NotFinite::Scores))?;
        }
        if let Some(project) = &parts.project_out {
            x = project.forward(&x, Activation::Identity)?;
        }
        let logits = parts.head.as_ref().unwrap_or(&parts.tokens).multiply(&x)?;
        Ok(logits.to_dtype(DType::F32)?)
    }
}

//! What the client runs itself: the embedding before the first block, and norm and head behind the last.
use super::config::Config;
use super::error::ModelError;
use super::finite::check_finite;
use super::linear::{Activation, Linear, Weight};
use super::norm::Norm;
use super::source::Source;
use candle_core::{DType, Device, Tensor};
use scenarios::shape::WeightType;

pub struct EmbeddingAndHead {
    config: Config,
    parts: Parts,
    device: Device,
    compute: DType,
}

/// What the ends of any architecture consist of, in the order in which it is passed.
pub struct Parts {
    pub tokens: Weight,
    pub project_in: Option<Linear>,
    pub positions: Option<Learned>,
    pub first_norm: Option<Norm>,
    pub last_norm: Option<Norm>,
    pub project_out: Option<Linear>,
    /// Where it is not `tokens` again.
    pub head: Option<Weight>,
}

/// Learned positions: that of token 0 is row `offset`.
pub struct Learned {
    pub table: Tensor,
    pub offset: usize,
}

impl EmbeddingAndHead {
    /// Reads the tensors outside the blocks, and no others.
    pub fn load(source: &Source, weight_type: WeightType, device: &Device) -> Result<EmbeddingAndHead, ModelError> {
        let config = source.config().clone();
        let mut tensors = source.part(config.ends_specs(), weight_type, device)?;
        let parts = config.ends(&mut tensors)?;
        Ok(EmbeddingAndHead { config, parts, device: device.clone(), compute: tensors.compute })
    }

    /// The hidden states that enter the first block, `[batch, tokens, hidden]` in f32, of `ids`, `[batch, tokens]` row
    /// by row, the first of which stand at `position`.
    pub fn embed(&self, ids: &[u32], batch: usize, position: usize) -> Result<Tensor, ModelError> {
        let vocab = self.config.vocab();
        if batch == 0 || ids.is_empty() || !ids.len().is_multiple_of(batch) {
            return Err(ModelError::Input { found: vec![ids.len()], wanted: format!("ids of {batch} equal rows") });
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
            x = norm.forward(&x)?;
        }
        check_finite(&x, || "hidden states of the embedding".to_owned())?;
        Ok(x.to_dtype(DType::F32)?)
    }

    /// The scores of the next token, `[batch, vocab]` in f32, after the last of `x`, `[batch, tokens, hidden]`.
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
            x = norm.forward(&x)?;
        }
        if let Some(project) = &parts.project_out {
            x = project.forward(&x, Activation::Identity)?;
        }
        let logits = parts.head.as_ref().unwrap_or(&parts.tokens).multiply(&x)?;
        Ok(logits.to_dtype(DType::F32)?)
    }
}

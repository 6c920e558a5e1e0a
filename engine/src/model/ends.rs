//! What the client runs itself: the embedding before the first block, and norm and head behind the last.
use super::config::{Config, Form};
use super::error::ModelError;
use super::opt;
use super::source::Source;
use super::tensors::Specs;
use candle_core::{DType, Device, Tensor};
use scenarios::shape::WeightType;

pub struct Ends {
    config: Config,
    parts: Parts,
    device: Device,
    compute: DType,
}

enum Parts {
    Opt(opt::Ends),
}

impl Ends {
    /// Reads the tensors outside the blocks, and no others.
    pub fn load(source: &Source, weight_type: WeightType, device: &Device) -> Result<Ends, ModelError> {
        let config = source.config().clone();
        let mut tensors = source.part(ends_specs(&config), weight_type, device)?;
        let parts = match &config.form {
            Form::Opt(form) => Parts::Opt(opt::Ends::load(&config, form, &mut tensors)?),
        };
        Ok(Ends { parts, device: device.clone(), compute: tensors.compute, config })
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
        let capacity = self.config.shape.max_positions as usize;
        if position + tokens > capacity {
            return Err(ModelError::Full { position, tokens, capacity });
        }
        let ids = Tensor::from_slice(ids, (batch, tokens), &self.device)?;
        let x = match &self.parts {
            Parts::Opt(ends) => ends.embed(&ids, position)?,
        };
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
        let last = x.narrow(1, tokens - 1, 1)?.squeeze(1)?.to_device(&self.device)?.to_dtype(self.compute)?;
        let logits = match &self.parts {
            Parts::Opt(ends) => ends.logits(&last)?,
        };
        Ok(logits.to_dtype(DType::F32)?)
    }
}

pub(super) fn ends_specs(config: &Config) -> Specs {
    match &config.form {
        Form::Opt(form) => opt::ends_specs(config, form),
    }
}

//! Consecutive blocks, loaded on a device: what a peer serves.
use super::attention::Step;
use super::block::Block;
use super::cache::Cache;
use super::config::Config;
use super::error::ModelError;
use super::linear::{Linear, Weight};
use super::position::Positions;
use super::source::Source;
use actors::id::BlockRange;
use candle_core::{DType, Device, Tensor};
use scenarios::shape::WeightType;

pub struct Span {
    config: Config,
    range: BlockRange,
    blocks: Vec<Box<dyn Block>>,
    compute: DType,
    device: Device,
}

impl Span {
    /// Reads the tensors of `blocks`, and no others, and holds their matrices as `weight_type`.
    pub fn load(
        source: &Source,
        blocks: BlockRange,
        weight_type: WeightType,
        device: &Device,
    ) -> Result<Span, ModelError> {
        let config = source.config().clone();
        let all = BlockRange { start: 0, end: config.shape.layers };
        if blocks.is_empty() || !within(blocks, all) {
            return Err(ModelError::Blocks { asked: blocks, held: all });
        }
        let load = |index| config.block(&mut source.part(config.block_specs(index), weight_type, device)?);
        let loaded = (blocks.start..blocks.end).map(load).collect::<Result<_, ModelError>>()?;
        Ok(Span {
            range: blocks,
            blocks: loaded,
            compute: compute_type(weight_type, device),
            device: device.clone(),
            config,
        })
    }

    /// Room for a session of `batch` rows of `max_length` tokens over `blocks`, all of the span or a part of it.
    pub fn cache(&self, blocks: BlockRange, batch: usize, max_length: usize) -> Result<Cache, ModelError> {
        if blocks.is_empty() || !within(blocks, self.range) {
            return Err(ModelError::Blocks { asked: blocks, held: self.range });
        }
        if batch == 0 || max_length == 0 {
            return Err(ModelError::Input {
                found: vec![batch, max_length],
                wanted: "a batch and a length".to_owned(),
            });
        }
        Ok(Cache::new(&self.config, blocks, batch, max_length, self.compute, &self.device)?)
    }

    /// Runs the cache's blocks on `x`, `[batch, tokens, hidden]` in f32, the hidden states of tokens `position..`; returns
    /// the same shape in f32. `position` must be what the cache holds; where it fails the cache is as before.
    pub fn forward(&self, cache: &mut Cache, position: usize, x: &Tensor) -> Result<Tensor, ModelError> {
        let (batch, tokens) = match *x.dims() {
            [batch, tokens, hidden] if hidden == self.config.hidden() => (batch, tokens),
            _ => {
                let wanted = format!("[batch, tokens, {}]", self.config.hidden());
                return Err(ModelError::Input { found: x.dims().to_vec(), wanted });
            }
        };
        cache.admit(position, batch, tokens)?;
        if !within(cache.range, self.range) {
            return Err(ModelError::Blocks { asked: cache.range, held: self.range });
        }
        let (dtype, device) = (self.compute, &self.device);
        let positions = Positions::new(&self.config, position, tokens, dtype, device)?;
        let step = Step::new(position, tokens, positions, dtype, device)?;
        let first = (cache.range.start - self.range.start) as usize;
        let mut x = x.to_device(&self.device)?.to_dtype(self.compute)?;
        for (block, kept) in self.blocks[first..].iter().zip(&mut cache.blocks) {
            x = block.forward(&x, kept, &step)?;
        }
        cache.length = position + tokens;
        Ok(x.to_dtype(DType::F32)?)
    }

    /// Weights that a step multiplies with, over all blocks of the span; norms and biases do not count.
    pub fn multiplied(&self) -> u64 {
        self.weights().map(|weight| weight.values() as u64).sum()
    }

    /// Bytes that these take as they are held, which a decode step reads.
    pub fn weight_bytes(&self) -> u64 {
        self.weights().map(|weight| weight.bytes() as u64).sum()
    }

    fn weights(&self) -> impl Iterator<Item = &Weight> {
        self.blocks.iter().flat_map(|block| block.matrices()).map(Linear::weight)
    }

    pub fn blocks(&self) -> BlockRange {
        self.range
    }
}

/// What activations are computed in: f32 on a CPU and around quantised weights, which want it; on a GPU the weights' own.
pub(super) fn compute_type(weight_type: WeightType, device: &Device) -> DType {
    match weight_type {
        WeightType::F16 if !device.is_cpu() => DType::F16,
        WeightType::Bf16 if !device.is_cpu() => DType::BF16,
        _ => DType::F32,
    }
}

fn within(part: BlockRange, whole: BlockRange) -> bool {
    whole.start <= part.start && part.end <= whole.end
}

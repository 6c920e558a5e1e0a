//! Consecutive blocks, loaded on a device: what a peer serves.
use super::attention::{Seat, Step};
use super::block::Block;
use super::cache::Cache;
use super::config::Config;
use super::error::ModelError;
use super::finite::check_finite;
use super::linear::{Linear, Weight};
use super::position::Positions;
use super::source::Source;
use actors::id::BlockRange;
use candle_core::{DType, Device, Tensor};
use scenarios::shape::WeightType;

/// One session's part of a pass.
pub struct Part<'a> {
    pub cache: &'a mut Cache,
    /// What the cache holds.
    pub position: usize,
    /// `[batch, tokens, hidden]` in f32.
    pub x: &'a Tensor,
}

pub struct BlockSpan {
    config: Config,
    range: BlockRange,
    blocks: Vec<Box<dyn Block>>,
    compute: DType,
    device: Device,
}

impl BlockSpan {
    /// Reads the tensors of `blocks`, and no others, and holds their matrices as `weight_type`.
    pub fn load(
        source: &Source,
        blocks: BlockRange,
        weight_type: WeightType,
        device: &Device,
    ) -> Result<BlockSpan, ModelError> {
        let config = source.config().clone();
        let all = BlockRange { start: 0, end: config.shape.layers };
        if blocks.is_empty() || !within(blocks, all) {
            return Err(ModelError::Blocks { asked: blocks, held: all });
        }
        let load = |index| config.block(&mut source.part(config.block_specs(index), weight_type, device)?);
        let loaded = (blocks.start..blocks.end).map(load).collect::<Result<_, ModelError>>()?;
        Ok(BlockSpan {
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
        let blocks = cache.range;
        let mut outputs = self.forward_batch(blocks, &mut [Part { cache, position, x }])?;
        outputs.pop().ok_or(ModelError::Blocks { asked: blocks, held: self.range })
    }

    /// Runs `blocks` on steps of several sessions at once, as [`BlockSpan::forward`] does for each: what multiplies is passed
    /// once for all of them, and each attends to its own cache. `blocks` are of every cache, and a cache that has more
    /// has taken a step in when its last block has. The outputs are in the order of `parts`.
    pub fn forward_batch(&self, blocks: BlockRange, parts: &mut [Part<'_>]) -> Result<Vec<Tensor>, ModelError> {
        let (dtype, device, hidden) = (self.compute, &self.device, self.config.hidden());
        if blocks.is_empty() || !within(blocks, self.range) {
            return Err(ModelError::Blocks { asked: blocks, held: self.range });
        }
        let (mut sizes, mut steps, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
        for Part { cache, position, x } in parts.iter() {
            let (batch, tokens) = match *x.dims() {
                [batch, tokens, width] if width == hidden => (batch, tokens),
                _ => {
                    let wanted = format!("[batch, tokens, {hidden}]");
                    return Err(ModelError::Input { found: x.dims().to_vec(), wanted });
                }
            };
            cache.admit(*position, batch, tokens)?;
            if !within(blocks, cache.range) {
                return Err(ModelError::Blocks { asked: blocks, held: cache.range });
            }
            let positions = Positions::new(&self.config, *position, tokens, dtype, device)?;
            check_finite(x, || format!("hidden states that came to block {}", blocks.start))?;
            steps.push(Step::new(*position, tokens, positions, dtype, device)?);
            sizes.push((batch, tokens));
            inputs.push(x.to_device(device)?.to_dtype(dtype)?);
        }
        let mut x = match inputs.as_slice() {
            [only] => only.clone(),
            several => {
                let rows = |x: &Tensor| x.reshape((1, (), hidden));
                Tensor::cat(&several.iter().map(rows).collect::<Result<Vec<_>, _>>()?, 1)?
            }
        };
        for index in blocks.start..blocks.end {
            let seats = parts.iter_mut().zip(&steps).zip(&sizes).map(|((part, step), &(batch, tokens))| Seat {
                cache: &mut part.cache.blocks[(index - part.cache.range.start) as usize],
                step,
                batch,
                tokens,
            });
            let block = &self.blocks[(index - self.range.start) as usize];
            x = block.forward(&x, &mut seats.collect::<Vec<_>>())?;
            // A GPU would have to wait for each block.
            if device.is_cpu() || index + 1 == blocks.end {
                check_finite(&x, || format!("hidden states after block {index}"))?;
            }
        }
        let x = x.to_dtype(DType::F32)?;
        let mut outputs = Vec::with_capacity(parts.len());
        let (mut first, alone) = (0, parts.len() == 1);
        for (part, &(batch, tokens)) in parts.iter_mut().zip(&sizes) {
            if blocks.end == part.cache.range.end {
                part.cache.length = part.position + tokens;
            }
            let rows = batch * tokens;
            let own = if alone { x.clone() } else { x.narrow(1, first, rows)?.reshape((batch, tokens, hidden))? };
            outputs.push(own);
            first += rows;
        }
        Ok(outputs)
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

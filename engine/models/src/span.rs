//! Consecutive blocks loaded on a device: the block range that a peer serves.
use super::attention::{BatchEntry, Step};
use super::block::Block;
use super::cache::Cache;
use super::config::Config;
use super::error::ModelError;
use super::finite::{check_finite, overflow};
use super::linear::{Linear, Weight};
use super::position::Positions;
use super::source::{Source, compute_type};
use actors::id::BlockRange;
use actors::message::NotFinite;
use candle_core::{DType, Device, Tensor};
use scenarios::shape::WeightType;

/// The input of one session to a batch that passes through blocks: its KV cache and its hidden states.
pub struct Part<'a> {
    pub cache: &'a mut Cache,
    /// The position of the first new token, which must be the number of tokens that the cache holds.
    pub position: usize,
    /// The hidden states, `[batch, tokens, hidden]` in f32.
    pub x: &'a Tensor,
}

/// A block range loaded on a device.
pub struct BlockSpan {
    config: Config,
    range: BlockRange,
    blocks: Vec<Box<dyn Block>>,
    compute: DType,
    device: Device,
}

impl BlockSpan {
    /// Loads the tensors of `blocks`, and no others, and stores their matrices as `weight_type`.
    ///
    /// # Errors
    /// If the model does not have the blocks, or a tensor cannot be read or converted.
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

    /// Allocates the KV cache of a session with `batch` rows of `max_length` tokens over `blocks`, which may be a part
    /// of the loaded range.
    ///
    /// # Errors
    /// If the blocks are not loaded, or the batch or the length is 0.
    pub fn cache(&self, blocks: BlockRange, batch: usize, max_length: usize) -> Result<Cache, ModelError> {
        if blocks.is_empty() || !within(blocks, self.range) {
            return Err(ModelError::Blocks { asked: blocks, held: self.range });
        }
        if batch == 0 || max_length == 0 {
            return Err(ModelError::Input {
                found: vec![batch, max_length],
                wanted: "a batch and a length above 0".to_owned(),
            });
        }
        Ok(Cache::new(&self.config, blocks, batch, max_length, self.compute, &self.device)?)
    }

    /// Runs the blocks of `cache` on `x`, the hidden states of the tokens from `position` on. Input and output are
    /// `[batch, tokens, hidden]` in f32. `position` must be the number of tokens in the cache.
    ///
    /// # Errors
    /// If the position, the shape or the capacity does not fit, or a value is not finite. The cache's length is then
    /// unchanged.
    pub fn forward(&self, cache: &mut Cache, position: usize, x: &Tensor) -> Result<Tensor, ModelError> {
        let blocks = cache.range;
        let mut outputs = self.forward_batch(blocks, &mut [Part { cache, position, x }])?;
        outputs.pop().ok_or(ModelError::Blocks { asked: blocks, held: self.range })
    }

    /// Runs `blocks` on steps of several sessions at once, with the results of [`BlockSpan::forward`] for each. Every
    /// matrix is read once for all sessions, and each session attends to its own cache. Every cache must contain
    /// `blocks`. If a cache contains more blocks, its length grows only when its last block has run. The outputs have
    /// the order of `parts`.
    ///
    /// # Errors
    /// As for [`BlockSpan::forward`]; one session's error fails the whole pass.
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
            check_finite(x, String::new).map_err(overflow(NotFinite::Before(blocks.start)))?;
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
            let entries = parts.iter_mut().zip(&steps).zip(&sizes).map(|((part, step), &(batch, tokens))| BatchEntry {
                cache: &mut part.cache.blocks[(index - part.cache.range.start) as usize],
                step,
                batch,
                tokens,
            });
            let block = &self.blocks[(index - self.range.start) as usize];
            x = block.forward(&x, &mut entries.collect::<Vec<_>>()).map_err(overflow(NotFinite::After(index)))?;
            // On a GPU each check waits for the result of the block, so only the result of the last block is checked.
            if device.is_cpu() || index + 1 == blocks.end {
                check_finite(&x, String::new).map_err(overflow(NotFinite::After(index)))?;
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

    /// The number of weights that a step multiplies with, over all loaded blocks; norms and biases are not counted.
    pub fn multiplied(&self) -> u64 {
        self.weights().map(|weight| weight.values() as u64).sum()
    }

    /// The bytes, as stored, of the weights that a decode step multiplies with and therefore reads.
    pub fn weight_bytes(&self) -> u64 {
        self.weights().map(|weight| weight.bytes() as u64).sum()
    }

    fn weights(&self) -> impl Iterator<Item = &Weight> {
        self.blocks.iter().flat_map(|block| block.matrices()).map(Linear::weight)
    }

    /// The loaded block range.
    pub fn blocks(&self) -> BlockRange {
        self.range
    }
}

fn within(part: BlockRange, whole: BlockRange) -> bool {
    whole.start <= part.start && part.end <= whole.end
}

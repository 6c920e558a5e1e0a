//! The KV cache of one session: allocated once for the session's whole length, and then written in place.
use super::config::Config;
use super::error::ModelError;
use actors::id::BlockRange;
use candle_core::{DType, Device, Result, Tensor};

/// The KV cache of one session for the blocks that the session uses, which are all or a part of a loaded block range.
pub struct Cache {
    pub(super) range: BlockRange,
    pub(super) blocks: Vec<BlockCache>,
    pub(super) length: usize,
    batch: usize,
    capacity: usize,
}

/// The keys and the values of one block, `[batch, kv_heads, capacity, head_dim]` each.
pub struct BlockCache {
    keys: Tensor,
    values: Tensor,
}

impl Cache {
    pub(super) fn new(
        config: &Config,
        range: BlockRange,
        batch: usize,
        capacity: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Cache> {
        let dims = (batch, config.kv_heads(), capacity, config.head_dim());
        let block = || {
            Ok(BlockCache { keys: Tensor::zeros(dims, dtype, device)?, values: Tensor::zeros(dims, dtype, device)? })
        };
        let blocks = (0..range.len()).map(|_| block()).collect::<Result<_>>()?;
        Ok(Cache { range, blocks, length: 0, batch, capacity })
    }

    /// The number of tokens that each row holds.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The number of tokens for which each row has space.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The number of bytes allocated.
    pub fn bytes(&self) -> u64 {
        let tensors = self.blocks.iter().flat_map(|block| [&block.keys, &block.values]);
        tensors.map(|tensor| (tensor.elem_count() * tensor.dtype().size_in_bytes()) as u64).sum()
    }

    /// The number of rows (sequences) of the session.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The blocks whose keys and values the cache holds.
    pub fn blocks(&self) -> BlockRange {
        self.range
    }

    /// Drops the tokens at position `length` and later, because a step is replayed or a speculated token was rejected.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Checks whether a step of `tokens` tokens for `batch` rows may be appended at `position`.
    ///
    /// # Errors
    /// If `position` is not the cache's length, the batch differs, there is no token, or the capacity is exceeded.
    pub(super) fn admit(&self, position: usize, batch: usize, tokens: usize) -> std::result::Result<(), ModelError> {
        if position != self.length {
            return Err(ModelError::Position { asked: position, held: self.length });
        }
        if batch != self.batch || tokens == 0 {
            let wanted = format!("a batch of {} rows and at least one token", self.batch);
            return Err(ModelError::Input { found: vec![batch, tokens], wanted });
        }
        if position + tokens > self.capacity {
            return Err(ModelError::Full { position, tokens, capacity: self.capacity });
        }
        Ok(())
    }
}

impl BlockCache {
    /// Writes `keys` and `values`, `[batch, kv_heads, tokens, head_dim]`, at `position`.
    pub fn append(&mut self, position: usize, keys: &Tensor, values: &Tensor) -> Result<()> {
        self.keys.slice_set(keys, 2, position)?;
        self.values.slice_set(values, 2, position)
    }

    /// Returns keys and values as allocated, `[batch, kv_heads, capacity, head_dim]`.
    pub fn all(&self) -> (&Tensor, &Tensor) {
        (&self.keys, &self.values)
    }

    /// Returns keys and values of the first `length` tokens, `[batch, kv_heads, length, head_dim]`.
    pub fn first(&self, length: usize) -> Result<(Tensor, Tensor)> {
        Ok((self.keys.narrow(2, 0, length)?, self.values.narrow(2, 0, length)?))
    }
}

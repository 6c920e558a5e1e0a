//! The interface of a decoder block, the same for every model family.
use super::attention::BatchEntry;
use super::error::ModelError;
use super::linear::Linear;
use candle_core::Tensor;

/// A decoder block.
pub trait Block: Send {
    /// Returns the block's matrices; a step multiplies by each of them once.
    fn matrices(&self) -> Vec<&Linear>;

    /// Maps `x` to an output of the same shape. With one entry `x` is [batch, tokens, hidden]; with several entries it
    /// is [1, all rows' tokens of all entries, hidden]. Appends the keys and values of `x` to the entries' caches.
    fn forward(&self, x: &Tensor, entries: &mut [BatchEntry<'_>]) -> Result<Tensor, ModelError>;
}

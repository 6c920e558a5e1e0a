//! One decoder block of any family.
use super::attention::BatchEntry;
use super::error::ModelError;
use super::linear::Linear;
use candle_core::Tensor;

/// A decoder block.
pub trait Block: Send {
    /// Returns the block's matrices; a step multiplies by each of them once.
    fn matrices(&self) -> Vec<&Linear>;

    /// Maps `x`, [batch, tokens, hidden] of one entry or [1, rows x tokens of all entries, hidden], to an output of the
    /// same shape. Appends the keys and values of `x` to the entries' caches.
    fn forward(&self, x: &Tensor, entries: &mut [BatchEntry<'_>]) -> Result<Tensor, ModelError>;
}

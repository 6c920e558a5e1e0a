//! One decoder block of any family.
use super::attention::Seat;
use super::error::ModelError;
use super::linear::Linear;
use candle_core::Tensor;

/// A decoder block.
pub trait Block: Send {
    /// Returns the matrices of the block; a step multiplies by each of them once.
    fn matrices(&self) -> Vec<&Linear>;

    /// Maps `x`, [batch, tokens, hidden] of a single seat or [1, rows x tokens of all seats, hidden], to an output of
    /// the same shape. Appends the keys and values of `x` to the seats' caches.
    fn forward(&self, x: &Tensor, seats: &mut [Seat<'_>]) -> Result<Tensor, ModelError>;
}

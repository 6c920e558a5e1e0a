//! From scores to tokens.
use candle_core::{D, Result, Tensor};

/// The best token of each row of `logits`, `[batch, vocab]`; of equals the first.
pub fn greedy(logits: &Tensor) -> Result<Vec<u32>> {
    logits.argmax(D::Minus1)?.to_vec1()
}

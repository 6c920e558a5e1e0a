//! Normalisation of hidden states over their last dimension.
use super::error::ModelError;
use super::finite::check_squares;
use candle_core::Tensor;

/// A norm with its parameters.
pub enum Norm {
    /// Layer norm (Ba, Kiros and Hinton 2016).
    Layer { weight: Tensor, bias: Tensor, eps: f32 },
    /// RMS norm (Zhang and Sennrich 2019).
    Rms { weight: Tensor, eps: f32 },
}

impl Norm {
    /// Normalises `x` over its last dimension.
    ///
    /// # Errors
    /// If the sum of the squares of a row is not finite.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let x = x.contiguous()?;
        check_squares(&x)?;
        Ok(match self {
            Norm::Layer { weight, bias, eps } => candle_nn::ops::layer_norm(&x, weight, bias, *eps)?,
            Norm::Rms { weight, eps } => candle_nn::ops::rms_norm(&x, weight, *eps)?,
        })
    }
}

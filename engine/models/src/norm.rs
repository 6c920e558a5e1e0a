//! Normalisation of hidden states over their last dimension.
use candle_core::{Result, Tensor};

/// A norm with its weights.
pub enum Norm {
    /// Layer norm (Ba, Kiros and Hinton 2016).
    Layer { weight: Tensor, bias: Tensor, eps: f32 },
    /// RMS norm (Zhang and Sennrich 2019).
    Rms { weight: Tensor, eps: f32 },
}

impl Norm {
    /// Normalises `x` over its last dimension.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.contiguous()?;
        match self {
            Norm::Layer { weight, bias, eps } => candle_nn::ops::layer_norm(&x, weight, bias, *eps),
            Norm::Rms { weight, eps } => candle_nn::ops::rms_norm(&x, weight, *eps),
        }
    }
}

//! Random weights from a seed. The values of a tensor depend only on the seed and on the tensor's name, dimensions and
//! kind, not on the machine or on other tensors.
//!
//! The distribution is uniform, with 16 bits per value. That gives enough levels for a weight, needs half as many
//! random bytes as 32 bits, and needs no transcendental function that could differ between machines.
use super::tensors::{Draw, TensorSpec};
use actors::seed::Seed;
use candle_core::{DType, Device, Result, Tensor};
use rand::Rng;

/// Generates the tensor of `spec` in f32 on the CPU, from the random stream with the tensor's name.
pub fn draw(seed: u64, spec: &TensorSpec) -> Result<Tensor> {
    let width = *spec.dims.last().unwrap_or(&1) as f64;
    let (mean, std) = match spec.draw {
        // This is the scale of LeCun et al. 1998. Attention scores then have a standard deviation near 1 at any width.
        Draw::Matrix => (0.0, 1.0 / width.sqrt()),
        Draw::Embedding => (0.0, 1.0),
        Draw::Scale => (1.0, 0.05),
        // With this scale, logits have a standard deviation near 1. With a tied head and only positive signs, the best
        // next token would nearly always be the last token again.
        Draw::LastScale => (0.0, 1.0 / width.sqrt()),
        Draw::Bias => (0.0, 0.02),
    };
    let mut bytes = vec![0; 2 * spec.values()];
    Seed(seed).stream(&spec.name, 0, 0).fill_bytes(&mut bytes);
    let steps = Tensor::from_raw_buffer(&bytes, DType::I16, &spec.dims, &Device::Cpu)?.to_dtype(DType::F32)?;
    // The 65536 values are -32768..=32767 plus a half; a uniform distribution of width w has std w / sqrt(12).
    let step = std * 12f64.sqrt() / 65536.0;
    steps.affine(step, mean + step / 2.0)
}

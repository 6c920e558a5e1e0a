//! Computes `y = activation(x W^T + b)`. With few rows of x, the limit is the speed of reading the weights; with many
//! rows, the speed of the multipliers.
mod few;
mod many;

use super::dot::multiply_add;
use super::exp::tanh;
use super::quantised::{Q4, Q8};
use super::simd::Simd;
use super::unit::Unit;
use crate::linear::Activation;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, bail};
use std::ops::Range;

/// The largest number of rows for which reading the weights dominates the time.
const FEW_ROWS: usize = 16;

/// The last steps of a linear layer, after the products: bias and activation.
#[derive(Clone, Copy)]
pub struct Finish<'a> {
    /// One bias value for each output, or `None`.
    pub bias: Option<&'a [f32]>,
    pub activation: Activation,
}

/// The candle op that multiplies `x`, [.., inputs] in f32, with `W`, [outputs, inputs] in f32, f16 or bf16, both
/// contiguous.
pub struct PlainLinear<'a>(pub Finish<'a>);

impl CustomOp2 for PlainLinear<'_> {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = wl.shape().dims2()?;
        let (x, shape) = self.0.rows(x, xl, outputs, inputs)?;
        let Some((start, end)) = wl.contiguous_offsets() else { bail!("linear layer: the weight must be contiguous") };
        let y = match w {
            CpuStorage::F32(w) => self.0.all(x, &w[start..end], outputs, inputs),
            CpuStorage::F16(w) => self.0.all(x, &w[start..end], outputs, inputs),
            CpuStorage::BF16(w) => self.0.all(x, &w[start..end], outputs, inputs),
            _ => bail!("linear layer: the weight must be of type f32, f16 or bf16"),
        };
        Ok((CpuStorage::F32(y), shape))
    }
}

/// The candle op that multiplies `x`, [.., inputs] in contiguous f32, with a quantised `W`, [outputs, inputs]. The
/// products use the decoded values of `W` in f32; `x` is not quantised.
pub struct QuantisedLinear<'a> {
    pub weight: &'a QTensor,
    pub finish: Finish<'a>,
}

impl QuantisedLinear<'_> {
    /// Whether there is a kernel for the quantised type. There is no kernel for Q4K, because candle's own product is
    /// faster: it rearranges Q4K weights in memory and multiplies integers.
    pub fn knows(dtype: GgmlDType) -> bool {
        matches!(dtype, GgmlDType::Q8_0 | GgmlDType::Q4_0)
    }
}

impl CustomOp1 for QuantisedLinear<'_> {
    fn name(&self) -> &'static str {
        "quantised-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = self.weight.shape().dims2()?;
        let (x, shape) = self.finish.rows(x, xl, outputs, inputs)?;
        let bytes = self.weight.data()?;
        let y = match self.weight.dtype() {
            GgmlDType::Q8_0 => self.finish.all::<Q8>(x, bytes.as_chunks().0, outputs, inputs),
            GgmlDType::Q4_0 => self.finish.all::<Q4>(x, bytes.as_chunks().0, outputs, inputs),
            other => bail!("linear layer: there is no kernel for weights of type {other:?}"),
        };
        Ok((CpuStorage::F32(y), shape))
    }
}

impl<'a> Finish<'a> {
    /// Returns the values of `x`, and the shape of the output.
    fn rows<'x>(
        &self,
        x: &'x CpuStorage,
        layout: &Layout,
        outputs: usize,
        inputs: usize,
    ) -> Result<(&'x [f32], Shape)> {
        let mut dims = layout.dims().to_vec();
        match dims.last_mut() {
            Some(last) if *last == inputs => *last = outputs,
            _ => bail!(
                "linear layer: the input of shape {:?} does not match the weight of shape {:?}",
                layout.dims(),
                [outputs, inputs]
            ),
        }
        if self.bias.is_some_and(|bias| bias.len() != outputs) {
            bail!("linear layer: the bias must have {outputs} values")
        }
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("linear layer: the input must be contiguous")
        };
        Ok((&x.as_slice::<f32>()?[start..end], dims.into()))
    }

    fn all<U: Unit>(self, x: &[f32], weights: &[U], outputs: usize, inputs: usize) -> Vec<f32> {
        if x.len() <= FEW_ROWS * inputs {
            few::all(x, weights, outputs, inputs, self)
        } else {
            many::all(x, weights, outputs, inputs, self)
        }
    }

    /// Restricts the bias to a range of outputs; the activation stays the same.
    fn of(self, outputs: Range<usize>) -> Finish<'a> {
        Finish { bias: self.bias.map(|bias| &bias[outputs]), ..self }
    }
}

#[inline(always)]
fn finish<S: Simd<LANES>, const LANES: usize>(activation: Activation, values: &mut [f32]) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => {
            for y in values.iter_mut() {
                // `max` would turn NaN into 0 and so hide an overflow; this comparison keeps NaN.
                *y = if *y < 0.0 { 0.0 } else { *y };
            }
        }
        Activation::GeluTanh => {
            for y in values.iter_mut() {
                *y = gelu(*y, S::FUSED);
            }
        }
    }
}

/// `fused` is a constant at each call, so the compiler removes the branch.
#[inline(always)]
fn gelu(x: f32, fused: bool) -> f32 {
    if fused { gelu_tanh::<true>(x) } else { gelu_tanh::<false>(x) }
}

/// GELU (Hendrycks and Gimpel 2016), with the tanh approximation that BLOOM uses.
#[inline(always)]
fn gelu_tanh<const FUSED: bool>(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    let inner = SQRT_2_OVER_PI * x * multiply_add::<FUSED>(0.044_715 * x, x, 1.0);
    0.5 * x * (1.0 + tanh::<FUSED>(inner))
}

#[cfg(test)]
mod tests {
    use super::{Activation, Finish, PlainLinear, QuantisedLinear};
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{DType, Device, Result, Tensor};
    use proptest::prelude::*;

    fn reference(x: &Tensor, w: &Tensor, bias: Option<&[f32]>, activation: Activation) -> Result<Tensor> {
        let y = x.matmul(&w.to_dtype(DType::F32)?.t()?)?;
        let y = match bias {
            Some(bias) => y.broadcast_add(&Tensor::new(bias, &Device::Cpu)?)?,
            None => y,
        };
        match activation {
            Activation::Identity => Ok(y),
            Activation::Relu => y.relu(),
            Activation::GeluTanh => y.gelu(),
        }
    }

    /// Checks that two results are equal within a few f32 rounding errors of a sum of `inputs` products.
    fn assert_agree(ours: Tensor, theirs: Tensor, inputs: usize, what: &str) {
        let error = (ours - theirs).and_then(|d| d.abs()?.max_all()?.to_scalar::<f32>()).expect("same shape");
        assert!(error < 1e-5 * (inputs as f32).sqrt().max(4.0), "{what}: {error}");
    }

    fn compare(rows: usize, inputs: usize, outputs: usize, dtype: DType, activation: Activation, biased: bool) {
        let noise = |dims: (usize, usize)| Tensor::randn(0f32, 1.0, dims, &Device::Cpu).expect("noise");
        let (x, w) = (noise((rows, inputs)), noise((outputs, inputs)).to_dtype(dtype).expect("a float type"));
        let bias: Vec<f32> = (0..outputs).map(|i| i as f32 / 50.0 - 0.5).collect();
        let bias = biased.then_some(bias.as_slice());
        let ours = x.apply_op2_no_bwd(&w, &PlainLinear(Finish { bias, activation })).expect("shapes go together");
        let theirs = reference(&x, &w, bias, activation).expect("shapes go together");
        assert_agree(ours, theirs, inputs, &format!("{rows} x {inputs} -> {outputs} in {dtype:?}, {activation:?}"));
    }

    #[test]
    fn it_is_a_matmul_with_bias_and_activation() {
        for (rows, inputs, outputs) in [(1, 64, 192), (3, 48, 33), (4, 100, 7), (9, 17, 64), (16, 256, 130), (1, 5, 1)]
        {
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                for activation in [Activation::Identity, Activation::Relu, Activation::GeluTanh] {
                    compare(rows, inputs, outputs, dtype, activation, true);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Most of the sizes are not multiples of the kernel's sizes: the rows of a panel, the inputs that are
        /// processed at a time, and the outputs of a tile and of a piece of work.
        #[test]
        fn many_rows_are_a_matmul_with_bias_and_activation(
            rows in 17usize..300,
            inputs in 1usize..700,
            outputs in 1usize..260,
            dtype in prop::sample::select(vec![DType::F32, DType::F16, DType::BF16]),
            activation in prop::sample::select(vec![Activation::Identity, Activation::Relu, Activation::GeluTanh]),
            biased: bool,
        ) {
            compare(rows, inputs, outputs, dtype, activation, biased);
        }
    }

    /// Compares the kernel with a matmul of the weights as candle decodes them.
    fn compare_quantised(rows: usize, inputs: usize, outputs: usize, dtype: GgmlDType, activation: Activation) {
        let noise = |dims: (usize, usize)| Tensor::randn(0f32, 1.0, dims, &Device::Cpu).expect("noise");
        let (x, w) =
            (noise((rows, inputs)), QTensor::quantize(&noise((outputs, inputs)), dtype).expect("whole blocks"));
        let bias: Vec<f32> = (0..outputs).map(|i| i as f32 / 50.0 - 0.5).collect();
        let bias = Some(bias.as_slice());
        let op = QuantisedLinear { weight: &w, finish: Finish { bias, activation } };
        let ours = x.apply_op1_no_bwd(&op).expect("shapes go together");
        let wide = w.dequantize(&Device::Cpu).expect("values");
        let theirs = reference(&x, &wide, bias, activation).expect("shapes go together");
        assert_agree(ours, theirs, inputs, &format!("{rows} x {inputs} -> {outputs} in {dtype:?}, {activation:?}"));
    }

    #[test]
    fn quantised_weights_are_multiplied_as_the_values_that_they_stand_for() {
        for (dtype, inputs) in [(GgmlDType::Q8_0, 96), (GgmlDType::Q4_0, 96), (GgmlDType::Q8_0, 288)] {
            for (rows, outputs) in [(1, 33), (3, 64), (4, 7), (9, 130), (16, 12), (17, 5), (70, 101)] {
                for activation in [Activation::Identity, Activation::Relu, Activation::GeluTanh] {
                    compare_quantised(rows, inputs, outputs, dtype, activation);
                }
            }
        }
    }
}

//! `y = activation(x W^T + b)` for a few rows of x: every weight is read once, by whichever thread comes to it.
use super::dispatch::{self, Kernel};
use super::dot::{Value, multiply_add, tile};
use super::exp::tanh;
use super::share;
use super::simd::Simd;
use crate::model::linear::Activation;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, bail};
use std::ops::Range;
use std::sync::Mutex;

/// From more rows on, a matmul that packs its operands is faster.
pub const SMALL_ROWS: usize = 16;

/// Outputs that a thread computes at a time: enough that handing them out costs nothing beside reading their weights.
const OUTPUTS: usize = 32;

/// The op of `x`, [.., inputs] in f32, and `W`, [outputs, inputs] in f32, f16 or bf16, both contiguous.
pub struct SmallLinear<'a> {
    /// As many as outputs, or nothing.
    pub bias: Option<&'a [f32]>,
    pub activation: Activation,
}

impl CustomOp2 for SmallLinear<'_> {
    fn name(&self) -> &'static str {
        "small-linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (outputs, inputs) = wl.shape().dims2()?;
        let mut dims = xl.dims().to_vec();
        match dims.last_mut() {
            Some(last) if *last == inputs => *last = outputs,
            _ => bail!("small-linear: x is {:?} and the weight {:?}", xl.dims(), wl.dims()),
        }
        if self.bias.is_some_and(|bias| bias.len() != outputs) {
            bail!("small-linear: the bias has not {outputs} values")
        }
        let (Some((x0, x1)), Some((w0, w1))) = (xl.contiguous_offsets(), wl.contiguous_offsets()) else {
            bail!("small-linear: x and the weight must be contiguous")
        };
        let x = &x.as_slice::<f32>()?[x0..x1];
        let y = match w {
            CpuStorage::F32(w) => self.all(x, &w[w0..w1], outputs, inputs),
            CpuStorage::F16(w) => self.all(x, &w[w0..w1], outputs, inputs),
            CpuStorage::BF16(w) => self.all(x, &w[w0..w1], outputs, inputs),
            _ => bail!("small-linear: weights are f32, f16 or bf16"),
        };
        Ok((CpuStorage::F32(y), dims.into()))
    }
}

impl SmallLinear<'_> {
    fn all<V: Value>(&self, x: &[f32], weights: &[V], outputs: usize, inputs: usize) -> Vec<f32> {
        let rows = x.len() / inputs;
        let y = Mutex::new(vec![0f32; rows * outputs]);
        share(outputs.div_ceil(OUTPUTS), weights.len(), |blocks| {
            let mut part = vec![0f32; rows * OUTPUTS];
            for block in blocks {
                let range = block * OUTPUTS..outputs.min((block + 1) * OUTPUTS);
                let weights = &weights[range.start * inputs..range.end * inputs];
                let bias = self.bias.map(|bias| &bias[range.clone()]);
                dispatch::run(Block { x, weights, inputs, bias, activation: self.activation, y: &mut part });
                // Held for as long as it takes to copy a few hundred bytes.
                put(&mut y.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), &part, range, outputs);
            }
        });
        y.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Copies `part`, [rows, OUTPUTS], to the columns `range` of `y`, [rows, outputs].
fn put(y: &mut [f32], part: &[f32], range: Range<usize>, outputs: usize) {
    for (to, from) in y.chunks_exact_mut(outputs).zip(part.chunks_exact(OUTPUTS)) {
        to[range.clone()].copy_from_slice(&from[..range.len()]);
    }
}

/// Some outputs for all rows of x.
struct Block<'a, V> {
    x: &'a [f32],
    weights: &'a [V],
    inputs: usize,
    bias: Option<&'a [f32]>,
    activation: Activation,
    /// [rows, OUTPUTS]
    y: &'a mut [f32],
}

impl<V: Value> Kernel for Block<'_, V> {
    #[inline(always)]
    fn run<S: Simd<LANES>, const LANES: usize>(self, simd: S) {
        let Block { x, weights, inputs, bias, activation, y } = self;
        let (rows, outputs) = (x.len() / inputs, weights.len() / inputs);
        let mut o = 0;
        while o < outputs {
            let mut m = 0;
            let step = if rows < 4 && o + 8 <= outputs {
                8
            } else if o + 4 <= outputs {
                4
            } else {
                1
            };
            if step == 4 {
                while m + 4 <= rows {
                    tiles::<S, V, LANES, 4, 4>(simd, x, weights, inputs, m, o, y);
                    m += 4;
                }
            }
            while m < rows {
                match step {
                    // Few inputs: more rows of weights at once hide what a short row costs at its end.
                    8 => tiles::<S, V, LANES, 8, 1>(simd, x, weights, inputs, m, o, y),
                    4 => tiles::<S, V, LANES, 4, 1>(simd, x, weights, inputs, m, o, y),
                    _ => tiles::<S, V, LANES, 1, 1>(simd, x, weights, inputs, m, o, y),
                }
                m += 1;
            }
            o += step;
        }
        for row in y.chunks_exact_mut(OUTPUTS) {
            let row = &mut row[..outputs];
            if let Some(bias) = bias {
                for (y, b) in row.iter_mut().zip(bias) {
                    *y += b;
                }
            }
            match activation {
                Activation::Identity => {}
                Activation::Relu => {
                    for y in row.iter_mut() {
                        *y = y.max(0.0);
                    }
                }
                Activation::GeluTanh => {
                    for y in row.iter_mut() {
                        *y = gelu(*y, S::FUSED);
                    }
                }
            }
        }
    }
}

/// Outputs `o..o + R` of rows `m..m + M`.
#[inline(always)]
fn tiles<S: Simd<LANES>, V: Value, const LANES: usize, const R: usize, const M: usize>(
    simd: S,
    x: &[f32],
    weights: &[V],
    inputs: usize,
    m: usize,
    o: usize,
    y: &mut [f32],
) {
    let mut rows: [&[V]; R] = [&[]; R];
    for r in 0..R {
        rows[r] = &weights[(o + r) * inputs..(o + r + 1) * inputs];
    }
    let mut xs: [&[f32]; M] = [&[]; M];
    for i in 0..M {
        xs[i] = &x[(m + i) * inputs..(m + i + 1) * inputs];
    }
    let sums = tile(simd, rows, xs);
    for r in 0..R {
        for i in 0..M {
            y[(m + i) * OUTPUTS + o + r] = sums[r][i];
        }
    }
}

/// Both forms are compiled; the branch on a constant is not.
#[inline(always)]
fn gelu(x: f32, fused: bool) -> f32 {
    if fused { gelu_tanh::<true>(x) } else { gelu_tanh::<false>(x) }
}

/// Hendrycks and Gimpel 2016, with the tanh that BLOOM has.
#[inline(always)]
fn gelu_tanh<const FUSED: bool>(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    let inner = SQRT_2_OVER_PI * x * multiply_add::<FUSED>(0.044_715 * x, x, 1.0);
    0.5 * x * (1.0 + tanh::<FUSED>(inner))
}

#[cfg(test)]
mod tests {
    use super::super::dispatch::{levels, run_at};
    use super::{Activation, Block, OUTPUTS, SmallLinear};
    use candle_core::{DType, Device, Result, Tensor};

    fn reference(x: &Tensor, w: &Tensor, bias: &[f32], activation: Activation) -> Result<Tensor> {
        let w = w.to_dtype(DType::F32)?;
        let y = x.matmul(&w.t()?)?.broadcast_add(&Tensor::new(bias, &Device::Cpu)?)?;
        match activation {
            Activation::Identity => Ok(y),
            Activation::Relu => y.relu(),
            Activation::GeluTanh => y.gelu(),
        }
    }

    #[test]
    fn it_is_a_matmul_with_bias_and_activation() {
        for (rows, inputs, outputs) in [(1, 64, 192), (3, 48, 33), (4, 100, 7), (9, 17, 64), (16, 256, 130), (1, 5, 1)]
        {
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                for activation in [Activation::Identity, Activation::Relu, Activation::GeluTanh] {
                    let noise = |dims: (usize, usize)| Tensor::randn(0f32, 1.0, dims, &Device::Cpu).expect("noise");
                    let (x, w) =
                        (noise((rows, inputs)), noise((outputs, inputs)).to_dtype(dtype).expect("a float type"));
                    let bias: Vec<f32> = (0..outputs).map(|i| i as f32 / 50.0 - 0.5).collect();
                    let op = SmallLinear { bias: Some(&bias), activation };
                    let ours = x.apply_op2_no_bwd(&w, &op).expect("shapes go together");
                    let theirs = reference(&x, &w, &bias, activation).expect("shapes go together");
                    let error =
                        (ours - theirs).and_then(|d| d.abs()?.max_all()?.to_scalar::<f32>()).expect("same shape");
                    assert!(error < 2e-4, "{rows} x {inputs} -> {outputs} in {dtype:?}, {activation:?}: {error}");
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_nearly_the_same() {
        let values = |seed: usize, count: usize| {
            (0..count).map(|i| ((i * 31 + seed * 17) % 23) as f32 / 23.0 - 0.5).collect::<Vec<f32>>()
        };
        let (x, weights) = (values(1, 5 * 70), values(2, 11 * 70));
        let run = |level| {
            let mut y = vec![0.0; 5 * OUTPUTS];
            run_at(
                level,
                Block { x: &x, weights: &weights, inputs: 70, bias: None, activation: Activation::GeluTanh, y: &mut y },
            );
            y
        };
        let first = run(levels()[0]);
        assert!(first.iter().any(|y| *y != 0.0));
        for level in levels() {
            for (a, b) in first.iter().zip(run(level)) {
                assert!((a - b).abs() < 1e-5, "{level:?}: {a} {b}");
            }
        }
    }
}

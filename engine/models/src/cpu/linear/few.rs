//! Linear layers with few rows of x: every weight is read once, by the thread that processes its output, and is
//! multiplied with all rows in registers.
use super::super::dispatch::{self, Kernel};
use super::super::share;
use super::super::simd::Simd;
use super::super::unit::Unit;
use super::{Finish, finish};
use std::ops::Range;
use std::sync::Mutex;

/// The number of outputs that a thread computes at a time. It is so large that reading the weights of the outputs takes
/// much longer than distributing the work.
const OUTPUTS: usize = 32;

/// Computes the output of a layer, [rows, outputs], from `x`, [rows, inputs], and `weights`, [outputs, inputs] in
/// units.
pub fn all<U: Unit>(x: &[f32], weights: &[U], outputs: usize, inputs: usize, last: Finish<'_>) -> Vec<f32> {
    let rows = x.len() / inputs;
    let y = Mutex::new(vec![0f32; rows * outputs]);
    share(outputs.div_ceil(OUTPUTS), outputs * inputs, |blocks| {
        let mut part = vec![0f32; rows * OUTPUTS];
        for block in blocks {
            let range = block * OUTPUTS..outputs.min((block + 1) * OUTPUTS);
            let weights = &weights[range.start * inputs / U::VALUES..range.end * inputs / U::VALUES];
            dispatch::run(Block { x, weights, inputs, last: last.of(range.clone()), y: &mut part });
            // The lock is held only while the outputs are copied.
            put(&mut y.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), &part, range, outputs);
        }
    });
    y.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Copies `part`, [rows, OUTPUTS], to the columns `range` of `y`, [rows, outputs].
fn put(y: &mut [f32], part: &[f32], range: Range<usize>, outputs: usize) {
    for (to, from) in y.chunks_exact_mut(outputs).zip(part.chunks_exact(OUTPUTS)) {
        to[range.clone()].copy_from_slice(&from[..range.len()]);
    }
}

/// A piece of work: a range of outputs for all rows of x.
struct Block<'a, U> {
    x: &'a [f32],
    weights: &'a [U],
    inputs: usize,
    last: Finish<'a>,
    /// The computed outputs, [rows, OUTPUTS].
    y: &'a mut [f32],
}

impl<U: Unit> Kernel for Block<'_, U> {
    #[inline(always)]
    fn run<S: Simd<LANES>, const LANES: usize>(self, simd: S) {
        let Block { x, weights, inputs, last, y } = self;
        let outputs = weights.len() * U::VALUES / inputs;
        match U::VALUES {
            1 => self::values(simd, x, weights, inputs, y),
            _ => self::blocks(simd, x, weights, inputs, y),
        }
        for row in y.chunks_exact_mut(OUTPUTS) {
            let row = &mut row[..outputs];
            if let Some(bias) = last.bias {
                for (y, b) in row.iter_mut().zip(bias) {
                    *y += b;
                }
            }
            finish::<S, LANES>(last.activation, row);
        }
    }
}

/// Multiplies weights that are plain values: each tile of weights is loaded once for four rows of x.
#[inline(always)]
fn values<S: Simd<LANES>, U: Unit, const LANES: usize>(
    simd: S,
    x: &[f32],
    weights: &[U],
    inputs: usize,
    y: &mut [f32],
) {
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
                tiles::<S, U, LANES, 4, 4>(simd, x, weights, inputs, m, o, y);
                m += 4;
            }
        }
        while m < rows {
            match step {
                // If the end of a weight row does not fill a register, it costs extra time. With fewer than four rows
                // of x, eight weight rows at a time hide this cost.
                8 => tiles::<S, U, LANES, 8, 1>(simd, x, weights, inputs, m, o, y),
                4 => tiles::<S, U, LANES, 4, 1>(simd, x, weights, inputs, m, o, y),
                _ => tiles::<S, U, LANES, 1, 1>(simd, x, weights, inputs, m, o, y),
            }
            m += 1;
        }
        o += step;
    }
}

/// Multiplies weights in blocks: decoding dominates the time, so each decoded block is multiplied with as many rows of
/// x as fit the registers.
#[inline(always)]
fn blocks<S: Simd<LANES>, U: Unit, const LANES: usize>(
    simd: S,
    x: &[f32],
    weights: &[U],
    inputs: usize,
    y: &mut [f32],
) {
    let (rows, outputs) = (x.len() / inputs, weights.len() * U::VALUES / inputs);
    let mut m = 0;
    while m < rows {
        let step = match rows - m {
            8.. => 8,
            4.. => 4,
            _ => 1,
        };
        let mut o = 0;
        while o < outputs {
            match step {
                8 => tiles::<S, U, LANES, 1, 8>(simd, x, weights, inputs, m, o, y),
                4 => tiles::<S, U, LANES, 1, 4>(simd, x, weights, inputs, m, o, y),
                _ if o + 2 <= outputs => {
                    tiles::<S, U, LANES, 2, 1>(simd, x, weights, inputs, m, o, y);
                    o += 1;
                }
                _ => tiles::<S, U, LANES, 1, 1>(simd, x, weights, inputs, m, o, y),
            }
            o += 1;
        }
        m += step;
    }
}

/// Computes outputs `o..o + R` for rows `m..m + M`.
#[inline(always)]
fn tiles<S: Simd<LANES>, U: Unit, const LANES: usize, const R: usize, const M: usize>(
    simd: S,
    x: &[f32],
    weights: &[U],
    inputs: usize,
    m: usize,
    o: usize,
    y: &mut [f32],
) {
    let mut rows: [&[U]; R] = [&[]; R];
    let units = inputs / U::VALUES;
    for r in 0..R {
        rows[r] = &weights[(o + r) * units..(o + r + 1) * units];
    }
    let mut xs: [&[f32]; M] = [&[]; M];
    for i in 0..M {
        xs[i] = &x[(m + i) * inputs..(m + i + 1) * inputs];
    }
    let sums = U::tile(simd, rows, xs);
    for r in 0..R {
        for i in 0..M {
            y[(m + i) * OUTPUTS + o + r] = sums[r][i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::dispatch::{levels, run_at};
    use super::super::Finish;
    use super::{Block, OUTPUTS};
    use crate::linear::Activation;

    #[test]
    fn every_instruction_set_gives_nearly_the_same() {
        let values = |seed: usize, count: usize| {
            (0..count).map(|i| ((i * 31 + seed * 17) % 23) as f32 / 23.0 - 0.5).collect::<Vec<f32>>()
        };
        let (x, weights) = (values(1, 5 * 70), values(2, 11 * 70));
        let run = |level| {
            let mut y = vec![0.0; 5 * OUTPUTS];
            let last = Finish { bias: None, activation: Activation::GeluTanh };
            run_at(level, Block { x: &x, weights: &weights, inputs: 70, last, y: &mut y });
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

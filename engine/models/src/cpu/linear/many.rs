//! Linear layers with many rows of x. The rows are packed side by side in panels, one row in each lane, and each weight
//! is broadcast over the lanes. The weights are widened to f32 one block of inputs at a time, into a scratch buffer
//! that stays in a core's cache.
use super::super::dispatch::{self, Kernel};
use super::super::panel::{self, Pair, VECTORS, add_rows, aligned, pairs, pairs_mut, room};
use super::super::share;
use super::super::simd::Simd;
use super::super::unit::Unit;
use super::{Finish, finish};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

/// The largest number of outputs of one piece of work. The widened weights from [`INPUTS`] inputs to this many outputs
/// fit half of a small second-level cache. The number is a multiple of every tile size.
const OUTPUTS: usize = 96;
/// The number of outputs of the largest tile. The size of a piece of work is a multiple of this number.
const TILE: usize = 12;
/// The number of inputs that are processed at a time. This many inputs of a panel and of the weights of a tile stay in
/// the first-level cache. The number is a multiple of the block size of every quantised type with a kernel.
const INPUTS: usize = 256;

/// Computes the output of a layer, [rows, outputs], from `x`, [rows, inputs], and `weights`, [outputs, inputs] in
/// units.
pub fn all<U: Unit>(x: &[f32], weights: &[U], outputs: usize, inputs: usize, last: Finish<'_>) -> Vec<f32> {
    let rows = x.len() / inputs;
    let mut packed = room(rows.next_multiple_of(VECTORS) * inputs);
    let packed = aligned(&mut packed);
    let places = packed.chunks_exact_mut(VECTORS * inputs).map(Mutex::new).collect::<Vec<_>>();
    share(places.len(), x.len(), |panels| {
        for (x, to) in x.chunks(VECTORS * inputs).zip(&places).take(panels.end).skip(panels.start) {
            dispatch::run(Pack { x, inputs, to: &mut lock(to) });
        }
    });
    let mut y = vec![0f32; rows * outputs];
    // Several threads write to `y` at once. A lock for each group of rows serialises the writes to these rows.
    let places = y.chunks_mut(VECTORS * outputs).map(Mutex::new).collect::<Vec<_>>();
    let piece = outputs.div_ceil(4 * candle_core::utils::get_num_threads()).next_multiple_of(TILE).min(OUTPUTS);
    share(outputs.div_ceil(piece), rows * outputs * inputs, |pieces| {
        let (mut wide, mut sums) = (room(piece * INPUTS), room(rows.next_multiple_of(VECTORS) * piece));
        for index in pieces {
            let range = index * piece..outputs.min((index + 1) * piece);
            let weights = &weights[range.start * inputs / U::VALUES..range.end * inputs / U::VALUES];
            let (wide, sums) = (aligned(&mut wide), aligned(&mut sums));
            dispatch::run(Multiply { packed, weights, inputs, piece, wide, sums });
            for (sums, y) in sums.chunks_exact_mut(VECTORS * piece).zip(&places) {
                let last = last.of(range.clone());
                dispatch::run(Put { sums, piece, last, outputs, y, columns: range.clone() });
            }
        }
    });
    drop(places);
    y
}

fn lock<'a, 'b>(place: &'a Mutex<&'b mut [f32]>) -> MutexGuard<'a, &'b mut [f32]> {
    place.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Packs up to [`VECTORS`] rows of x into panels.
struct Pack<'a> {
    x: &'a [f32],
    inputs: usize,
    to: &'a mut [f32],
}

impl Kernel for Pack<'_> {
    #[inline(always)]
    fn run<S: Simd<LANES>, const LANES: usize>(self, _: S) {
        let panels = self.to.chunks_exact_mut(2 * LANES * self.inputs);
        for (x, to) in self.x.chunks(2 * LANES * self.inputs).zip(panels) {
            panel::pack::<LANES>(x, 1.0, pairs_mut(to));
        }
    }
}

/// A piece of work: the products for a range of outputs and all rows of x.
struct Multiply<'a, U> {
    packed: &'a [f32],
    weights: &'a [U],
    inputs: usize,
    /// The number of outputs for which `wide` and `sums` have space.
    piece: usize,
    /// Scratch space for the widened weights, [piece, INPUTS].
    wide: &'a mut [f32],
    /// The sums: `piece` [`Pair`]s for each panel.
    sums: &'a mut [f32],
}

impl<U: Unit> Kernel for Multiply<'_, U> {
    #[inline(always)]
    fn run<S: Simd<LANES>, const LANES: usize>(self, simd: S) {
        let Multiply { packed, weights, inputs, piece, wide, sums } = self;
        let (units, outputs) = (inputs / U::VALUES, weights.len() * U::VALUES / inputs);
        sums.fill(0.0);
        let mut first = 0;
        while first < inputs {
            let count = INPUTS.min(inputs - first);
            let range = first / U::VALUES..(first + count) / U::VALUES;
            for (row, to) in weights.chunks_exact(units).zip(wide.chunks_exact_mut(INPUTS)) {
                U::widen(simd, &row[range.clone()], &mut to[..count]);
            }
            let panels = packed.chunks_exact(2 * LANES * inputs);
            for (panel, sums) in panels.zip(sums.chunks_exact_mut(2 * LANES * piece)) {
                let panel = &pairs::<LANES>(panel)[first..first + count];
                let sums = pairs_mut::<LANES>(sums);
                match S::TILE {
                    12 => tiles::<S, LANES, 12>(simd, wide, panel, sums, outputs),
                    6 => tiles::<S, LANES, 6>(simd, wide, panel, sums, outputs),
                    _ => tiles::<S, LANES, 2>(simd, wide, panel, sums, outputs),
                }
            }
            first += count;
        }
    }
}

/// Multiplies the weights with a panel, tile by tile. The last tile may have rows beyond `outputs`. The results of
/// these rows are ignored.
#[inline(always)]
fn tiles<S: Simd<LANES>, const LANES: usize, const R: usize>(
    simd: S,
    wide: &[f32],
    panel: &[Pair<LANES>],
    sums: &mut [Pair<LANES>],
    outputs: usize,
) {
    let mut o = 0;
    while o < outputs {
        let mut rows: [&[f32]; R] = [&[]; R];
        for r in 0..R {
            rows[r] = &wide[(o + r) * INPUTS..(o + r + 1) * INPUTS];
        }
        add_rows(simd, rows, panel, &mut sums[o..o + R]);
        o += R;
    }
}

/// Adds the bias to the sums of up to [`VECTORS`] rows, applies the activation, and copies the results to `y`.
struct Put<'a, 'b> {
    sums: &'a mut [f32],
    piece: usize,
    last: Finish<'a>,
    outputs: usize,
    y: &'a Mutex<&'b mut [f32]>,
    columns: Range<usize>,
}

impl Kernel for Put<'_, '_> {
    #[inline(always)]
    fn run<S: Simd<LANES>, const LANES: usize>(self, _: S) {
        let Put { sums, piece, last, outputs, y, columns } = self;
        if let Some(bias) = last.bias {
            for sums in pairs_mut::<LANES>(sums).chunks_exact_mut(piece) {
                for (pair, bias) in sums.iter_mut().zip(bias) {
                    for value in pair.as_flattened_mut() {
                        *value += bias;
                    }
                }
            }
        }
        finish::<S, LANES>(last.activation, sums);
        let mut y = lock(y);
        for (sums, y) in pairs::<LANES>(sums).chunks_exact(piece).zip(y.chunks_mut(2 * LANES * outputs)) {
            panel::unpack(sums, y.len() / outputs, y, columns.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::dispatch::{levels, run_at};
    use super::super::super::panel::VECTORS;
    use super::{INPUTS, Multiply, Pack, Put};
    use crate::cpu::linear::Finish;
    use crate::linear::Activation;
    use std::sync::Mutex;

    /// Sums of small whole numbers are exact in any order, so all instruction sets must give exactly the plain sum.
    #[test]
    fn every_instruction_set_gives_the_same() {
        let values = |seed: usize, count: usize| {
            (0..count).map(|i| ((i * 31 + seed * 17) % 23) as f32 - 11.0).collect::<Vec<f32>>()
        };
        let (rows, inputs, outputs, piece) = (29, INPUTS + 37, 19, 24);
        let (x, weights) = (values(1, rows * inputs), values(2, outputs * inputs));
        let dot = |r: usize, o: usize| (0..inputs).map(|i| x[r * inputs + i] * weights[o * inputs + i]).sum::<f32>();
        let plain: Vec<f32> = (0..rows * outputs).map(|i| dot(i / outputs, i % outputs)).collect();
        for level in levels() {
            let (mut packed, mut y) = (vec![0.0; VECTORS * inputs], vec![0.0; rows * outputs]);
            let (mut wide, mut sums) = (vec![0.0; piece * INPUTS], vec![0.0; VECTORS * piece]);
            run_at(level, Pack { x: &x, inputs, to: &mut packed });
            let (packed, weights) = (&packed[..], &weights[..]);
            run_at(level, Multiply { packed, weights, inputs, piece, wide: &mut wide, sums: &mut sums });
            let last = Finish { bias: None, activation: Activation::Identity };
            let place = Mutex::new(&mut y[..]);
            run_at(level, Put { sums: &mut sums, piece, last, outputs, y: &place, columns: 0..outputs });
            assert_eq!(y, plain, "{level:?}");
        }
    }
}

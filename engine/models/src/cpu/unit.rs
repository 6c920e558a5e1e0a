//! The units in which a matrix row is stored: single values in f32, f16 or bf16, or quantised blocks.
use super::dot::{self, Value};
use super::quantised::{Block, Sink};
use super::simd::Simd;

/// A unit of a stored matrix row: one value, or a block of several values.
pub trait Unit: Copy + Send + Sync {
    /// The number of values in the unit.
    const VALUES: usize;

    /// Decodes the values of `units` into `to` as f32.
    fn widen<S: Simd<LANES>, const LANES: usize>(simd: S, units: &[Self], to: &mut [f32]);

    /// Returns `sums[r][m] = rows[r] . xs[m]`. All rows have as many units as the first, and each of `xs` has as many
    /// values as a row.
    fn tile<S: Simd<LANES>, const LANES: usize, const R: usize, const M: usize>(
        simd: S,
        rows: [&[Self]; R],
        xs: [&[f32]; M],
    ) -> [[f32; M]; R];
}

impl<V: Value> Unit for V {
    const VALUES: usize = 1;

    #[inline(always)]
    fn widen<S: Simd<LANES>, const LANES: usize>(simd: S, units: &[V], to: &mut [f32]) {
        let (whole, rest) = units.as_chunks::<LANES>();
        let (whole_to, rest_to) = to.as_chunks_mut::<LANES>();
        for (from, to) in whole.iter().zip(whole_to) {
            simd.store(V::load(simd, from), to);
        }
        for (from, to) in rest.iter().zip(rest_to) {
            *to = from.widen();
        }
    }

    #[inline(always)]
    fn tile<S: Simd<LANES>, const LANES: usize, const R: usize, const M: usize>(
        simd: S,
        rows: [&[V]; R],
        xs: [&[f32]; M],
    ) -> [[f32; M]; R] {
        dot::tile(simd, rows, xs)
    }
}

/// Implements [`Unit`] for the byte array of each block format; no two formats have the same number of bytes.
macro_rules! blocks {
    ($($block:ty),*) => {$(
        impl Unit for $block {
            const VALUES: usize = <$block as Block>::COUNT;

            #[inline(always)]
            fn widen<S: Simd<LANES>, const LANES: usize>(simd: S, units: &[Self], to: &mut [f32]) {
                for (block, to) in units.iter().zip(to.chunks_exact_mut(Self::VALUES)) {
                    block.decode(simd, &mut Store(to));
                }
            }

            #[inline(always)]
            fn tile<S: Simd<LANES>, const LANES: usize, const R: usize, const M: usize>(
                simd: S,
                rows: [&[Self]; R],
                xs: [&[f32]; M],
            ) -> [[f32; M]; R] {
                // Each addition to a sum must wait for the previous addition to it. With one vector, each sum is
                // therefore split into four parts; with several vectors there are enough independent sums.
                match M {
                    1 => sum_blocks::<_, S, LANES, R, M, 4>(simd, rows, xs),
                    _ => sum_blocks::<_, S, LANES, R, M, 1>(simd, rows, xs),
                }
            }
        }
    )*};
}

blocks!(super::quantised::Q8, super::quantised::Q4);

/// Computes [`Unit::tile`] for blocks, with each sum split into `C` parts.
#[inline(always)]
fn sum_blocks<B: Block, S: Simd<LANES>, const LANES: usize, const R: usize, const M: usize, const C: usize>(
    simd: S,
    rows: [&[B]; R],
    xs: [&[f32]; M],
) -> [[f32; M]; R] {
    let mut sums = [[[simd.splat(0.0); M]; C]; R];
    let mut parts: [&[f32]; M] = [&[]; M];
    for at in 0..rows[0].len() {
        for m in 0..M {
            parts[m] = &xs[m][at * B::COUNT..(at + 1) * B::COUNT];
        }
        for r in 0..R {
            rows[r][at].decode(simd, &mut Dots { xs: parts, sums: &mut sums[r] });
        }
    }
    let mut whole = [[0f32; M]; R];
    for r in 0..R {
        for part in &sums[r] {
            for m in 0..M {
                whole[r][m] += simd.sum(part[m]);
            }
        }
    }
    whole
}

/// A sink that stores the decoded values in memory.
struct Store<'a>(&'a mut [f32]);

impl<S: Simd<LANES>, const LANES: usize> Sink<S, LANES> for Store<'_> {
    #[inline(always)]
    fn take(&mut self, simd: S, at: usize, values: S::F) {
        if let Some(to) = self.0[at..].first_chunk_mut() {
            simd.store(values, to);
        }
    }
}

/// A sink that multiplies the decoded values with the values of several vectors at the same indexes, and adds the
/// products to one sum for each vector.
struct Dots<'a, F, const M: usize, const C: usize> {
    xs: [&'a [f32]; M],
    sums: &'a mut [[F; M]; C],
}

impl<S: Simd<LANES>, const LANES: usize, const M: usize, const C: usize> Sink<S, LANES> for Dots<'_, S::F, M, C> {
    #[inline(always)]
    fn take(&mut self, simd: S, at: usize, values: S::F) {
        let sums = &mut self.sums[at / LANES % C];
        for (sum, x) in sums.iter_mut().zip(&self.xs) {
            if let Some(x) = x[at..].first_chunk() {
                *sum = simd.multiply_add(values, simd.load(x), *sum);
            }
        }
    }
}

//! What the rows of a matrix consist of as they are held: values of f32, f16 or bf16, or quantised blocks.
use super::dot::{self, Value};
use super::quantised::{Block, Sink};
use super::simd::Simd;

/// A value, or a block of several.
pub trait Unit: Copy + Send + Sync {
    /// How many.
    const VALUES: usize;

    /// `to` = the values of `units`.
    fn widen<S: Simd<LANES>, const LANES: usize>(simd: S, units: &[Self], to: &mut [f32]);

    /// `sums[r][m] = rows[r] . xs[m]`; all rows have the length of the first, and all of `xs` that of its values.
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

/// The bytes of a block, for each format: no two formats have as many.
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
                // A chain of sums waits for itself; several vectors are chains enough.
                match M {
                    1 => sum_blocks::<_, S, LANES, R, M, 4>(simd, rows, xs),
                    _ => sum_blocks::<_, S, LANES, R, M, 1>(simd, rows, xs),
                }
            }
        }
    )*};
}

blocks!(super::quantised::Q8, super::quantised::Q4);

/// [`Unit::tile`] of blocks, each sum in `C` parts.
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

/// Values go to memory.
struct Store<'a>(&'a mut [f32]);

impl<S: Simd<LANES>, const LANES: usize> Sink<S, LANES> for Store<'_> {
    #[inline(always)]
    fn take(&mut self, simd: S, at: usize, values: S::F) {
        if let Some(to) = self.0[at..].first_chunk_mut() {
            simd.store(values, to);
        }
    }
}

/// Values meet those of several vectors at the same places.
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

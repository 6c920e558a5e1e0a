//! Dot products of several rows with several vectors at once; each row is read once.
use super::simd::Simd;

/// A type of stored values that can be widened to f32.
pub trait Value: Copy + Send + Sync {
    fn widen(self) -> f32;
    fn load<S: Simd<LANES>, const LANES: usize>(simd: S, from: &[Self; LANES]) -> S::F;
}

impl Value for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn load<S: Simd<LANES>, const LANES: usize>(simd: S, from: &[f32; LANES]) -> S::F {
        simd.load(from)
    }
}

impl Value for half::bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn load<S: Simd<LANES>, const LANES: usize>(simd: S, from: &[half::bf16; LANES]) -> S::F {
        simd.load_bf16(from)
    }
}

impl Value for half::f16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }

    #[inline(always)]
    fn load<S: Simd<LANES>, const LANES: usize>(simd: S, from: &[half::f16; LANES]) -> S::F {
        simd.load_f16(from)
    }
}

/// Returns `a * b + c`, in one instruction if `FUSED`. On a processor without such an instruction, `f32::mul_add` would
/// be a slow function call.
#[inline(always)]
pub fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Returns `sums[r][m] = rows[r] . xs[m]`; all slices have the length of the first row.
#[inline(always)]
pub fn tile<S: Simd<LANES>, V: Value, const LANES: usize, const R: usize, const M: usize>(
    simd: S,
    rows: [&[V]; R],
    xs: [&[f32]; M],
) -> [[f32; M]; R] {
    let length = rows[0].len();
    let whole = length / LANES;
    // All slices get one length that the compiler knows, so that the loop checks one index only.
    let mut row_chunks: [&[[V; LANES]]; R] = [&[]; R];
    for r in 0..R {
        row_chunks[r] = &rows[r].as_chunks::<LANES>().0[..whole];
    }
    let mut x_chunks: [&[[f32; LANES]]; M] = [&[]; M];
    for m in 0..M {
        x_chunks[m] = &xs[m].as_chunks::<LANES>().0[..whole];
    }
    let mut lanes = [[simd.splat(0.0); M]; R];
    for c in 0..whole {
        let mut x = [simd.splat(0.0); M];
        for m in 0..M {
            x[m] = simd.load(&x_chunks[m][c]);
        }
        for r in 0..R {
            let row = V::load(simd, &row_chunks[r][c]);
            for m in 0..M {
                lanes[r][m] = simd.multiply_add(row, x[m], lanes[r][m]);
            }
        }
    }
    let mut sums = [[0f32; M]; R];
    for r in 0..R {
        for m in 0..M {
            sums[r][m] = simd.sum(lanes[r][m]);
            for i in whole * LANES..length {
                sums[r][m] += rows[r][i].widen() * xs[m][i];
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::super::dispatch::{Kernel, levels, run_at};
    use super::super::simd::Simd;
    use super::{Value, tile};
    use half::{bf16, f16};

    struct Tile<'a, V>([&'a [V]; 2], [&'a [f32]; 2], &'a mut [[f32; 2]; 2]);

    impl<V: Value> Kernel for Tile<'_, V> {
        #[inline(always)]
        fn run<S: Simd<LANES>, const LANES: usize>(self, simd: S) {
            *self.2 = tile(simd, self.0, self.1);
        }
    }

    #[test]
    fn tiles_are_dot_products_at_any_length_and_type() {
        for length in [0, 1, 7, 8, 16, 17, 31, 64, 100] {
            // Small whole numbers are exact in every type, and their sums in every order.
            let vector =
                |seed: usize| (0..length).map(|i| ((i * 7 + seed * 13) % 11) as f32 - 5.0).collect::<Vec<f32>>();
            let (a, b, x, y) = (vector(1), vector(2), vector(3), vector(4));
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let want = [[dot(&a, &x), dot(&a, &y)], [dot(&b, &x), dot(&b, &y)]];
            let short = [&a, &b].map(|row| row.iter().map(|v| f16::from_f32(*v)).collect::<Vec<f16>>());
            let brain = [&a, &b].map(|row| row.iter().map(|v| bf16::from_f32(*v)).collect::<Vec<bf16>>());
            for level in levels() {
                let mut got = [[[f32::NAN; 2]; 2]; 3];
                let xs = [&x[..], &y];
                let [plain, halves, brains] = &mut got;
                run_at(level, Tile([&a[..], &b], xs, plain));
                run_at(level, Tile([&short[0][..], &short[1]], xs, halves));
                run_at(level, Tile([&brain[0][..], &brain[1]], xs, brains));
                assert_eq!(got, [want; 3], "{level:?} at {length}");
            }
        }
    }
}

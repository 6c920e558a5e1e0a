//! Dot products of several rows with several vectors at once, each row read once.

/// A held value that widens to f32.
pub trait Value: Copy + Send + Sync {
    fn widen(self) -> f32;
}

impl Value for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Value for half::bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Value for half::f16 {
    /// Without `half`'s branches, so that it vectorises: the exponent is rebased by a multiplication, which normalises
    /// subnormals as well; infinities and NaNs get their exponent back.
    #[inline(always)]
    fn widen(self) -> f32 {
        let bits = u32::from(self.to_bits());
        let magnitude = (bits & 0x7fff) << 13;
        let rebased = (f32::from_bits(magnitude) * f32::from_bits(0x7780_0000)).to_bits(); // 2^112
        let special = if magnitude >= 0x0f80_0000 { 0x7f80_0000 } else { 0 };
        f32::from_bits(rebased | special | (bits & 0x8000) << 16)
    }
}

/// `a * b + c`, in one instruction where there is one; without it `mul_add` is a slow call.
#[inline(always)]
pub fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `sums[r][m] = rows[r] . xs[m]`; all slices have the length of the first row.
#[inline(always)]
pub fn tile<V: Value, const LANES: usize, const FUSED: bool, const R: usize, const M: usize>(
    rows: [&[V]; R],
    xs: [&[f32]; M],
) -> [[f32; M]; R] {
    let length = rows[0].len();
    let whole = length / LANES;
    // Slices of one known length, so that no index is checked in the loop.
    let mut row_chunks: [&[[V; LANES]]; R] = [&[]; R];
    for r in 0..R {
        row_chunks[r] = &rows[r].as_chunks::<LANES>().0[..whole];
    }
    let mut x_chunks: [&[[f32; LANES]]; M] = [&[]; M];
    for m in 0..M {
        x_chunks[m] = &xs[m].as_chunks::<LANES>().0[..whole];
    }
    let mut lanes = [[[0f32; LANES]; M]; R];
    for c in 0..whole {
        for r in 0..R {
            let row = &row_chunks[r][c];
            let mut wide = [0f32; LANES];
            for l in 0..LANES {
                wide[l] = row[l].widen();
            }
            for m in 0..M {
                let x = &x_chunks[m][c];
                for l in 0..LANES {
                    lanes[r][m][l] = multiply_add::<FUSED>(wide[l], x[l], lanes[r][m][l]);
                }
            }
        }
    }
    let mut sums = [[0f32; M]; R];
    for r in 0..R {
        for m in 0..M {
            let mut sum = fold(lanes[r][m]);
            for i in whole * LANES..length {
                sum = multiply_add::<FUSED>(rows[r][i].widen(), xs[m][i], sum);
            }
            sums[r][m] = sum;
        }
    }
    sums
}

/// The sum of all lanes, halves onto halves, as vector registers add them.
#[inline(always)]
pub fn fold<const LANES: usize>(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::{Value, tile};
    use half::{bf16, f16};

    #[test]
    fn every_half_widens_as_the_half_crate_does() {
        for bits in 0..=u16::MAX {
            let same = |ours: f32, theirs: f32| ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan();
            let (short, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            assert!(same(short.widen(), short.to_f32()), "f16 {bits:#x}: {} {}", short.widen(), short.to_f32());
            assert!(same(brain.widen(), brain.to_f32()), "bf16 {bits:#x}");
        }
    }

    #[test]
    fn tiles_are_dot_products_at_any_length() {
        for length in [0, 1, 7, 8, 16, 17, 31, 64, 100] {
            let vector =
                |seed: usize| (0..length).map(|i| ((i * 7 + seed * 13) % 11) as f32 - 5.0).collect::<Vec<f32>>();
            let (a, b, x, y) = (vector(1), vector(2), vector(3), vector(4));
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let want = [[dot(&a, &x), dot(&a, &y)], [dot(&b, &x), dot(&b, &y)]];
            assert_eq!(tile::<f32, 16, false, 2, 2>([&a, &b], [&x, &y]), want);
            assert_eq!(tile::<f32, 8, true, 2, 2>([&a, &b], [&x, &y]), want);
        }
    }
}

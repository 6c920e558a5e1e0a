//! Dot products of many vectors with many other vectors. The vectors of one set are packed side by side in a panel, one
//! vector in each lane, and each value of the other set is broadcast over the lanes. A tile of sums fills the
//! registers, and no values are added across lanes.
use super::simd::Simd;
use std::ops::Range;

/// The values at one index of up to `2 * LANES` vectors, in two registers with one lane for each vector.
pub type Pair<const LANES: usize> = [[f32; LANES]; 2];

/// The number of vectors that are packed together. With registers of 16 lanes they fill one panel, with 8 lanes two.
pub const VECTORS: usize = 32;

/// Allocates a buffer for `values` values, with spare space so that the part from [`aligned`] can begin at a cache
/// line.
pub fn room(values: usize) -> Vec<f32> {
    vec![0.0; values + LINE]
}

/// The number of f32 values in a cache line.
const LINE: usize = 16;

/// Returns the part of a buffer from [`room()`] that begins at a cache line and has the requested length. A load of a
/// register from two cache lines would be slow.
pub fn aligned(room: &mut [f32]) -> &mut [f32] {
    let skip = room.as_ptr().align_offset(size_of::<[f32; LINE]>());
    let end = room.len() - LINE;
    let skip = if skip < LINE { skip } else { 0 };
    &mut room[skip..skip + end]
}

/// Returns the values as pairs of registers, without values at the end that do not fill a pair.
#[inline(always)]
pub fn pairs<const LANES: usize>(values: &[f32]) -> &[Pair<LANES>] {
    values.as_chunks::<LANES>().0.as_chunks::<2>().0
}

/// Returns the values as mutable pairs of registers, without values at the end that do not fill a pair.
#[inline(always)]
pub fn pairs_mut<const LANES: usize>(values: &mut [f32]) -> &mut [Pair<LANES>] {
    values.as_chunks_mut::<LANES>().0.as_chunks_mut::<2>().0
}

/// Sets lane `v` of `panel[i]` to `factor * x[v][i]`. `x` is [vectors, length], with at most as many vectors as a pair
/// has lanes. Lanes without a vector are unchanged.
#[inline(always)]
pub fn pack<const LANES: usize>(x: &[f32], factor: f32, panel: &mut [Pair<LANES>]) {
    let length = panel.len();
    for (v, x) in x.chunks_exact(length).enumerate() {
        let (half, lane) = (v / LANES, v % LANES);
        for (pair, value) in panel.iter_mut().zip(x) {
            pair[half][lane] = value * factor;
        }
    }
}

/// Copies the first `columns.len()` pairs of `sums` to the columns `columns` of `y`, [vectors, width]: lane `v` of the
/// pairs goes to row `v`.
#[inline(always)]
pub fn unpack<const LANES: usize>(sums: &[Pair<LANES>], vectors: usize, y: &mut [f32], columns: Range<usize>) {
    let width = y.len() / vectors;
    for (v, y) in y.chunks_exact_mut(width).enumerate() {
        let (half, lane) = (v / LANES, v % LANES);
        for (y, pair) in y[columns.clone()].iter_mut().zip(sums) {
            *y = pair[half][lane];
        }
    }
}

/// Adds to `sums[r]` the dot products of `rows[r]` with each vector of the panel. The rows are as long as the panel.
#[inline(always)]
pub fn add_rows<S: Simd<LANES>, const LANES: usize, const R: usize>(
    simd: S,
    rows: [&[f32]; R],
    panel: &[Pair<LANES>],
    sums: &mut [Pair<LANES>],
) {
    let length = panel.len();
    let mut equal: [&[f32]; R] = [&[]; R];
    for r in 0..R {
        equal[r] = &rows[r][..length];
    }
    let mut tile = load::<S, LANES, R>(simd, sums);
    for i in 0..length {
        let x = [simd.load(&panel[i][0]), simd.load(&panel[i][1])];
        for r in 0..R {
            let value = simd.splat(equal[r][i]);
            tile[r][0] = simd.multiply_add(value, x[0], tile[r][0]);
            tile[r][1] = simd.multiply_add(value, x[1], tile[r][1]);
        }
    }
    store(simd, tile, sums);
}

/// Adds to `sums[r]` the dot products of the column `first + r` of `columns` with each vector of the panel. `columns`
/// is [length of the panel, width].
#[inline(always)]
pub fn add_columns<S: Simd<LANES>, const LANES: usize, const R: usize>(
    simd: S,
    columns: &[f32],
    width: usize,
    first: usize,
    panel: &[Pair<LANES>],
    sums: &mut [Pair<LANES>],
) {
    let mut tile = load::<S, LANES, R>(simd, sums);
    for (pair, values) in panel.iter().zip(columns.chunks_exact(width)) {
        let x = [simd.load(&pair[0]), simd.load(&pair[1])];
        let values = &values[first..first + R];
        for r in 0..R {
            let value = simd.splat(values[r]);
            tile[r][0] = simd.multiply_add(value, x[0], tile[r][0]);
            tile[r][1] = simd.multiply_add(value, x[1], tile[r][1]);
        }
    }
    store(simd, tile, sums);
}

#[inline(always)]
fn load<S: Simd<LANES>, const LANES: usize, const R: usize>(simd: S, sums: &[Pair<LANES>]) -> [[S::F; 2]; R] {
    let sums = &sums[..R];
    let mut tile = [[simd.splat(0.0); 2]; R];
    for r in 0..R {
        tile[r] = [simd.load(&sums[r][0]), simd.load(&sums[r][1])];
    }
    tile
}

#[inline(always)]
fn store<S: Simd<LANES>, const LANES: usize, const R: usize>(simd: S, tile: [[S::F; 2]; R], sums: &mut [Pair<LANES>]) {
    let sums = &mut sums[..R];
    for r in 0..R {
        simd.store(tile[r][0], &mut sums[r][0]);
        simd.store(tile[r][1], &mut sums[r][1]);
    }
}

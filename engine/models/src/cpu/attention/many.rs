//! Attention with many queries, one query in each lane of a panel. The panel of queries is multiplied with the keys,
//! softmax is computed for each lane, and the resulting panel of weights is multiplied with the values.
use super::super::dispatch::{self, Kernel};
use super::super::exp::exp;
use super::super::panel::{self, Pair, VECTORS, add_columns, add_rows, aligned, pairs_mut, room};
use super::super::share;
use super::super::simd::Simd;
use super::{Attend, Sizes};
use std::sync::Mutex;

/// The values of this many keys are weighted and added at a time. The weights of so many keys stay in the first-level
/// cache.
const KEYS: usize = 256;

impl Attend<'_> {
    /// Computes the same as [`Attend::few`]. One piece of work has up to [`VECTORS`] queries of one head.
    pub(super) fn many(&self, q: &[f32], k: &[f32], v: &[f32], batch: usize, sizes: &Sizes) -> Vec<f32> {
        let &Sizes { heads, kv_heads, tokens, capacity, head_dim } = sizes;
        let (width, held) = (heads * head_dim, capacity * head_dim);
        let mut y = vec![0f32; batch * tokens * width];
        let places = y.chunks_mut(tokens * width).flat_map(|row| row.chunks_mut(VECTORS * width));
        let places = places.map(Mutex::new).collect::<Vec<_>>();
        let (parts, rows) = (tokens.div_ceil(VECTORS), batch * heads);
        let multiplied = 2 * rows * tokens * (self.position + tokens) * head_dim;
        share(parts * rows, multiplied, |pieces| {
            let mut panel = room(head_dim * VECTORS);
            let mut scores = room((self.position + tokens) * VECTORS);
            let mut mixed = room(head_dim * VECTORS);
            let mut part = vec![0f32; VECTORS * head_dim];
            for piece in pieces {
                // The last queries attend to the most keys. Their pieces are processed first, so that only short pieces
                // are left when the first thread runs out of work.
                let (index, row, head) = (parts - 1 - piece / rows, piece % rows / heads, piece % rows % heads);
                let (first, kv) = (index * VECTORS, row * kv_heads + head / (heads / kv_heads));
                let count = VECTORS.min(tokens - first);
                dispatch::run(Piece {
                    q: &q[((row * heads + head) * tokens + first) * head_dim..][..count * head_dim],
                    k: &k[kv * held..(kv + 1) * held],
                    v: &v[kv * held..(kv + 1) * held],
                    slope: self.slopes.map_or(0.0, |slopes| slopes[head]),
                    position: self.position + first,
                    scale: self.scale,
                    head_dim,
                    panel: aligned(&mut panel),
                    scores: aligned(&mut scores),
                    mixed: aligned(&mut mixed),
                    y: &mut part[..count * head_dim],
                });
                let mut y = places[row * parts + index].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                for (y, from) in y.chunks_exact_mut(width).zip(part.chunks_exact(head_dim)) {
                    y[head * head_dim..(head + 1) * head_dim].copy_from_slice(from);
                }
            }
        });
        drop(places);
        y
    }
}

/// A piece of work: up to [`VECTORS`] successive queries of one head.
pub(super) struct Piece<'a> {
    /// The queries, [queries, head_dim], at most [`VECTORS`] queries.
    pub q: &'a [f32],
    /// The cached keys, [capacity, head_dim].
    pub k: &'a [f32],
    /// The cached values, [capacity, head_dim].
    pub v: &'a [f32],
    pub slope: f32,
    /// The position of the first query.
    pub position: usize,
    pub scale: f32,
    pub head_dim: usize,
    /// Scratch space for the packed queries: `head_dim` [`Pair`]s.
    pub panel: &'a mut [f32],
    /// Scratch space for the scores of the queries: one [`Pair`] for each key.
    pub scores: &'a mut [f32],
    /// Scratch space for the packed output: `head_dim` [`Pair`]s.
    pub mixed: &'a mut [f32],
    /// The output, [queries, head_dim].
    pub y: &'a mut [f32],
}

impl Kernel for Piece<'_> {
    #[inline(always)]
    fn run<S: Simd<LANES>, const LANES: usize>(self, simd: S) {
        let Piece { q, k, v, slope, position, scale, head_dim, panel, scores, mixed, y } = self;
        let panel = &mut pairs_mut::<LANES>(panel)[..head_dim];
        let mixed = &mut pairs_mut::<LANES>(mixed)[..head_dim];
        let mut position = position;
        let chunk = 2 * LANES * head_dim;
        for (q, y) in q.chunks(chunk).zip(y.chunks_mut(chunk)) {
            let queries = q.len() / head_dim;
            let seen = position + queries;
            panel::pack(q, scale, panel);
            let scores = &mut pairs_mut::<LANES>(scores)[..seen];
            score(simd, &k[..seen * head_dim], panel, scores);
            bias(scores, slope, position);
            let sums = exponentiate::<S, LANES>(scores);
            mix(simd, &v[..seen * head_dim], scores, mixed);
            for pair in mixed.iter_mut() {
                for half in 0..2 {
                    for lane in 0..LANES {
                        pair[half][lane] /= sums[half][lane];
                    }
                }
            }
            panel::unpack(mixed, queries, y, 0..head_dim);
            position += queries;
        }
    }
}

/// Computes `scores[i] = k[i] . panel`, the dot products of key `i` with each query.
#[inline(always)]
fn score<S: Simd<LANES>, const LANES: usize>(simd: S, k: &[f32], panel: &[Pair<LANES>], scores: &mut [Pair<LANES>]) {
    scores.as_flattened_mut().as_flattened_mut().fill(0.0);
    let i = match S::TILE {
        12 => score_by::<S, LANES, 12>(simd, k, panel, scores, 0),
        6 => score_by::<S, LANES, 6>(simd, k, panel, scores, 0),
        _ => score_by::<S, LANES, 2>(simd, k, panel, scores, 0),
    };
    score_by::<S, LANES, 1>(simd, k, panel, scores, i);
}

/// Computes the scores of the keys from `i` on, `R` keys at a time. Returns the first key that is left over.
#[inline(always)]
fn score_by<S: Simd<LANES>, const LANES: usize, const R: usize>(
    simd: S,
    k: &[f32],
    panel: &[Pair<LANES>],
    scores: &mut [Pair<LANES>],
    mut i: usize,
) -> usize {
    let width = panel.len();
    while i + R <= scores.len() {
        let mut keys: [&[f32]; R] = [&[]; R];
        for r in 0..R {
            keys[r] = &k[(i + r) * width..(i + r + 1) * width];
        }
        add_rows(simd, keys, panel, &mut scores[i..i + R]);
        i += R;
    }
    i
}

/// Adds the ALiBi bias, and masks for each query the keys at later positions. The first query is at `position`.
#[inline(always)]
fn bias<const LANES: usize>(scores: &mut [Pair<LANES>], slope: f32, position: usize) {
    if slope != 0.0 {
        for (key, pair) in scores.iter_mut().enumerate() {
            let bias = slope * key as f32;
            for value in pair.as_flattened_mut() {
                *value += bias;
            }
        }
    }
    for (later, pair) in scores[position..].iter_mut().enumerate() {
        let lanes = pair.as_flattened_mut();
        lanes[..later].fill(f32::NEG_INFINITY);
    }
}

/// Sets `scores[i] = e^(scores[i] - max)` in each lane, and returns the sum of each lane.
#[inline(always)]
fn exponentiate<S: Simd<LANES>, const LANES: usize>(scores: &mut [Pair<LANES>]) -> Pair<LANES> {
    let mut top = [[f32::NEG_INFINITY; LANES]; 2];
    for pair in scores.iter() {
        for half in 0..2 {
            for lane in 0..LANES {
                let (a, b) = (pair[half][lane], top[half][lane]);
                top[half][lane] = if a > b { a } else { b };
            }
        }
    }
    for pair in scores.iter_mut() {
        for half in 0..2 {
            for lane in 0..LANES {
                pair[half][lane] -= top[half][lane];
            }
        }
    }
    for value in scores.as_flattened_mut().as_flattened_mut() {
        *value = if S::FUSED { exp::<true>(*value) } else { exp::<false>(*value) };
    }
    let mut sums = [[0f32; LANES]; 2];
    for pair in scores.iter() {
        for half in 0..2 {
            for lane in 0..LANES {
                sums[half][lane] += pair[half][lane];
            }
        }
    }
    sums
}

/// Computes `mixed[d]`: the sum of `weights[i] * v[i][d]` over all `i`.
#[inline(always)]
fn mix<S: Simd<LANES>, const LANES: usize>(simd: S, v: &[f32], weights: &[Pair<LANES>], mixed: &mut [Pair<LANES>]) {
    let width = mixed.len();
    mixed.as_flattened_mut().as_flattened_mut().fill(0.0);
    for (weights, v) in weights.chunks(KEYS).zip(v.chunks(KEYS * width)) {
        // The size of a head is usually a multiple of 8, 4 and 2, but often not of the largest tile.
        let d = match S::TILE {
            12 => mix_by::<S, LANES, 8>(simd, v, weights, mixed, 0),
            6 => mix_by::<S, LANES, 4>(simd, v, weights, mixed, 0),
            _ => mix_by::<S, LANES, 2>(simd, v, weights, mixed, 0),
        };
        mix_by::<S, LANES, 1>(simd, v, weights, mixed, d);
    }
}

/// Computes [`mix`] for the columns from `d` on, `R` columns at a time. Returns the first column that is left over.
#[inline(always)]
fn mix_by<S: Simd<LANES>, const LANES: usize, const R: usize>(
    simd: S,
    v: &[f32],
    weights: &[Pair<LANES>],
    mixed: &mut [Pair<LANES>],
    mut d: usize,
) -> usize {
    let width = mixed.len();
    while d + R <= width {
        add_columns::<S, LANES, R>(simd, v, width, d, weights, &mut mixed[d..d + R]);
        d += R;
    }
    d
}

//! Attention of new tokens to a KV cache. With few new tokens, only one thread reads the cached keys and values of a
//! head. For many new tokens, see [`many`].
mod many;

use super::dispatch::{self, Kernel};
use super::dot::tile;
use super::exp::exp;
use super::share;
use super::simd::Simd;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, bail};
use std::sync::Mutex;

/// If a sequence has at most this many new tokens, their queries are processed one by one. More queries are processed
/// in panels, with one query in each lane.
const FEW_QUERIES: usize = 8;

/// The candle op that attends from `q`, [batch, heads, tokens, head_dim], to the whole caches of keys and values,
/// [batch, kv_heads, capacity, head_dim], all contiguous f32. Returns [batch, tokens, heads x head_dim].
pub struct Attend<'a> {
    /// The position of `q`'s first token. The token attends to the keys at lower positions of the cache and to its own
    /// key, which is at this position.
    pub position: usize,
    pub scale: f32,
    /// The ALiBi slopes, one for each head, or `None`.
    pub slopes: Option<&'a [f32]>,
}

struct Sizes {
    heads: usize,
    kv_heads: usize,
    tokens: usize,
    capacity: usize,
    head_dim: usize,
}

impl CustomOp3 for Attend<'_> {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        ql: &Layout,
        k: &CpuStorage,
        kl: &Layout,
        v: &CpuStorage,
        vl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, heads, tokens, head_dim) = ql.shape().dims4()?;
        let (cached, kv_heads, capacity, width) = kl.shape().dims4()?;
        let fits = cached == batch && width == head_dim && heads.is_multiple_of(kv_heads) && kl.dims() == vl.dims();
        if !fits || self.position + tokens > capacity || self.slopes.is_some_and(|slopes| slopes.len() != heads) {
            bail!(
                "attention: the query of shape {:?} at position {} does not match a KV cache of shape {:?}",
                ql.dims(),
                self.position,
                kl.dims()
            )
        }
        let (q, k, v) = (slice_of(q, ql)?, slice_of(k, kl)?, slice_of(v, vl)?);
        let sizes = Sizes { heads, kv_heads, tokens, capacity, head_dim };
        let y = match tokens {
            0..=FEW_QUERIES => self.few(q, k, v, batch, &sizes),
            _ => self.many(q, k, v, batch, &sizes),
        };
        Ok((CpuStorage::F32(y), (batch, tokens, heads * head_dim).into()))
    }
}

impl Attend<'_> {
    fn few(&self, q: &[f32], k: &[f32], v: &[f32], batch: usize, sizes: &Sizes) -> Vec<f32> {
        let &Sizes { heads, kv_heads, tokens, capacity, head_dim } = sizes;
        let (group, held) = (heads / kv_heads, capacity * head_dim);
        let y = Mutex::new(vec![0f32; batch * tokens * heads * head_dim]);
        let read = 2 * batch * heads * tokens * (self.position + tokens) * head_dim;
        share(batch * kv_heads, read, |units| {
            let mut part = vec![0f32; group * tokens * head_dim];
            let mut scores = vec![0f32; self.position + tokens];
            for unit in units {
                let (row, kv_head) = (unit / kv_heads, unit % kv_heads);
                let first = kv_head * group;
                dispatch::run(Unit {
                    q: &q[(row * heads + first) * tokens * head_dim..][..group * tokens * head_dim],
                    k: &k[unit * held..(unit + 1) * held],
                    v: &v[unit * held..(unit + 1) * held],
                    slopes: self.slopes.map(|slopes| &slopes[first..first + group]),
                    position: self.position,
                    scale: self.scale,
                    tokens,
                    head_dim,
                    scores: &mut scores,
                    y: &mut part,
                });
                // The lock is held only while the unit's output is copied.
                let mut y = y.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                for (index, from) in part.chunks_exact(head_dim).enumerate() {
                    let (head, token) = (first + index / tokens, index % tokens);
                    let at = ((row * tokens + token) * heads + head) * head_dim;
                    y[at..at + head_dim].copy_from_slice(from);
                }
            }
        });
        y.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn slice_of<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("attention: the tensor must be contiguous and of type f32"),
    }
}

/// A unit of work: for one batch row, the group of query heads that share one key head.
struct Unit<'a> {
    /// The queries, [group, tokens, head_dim].
    q: &'a [f32],
    /// The cached keys, [capacity, head_dim].
    k: &'a [f32],
    /// The cached values, [capacity, head_dim].
    v: &'a [f32],
    slopes: Option<&'a [f32]>,
    position: usize,
    scale: f32,
    tokens: usize,
    head_dim: usize,
    /// Scratch space for one score per key.
    scores: &'a mut [f32],
    /// The output, [group, tokens, head_dim].
    y: &'a mut [f32],
}

impl Kernel for Unit<'_> {
    #[inline(always)]
    fn run<S: Simd<LANES>, const LANES: usize>(self, simd: S) {
        let Unit { q, k, v, slopes, position, scale, tokens, head_dim, scores, y } = self;
        let queries = q.len() / head_dim;
        for index in 0..queries {
            let query = &q[index * head_dim..(index + 1) * head_dim];
            let seen = position + index % tokens + 1;
            let slope = match slopes {
                Some(slopes) => slopes[index / tokens],
                None => 0.0,
            };
            let scores = &mut scores[..seen];
            score(simd, query, k, scale, slope, scores);
            let sum = if S::FUSED { exponentiate::<true>(scores) } else { exponentiate::<false>(scores) };
            mix(simd, scores, v, 1.0 / sum, &mut y[index * head_dim..(index + 1) * head_dim]);
        }
    }
}

/// Computes `scores[i] = scale * (query . k[i]) + slope * i`.
#[inline(always)]
fn score<S: Simd<LANES>, const LANES: usize>(
    simd: S,
    query: &[f32],
    k: &[f32],
    scale: f32,
    slope: f32,
    scores: &mut [f32],
) {
    let width = query.len();
    let mut i = 0;
    while i + 4 <= scores.len() {
        let keys = &k[i * width..(i + 4) * width];
        let rows = [&keys[..width], &keys[width..2 * width], &keys[2 * width..3 * width], &keys[3 * width..]];
        let sums = tile(simd, rows, [query]);
        for r in 0..4 {
            scores[i + r] = sums[r][0] * scale + slope * (i + r) as f32;
        }
        i += 4;
    }
    while i < scores.len() {
        let sums = tile(simd, [&k[i * width..(i + 1) * width]], [query]);
        scores[i] = sums[0][0] * scale + slope * i as f32;
        i += 1;
    }
}

/// Sets `scores[i] = e^(scores[i] - max)` and returns their sum.
#[inline(always)]
fn exponentiate<const FUSED: bool>(scores: &mut [f32]) -> f32 {
    let mut top = f32::NEG_INFINITY;
    for score in scores.iter() {
        top = if *score > top { *score } else { top };
    }
    // The exponentials are computed in a loop of their own, which the compiler vectorises. The loops after it add them
    // in a fixed order.
    for score in scores.iter_mut() {
        *score = exp::<FUSED>(*score - top);
    }
    let mut sums = [0f32; 8];
    let (chunks, rest) = scores.as_chunks::<8>();
    for chunk in chunks {
        for l in 0..8 {
            sums[l] += chunk[l];
        }
    }
    let mut sum = 0.0;
    for part in sums.iter().chain(rest) {
        sum += part;
    }
    sum
}

/// Computes `y`: `factor` times the sum of `weights[i] * v[i]` over all `i`.
#[inline(always)]
fn mix<S: Simd<LANES>, const LANES: usize>(simd: S, weights: &[f32], v: &[f32], factor: f32, y: &mut [f32]) {
    let mut column = 0;
    while column + 4 * LANES <= y.len() {
        mix_columns::<S, LANES, 4>(simd, weights, v, factor, column, y);
        column += 4 * LANES;
    }
    while column + LANES <= y.len() {
        mix_columns::<S, LANES, 1>(simd, weights, v, factor, column, y);
        column += LANES;
    }
    while column < y.len() {
        let mut sum = 0.0;
        for (weight, values) in weights.iter().zip(v.chunks_exact(y.len())) {
            sum += weight * values[column];
        }
        y[column] = sum * factor;
        column += 1;
    }
}

/// Computes [`mix`] for the columns that fill `PARTS` registers, from the column `start` on.
#[inline(always)]
fn mix_columns<S: Simd<LANES>, const LANES: usize, const PARTS: usize>(
    simd: S,
    weights: &[f32],
    v: &[f32],
    factor: f32,
    start: usize,
    y: &mut [f32],
) {
    let mut sums = [simd.splat(0.0); PARTS];
    for (weight, values) in weights.iter().zip(v.chunks_exact(y.len())) {
        let weight = simd.splat(*weight);
        let values = values[start..start + PARTS * LANES].as_chunks::<LANES>().0;
        for part in 0..PARTS {
            sums[part] = simd.multiply_add(weight, simd.load(&values[part]), sums[part]);
        }
    }
    let columns = y[start..start + PARTS * LANES].as_chunks_mut::<LANES>().0;
    for part in 0..PARTS {
        simd.store(simd.multiply(sums[part], simd.splat(factor)), &mut columns[part]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::dispatch::{levels, run_at};
    use super::Attend;
    use super::many::Piece;
    use candle_core::{Device, Result, Tensor};
    use proptest::prelude::*;

    fn reference(q: &Tensor, k: &Tensor, v: &Tensor, op: &Attend) -> Result<Tensor> {
        let (batch, heads, tokens, width) = q.dims4()?;
        let (kv_heads, length) = (k.dim(1)?, op.position + tokens);
        let spread = |x: &Tensor| {
            let x = x.narrow(2, 0, length)?.unsqueeze(2)?;
            x.broadcast_as((batch, kv_heads, heads / kv_heads, length, width))?.reshape((batch, heads, length, width))
        };
        let cell = |head: usize, token: usize, key: usize| match key > op.position + token {
            true => f32::NEG_INFINITY,
            false => op.slopes.map_or(0.0, |slopes| slopes[head] * key as f32),
        };
        let bias = (0..heads).flat_map(|h| (0..tokens).flat_map(move |t| (0..length).map(move |key| (h, t, key))));
        let bias: Vec<f32> = bias.map(|(h, t, key)| cell(h, t, key)).collect();
        let bias = Tensor::from_vec(bias, (1, heads, tokens, length), &Device::Cpu)?;
        let scores = (q.matmul(&spread(k)?.t()?)? * f64::from(op.scale))?.broadcast_add(&bias)?;
        let mixed = candle_nn::ops::softmax_last_dim(&scores)?.matmul(&spread(v)?)?;
        mixed.transpose(1, 2)?.reshape((batch, tokens, heads * width))
    }

    fn compare(batch: usize, (heads, kv_heads): (usize, usize), width: usize, tokens: usize, position: usize) {
        let slopes: Vec<f32> = (1..=heads).map(|head| 0.5f32.powi(head as i32)).collect();
        for slopes in [None, Some(&slopes[..])] {
            let noise = |dims| Tensor::randn(0f32, 1.0, dims, &Device::Cpu).expect("noise");
            let q = noise((batch, heads, tokens, width));
            let cached = (batch, kv_heads, position + tokens + 3, width);
            let (k, v) = (noise(cached), noise(cached));
            let op = Attend { position, scale: (width as f32).powf(-0.5), slopes };
            let ours = q.apply_op3_no_bwd(&k, &v, &op).expect("shapes go together");
            let theirs = reference(&q, &k, &v, &op).expect("shapes go together");
            let error = (ours - theirs).and_then(|d| d.abs()?.max_all()?.to_scalar::<f32>()).expect("same shape");
            // The bias raises the scores to between 10 and 100. The f32 rounding errors of such scores change the last digits
            // of the weights; the tolerance includes this error.
            assert!(error < 2e-5, "{batch} x {heads}/{kv_heads} x {width}, {tokens} at {position}: {error}");
        }
    }

    #[test]
    fn it_is_softmax_attention() {
        compare(1, (6, 6), 16, 1, 0);
        compare(2, (6, 2), 64, 1, 40);
        compare(2, (6, 3), 80, 3, 21);
        compare(1, (6, 1), 5, 8, 9);
        compare(1, (6, 6), 128, 1, 63);
        // This case has more keys than are mixed at a time.
        compare(1, (2, 1), 64, 40, 300);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Compares sizes that are not multiples of the tile sizes, with and without cached tokens, and with and
        /// without grouped queries.
        #[test]
        fn many_queries_are_softmax_attention(
            batch in 1usize..3,
            kv_heads in 1usize..4,
            group in 1usize..4,
            width in 1usize..40,
            tokens in 9usize..150,
            position in 0usize..90,
        ) {
            compare(batch, (kv_heads * group, kv_heads), width, tokens, position);
        }
    }

    #[test]
    fn every_instruction_set_gives_nearly_the_same() {
        let values =
            |seed: usize| (0..50 * 24).map(|i| ((i * 31 + seed * 17) % 23) as f32 / 23.0 - 0.5).collect::<Vec<f32>>();
        let (q, k, v) = (values(1), values(2), values(3));
        let run = |level| {
            let (mut scores, mut y) = (vec![0.0; 50], vec![0.0; 24]);
            let (q, slopes) = (&q[..24], Some(&[0.1][..]));
            run_at(
                level,
                super::Unit {
                    q,
                    k: &k,
                    v: &v,
                    slopes,
                    position: 44,
                    scale: 0.2,
                    tokens: 1,
                    head_dim: 24,
                    scores: &mut scores,
                    y: &mut y,
                },
            );
            y
        };
        let first = run(levels()[0]);
        for level in levels() {
            for (a, b) in first.iter().zip(run(level)) {
                assert!((a - b).abs() < 1e-6, "{level:?}: {a} {b}");
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_nearly_the_same_for_many() {
        let values = |seed: usize, count: usize| {
            (0..count).map(|i| ((i * 31 + seed * 17) % 23) as f32 / 23.0 - 0.5).collect::<Vec<f32>>()
        };
        let (queries, head_dim, keys) = (21, 20, 64);
        let (q, k, v) = (values(1, queries * head_dim), values(2, keys * head_dim), values(3, keys * head_dim));
        let run = |level| {
            let (mut panel, mut scores, mut mixed) =
                (vec![0.0; head_dim * 32], vec![0.0; keys * 32], vec![0.0; head_dim * 32]);
            let mut y = vec![0.0; queries * head_dim];
            run_at(
                level,
                Piece {
                    q: &q,
                    k: &k,
                    v: &v,
                    slope: 0.1,
                    position: 40,
                    scale: 0.2,
                    head_dim,
                    panel: &mut panel,
                    scores: &mut scores,
                    mixed: &mut mixed,
                    y: &mut y,
                },
            );
            y
        };
        let first = run(levels()[0]);
        assert!(first.iter().all(|y| *y != 0.0));
        for level in levels() {
            for (a, b) in first.iter().zip(run(level)) {
                assert!((a - b).abs() < 1e-6, "{level:?}: {a} {b}");
            }
        }
    }
}

//! Causal attention over a cache (Vaswani et al. 2017), with grouped queries (Ainslie et al. 2023) and a bias.
use super::cache::BlockCache;
use candle_core::{D, DType, Device, Result, Tensor};

/// What the blocks of a span share in one step.
pub struct Step {
    /// Of the first new token.
    pub position: usize,
    /// 0 where a new token may look and -inf where not, `[tokens, position + tokens]`; nothing for a single token,
    /// which sees all.
    mask: Option<Tensor>,
}

impl Step {
    pub fn new(position: usize, tokens: usize, dtype: DType, device: &Device) -> Result<Step> {
        let length = position + tokens;
        let mask = (tokens > 1).then(|| {
            let cells = (0..tokens).flat_map(|row| {
                (0..length).map(move |column| if column > position + row { f32::NEG_INFINITY } else { 0.0 })
            });
            Tensor::from_vec(cells.collect::<Vec<f32>>(), (tokens, length), device)?.to_dtype(dtype)
        });
        Ok(Step { position, mask: mask.transpose()? })
    }
}

/// `x`: [batch, tokens, heads x head_dim] -> [batch, heads, tokens, head_dim].
pub fn split_heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, tokens, width) = x.dims3()?;
    x.reshape((batch, tokens, heads, width / heads))?.transpose(1, 2)?.contiguous()
}

/// Attends from `q`, already scaled, `[batch, heads, tokens, head_dim]`, to all that `cache` holds and to the new `k` and
/// `v`, `[batch, kv_heads, tokens, head_dim]`, which it keeps. Returns `[batch, tokens, heads x head_dim]`.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, cache: &mut BlockCache, step: &Step) -> Result<Tensor> {
    let (batch, heads, tokens, head_dim) = q.dims4()?;
    let (k, v) = cache.append(step.position, k, v)?;
    let (_, kv_heads, length, _) = k.dims4()?;
    let group = heads / kv_heads;
    // The queries that share a head of keys stand below each other: one matmul, and no copy of the keys.
    let scores = q.reshape((batch, kv_heads, group * tokens, head_dim))?.matmul(&k.t()?)?;
    let scores = scores.reshape((batch, heads, tokens, length))?;
    let scores = match &step.mask {
        Some(mask) => scores.broadcast_add(mask)?,
        None => scores,
    };
    let weights = candle_nn::ops::softmax_last_dim(&scores)?;
    let mixed = weights.reshape((batch, kv_heads, group * tokens, length))?.matmul(&v)?;
    let mixed = mixed.reshape((batch, heads, tokens, head_dim))?.transpose(1, 2)?;
    mixed.flatten_from(D::Minus2)
}

//! Causal self-attention over a KV cache (Vaswani et al. 2017), with grouped queries (Ainslie et al. 2023), and rotary
//! positions or a linear bias. The computation is the same for every architecture once its weights have this layout.
use super::cache::BlockCache;
use super::cpu::Attend;
use super::linear::{Activation, Linear};
use super::position::Positions;
use candle_core::{D, DType, Device, Result, Tensor};

/// The number of queries of a long prefill that are processed at a time. With small parts the matrix of scores stays
/// small, and most of the scores that the causal mask would hide are not computed.
const QUERIES: usize = 256;

/// The attention layer of a block.
pub struct Attention {
    /// The fused projection: first the rows of all query heads, then of all key heads, then of all value heads.
    pub qkv: Linear,
    pub out: Linear,
    pub heads: usize,
    pub kv_heads: usize,
}

/// One session's entry in a pass through a block: the session's KV cache, and its share of the pass's tokens.
pub struct BatchEntry<'a> {
    pub cache: &'a mut BlockCache,
    pub step: &'a Step,
    pub batch: usize,
    pub tokens: usize,
}

/// The data of a step that are computed once and used by all blocks.
pub struct Step {
    /// The position of the first new token.
    position: usize,
    positions: Positions,
    /// The causal mask and the ALiBi bias. `None` if the CPU kernels compute the attention, because these kernels apply
    /// both by themselves.
    tables: Option<Tables>,
}

/// The causal mask and the ALiBi bias, which are added to the scores if matmuls compute the attention.
struct Tables {
    parts: Vec<Part>,
    /// The ALiBi bias of all keys: `[1, heads, 1, keys]`.
    bias: Option<Tensor>,
}

/// A part of the new tokens. One matmul computes the scores of this part.
struct Part {
    start: usize,
    tokens: usize,
    /// 0 where a token may attend and -inf where it may not, `[tokens, length]`; `None` for a part of one token, which
    /// attends to all keys.
    mask: Option<Tensor>,
}

impl Attention {
    /// Maps `x` to an output of the same shape. With one entry `x` is [batch, tokens, hidden]; with several entries it
    /// is [1, all rows' tokens of all entries, hidden]. Appends the keys and values of `x` to the entries' caches.
    pub fn forward(&self, x: &Tensor, entries: &mut [BatchEntry<'_>]) -> Result<Tensor> {
        let qkv = self.qkv.forward(x, Activation::Identity)?;
        let mixed = match entries {
            [only] => self.attend(&qkv, only)?,
            several => {
                let (mut first, mut mixed) = (0, Vec::with_capacity(several.len()));
                for entry in several {
                    let rows = entry.batch * entry.tokens;
                    let own = qkv.narrow(1, first, rows)?.reshape((entry.batch, entry.tokens, ()))?;
                    mixed.push(self.attend(&own, entry)?.reshape((1, rows, ()))?);
                    first += rows;
                }
                Tensor::cat(&mixed, 1)?
            }
        };
        self.out.forward(&mixed, Activation::Identity)
    }

    /// Maps `qkv`, [batch, tokens, (heads + 2 kv_heads) x head_dim], to [batch, tokens, heads x head_dim].
    fn attend(&self, qkv: &Tensor, entry: &mut BatchEntry<'_>) -> Result<Tensor> {
        let all = self.heads + 2 * self.kv_heads;
        let qkv = qkv.reshape((entry.batch, entry.tokens, all, ()))?;
        let heads = |first, count| qkv.narrow(2, first, count)?.transpose(1, 2)?.contiguous();
        let q = entry.step.positions.rotate(heads(0, self.heads)?)?;
        let k = entry.step.positions.rotate(heads(self.heads, self.kv_heads)?)?;
        let v = heads(self.heads + self.kv_heads, self.kv_heads)?;
        entry.cache.append(entry.step.position, &k, &v)?;
        attend(&q, entry.cache, entry.step)
    }
}

impl Step {
    /// Prepares a step of `tokens` tokens from `position` on.
    pub fn new(position: usize, tokens: usize, positions: Positions, dtype: DType, device: &Device) -> Result<Step> {
        let kernels = device.is_cpu() && dtype == DType::F32;
        let tables =
            if kernels { None } else { Some(Tables::new(position, tokens, positions.slopes(), dtype, device)?) };
        Ok(Step { position, positions, tables })
    }
}

impl Tables {
    fn new(position: usize, tokens: usize, slopes: Option<&[f32]>, dtype: DType, device: &Device) -> Result<Tables> {
        let part = |start: usize| {
            let count = QUERIES.min(tokens - start);
            let mask = if count > 1 { Some(mask(position + start, count, dtype, device)?) } else { None };
            Ok(Part { start, tokens: count, mask })
        };
        let parts = (0..tokens).step_by(QUERIES).map(part).collect::<Result<_>>()?;
        let bias = |slopes: &[f32]| {
            let keys = position + tokens;
            let values = slopes.iter().flat_map(|slope| (0..keys).map(move |key| slope * key as f32));
            Tensor::from_iter(values, device)?.reshape((1, slopes.len(), 1, keys))?.to_dtype(dtype)
        };
        Ok(Tables { parts, bias: slopes.map(bias).transpose()? })
    }
}

fn mask(position: usize, tokens: usize, dtype: DType, device: &Device) -> Result<Tensor> {
    let length = position + tokens;
    let row = |row: usize| (0..length).map(move |column| if column > position + row { f32::NEG_INFINITY } else { 0.0 });
    Tensor::from_iter((0..tokens).flat_map(row), device)?.reshape((tokens, length))?.to_dtype(dtype)
}

/// Attends from the new tokens' `q`, `[batch, heads, tokens, head_dim]`, to all tokens that `cache` holds. Returns
/// `[batch, tokens, heads x head_dim]`.
fn attend(q: &Tensor, cache: &BlockCache, step: &Step) -> Result<Tensor> {
    let (_, _, _, head_dim) = q.dims4()?;
    let scale = (head_dim as f64).powf(-0.5);
    match &step.tables {
        Some(tables) => attend_by_matmul(&(q * scale)?, cache, step.position, tables),
        None => {
            let (keys, values) = cache.all();
            let op = Attend { position: step.position, scale: scale as f32, slopes: step.positions.slopes() };
            q.apply_op3_no_bwd(keys, values, &op)
        }
    }
}

/// Computes the attention by matmuls. `q` must be scaled already; its first token is at `position`.
fn attend_by_matmul(q: &Tensor, cache: &BlockCache, position: usize, tables: &Tables) -> Result<Tensor> {
    let part = |part: &Part| {
        let (k, v) = cache.first(position + part.start + part.tokens)?;
        attend_part(&q.narrow(2, part.start, part.tokens)?, &k, &v, part.mask.as_ref(), tables.bias.as_ref())
    };
    let mixed = match tables.parts.as_slice() {
        [only] => part(only)?,
        parts => Tensor::cat(&parts.iter().map(part).collect::<Result<Vec<_>>>()?, 2)?,
    };
    mixed.transpose(1, 2)?.flatten_from(D::Minus2)
}

/// Computes the attention of one part of the new tokens. `q` is `[batch, heads, tokens, head_dim]`, `k` and `v` are
/// `[batch, kv_heads, length, head_dim]`. The last token of the part attends to all of these keys.
fn attend_part(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>, bias: Option<&Tensor>) -> Result<Tensor> {
    let (batch, heads, tokens, head_dim) = q.dims4()?;
    let (_, kv_heads, length, _) = k.dims4()?;
    // The queries that share a key head are stacked, so that one matmul suffices and the keys are not copied.
    let stacked = heads / kv_heads * tokens;
    let scores = q.reshape((batch, kv_heads, stacked, head_dim))?.matmul(&k.t()?)?;
    let mut scores = scores.reshape((batch, heads, tokens, length))?;
    if let Some(bias) = bias {
        scores = scores.broadcast_add(&bias.narrow(3, 0, length)?)?;
    }
    if let Some(mask) = mask {
        scores = scores.broadcast_add(mask)?;
    }
    let weights = candle_nn::ops::softmax_last_dim(&scores)?;
    let mixed = weights.reshape((batch, kv_heads, stacked, length))?.matmul(v)?;
    mixed.reshape((batch, heads, tokens, head_dim))
}

#[cfg(test)]
mod tests {
    use super::super::cache::Cache;
    use super::super::config::Config;
    use super::super::position::Positions;
    use super::{Step, Tables, attend, attend_by_matmul};
    use actors::id::BlockRange;
    use candle_core::{DType, Device, Tensor};
    use scenarios::presets::models;
    use scenarios::shape::Arch;

    /// Compares the CPU kernels with the matmuls that a GPU uses.
    #[test]
    fn the_kernels_and_the_matmuls_agree() {
        for (arch, name) in [(Arch::Bloom, "560m"), (Arch::Llama, "3-8b")] {
            let shape = models::shape(arch, name).expect("a preset");
            let config = Config::of(&shape).expect("presets can be executed");
            for (tokens, position) in [(1, 5), (7, 30), (40, 0), (300, 20)] {
                let range = BlockRange { start: 0, end: 1 };
                let mut cache =
                    Cache::new(&config, range, 2, position + tokens, DType::F32, &Device::Cpu).expect("a cache");
                let noise = |heads, tokens| {
                    let dims = (2, heads, tokens, config.head_dim());
                    Tensor::randn(0f32, 1.0, dims, &Device::Cpu).expect("noise")
                };
                let (k, v) = (noise(config.kv_heads(), position + tokens), noise(config.kv_heads(), position + tokens));
                cache.blocks[0].append(0, &k, &v).expect("it has room");
                let positions = Positions::new(&config, position, tokens, DType::F32, &Device::Cpu);
                let step = Step::new(position, tokens, positions.expect("tables"), DType::F32, &Device::Cpu);
                let (q, step) = (noise(config.heads(), tokens), step.expect("kernels want no tables"));
                assert!(step.tables.is_none());
                let tables = Tables::new(position, tokens, step.positions.slopes(), DType::F32, &Device::Cpu);
                let ours = attend(&q, &cache.blocks[0], &step).expect("shapes go together");
                let scaled = (q * (config.head_dim() as f64).powf(-0.5)).expect("a product");
                let theirs = attend_by_matmul(&scaled, &cache.blocks[0], position, &tables.expect("masks"));
                let theirs = theirs.expect("shapes go together");
                let error = (ours - theirs).and_then(|d| d.abs()?.max_all()?.to_scalar::<f32>()).expect("same shape");
                assert!(error < 2e-5, "{name}, {tokens} at {position}: {error}");
            }
        }
    }
}

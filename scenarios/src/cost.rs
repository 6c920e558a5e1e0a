//! The computing time of a device's jobs: pure functions of a plan's [`Cost`] and [`Model`].
//!
//! The simulator's devices and a peer's announced speed both use this module, so they cannot disagree. This module does
//! *not* cover queueing, core leases and [`Cost::first_job`], which depend on what the device did before, nor
//! [`Cost::jitter`], which is random. The share of the weights that is cold is an argument of the functions.
//!
//! The time of a job is a roofline, max(FLOPs / achieved rate, bytes / achieved bandwidth) for each block, plus fixed
//! overheads (Williams, Waterman and Patterson 2009; for transformers: Pope et al. 2022, "Efficiently Scaling
//! Transformer Inference", section 2). If the cost has a measured table, the table replaces the roofline for blocks.
mod grid;

use crate::plan::{Cost, Link, Model, Roofline, Table};
use crate::shape::{Arch, Shape, WeightType};
use actors::time::Duration;

/// The part of a job that belongs to one sequence or session: `tokens` new tokens in each of `rows` rows, with
/// `position` tokens in their caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub rows: u32,
    pub tokens: u32,
    pub position: u32,
}

/// The time of `blocks` blocks for `tokens` new tokens in each of `batch` rows. Each row has `position` tokens in its
/// KV cache.
#[inline]
pub fn blocks_time(cost: &Cost, model: &Model, blocks: u32, batch: u32, tokens: u32, position: u32) -> Duration {
    batch_time(cost, model, blocks, std::iter::once(Item { rows: batch, tokens, position }))
}

/// The time of `blocks` blocks over several items in one batch, which share the cost of the weights.
///
/// With the roofline, the FLOPs and cache bytes of the items add up, and the weights are read from memory once. With a
/// measured table, one-token steps are a decode batch and longer steps a prefill batch. If the batch has both, the
/// matmuls of all tokens take the time of a prefill, and the one-token steps add the attention over their contexts. A
/// prefill takes at least the time of a one-token step of one row, because both read the same weights.
pub fn batch_time(cost: &Cost, model: &Model, blocks: u32, items: impl Iterator<Item = Item>) -> Duration {
    let mut batch = Batch::default();
    let (mut flops, mut bytes) = (0.0, block_weight_bytes(&model.shape, model.block_type));
    for item in items {
        batch.add(item);
        flops += block_flops(&model.shape, item.rows, item.tokens, item.position);
        bytes += cache_bytes(model, item.rows, item.tokens, item.position);
    }
    let (per_block, per_job) = match cost.table.as_ref().and_then(|table| batch.measured(table)) {
        Some(measured) => measured,
        None => {
            let seconds = roofline_seconds(&cost.roofline, flops, bytes) + cost.roofline.per_block.as_secs_f64();
            (seconds, cost.roofline.per_job)
        }
    };
    slowed(cost, Duration::from_secs_f64(per_block * f64::from(blocks)) + per_job)
}

/// The sums over the items of a batch. The time of the batch is looked up by these sums in a measured table.
#[derive(Default)]
struct Batch {
    /// The number of rows of one-token steps.
    decodes: f64,
    /// The number of tokens before the one-token steps, summed over their rows.
    decoded: f64,
    /// The number of new tokens of longer steps, summed over their rows.
    prefills: f64,
    /// The number of tokens before the longer steps, counted once for each of their new tokens.
    prefilled: f64,
}

impl Batch {
    fn add(&mut self, item: Item) {
        let (rows, tokens, before) = (f64::from(item.rows), f64::from(item.tokens), f64::from(item.position));
        if item.tokens == 1 {
            self.decodes += rows;
            self.decoded += rows * before;
        } else {
            self.prefills += rows * tokens;
            self.prefilled += rows * tokens * before;
        }
    }

    /// Returns the seconds per block and the fixed time per job, or `None` if the table has no points for this kind of
    /// job.
    fn measured(&self, table: &Table) -> Option<(f64, Duration)> {
        let context = if self.decodes > 0.0 { self.decoded / self.decodes } else { 0.0 };
        if self.prefills == 0.0 {
            return Some((table.decode.seconds(self.decodes, context)?, table.per_job));
        }
        let matrices = table.prefill.seconds(self.prefills + self.decodes, self.prefilled / self.prefills)?;
        let matrices = table.decode.seconds(1.0, 0.0).map_or(matrices, |weights| matrices.max(weights));
        let attention = match self.decodes > 0.0 {
            true => table.decode.seconds(self.decodes, context)? - table.decode.seconds(self.decodes, 0.0)?,
            false => 0.0,
        };
        Some((matrices + attention, table.per_job))
    }
}

/// The time of the embedding lookup for `tokens` tokens in each of `batch` rows. Each token reads one row of the
/// embedding table.
pub fn embed_time(cost: &Cost, model: &Model, batch: u32, tokens: u32) -> Duration {
    let count = f64::from(batch) * f64::from(tokens);
    if let Some(seconds) = cost.ends.as_ref().and_then(|ends| measured(&ends.embed, count)) {
        return slowed(cost, Duration::from_secs_f64(seconds));
    }
    let values = count * f64::from(model.shape.hidden);
    let tables = if model.shape.arch == Arch::Opt { 2.0 } else { 1.0 }; // OPT adds learned positions
    let seconds = roofline_seconds(&cost.roofline, values, values * tables * model.client_type.bytes());
    slowed(cost, Duration::from_secs_f64(seconds) + cost.roofline.per_job)
}

/// The time of final norm, LM head (a matmul with `[vocab, hidden]` weights) and sampling, for the last token of each
/// of `batch` rows.
pub fn head_time(cost: &Cost, model: &Model, batch: u32) -> Duration {
    if let Some(seconds) = cost.ends.as_ref().and_then(|ends| measured(&ends.head, f64::from(batch))) {
        return slowed(cost, Duration::from_secs_f64(seconds));
    }
    let weights = head_params(&model.shape);
    let seconds =
        roofline_seconds(&cost.roofline, 2.0 * f64::from(batch) * weights, weights * model.client_type.bytes());
    slowed(cost, Duration::from_secs_f64(seconds) + cost.roofline.per_job)
}

/// The cold-cache penalty of `blocks` blocks, a time that is added to the job. `share` of their weights is cold.
pub fn cold_blocks_time(cost: &Cost, blocks: u32, share: f64) -> Duration {
    Duration(cold_time(cost, cost.cold.per_block, share).0 * u64::from(blocks))
}

/// The cold-cache penalty of an LM head, a time that is added to the job. `share` of its weights is cold.
pub fn cold_head_time(cost: &Cost, share: f64) -> Duration {
    cold_time(cost, cost.cold.head, share)
}

fn cold_time(cost: &Cost, all: Duration, share: f64) -> Duration {
    if all == Duration::ZERO {
        return Duration::ZERO;
    }
    slowed(cost, Duration::from_secs_f64(all.as_secs_f64() * share))
}

/// Blocks per second in one-token steps of one row with an empty KV cache. A Petals server measures and announces this
/// value (`inference_rps` in `petals/server/throughput.py`: one block, batch 1, one token).
pub fn inference_rps(cost: &Cost, model: &Model) -> f64 {
    let seconds = blocks_time(cost, model, 1, 1, 1, 0).as_secs_f64();
    1.0 / seconds.max(1e-9)
}

/// The number of blocks per second in a step of 1024 tokens, multiplied by 1024. A Petals server announces this value
/// as `forward_rps`.
pub fn forward_rps(cost: &Cost, model: &Model) -> f64 {
    const TOKENS: u32 = 1024;
    f64::from(TOKENS) / blocks_time(cost, model, 1, 1, TOKENS, 0).as_secs_f64().max(1e-9)
}

/// Tokens per second that a host's NIC carries in its slower direction, with 16-bit activation values. A direction
/// without a limit counts as `unknown` bytes per second (`petals/server/throughput.py`).
pub fn network_rps(egress: &Link, ingress: &Link, model: &Model, unknown: f64) -> f64 {
    let known = egress.bandwidth.into_iter().chain(ingress.bandwidth).reduce(f64::min);
    known.unwrap_or(unknown) / (2.0 * f64::from(model.shape.hidden))
}

/// The number of parameters of one block: the matrices, their biases and the norms.
///
/// OPT and BLOOM with `ffn = 4 hidden` have `12 h^2 + 13 h`. Llama has no biases, three FFN matrices, and keys and
/// values for only `kv_heads` heads.
pub fn block_params(shape: &Shape) -> f64 {
    let (hidden, ffn) = (f64::from(shape.hidden), f64::from(shape.ffn));
    matmul_params(shape)
        + match shape.arch {
            // q, k, v and o have 4 h biases, the FFN has f + h, and the two layer norms have 4 h weights and biases.
            Arch::Opt | Arch::Bloom => 9.0 * hidden + ffn,
            Arch::Llama => 2.0 * hidden,
        }
}

/// Bytes of one block's weights.
pub fn block_weight_bytes(shape: &Shape, weight_type: WeightType) -> f64 {
    block_params(shape) * weight_type.bytes()
}

/// The number of parameters of the LM head's matrix. It is as large as the embedding table, whether the two are tied or
/// not.
pub fn head_params(shape: &Shape) -> f64 {
    f64::from(shape.vocab) * f64::from(shape.hidden)
}

/// The number of parameters outside the blocks: embedding table, learned positions (OPT has two more than it uses),
/// norms, and the LM head if it is not tied to the embedding table.
pub fn client_params(shape: &Shape) -> f64 {
    let hidden = f64::from(shape.hidden);
    head_params(shape)
        + match shape.arch {
            Arch::Opt => (f64::from(shape.max_positions) + 2.0 + 2.0) * hidden,
            Arch::Bloom => 4.0 * hidden,
            Arch::Llama => head_params(shape) + hidden,
        }
}

/// The number of values that one token of one row takes in the KV cache of one block: a key and a value for each KV
/// head.
pub fn cache_values(shape: &Shape) -> f64 {
    2.0 * f64::from(shape.kv_heads) * f64::from(shape.head_dim())
}

/// FLOPs of one block: two for each matmul parameter and token, and `4 h` for each pair of a query and a key that the
/// query attends to.
pub fn block_flops(shape: &Shape, batch: u32, tokens: u32, position: u32) -> f64 {
    let (batch, new, before) = (f64::from(batch), f64::from(tokens), f64::from(position));
    // The i-th new token attends to `before + i` keys, including the key of the token itself.
    let pairs = new * before + new * (new + 1.0) / 2.0;
    batch * (2.0 * matmul_params(shape) * new + 4.0 * f64::from(shape.hidden) * pairs)
}

/// Bytes that one block reads from memory: its weights once, and the keys and values of every row's context once.
///
/// Activations are left out: on a CPU they stay in the processor's caches, and on a GPU they are below one percent.
pub fn block_bytes(model: &Model, batch: u32, tokens: u32, position: u32) -> f64 {
    block_weight_bytes(&model.shape, model.block_type) + cache_bytes(model, batch, tokens, position)
}

/// Bytes of keys and values that one block reads from and writes to the KV cache.
fn cache_bytes(model: &Model, batch: u32, tokens: u32, position: u32) -> f64 {
    let context = f64::from(batch) * (f64::from(position) + f64::from(tokens));
    context * cache_values(&model.shape) * f64::from(model.cache_value_bytes)
}

fn matmul_params(shape: &Shape) -> f64 {
    let (hidden, ffn) = (f64::from(shape.hidden), f64::from(shape.ffn));
    let kv = f64::from(shape.kv_heads) * f64::from(shape.head_dim());
    let attention = 2.0 * hidden * hidden + 2.0 * hidden * kv;
    let ffn_matrices = if shape.arch == Arch::Llama { 3.0 } else { 2.0 };
    attention + ffn_matrices * hidden * ffn
}

fn roofline_seconds(roofline: &Roofline, flops: f64, bytes: f64) -> f64 {
    (flops / roofline.flops).max(bytes / roofline.bandwidth)
}

/// Returns `time` multiplied by `cost.slow`, the factor by which this device is slower than others of its kind.
#[inline]
fn slowed(cost: &Cost, time: Duration) -> Duration {
    if cost.slow == 1.0 { time } else { Duration::from_secs_f64(time.as_secs_f64() * cost.slow) }
}

/// Interpolates seconds on a curve of (size, seconds) points. `None` if the curve has no points.
fn measured(curve: &[(f64, f64)], size: f64) -> Option<f64> {
    let (xs, ys): (Vec<f64>, Vec<f64>) = curve.iter().copied().unzip();
    (!xs.is_empty()).then(|| grid::line(&xs, &ys, size))
}

#[cfg(test)]
mod tests {
    use super::{Item, batch_time, block_flops, block_params, blocks_time, embed_time, head_time, inference_rps};
    use crate::plan::{Cost, Ends, Grid, Model, Roofline, Table, Weights};
    use crate::shape::{Arch, Shape, WeightType};
    use actors::message::WireType;
    use actors::time::Duration;

    fn model(shape: Shape) -> Model {
        Model {
            shape,
            block_type: WeightType::Int8,
            client_type: WeightType::F32,
            wire: WireType::F16,
            cache_value_bytes: 2,
            weights: Weights::Random { seed: 1 },
        }
    }

    const OPT_30B: Shape = Shape {
        arch: Arch::Opt,
        layers: 48,
        hidden: 7168,
        heads: 56,
        kv_heads: 56,
        ffn: 28_672,
        vocab: 50_272,
        max_positions: 2048,
    };

    const LLAMA_3_8B: Shape = Shape {
        arch: Arch::Llama,
        layers: 32,
        hidden: 4096,
        heads: 32,
        kv_heads: 8,
        ffn: 14_336,
        vocab: 128_256,
        max_positions: 8192,
    };

    fn cost() -> Cost {
        let roofline = Roofline {
            flops: 1e13,
            bandwidth: 1e11,
            per_block: Duration::from_millis(1),
            per_job: Duration::from_micros(100),
        };
        Cost::of(roofline)
    }

    #[test]
    fn parameters_are_those_of_the_published_models() {
        let h = 7168.0;
        assert_eq!(block_params(&OPT_30B), 12.0 * h * h + 13.0 * h);
        // Llama 3 8B: 8.03e9 parameters with 32 blocks, two tables of 128256 x 4096 and a final norm.
        let total = 32.0 * block_params(&LLAMA_3_8B) + 2.0 * 128_256.0 * 4096.0 + 4096.0;
        assert_eq!(total, 8_030_261_248.0);
    }

    #[test]
    fn a_decode_step_streams_weights_and_a_prefill_multiplies() {
        let (cost, model) = (cost(), model(OPT_30B));
        let weights = block_params(&OPT_30B) * 1.0625;
        let cache = 2.0 * 7168.0 * 2.0 * 513.0;
        let decode = blocks_time(&cost, &model, 12, 1, 1, 512).as_secs_f64();
        assert!((decode - (12.0 * ((weights + cache) / 1e11 + 1e-3) + 1e-4)).abs() < 1e-8);
        let prefill = blocks_time(&cost, &model, 1, 2, 512, 0).as_secs_f64();
        assert!((prefill - (block_flops(&OPT_30B, 2, 512, 0) / 1e13 + 1.1e-3)).abs() < 1e-8);
        assert!(
            (inference_rps(&cost, &model) - 1.0 / blocks_time(&cost, &model, 1, 1, 1, 0).as_secs_f64()).abs() < 1e-6
        );
    }

    #[test]
    fn a_split_prefill_has_the_flops_of_the_whole() {
        let whole = block_flops(&LLAMA_3_8B, 3, 100, 0);
        let parts = block_flops(&LLAMA_3_8B, 3, 37, 0) + block_flops(&LLAMA_3_8B, 3, 63, 37);
        assert!((whole - parts).abs() < 1.0);
    }

    #[test]
    fn the_ends_cost_a_row_and_a_table() {
        let (cost, model) = (cost(), model(OPT_30B));
        let head = 50_272.0 * 7168.0 * 4.0 / 1e11 + 1e-4;
        assert!((head_time(&cost, &model, 1).as_secs_f64() - head).abs() < 1e-8);
        let embed = 512.0 * 7168.0 * 2.0 * 4.0 / 1e11 + 1e-4;
        assert!((embed_time(&cost, &model, 1, 512).as_secs_f64() - embed).abs() < 1e-8);
    }

    #[test]
    fn a_short_prompt_streams_all_weights() {
        let table = Table {
            prefill: Grid::flat(&[(250.0, 0.001), (500.0, 0.002)]),
            decode: Grid::flat(&[(2.0, 0.0009), (4.0, 0.001)]),
            per_job: Duration::ZERO,
        };
        let tabled = Cost { table: Some(table), ..cost() };
        let of = |tokens| blocks_time(&tabled, &model(OPT_30B), 10, 1, tokens, 0);
        assert_eq!((of(18), of(500)), (of(1), Duration::from_millis(20)));
    }

    #[test]
    fn a_table_replaces_the_roofline_for_the_steps_it_knows() {
        let table = Table {
            prefill: Grid::default(),
            decode: Grid::flat(&[(2.0, 0.004), (4.0, 0.005)]),
            per_job: Duration::ZERO,
        };
        let ends = Ends { embed: vec![(1.0, 1e-3), (3.0, 2e-3)], head: vec![] };
        let tabled = Cost { table: Some(table), ends: Some(ends), ..cost() };
        let model = model(OPT_30B);
        assert_eq!(blocks_time(&tabled, &model, 10, 3, 1, 99), Duration::from_millis(45));
        assert_eq!(blocks_time(&tabled, &model, 10, 3, 8, 0), blocks_time(&cost(), &model, 10, 3, 8, 0));
        assert_eq!(embed_time(&tabled, &model, 1, 2), Duration::from_micros(1500));
        assert_eq!(head_time(&tabled, &model, 1), head_time(&cost(), &model, 1));
    }

    #[test]
    fn a_batch_shares_the_weights_and_adds_up_the_rest() {
        let (cost, model) = (cost(), model(OPT_30B));
        let item = Item { rows: 1, tokens: 1, position: 100 };
        let together = batch_time(&cost, &model, 12, [item; 4].into_iter());
        assert_eq!(together, blocks_time(&cost, &model, 12, 4, 1, 100), "four sequences are four rows");
        let alone = blocks_time(&cost, &model, 12, 1, 1, 100);
        assert!(together > alone && together < alone + alone, "{together} for four, {alone} for one");
    }

    #[test]
    fn a_mixed_batch_costs_its_matrices_and_the_attention_of_its_decodes() {
        let table = Table {
            prefill: Grid::flat(&[(10.0, 0.010), (20.0, 0.020)]),
            decode: Grid::new(&[(0.0, vec![(1.0, 0.001), (4.0, 0.002)]), (100.0, vec![(1.0, 0.002), (4.0, 0.006)])]),
            per_job: Duration::from_millis(1),
        };
        let tabled = Cost { table: Some(table), ..cost() };
        let prefill = Item { rows: 1, tokens: 12, position: 0 };
        let decodes = [Item { rows: 1, tokens: 1, position: 100 }; 4];
        let mixed = batch_time(&tabled, &model(OPT_30B), 1, decodes.into_iter().chain([prefill]));
        assert_eq!(mixed, Duration::from_millis(16 + 4 + 1));
    }
}

//! How long a device works on a job: arithmetic over a plan's [`Cost`] and [`Model`], pure and without state.
//!
//! The simulator's devices and a peer's announced speed both come from here, so they cannot disagree. What is *not* here:
//! queueing, core leases and [`Cost::first_job`], which depend on what a device did before.
//!
//! A job's time is a roofline, max(FLOPs / achieved rate, bytes / achieved bandwidth) for each block, plus fixed
//! overheads (Williams, Waterman and Patterson 2009; for transformers: Pope et al. 2022, "Efficiently Scaling Transformer
//! Inference", section 2). A measured table, where there is one, takes the roofline's place for blocks.
use crate::plan::{Cost, Model, Roofline, Table};
use crate::shape::{Arch, Shape, WeightType};
use actors::time::Span;

/// `blocks` blocks over `tokens` new tokens of each of `batch` rows, which have `position` tokens in their caches.
pub fn blocks_time(cost: &Cost, model: &Model, blocks: u32, batch: u32, tokens: u32, position: u32) -> Span {
    let (per_block, per_job) = match measured(cost.table.as_ref(), batch, tokens) {
        Some((seconds, per_job)) => (seconds, per_job),
        None => {
            let flops = block_flops(&model.shape, batch, tokens, position);
            let bytes = block_bytes(model, batch, tokens, position);
            let seconds = roofline_seconds(&cost.roofline, flops, bytes) + cost.roofline.per_block.as_secs_f64();
            (seconds, cost.roofline.per_job)
        }
    };
    Span::from_secs_f64(per_block * f64::from(blocks)) + per_job
}

/// Looking up the embeddings of `tokens` tokens of each of `batch` rows: reads a row of the table for each.
pub fn embed_time(cost: &Cost, model: &Model, batch: u32, tokens: u32) -> Span {
    let values = f64::from(batch) * f64::from(tokens) * f64::from(model.shape.hidden);
    let tables = if model.shape.arch == Arch::Opt { 2.0 } else { 1.0 }; // OPT adds learned positions
    let seconds = roofline_seconds(&cost.roofline, values, values * tables * model.ends_type.bytes());
    Span::from_secs_f64(seconds) + cost.roofline.per_job
}

/// The head over the last token of each of `batch` rows: final norm, the `[vocab, hidden]` matmul, and the choice.
pub fn head_time(cost: &Cost, model: &Model, batch: u32) -> Span {
    let weights = head_params(&model.shape);
    let seconds = roofline_seconds(&cost.roofline, 2.0 * f64::from(batch) * weights, weights * model.ends_type.bytes());
    Span::from_secs_f64(seconds) + cost.roofline.per_job
}

/// Blocks per second of one-token steps of one row on an empty cache, what a Petals server measures and announces
/// (`inference_rps` in `petals/server/throughput.py`: one block, batch 1, one token).
pub fn inference_rps(cost: &Cost, model: &Model) -> f64 {
    let seconds = blocks_time(cost, model, 1, 1, 1, 0).as_secs_f64();
    1.0 / seconds.max(1e-9)
}

/// Parameters of one block: the matrices, their biases and the norms.
///
/// OPT and BLOOM with `ffn = 4 hidden` have `12 h^2 + 13 h`. Llama has no biases, three FFN matrices, and keys and values
/// of `kv_heads` heads only.
pub fn block_params(shape: &Shape) -> f64 {
    let (hidden, ffn) = (f64::from(shape.hidden), f64::from(shape.ffn));
    matmul_params(shape)
        + match shape.arch {
            // q, k, v, o: 4 h; the FFN: f + h; two layer norms with bias: 4 h
            Arch::Opt | Arch::Bloom => 9.0 * hidden + ffn,
            Arch::Llama => 2.0 * hidden,
        }
}

/// Bytes of one block's weights.
pub fn block_weight_bytes(shape: &Shape, weight_type: WeightType) -> f64 {
    block_params(shape) * weight_type.bytes()
}

/// Parameters of the head's matrix: as many as the embedding table has, whether or not they are tied.
pub fn head_params(shape: &Shape) -> f64 {
    f64::from(shape.vocab) * f64::from(shape.hidden)
}

/// Parameters outside the blocks: token table, learned positions (two of OPT's are never used), norms, and the head where
/// it is not the token table again.
pub fn ends_params(shape: &Shape) -> f64 {
    let hidden = f64::from(shape.hidden);
    head_params(shape)
        + match shape.arch {
            Arch::Opt => (f64::from(shape.max_positions) + 2.0 + 2.0) * hidden,
            Arch::Bloom => 4.0 * hidden,
            Arch::Llama => head_params(shape) + hidden,
        }
}

/// Values that one token of one row takes in the KV cache of one block: a key and a value for each KV head.
pub fn cache_values(shape: &Shape) -> f64 {
    2.0 * f64::from(shape.kv_heads) * f64::from(shape.head_dim())
}

/// FLOPs of one block: two for each matmul parameter and token, and `4 h` for each pair of a query and a key it sees.
pub fn block_flops(shape: &Shape, batch: u32, tokens: u32, position: u32) -> f64 {
    let (batch, new, before) = (f64::from(batch), f64::from(tokens), f64::from(position));
    // The i-th new token sees `before + i` keys, its own among them.
    let pairs = new * before + new * (new + 1.0) / 2.0;
    batch * (2.0 * matmul_params(shape) * new + 4.0 * f64::from(shape.hidden) * pairs)
}

/// Bytes that one block moves from memory: its weights once, and the keys and values of every row's context once.
///
/// Activations are left out: they stay in the caches of a CPU, and are below a percent on a GPU.
pub fn block_bytes(model: &Model, batch: u32, tokens: u32, position: u32) -> f64 {
    let context = f64::from(batch) * (f64::from(position) + f64::from(tokens));
    block_weight_bytes(&model.shape, model.block_type)
        + context * cache_values(&model.shape) * f64::from(model.cache_value_bytes)
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

/// Seconds per block and the time per job, if the table has points for this kind of step.
fn measured(table: Option<&Table>, batch: u32, tokens: u32) -> Option<(f64, Span)> {
    let table = table?;
    let (points, at) = match tokens {
        1 => (&table.decode, f64::from(batch)),
        _ => (&table.prefill, f64::from(batch) * f64::from(tokens)),
    };
    Some((interpolate(points, at)?, table.per_job))
}

/// Linear between points sorted by x, along the outer two beyond them, never negative; one point is a constant.
fn interpolate(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let [first, .., _] = points else { return points.first().map(|point| point.1) };
    let right = points.partition_point(|point| point.0 < x).clamp(1, points.len() - 1);
    let ((x0, y0), (x1, y1)) = (points[right - 1], points[right]);
    let slope = if x1 > x0 { (y1 - y0) / (x1 - x0) } else { 0.0 };
    // Below the smallest measured batch a line may cross zero long before the device does.
    let y = y0 + slope * (x - x0);
    Some(if x < first.0 { y.max(first.1 * x / first.0) } else { y.max(0.0) })
}

#[cfg(test)]
mod tests {
    use super::{block_flops, block_params, blocks_time, embed_time, head_time, inference_rps, interpolate};
    use crate::plan::{Cost, Model, Roofline, Table, Weights};
    use crate::shape::{Arch, Shape, WeightType};
    use actors::message::WireType;
    use actors::time::Span;

    fn model(shape: Shape) -> Model {
        Model {
            shape,
            block_type: WeightType::Int8,
            ends_type: WeightType::F32,
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
        let roofline =
            Roofline { flops: 1e13, bandwidth: 1e11, per_block: Span::from_millis(1), per_job: Span::from_micros(100) };
        Cost { roofline, table: None, first_job: Span::ZERO }
    }

    #[test]
    fn parameters_are_those_of_the_published_models() {
        let h = 7168.0;
        assert_eq!(block_params(&OPT_30B), 12.0 * h * h + 13.0 * h);
        // Llama 3 8B: 8.03e9 parameters with 32 blocks, two tables of 128256 x 4096 and a last norm.
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
    fn a_table_replaces_the_roofline_for_the_steps_it_knows() {
        let table = Table { prefill: vec![], decode: vec![(2.0, 0.004), (4.0, 0.005)], per_job: Span::ZERO };
        let tabled = Cost { table: Some(table), ..cost() };
        let model = model(OPT_30B);
        assert_eq!(blocks_time(&tabled, &model, 10, 3, 1, 99), Span::from_millis(45));
        assert_eq!(blocks_time(&tabled, &model, 10, 3, 8, 0), blocks_time(&cost(), &model, 10, 3, 8, 0));
    }

    #[test]
    fn interpolation_follows_the_outer_lines() {
        let points = [(2.0, 4.0), (4.0, 5.0), (8.0, 6.0)];
        for (x, y) in [(2.0, 4.0), (3.0, 4.5), (4.0, 5.0), (12.0, 7.0), (1.0, 3.5)] {
            assert_eq!(interpolate(&points, x), Some(y), "at {x}");
        }
        assert_eq!(interpolate(&points[..1], 9.0), Some(4.0));
        assert_eq!(interpolate(&[], 9.0), None);
        assert!(interpolate(&[(10.0, 1.0), (11.0, 100.0)], 1.0).is_some_and(|y| y > 0.0));
    }
}

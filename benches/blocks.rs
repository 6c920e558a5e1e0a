//! A decode step and a prefill on this machine's CPU, beside the floor that the same machine sets: weight bytes over the
//! read bandwidth measured in the same run.
//!
//!     cargo bench -p engine --bench blocks [-- FILTER]
//!
//! RAYON_NUM_THREADS and CANDLE_NUM_THREADS set the threads; both are all cores where they are not set.
use actors::id::BlockRange;
use candle_core::{Device, Tensor};
use criterion::Criterion;
use engine::model::{Config, Source, Span};
use scenarios::presets::models;
use scenarios::shape::{Arch, WeightType};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Tokens in the cache before a decode step.
const CONTEXT: usize = 512;
const PREFILL: usize = 256;

struct Case {
    arch: Arch,
    name: &'static str,
    /// Enough that their weights do not stay in a CPU's cache.
    blocks: u32,
    weights: WeightType,
}

fn main() {
    let threads = candle_core::utils::get_num_threads();
    let bandwidth = read_bandwidth(threads);
    println!("floor threads={threads} read_gb_per_s={:.2}", bandwidth / 1e9);
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut lines = Vec::new();
    for (arch, name, blocks) in [(Arch::Opt, "125m", 6), (Arch::Opt, "1.3b", 2)] {
        for weights in [WeightType::F32, WeightType::Bf16, WeightType::Int8] {
            measure(&mut criterion, &Case { arch, name, blocks, weights }, bandwidth, &mut lines);
        }
    }
    measure(
        &mut criterion,
        &Case { arch: Arch::Opt, name: "1.3b", blocks: 2, weights: WeightType::Int4 },
        bandwidth,
        &mut lines,
    );
    criterion.final_summary();
    lines.iter().for_each(|line| println!("{line}"));
}

fn measure(criterion: &mut Criterion, case: &Case, bandwidth: f64, lines: &mut Vec<String>) {
    let shape = models::shape(case.arch, case.name).expect("a preset");
    let config = Config::of(&shape).expect("presets can be executed");
    let range = BlockRange { start: 0, end: case.blocks };
    // Loaded at the first step that the command line's filter lets through.
    let mut span = None;
    for (step, batch, tokens) in [("decode", 1, 1), ("decode", 8, 1), ("prefill", 1, PREFILL)] {
        let name = format!("{:?}-{}/{:?}/{step}-{batch}", case.arch, case.name, case.weights);
        let mut best = f64::INFINITY;
        let hidden = |tokens| Tensor::randn(0f32, 1.0, (batch, tokens, config.hidden()), &Device::Cpu).expect("noise");
        let position = if step == "decode" { CONTEXT } else { 0 };
        // Criterion calls the closure once a sample: the cache is filled once.
        let mut filled = None;
        criterion.bench_function(&name, |bencher| {
            let span = span.get_or_insert_with(|| {
                Span::load(&Source::random(config.clone(), 1), range, case.weights, &Device::Cpu)
                    .expect("a random span")
            });
            let (cache, x) = filled.get_or_insert_with(|| {
                let mut cache = span.cache(range, batch, CONTEXT + 1).expect("a cache");
                if position > 0 {
                    span.forward(&mut cache, 0, &hidden(position)).expect("a prefill");
                }
                (cache, hidden(tokens))
            });
            bencher.iter_custom(|count| {
                let start = Instant::now();
                for _ in 0..count {
                    cache.truncate(position);
                    let begun = Instant::now();
                    black_box(span.forward(cache, position, x).expect("a step"));
                    best = best.min(begun.elapsed().as_secs_f64());
                }
                start.elapsed()
            });
        });
        if best.is_finite() {
            let blocks = f64::from(case.blocks);
            let context = (batch * (position + tokens)) as f64;
            let bytes = span.as_ref().map_or(0.0, |span| span.weight_bytes() as f64) / blocks;
            let cached = 4.0 * context * scenarios::cost::cache_values(&shape);
            let flops = scenarios::cost::block_flops(&shape, batch as u32, tokens as u32, position as u32);
            let (ms, floor) = (best / blocks * 1e3, bytes / bandwidth * 1e3);
            let gflops = flops / (best / blocks) / 1e9;
            lines.push(format!(
                "block {name} ms={ms:.3} floor_ms={floor:.3} ratio={:.2} with_cache_floor_ms={:.3} gflop_per_s={gflops:.0}",
                ms / floor,
                (bytes + cached) / bandwidth * 1e3
            ));
        }
    }
}

/// Bytes per second at which `threads` threads read memory that no cache holds; the best of several rounds.
fn read_bandwidth(threads: usize) -> f64 {
    const WORDS: usize = 1 << 24;
    let buffers: Vec<Vec<u64>> = (0..threads).map(|seed| vec![seed as u64 + 1; WORDS]).collect();
    let round = |_| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for buffer in &buffers {
                scope.spawn(move || {
                    let mut sums = [0u64; 32];
                    for chunk in buffer.chunks_exact(32) {
                        for (sum, word) in sums.iter_mut().zip(chunk) {
                            *sum = sum.wrapping_add(*word);
                        }
                    }
                    black_box(sums)
                });
            }
        });
        start.elapsed().as_secs_f64()
    };
    let best = (0..8).map(round).fold(f64::INFINITY, f64::min);
    (threads * WORDS * 8) as f64 / best
}

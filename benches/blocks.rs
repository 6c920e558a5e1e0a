//! Benchmarks a decode step and a prefill on this machine's CPU. Each is compared with the lower bound of the same
//! machine: weight bytes divided by the read bandwidth measured in the same run.
//!
//!     cargo bench -p models --bench blocks [-- FILTER]
//!
//! With SWARMBENCH_BENCH_DEVICE=cuda:0, in a build with CUDA, the bench runs blocks of Llama 3 on that GPU. They are
//! compared with the rates that the GPU's memory and matmuls reach through candle in the same run.
//!
//! RAYON_NUM_THREADS and CANDLE_NUM_THREADS set the number of threads; the default of both is all cores.
use actors::id::BlockRange;
use candle_core::{DType, Device, Tensor};
use criterion::Criterion;
use models::{BlockSpan, Config, Source};
use scenarios::presets;
use scenarios::shape::{Arch, WeightType};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The number of tokens in the cache before a decode step.
const CONTEXT: usize = 512;
const PREFILL: usize = 256;
/// The number of tokens of a prefill on a GPU.
const LONG_PREFILL: usize = 2048;

struct Case<'a> {
    arch: Arch,
    name: &'static str,
    /// The number of blocks, so large that their weights do not fit a CPU's cache.
    blocks: u32,
    weights: WeightType,
    device: &'a Device,
}

fn main() {
    let gpu = std::env::var("SWARMBENCH_BENCH_DEVICE").ok().map(|name| {
        let ordinal = name.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok()).expect("cuda:0, or another");
        Device::new_cuda(ordinal).expect("a build with CUDA, and that GPU")
    });
    let threads = candle_core::utils::get_num_threads();
    let bandwidth = match &gpu {
        Some(device) => {
            let (bandwidth, flops) = gpu_floors(device).expect("room for a GiB or two");
            println!(
                "floor device=gpu copy_gb_per_s={:.0} bf16_matmul_gflop_per_s={:.0}",
                bandwidth / 1e9,
                flops / 1e9
            );
            bandwidth
        }
        None => {
            let bandwidth = read_bandwidth(threads);
            println!("floor threads={threads} read_gb_per_s={:.2}", bandwidth / 1e9);
            bandwidth
        }
    };
    let device = gpu.clone().unwrap_or(Device::Cpu);
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut lines = Vec::new();
    let cases: &[_] = match gpu {
        Some(_) => &[(Arch::Llama, "3-8b", 4, WeightType::Bf16), (Arch::Llama, "3-8b", 4, WeightType::F16)],
        None => &[
            (Arch::Opt, "125m", 6, WeightType::F32),
            (Arch::Opt, "125m", 6, WeightType::Bf16),
            (Arch::Opt, "125m", 6, WeightType::Int8),
            (Arch::Opt, "1.3b", 2, WeightType::F32),
            (Arch::Opt, "1.3b", 2, WeightType::Bf16),
            (Arch::Opt, "1.3b", 2, WeightType::Int8),
            (Arch::Opt, "1.3b", 2, WeightType::Int4),
        ],
    };
    for &(arch, name, blocks, weights) in cases {
        measure(&mut criterion, &Case { arch, name, blocks, weights, device: &device }, bandwidth, &mut lines);
    }
    criterion.final_summary();
    lines.iter().for_each(|line| println!("{line}"));
}

fn measure(criterion: &mut Criterion, case: &Case<'_>, bandwidth: f64, lines: &mut Vec<String>) {
    let shape = presets::models::shape(case.arch, case.name).expect("a preset");
    let config = Config::of(&shape).expect("presets can be executed");
    let range = BlockRange { start: 0, end: case.blocks };
    // The blocks are loaded at the first step that the command line's filter selects.
    let mut span = None;
    let prefill = if case.device.is_cpu() { PREFILL } else { LONG_PREFILL };
    for (step, batch, tokens) in [("decode", 1, 1), ("decode", 8, 1), ("prefill", 1, prefill)] {
        let name = format!("{:?}-{}/{:?}/{step}-{batch}", case.arch, case.name, case.weights);
        let mut best = f64::INFINITY;
        let hidden = |tokens| Tensor::randn(0f32, 1.0, (batch, tokens, config.hidden()), case.device).expect("noise");
        let position = if step == "decode" { CONTEXT } else { 0 };
        // Criterion calls the closure once for each sample, but the cache is filled only once.
        let mut filled = None;
        criterion.bench_function(&name, |bencher| {
            let span = span.get_or_insert_with(|| {
                BlockSpan::load(&Source::random(config.clone(), 1), range, case.weights, case.device)
                    .expect("a random span")
            });
            let (cache, x) = filled.get_or_insert_with(|| {
                let mut cache = span.cache(range, batch, tokens.max(CONTEXT) + 1).expect("a cache");
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
                    case.device.synchronize().expect("what was begun ends");
                    best = best.min(begun.elapsed().as_secs_f64());
                }
                start.elapsed()
            });
        });
        if best.is_finite() {
            let blocks = f64::from(case.blocks);
            let context = (batch * (position + tokens)) as f64;
            let bytes = span.as_ref().map_or(0.0, |span| span.weight_bytes() as f64) / blocks;
            let value = if case.device.is_cpu() { 4.0 } else { 2.0 };
            let cached = value * context * scenarios::cost::cache_values(&shape);
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

/// Returns the bytes per second at which `threads` threads read memory that no cache holds. Each thread reads at 1, 4,
/// 8 or 16 places at once, and the fastest of these numbers counts. A single place would not use all memory requests
/// that a core can have in flight, and kernels too read several rows of a matrix at once.
fn read_bandwidth(threads: usize) -> f64 {
    [read_in::<1>(threads), read_in::<4>(threads), read_in::<8>(threads), read_in::<16>(threads)]
        .into_iter()
        .fold(0.0, f64::max)
}

/// Returns the bytes per second if each thread reads at `STREAMS` places at once: the best of several rounds.
fn read_in<const STREAMS: usize>(threads: usize) -> f64 {
    const WORDS: usize = 1 << 24;
    /// The number of u64 words in a cache line.
    const LINE: usize = 8;
    let buffers: Vec<Vec<u64>> = (0..threads).map(|seed| vec![seed as u64 + 1; WORDS]).collect();
    let round = |_| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for buffer in &buffers {
                scope.spawn(move || {
                    let mut sums = [0u64; LINE];
                    let streams: [&[u64]; STREAMS] =
                        std::array::from_fn(|at| &buffer[at * (WORDS / STREAMS)..(at + 1) * (WORDS / STREAMS)]);
                    for from in (0..WORDS / STREAMS).step_by(LINE) {
                        for stream in &streams {
                            for (sum, word) in sums.iter_mut().zip(&stream[from..from + LINE]) {
                                *sum = sum.wrapping_add(*word);
                            }
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

/// Returns two rates of the GPU, each the best of several rounds: the bytes per second that an elementwise op reads and
/// writes, and the FLOP per second of a square bf16 matmul (a multiply-add counts as two).
fn gpu_floors(device: &Device) -> candle_core::Result<(f64, f64)> {
    const VALUES: usize = 1 << 28;
    const SIDE: usize = 8192;
    let best = |work: &dyn Fn() -> candle_core::Result<Tensor>| {
        let mut best = f64::INFINITY;
        for _ in 0..8 {
            device.synchronize()?;
            let start = Instant::now();
            black_box(work()?);
            device.synchronize()?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        candle_core::Result::Ok(best)
    };
    let values = Tensor::zeros(VALUES, DType::BF16, device)?;
    let matrix = Tensor::zeros((SIDE, SIDE), DType::BF16, device)?;
    let (copy, product) = (best(&|| values.affine(1.0, 1.0))?, best(&|| matrix.matmul(&matrix))?);
    Ok((4.0 * VALUES as f64 / copy, 2.0 * (SIDE as f64).powi(3) / product))
}

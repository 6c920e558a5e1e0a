//! The achieved speed of built-in devices. Each number has its source or its derivation.
//!
//! The fp16 numbers of T4, L4 and A100-40G are derived from Helix's profiles of vLLM 0.4 kernels (Mei et al., ASPLOS
//! 2025, Thesys-lab/Helix-ASPLOS25, milliseconds per layer). Decode of two rows of LLaMA-30B (535 M parameters a layer,
//! 1.07 GB) and of Llama-2-70B (856 M, 1.71 GB) gives two points of a line: its slope is the achieved bandwidth, its
//! intercept the time per block. The points are T4 4.7 and 7.1 ms, L4 4.5 and 6.9 ms, A100 0.9 and 1.4 ms. Prefill of
//! 1,000 to 5,000 tokens gives the FLOP/s: 2 x parameters x tokens / time.
//!
//! The cost of quantised weights is the cost of their kernels, not of their bytes. FlexGen's row for Petals (Sheng et
//! al. 2023, OPT-6.7B, int8 by LLM.int8() on one T4, prompt 512, 32 new tokens; 6 clients with batches of 2) is 8.25
//! tokens/s: 7.76 s for the 64 tokens of a batch. The prefill's FLOPs take 0.5 s of the 7.76 s and the weights' bytes
//! 0.8 s; the rest, divided by 32 blocks and 32 steps, is 6.2 ms a block. Petals' Llama-2-70B in 4 bits on three T4s
//! makes 2.29 steps/s: 437 ms less 15 ms of network and 30 ms of LM head is 4.9 ms a block. Reading the bytes takes 1.8
//! ms of it, which leaves 3.1 ms. BLOOM-176B in int8 on three A100s makes 1.71 steps/s: 585 ms less the network and the
//! LM head on a CPU is below 5 ms a block. Reading the bytes takes 1.6 ms of it, which also leaves 3 ms.
//!
//! `per_job` of GPUs is the time to copy activations to the host and back: 1 ms for each hop in Helix's runs.
//! `first_job` is the order of magnitude of the time to load CUDA modules and cuBLAS, not a measurement.
use crate::plan::{Cost, Roofline};
use crate::shape::WeightType;
use actors::time::Duration;

struct Gpu {
    name: &'static str,
    flops: f64,
    bandwidth: f64,
    per_block: Duration,
    /// The added time per block with the int8 kernels of bitsandbytes.
    per_int8_block: Duration,
}

/// The added time per block of LLM.int8() on a T4. The module's documentation derives it.
const INT8_ON_T4: Duration = Duration::from_micros(6_200);
/// The added time per block of 4-bit weights on any GPU, and of int8 weights on GPUs newer than the T4. The module's
/// documentation derives it.
const QUANTISED: Duration = Duration::from_micros(3_100);

const GPUS: [Gpu; 6] = [
    // T4: 320 GB/s and 65 TFLOP/s of fp16 at peak. LLaMA-30B takes 41 ms a layer for 1,000 tokens and 208 ms for 5,000.
    Gpu {
        name: "t4",
        flops: 26e12,
        bandwidth: 267e9,
        per_block: Duration::from_micros(690),
        per_int8_block: INT8_ON_T4,
    },
    // L4: 300 GB/s and 121 TFLOP/s at peak. LLaMA-30B takes 24 ms a layer for 1,000 tokens and 106 ms for 5,000.
    Gpu {
        name: "l4",
        flops: 48e12,
        bandwidth: 267e9,
        per_block: Duration::from_micros(490),
        per_int8_block: QUANTISED,
    },
    // A100-40G: 1,555 GB/s and 312 TFLOP/s at peak. LLaMA-30B takes 5 ms a layer for 1,000 tokens and 22 ms for 5,000.
    Gpu {
        name: "a100",
        flops: 235e12,
        bandwidth: 1.28e12,
        per_block: Duration::from_micros(60),
        per_int8_block: QUANTISED,
    },
    // RTX 3090, an estimate: the same fractions of the peak rates as on the A100, 82 % of 936 GB/s and 75 % of 71
    // TFLOP/s (fp16 inputs, fp32 accumulation; NVIDIA's GA102 white paper), and the A100's time per block.
    Gpu {
        name: "rtx3090",
        flops: 53e12,
        bandwidth: 0.77e12,
        per_block: Duration::from_micros(60),
        per_int8_block: QUANTISED,
    },
    // H100, an estimate: the same fractions of the peak rates as on the A100, 82 % of 3.35 TB/s and 75 % of 989 TFLOP/s
    // (without sparsity; NVIDIA's H100 SXM data sheet).
    Gpu {
        name: "h100",
        flops: 740e12,
        bandwidth: 2.75e12,
        per_block: Duration::from_micros(60),
        per_int8_block: QUANTISED,
    },
    // H200: 4.8 TB/s and 989 TFLOP/s at peak. Measured with PyTorch: 4.3 TB/s copied (90 %), 770 to 800 TFLOP/s of bf16
    // matmul (78 %). No model was run: the times per block are the A100's, an estimate.
    Gpu {
        name: "h200",
        flops: 770e12,
        bandwidth: 4.3e12,
        per_block: Duration::from_micros(60),
        per_int8_block: QUANTISED,
    },
];

/// A CPU with eight virtual cores (four cores of a cloud Xeon), for clients: 4 x 75 GFLOP/s of fp32 matmul, and 30
/// GB/s, the share of a socket's memory bandwidth that four cores get.
const CPU_8: Roofline = Roofline {
    flops: 300e9,
    bandwidth: 30e9,
    per_block: Duration::from_micros(50),
    per_job: Duration::from_micros(200),
};

/// Returns the cost model of the device called `name`, with blocks of `weight_type`. `None` if the name is unknown.
pub fn cost(name: &str, weight_type: WeightType) -> Option<Cost> {
    if name == "cpu-8" {
        return Some(Cost { first_job: Duration::from_millis(5), ..Cost::of(CPU_8) });
    }
    let gpu = GPUS.iter().find(|gpu| gpu.name == name)?;
    let per_block = match weight_type {
        WeightType::F32 | WeightType::F16 | WeightType::Bf16 => gpu.per_block,
        WeightType::Int8 => gpu.per_int8_block,
        WeightType::Int4 => QUANTISED,
    };
    let per_job = Duration::from_millis(1);
    let roofline = Roofline { flops: gpu.flops, bandwidth: gpu.bandwidth, per_block, per_job };
    Some(Cost { first_job: Duration::from_secs(1), ..Cost::of(roofline) })
}

/// The names of all built-in devices.
pub fn names() -> Vec<&'static str> {
    GPUS.iter().map(|gpu| gpu.name).chain(["cpu-8"]).collect()
}

/// The cost model of a CPU with `threads` threads, based on a 2.8 GHz Xeon with AVX-512: one thread streams 9 GB/s and
/// two threads 18 GB/s. One thread multiplies matrices at 90 GFLOP/s, and a second thread on the same core adds at most
/// a tenth, so the arithmetic rate is that of one thread for each two. The overheads are candle's op dispatch: some
/// twenty ops of two microseconds for each block. `calibrate` measures the values of a real machine.
pub fn cpu(threads: u32) -> Cost {
    // With more than eight threads the memory channels of the socket are the limit.
    let streams = f64::from(threads.clamp(1, 8));
    let roofline = Roofline {
        flops: 90e9 * f64::from(threads.div_ceil(2).max(1)),
        bandwidth: 9e9 * streams,
        per_block: Duration::from_micros(40),
        per_job: Duration::from_micros(30),
    };
    Cost { first_job: Duration::from_millis(2), ..Cost::of(roofline) }
}

#[cfg(test)]
mod tests {
    use super::{cost, names};
    use crate::cost::blocks_time;
    use crate::plan::{Model, Weights};
    use crate::presets::models;
    use crate::shape::{Arch, WeightType};
    use actors::message::WireType;

    fn served(arch: Arch, name: &str, block_type: WeightType) -> Model {
        Model {
            shape: models::shape(arch, name).expect(name),
            block_type,
            client_type: WeightType::F32,
            wire: WireType::F16,
            cache_value_bytes: 2,
            weights: Weights::Random { seed: 1 },
        }
    }

    /// Helix's measured milliseconds per layer: (device, model, batch, tokens, milliseconds).
    #[test]
    fn fp16_presets_reproduce_the_profiles_they_come_from() {
        for (device, model, batch, tokens, measured) in [
            ("t4", "30b", 2, 1, 4.7),
            ("t4", "70b", 2, 1, 7.1),
            ("t4", "30b", 1, 1000, 41.0),
            ("l4", "30b", 2, 1, 4.5),
            ("l4", "70b", 2, 1, 6.9),
            ("l4", "30b", 1, 2000, 45.0),
            ("a100", "30b", 2, 1, 0.9),
            ("a100", "70b", 2, 1, 1.4),
            ("a100", "30b", 1, 3000, 14.0),
        ] {
            let cost = cost(device, WeightType::F16).expect(device);
            let model = served(Arch::Llama, model, WeightType::F16);
            let [none, eighty] =
                [0, 80].map(|blocks| blocks_time(&cost, &model, blocks, batch, tokens, 0).as_millis_f64());
            let layer = (eighty - none) / 80.0;
            assert!((layer / measured - 1.0).abs() < 0.1, "{device} {batch} x {tokens}: {layer} ms, not {measured}");
        }
    }

    #[test]
    fn int8_on_a_t4_reproduces_the_row_it_comes_from() {
        let cost = cost("t4", WeightType::Int8).expect("a preset");
        let model = served(Arch::Bloom, "7b1", WeightType::Int8);
        let model = Model { shape: crate::shape::Shape { layers: 32, vocab: 50_272, ..model.shape }, ..model };
        let prefill = blocks_time(&cost, &model, 32, 2, 512, 0).as_secs_f64();
        let decode: f64 = (512..543).map(|at| blocks_time(&cost, &model, 32, 2, 1, at).as_secs_f64()).sum();
        let rate = 64.0 / (prefill + decode);
        assert!((rate / 8.25 - 1.0).abs() < 0.05, "{rate} tokens/s");
    }

    #[test]
    fn every_name_has_a_cost() {
        for name in names() {
            assert!(cost(name, WeightType::Int4).is_some(), "{name}");
        }
        assert!(cost("abacus", WeightType::F16).is_none());
    }
}

//! Tests that the simulator's costs equal those of the executed model: parameters, FLOPs, weight bytes and cache bytes.
use actors::id::BlockRange;
use candle_core::Device;
use models::{BlockSpan, Config, Source, inspect, write_checkpoint};
use scenarios::cost::{block_flops, block_params, block_weight_bytes, cache_values, client_params};
use scenarios::shape::{Arch, Shape, WeightType};

fn shapes() -> [Shape; 4] {
    let opt = Shape {
        arch: Arch::Opt,
        layers: 2,
        hidden: 256,
        heads: 4,
        kv_heads: 4,
        ffn: 1024,
        vocab: 90,
        max_positions: 30,
    };
    let llama = Shape { arch: Arch::Llama, ffn: 768, ..opt };
    [opt, Shape { arch: Arch::Bloom, ..opt }, llama, Shape { kv_heads: 1, ..llama }]
}

#[test]
fn parameters_are_those_of_the_checkpoint() {
    for shape in shapes() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write_checkpoint(&shape, 1, dir.path()).expect("the folder is writable");
        let held = inspect(dir.path()).expect("the folder is sound");
        assert!(held.missing.is_empty() && held.unused.is_empty(), "{held}");
        for block in &held.blocks {
            assert_eq!(block.parameters as f64, block_params(&shape), "{shape:?}");
            assert_eq!(block.bytes as f64, block_weight_bytes(&shape, WeightType::F32), "{shape:?}");
        }
        assert_eq!(held.ends.parameters as f64, client_params(&shape), "{shape:?}");
        let text = held.to_string();
        assert!(text.contains("block 1") && text.contains("2 layers, hidden 256"), "{text}");
    }
}

#[test]
fn flops_and_bytes_are_those_of_the_loaded_tensors() {
    for shape in shapes() {
        let source = Source::random(Config::of(&shape).expect("the shape is sound"), 1);
        let (all, (batch, length)) = (BlockRange { start: 0, end: 2 }, (3, 20));
        for weights in [WeightType::F32, WeightType::F16, WeightType::Bf16, WeightType::Int8, WeightType::Int4] {
            let span = BlockSpan::load(&source, all, weights, &Device::Cpu).expect("rows are whole blocks");
            // The FLOPs are those of one token's matmuls, without attention to its single key.
            let matmuls = block_flops(&shape, 1, 1, 0) - 4.0 * f64::from(shape.hidden);
            assert_eq!(2.0 * span.multiplied() as f64, 2.0 * matmuls, "{shape:?}");
            // `weight_bytes` counts only the matrices. Norms and biases are below two percent even in this small model.
            let ratio = span.weight_bytes() as f64 / (2.0 * block_weight_bytes(&shape, weights));
            assert!(ratio > 0.98 && ratio <= 1.0, "{shape:?} as {weights:?}: {ratio}");
            let cache = span.cache(all, batch, length).expect("within the span");
            let values = 2.0 * (batch * length) as f64 * cache_values(&shape);
            assert_eq!(cache.bytes() as f64, 4.0 * values, "{shape:?}");
        }
    }
}

#[test]
fn an_inspection_names_what_is_missing_and_what_is_not_used() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_checkpoint(&shapes()[0], 1, dir.path()).expect("the folder is writable");
    let path = dir.path().join("config.json");
    let text = std::fs::read_to_string(&path).expect("it was written");
    let edited = text
        .replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1")
        .replace("\"ffn_dim\": 1024", "\"ffn_dim\": 512");
    std::fs::write(&path, edited).expect("writable");
    let held = inspect(dir.path()).expect("headers are sound");
    assert_eq!(held.unused.len(), 16);
    assert!(held.unused.iter().all(|name| name.starts_with("model.decoder.layers.1.")), "{:?}", held.unused);
    let wrong = "`model.decoder.layers.0.fc1.weight` has the shape [1024, 256], but config.json implies [512, 256]";
    assert!(held.missing.iter().any(|why| why.contains(wrong)), "{:?}", held.missing);
    let shown = held.to_string();
    assert_eq!(shown.lines().filter(|line| line.starts_with("unused")).count(), 9, "{shown}");
    assert!(shown.contains("unused          and 8 more"), "{shown}");
}

//! Tests that an overflow is an error that names the tensor or the block, whether finite weights overflow when they are
//! converted to another type or values overflow in the computation. An overflow must never turn into zeros, because a
//! token would then be chosen without an error.
use actors::id::BlockRange;
use candle_core::{Device, Tensor};
use models::{BlockSpan, Config, EmbeddingAndHead, ModelError, Source, choose, write_checkpoint};
use scenarios::shape::{Arch, Shape, WeightType};
use std::path::Path;
use tempfile::TempDir;

fn checkpoint(arch: Arch, hidden: u32) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let shape = Shape { arch, layers: 2, hidden, heads: 4, kv_heads: 4, ffn: 4 * hidden, vocab: 40, max_positions: 16 };
    write_checkpoint(&shape, 3, dir.path()).expect("writable");
    dir
}

/// Multiplies all values of the tensors whose names end in `name`.
fn multiply(dir: &Path, name: &str, by: f64) {
    let path = dir.join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).expect("it was written");
    let mut found = tensors.iter_mut().filter(|(tensor, _)| tensor.ends_with(name)).peekable();
    assert!(found.peek().is_some(), "{name}");
    found.for_each(|(_, tensor)| *tensor = tensor.affine(by, 0.0).expect("a tensor"));
    candle_core::safetensors::save(&tensors, &path).expect("writable");
}

/// Returns the scores of the token after two tokens.
fn scores(dir: &Path, held: WeightType) -> Result<Vec<f32>, ModelError> {
    let source = Source::folder(dir)?;
    let all = BlockRange { start: 0, end: 2 };
    let (span, ends) =
        (BlockSpan::load(&source, all, held, &Device::Cpu)?, EmbeddingAndHead::load(&source, held, &Device::Cpu)?);
    let y = span.forward(&mut span.cache(all, 1, 4)?, 0, &ends.embed(&[3, 7], 1, 0)?)?;
    let scores = ends.logits(&y)?.flatten_all()?.to_vec1::<f32>()?;
    let sampling = scenarios::tokens::Sampling { temperature: 0.0, top_k: None, top_p: None };
    choose(&sampling, &scores, &mut actors::seed::Seed(1).stream("sampling", 0, 0))?;
    Ok(scores)
}

#[test]
fn squares_that_overflow_in_a_norm_make_no_zeros() {
    for (arch, name) in [
        (Arch::Llama, "layers.0.mlp.up_proj.weight"),
        (Arch::Opt, "layers.0.fc1.weight"),
        (Arch::Bloom, "h.0.mlp.dense_h_to_4h.weight"),
    ] {
        let dir = checkpoint(arch, 64);
        scores(dir.path(), WeightType::F32).expect("nothing was changed");
        multiply(dir.path(), name, 1e20);
        let why = scores(dir.path(), WeightType::F32).expect_err("squares of 1e20 are no f32").to_string();
        assert_eq!(why, "the hidden states after block 1 are not finite", "{arch:?}");
    }
    // The same overflow in the norm after the last block, and in the norm after the embedding.
    let dir = checkpoint(Arch::Llama, 64);
    multiply(dir.path(), "layers.1.mlp.up_proj.weight", 1e20);
    assert_eq!(
        scores(dir.path(), WeightType::F32).expect_err("no scores").to_string(),
        "the scores of the next token are not finite"
    );
    let dir = checkpoint(Arch::Bloom, 64);
    multiply(dir.path(), "word_embeddings.weight", 1e20);
    let why = scores(dir.path(), WeightType::F32).expect_err("a norm behind the embedding").to_string();
    assert_eq!(why, "the hidden states after the embedding are not finite");
}

#[test]
fn a_sum_of_both_infinities_does_not_pass_a_relu_as_zero() {
    let dir = checkpoint(Arch::Opt, 64);
    multiply(dir.path(), "layers.0.fc1.weight", 1e38);
    multiply(dir.path(), "layers.0.final_layer_norm.weight", 1e4);
    let why = scores(dir.path(), WeightType::F32).expect_err("infinity less infinity").to_string();
    assert_eq!(why, "the hidden states after block 0 are not finite");
}

#[test]
fn values_beyond_the_scales_of_quantised_blocks_are_refused_by_their_name() {
    for (hidden, held, magnitudes) in [
        (64, WeightType::Int8, &[1e10, 1e20, 1e37][..]),
        (64, WeightType::Int4, &[1e10, 1e20, 1e37]),
        (256, WeightType::Int4, &[1e10, 1e20, 1e37]),
    ] {
        let sound = scores(checkpoint(Arch::Llama, hidden).path(), held).expect("nothing was changed");
        for by in magnitudes {
            let dir = checkpoint(Arch::Llama, hidden);
            multiply(dir.path(), "layers.1.mlp.down_proj.weight", *by);
            let why = scores(dir.path(), held).expect_err("an f16 ends at 65504").to_string();
            let name = "the tensor `model.layers.1.mlp.down_proj.weight` has values";
            assert!(why.contains(name) && why.contains(&format!("outside the range of {held:?}")), "{by}: {why}");
        }
        // Values that are large but within the range are accepted.
        let dir = checkpoint(Arch::Llama, hidden);
        multiply(dir.path(), "layers.1.mlp.down_proj.weight", 1e3);
        assert_ne!(scores(dir.path(), held).expect("within the range"), sound);
    }
}

#[test]
fn quantised_weights_are_near_the_stored_ones_or_refused_at_every_magnitude() {
    for (hidden, held) in [(64, WeightType::Int8), (64, WeightType::Int4), (256, WeightType::Int4)] {
        for power in -20..38 {
            let dir = checkpoint(Arch::Llama, hidden);
            multiply(dir.path(), "embed_tokens.weight", 10f64.powi(power));
            let source = Source::folder(dir.path()).expect("sound");
            let rows = |held| {
                let rows = EmbeddingAndHead::load(&source, held, &Device::Cpu)?.embed(&[3, 7, 11], 1, 0)?;
                Ok::<Tensor, ModelError>(rows.flatten_all()?)
            };
            let Ok(near) = rows(held) else { continue };
            let stored = rows(WeightType::F32).expect("F32 holds it");
            let largest = |tensor: Tensor| tensor.abs().and_then(|x| x.max(0)?.to_scalar::<f32>()).expect("values");
            let off = largest((&near - &stored).expect("of the same shape")) / largest(stored);
            assert!(off <= 0.25, "10^{power} as {held:?}, {hidden} wide: off by {off}");
        }
    }
}

#[test]
fn numbers_of_a_configuration_have_a_range_each() {
    let llama = |more: &str| {
        let sizes = r#""hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4"#;
        Config::parse(&format!(r#"{{"model_type": "llama", {sizes}, "vocab_size": 300, {more}}}"#))
    };
    llama(r#""rms_norm_eps": 1e-12, "rope_theta": 45000000000.0"#).expect("as in published models");
    let scaling = |factor: &str, low: &str, positions: &str| {
        format!(
            r#""rope_scaling": {{"rope_type": "llama3", "factor": {factor}, "low_freq_factor": {low},
               "high_freq_factor": 4.0, "original_max_position_embeddings": {positions}}}"#
        )
    };
    llama(&scaling("32.0", "1.0", "8192")).expect("as in published models");
    for (more, key) in [
        (r#""rms_norm_eps": 1e300"#.to_owned(), "`rms_norm_eps` is 1e+300"),
        (r#""rms_norm_eps": 1e-30"#.to_owned(), "`rms_norm_eps` is "),
        (r#""rms_norm_eps": 0"#.to_owned(), "`rms_norm_eps` is 0"),
        (r#""rope_theta": 1e300"#.to_owned(), "`rope_theta` is 1e+300"),
        (scaling("1e300", "1.0", "8192"), "`factor` is 1e+300"),
        (scaling("8.0", "1e-300", "8192"), "`low_freq_factor` is 1e-300"),
        (scaling("8.0", "1.0", "1e300"), "`original_max_position_embeddings` is 1e+300"),
    ] {
        let why = llama(&more).expect_err(&more);
        assert!(why.contains(key) && why.contains("a number from"), "{more}: {why}");
    }
    let bloom = r#"{"model_type": "bloom", "n_layer": 2, "n_head": 2, "n_embed": 16, "vocab_size": 20,
                    "layer_norm_epsilon": 1e300}"#;
    let why = Config::parse(bloom).expect_err("no layer norm has it");
    assert!(why.contains("`layer_norm_epsilon` is 1e+300, but a number from 1e-15 to 0.1 is expected"), "{why}");
}

#[test]
fn sizes_out_of_range_are_named_as_they_are_written() {
    let text = |arch: Arch| Config::of(&Shape { arch, ..SHAPE }).expect("a sound shape").to_json();
    const SHAPE: Shape =
        Shape { arch: Arch::Opt, layers: 2, hidden: 16, heads: 2, kv_heads: 2, ffn: 64, vocab: 20, max_positions: 8 };
    for (arch, keys) in [
        (
            Arch::Llama,
            &[
                "hidden_size",
                "intermediate_size",
                "num_hidden_layers",
                "num_attention_heads",
                "num_key_value_heads",
                "max_position_embeddings",
                "vocab_size",
            ][..],
        ),
        (Arch::Opt, &["hidden_size", "ffn_dim", "num_hidden_layers", "max_position_embeddings", "vocab_size"]),
        (Arch::Bloom, &["hidden_size", "n_layer", "n_head", "seq_length", "vocab_size"]),
    ] {
        for key in keys {
            let mut config: serde_json::Value = serde_json::from_str(&text(arch)).expect("JSON");
            config[key] = 0.into();
            let why = Config::parse(&config.to_string()).expect_err(key);
            assert!(why.contains(&format!("`{key}` is 0, but it must be from 1 to ")), "{arch:?}: {why}");
        }
    }
    let why = Config::parse(&text(Arch::Llama).replace("\"silu\"", &format!("{:?}", "x".repeat(100_000))));
    assert!(why.expect_err("no such activation").len() < 200);
    let why = Config::parse(&text(Arch::Llama).replace("\"llama\"", &format!("{:?}", "x".repeat(100_000))));
    assert!(why.expect_err("no such model").len() < 200);
}

/// Replaces the first value of a tensor.
fn set_first(dir: &Path, tensor: &str, value: f32) {
    let path = dir.join("model.safetensors");
    let mut bytes = std::fs::read(&path).expect("it was written");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
    let start = 8 + length + header[tensor]["data_offsets"][0].as_u64().expect("the tensor is there") as usize;
    bytes[start..start + 4].copy_from_slice(&value.to_le_bytes());
    std::fs::write(path, bytes).expect("writable");
}

#[test]
fn weights_that_are_not_finite_are_refused_by_their_name() {
    for tensor in ["model.decoder.layers.1.fc2.weight", "model.decoder.final_layer_norm.bias"] {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let dir = checkpoint(Arch::Opt, 64);
            set_first(dir.path(), tensor, value);
            let why = scores(dir.path(), WeightType::F32).expect_err("not finite").to_string();
            assert!(why.contains("model.safetensors") && why.contains(tensor) && why.contains("not finite"), "{why}");
        }
    }
    // This value is finite in F32, but not in F16.
    let dir = checkpoint(Arch::Opt, 64);
    set_first(dir.path(), "model.decoder.layers.1.fc2.weight", 70_000.0);
    scores(dir.path(), WeightType::F32).expect("F32 holds it");
    let why = scores(dir.path(), WeightType::F16).expect_err("F16 ends at 65504").to_string();
    assert!(why.contains("layers.1.fc2.weight") && why.contains("F16") && why.contains("not finite"), "{why}");
}

#[test]
fn hidden_states_that_overflow_name_the_block() {
    let dir = checkpoint(Arch::Opt, 64);
    set_first(dir.path(), "model.decoder.layers.1.fc2.bias", f32::MAX);
    set_first(dir.path(), "model.decoder.layers.1.self_attn.out_proj.bias", f32::MAX);
    let source = Source::folder(dir.path()).expect("sound");
    let all = BlockRange { start: 0, end: 2 };
    let span = BlockSpan::load(&source, all, WeightType::F32, &Device::Cpu).expect("finite weights");
    let ends = EmbeddingAndHead::load(&source, WeightType::F32, &Device::Cpu).expect("finite weights");
    let mut cache = span.cache(all, 1, 4).expect("a cache");
    let why = span.forward(&mut cache, 0, &ends.embed(&[3, 7], 1, 0).expect("ids")).expect_err("it overflows");
    assert_eq!(why.to_string(), "the hidden states after block 1 are not finite");
}

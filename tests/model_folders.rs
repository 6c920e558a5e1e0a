//! Tests of `model write` and `model inspect`: random checkpoints of published shapes, in one file or several, and the
//! described contents of a folder.
#[path = "support/command.rs"]
mod command;

use candle_core::{Device, Tensor};
use command::expect_code;
use models::write_checkpoint;
use scenarios::presets;
use scenarios::shape::{Arch, Shape};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;

fn write(dir: &Path, what: &str, more: &[&str]) {
    expect_code(dir, &[&["model", "write", what, "--out", "x"], more].concat(), 0);
}

fn inspect(dir: &Path, folder: &str) -> Value {
    let said = expect_code(dir, &["model", "inspect", folder, "--format", "json"], 0);
    serde_json::from_slice(&said.stdout).expect("JSON on stdout")
}

#[test]
fn every_published_shape_can_be_written_small_and_in_shards() {
    for (family, arch) in [("opt", Arch::Opt), ("bloom", Arch::Bloom), ("llama", Arch::Llama)] {
        for name in presets::models::names(arch) {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let what = format!("{family}-{name}");
            write(dir.path(), &what, &["--scale", "0.01", "--vocab", "300", "--shard-size", "100 kB"]);
            let held = inspect(dir.path(), "x");
            let (files, blocks) =
                (held["files"].as_array().expect("files"), held["blocks"].as_array().expect("blocks"));
            assert!(files.len() > 1, "{what}: {held}");
            assert_eq!(blocks.len() as u64, held["shape"]["layers"].as_u64().expect("a number"), "{what}");
            assert_eq!((&held["missing"], &held["unused"]), (&Value::Array(vec![]), &Value::Array(vec![])), "{what}");
        }
    }
}

#[test]
fn the_same_seed_writes_the_same_bytes() {
    let bytes = |seed: &str| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write(dir.path(), "opt-350m", &["--scale", "0.1", "--vocab", "300", "--seed", seed]);
        std::fs::read(dir.path().join("x/model.safetensors")).expect("it was written")
    };
    let first = bytes("3");
    assert_eq!(first, bytes("3"));
    assert_ne!(first, bytes("4"));
}

#[test]
fn what_cannot_be_written_is_said() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write(dir.path(), "opt-125m", &["--scale", "0.1", "--vocab", "300"]);
    for (code, arguments, why) in [
        (1, vec!["opt-125m", "--out", "x"], "already holds a model"),
        (
            2,
            vec!["opt-1t", "--out", "y"],
            "the published model opt-1t does not exist; the models of this family are opt-125m,",
        ),
        (2, vec!["opt-125m", "--out", "y", "--scale", "0"], "--scale is 0"),
        (2, vec!["opt-125m", "--out", "y", "--scale", "1e9"], "layers is"),
        (2, vec!["opt-125m", "--out", "y", "--layers", "0"], "layers is 0"),
        (2, vec!["opt-125m", "--out", "y", "--set", "model.dtype=F16"], "--set applies only to scenarios"),
        (2, vec!["nano", "--out", "y", "--layers", "3"], "--layers and --vocab apply only to published models"),
        (2, vec!["opt-125m", "--out", "y", "--shard-size", "3"], "the unit is missing"),
        (2, vec!["nobody", "--out", "y"], "nobody"),
    ] {
        let said = expect_code(dir.path(), &[&["model", "write"], arguments.as_slice()].concat(), code);
        let said = String::from_utf8_lossy(&said.stderr).replace('│', " ");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(why), "{arguments:?} said:\n{said}");
    }
    assert!(!dir.path().join("y").exists());
}

/// Writes a small model to the folder `x`.
fn small(dir: &Path, arch: Arch) {
    let ffn = if arch == Arch::Llama { 96 } else { 256 };
    let shape = Shape { arch, layers: 2, hidden: 64, heads: 4, kv_heads: 4, ffn, vocab: 300, max_positions: 512 };
    write_checkpoint(&shape, 3, &dir.join("x")).expect("writable");
}

/// Changes the tensors in the folder `x` by `edit`.
fn change(dir: &Path, edit: impl FnOnce(&mut HashMap<String, Tensor>)) {
    let path = dir.join("x/model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).expect("it was written");
    edit(&mut tensors);
    candle_core::safetensors::save(&tensors, &path).expect("writable");
}

/// Runs `generate` on the folder `x`. Returns the JSON on its stdout, and its stderr on one line.
fn generate(dir: &Path, more: &[&str], code: i32) -> (Value, String) {
    let arguments = [&["generate", "x", "--new", "4", "--format", "json"], more].concat();
    let output = expect_code(dir, &arguments, code);
    (serde_json::from_slice(&output.stdout).unwrap_or_default(), words(&output.stderr))
}

/// Returns the text on one line, without the frame of an error report.
fn words(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).replace('│', " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const IDS: [&str; 2] = ["--ids", "1,2,3"];

#[test]
fn weights_that_are_not_finite_make_no_text() {
    for bad in [f32::NAN, f32::INFINITY] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        small(dir.path(), Arch::Llama);
        let name = "model.layers.1.mlp.down_proj.weight";
        change(dir.path(), |tensors| {
            let weight = tensors.get_mut(name).expect("it is there");
            *weight = weight.affine(0.0, f64::from(bad)).expect("a tensor");
        });
        let (ids, said) = generate(dir.path(), &IDS, 3);
        assert!(ids.is_null() && said.contains(name) && said.contains("are not finite"), "{ids} {said}");
    }
}

#[test]
fn scores_that_are_not_finite_make_no_text() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    small(dir.path(), Arch::Llama);
    // The weights are finite, but their products are not.
    change(dir.path(), |tensors| {
        for name in ["lm_head.weight", "model.norm.weight"] {
            let weight = tensors.get_mut(name).expect("it is there");
            *weight = weight.affine(1e38, 0.0).expect("a tensor");
        }
    });
    for more in [&[][..], &["--temperature", "1"]] {
        let (ids, said) = generate(dir.path(), &[&IDS, more].concat(), 4);
        assert!(ids.is_null() && said.contains("the scores of the next token are not finite"), "{ids} {said}");
    }
}

#[test]
fn hidden_states_that_overflow_end_the_run_with_their_cause() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    small(dir.path(), Arch::Llama);
    change(dir.path(), |tensors| {
        let weight = tensors.get_mut("model.layers.0.mlp.down_proj.weight").expect("it is there");
        *weight = weight.affine(1e38, 0.0).expect("a tensor");
    });
    let (ids, said) = generate(dir.path(), &IDS, 4);
    let cause = "peer[1] refused the request: the hidden states after block 1 are not finite";
    assert!(ids.is_null() && said.contains(&format!("the warm-up of client failed: {cause}")), "{ids} {said}");
    // The client asked only one peer, because another peer would fail in the same way.
    assert_eq!(said.matches("the device of peer[1] failed").count(), 1, "{said}");
}

#[test]
fn a_tokenizer_that_would_take_the_memory_of_the_machine_is_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    small(dir.path(), Arch::Opt);
    let path = dir.path().join("x/tokenizer.json");
    let whole = std::fs::read_to_string(&path).expect("it was written");
    let double = r#"{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}"#;
    for (normalizer, why) in [
        (
            r#"{"type": "Precompiled", "precompiled_charsmap": "/////wAAAAAAAAAA"}"#.to_owned(),
            "claims a trie of 4294967295 bytes",
        ),
        (
            format!(r#"{{"type": "Sequence", "normalizers": [{}]}}"#, [double; 60].join(",")),
            "could make a text more than 1024 times as long",
        ),
    ] {
        let text = whole.replace("\"normalizer\": null", &format!("\"normalizer\": {normalizer}"));
        assert_ne!(text, whole);
        std::fs::write(&path, text).expect("writable");
        let (_, said) = generate(dir.path(), &["--prompt", "a swarm"], 3);
        assert!(said.contains("tokenizer.json") && said.contains(why), "{said}");
    }
}

#[test]
fn weights_that_nothing_takes_are_warned_of_by_name_and_number() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    small(dir.path(), Arch::Llama);
    let (plain, said) = generate(dir.path(), &IDS, 0);
    assert!(!said.contains("warning"), "{said}");
    change(dir.path(), |tensors| {
        for (block, part) in [0, 1].into_iter().flat_map(|block| ["q", "k", "v"].map(|part| (block, part))) {
            let bias = Tensor::full(0.5f32, 64, &Device::Cpu).expect("a tensor");
            tensors.insert(format!("model.layers.{block}.self_attn.{part}_proj.bias"), bias);
        }
        let spare = Tensor::full(0.5f32, 8, &Device::Cpu).expect("a tensor");
        tensors.insert("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), spare);
    });
    let warning = "6 tensors of the folder are not used, since config.json does not require them (but would with \
        `attention_bias: true`): model.layers.0.self_attn.k_proj.bias, model.layers.0.self_attn.q_proj.bias, \
        model.layers.0.self_attn.v_proj.bias, model.layers.1.self_attn.k_proj.bias and 2 more";
    let (text, said) = generate(dir.path(), &IDS, 0);
    assert_eq!((said.matches(warning).count(), &text["ids"]), (1, &plain["ids"]), "{said}");
    let inspected = words(&expect_code(dir.path(), &["model", "inspect", "x"], 0).stdout);
    assert!(inspected.contains(warning), "{inspected}");
    let shape = "model.shape=Custom(arch: Llama, layers: 2, hidden: 64, heads: 4, ffn: 96, vocab: 300)";
    let set = ["nano", "--set", shape, "--set", "model.weights=Dir(\"x\")"];
    let checked = words(&expect_code(dir.path(), &[&["check"], &set[..]].concat(), 0).stdout);
    assert_eq!(checked.matches(warning).count(), 1, "{checked}");
    let live = words(&expect_code(dir.path(), &[&["live"], &set[..]].concat(), 0).stderr);
    assert_eq!(live.matches(warning).count(), 1, "{live}");
    // With the changed key, the configuration requires all biases of a layer.
    let path = dir.path().join("x/config.json");
    let config = std::fs::read_to_string(&path).expect("it was written");
    std::fs::write(&path, config.replace("\"attention_bias\": false", "\"attention_bias\": true")).expect("writable");
    let (_, said) = generate(dir.path(), &IDS, 3);
    assert!(said.contains("the tensor `model.layers.0.self_attn.o_proj.bias` is missing"), "{said}");
}

#[test]
fn a_damaged_tokenizer_is_named_and_nothing_panics() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    small(dir.path(), Arch::Opt);
    let path = dir.path().join("x/tokenizer.json");
    let whole = std::fs::read_to_string(&path).expect("it was written");
    let (text, _) = generate(dir.path(), &["--prompt", "A swarm"], 0);
    let at = whole.find("\"decoder\"").expect("it has one");
    for damaged in [&whole[..at + 20], &whole.replacen("\"decoder\": {", "\"decoder\": [{", 1), "{}", ""] {
        std::fs::write(&path, damaged).expect("writable");
        let (_, said) = generate(dir.path(), &["--prompt", "A swarm"], 3);
        assert!(said.contains("tokenizer.json") && !said.contains("panicked"), "{said}");
    }
    let padding = r#""padding": {"strategy": {"Fixed": 20000000000}, "direction": "Right", "pad_to_multiple_of": null,
                     "pad_id": 0, "pad_type_id": 0, "pad_token": "!"}"#;
    let truncation =
        r#""truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 9}"#;
    let odd = whole.replace("\"padding\": null", padding).replace("\"truncation\": null", truncation);
    assert!(odd.contains("20000000000") && odd.contains("stride"));
    std::fs::write(&path, odd).expect("writable");
    assert_eq!(generate(dir.path(), &["--prompt", "A swarm"], 0).0, text);
}

#[test]
fn a_pipe_in_place_of_a_file_is_refused_by_name() {
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        small(dir.path(), Arch::Opt);
        let path = dir.path().join("x").join(name);
        std::fs::remove_file(&path).expect("it was written");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        let (_, said) = generate(dir.path(), &["--prompt", "A swarm"], 3);
        assert!(said.replace("/ ", "/").contains(name) && said.contains("a pipe, a socket or a device"), "{said}");
    }
}

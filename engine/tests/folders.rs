//! A folder that is not what it says gives an error that names the file and the tensor; it never panics.
use actors::id::BlockRange;
use candle_core::Device;
use engine::model::{Ends, ModelError, Source, Span, write_checkpoint};
use scenarios::shape::{Arch, Shape, WeightType};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const SHAPE: Shape =
    Shape { arch: Arch::Opt, layers: 2, hidden: 16, heads: 2, kv_heads: 2, ffn: 32, vocab: 20, max_positions: 8 };

fn checkpoint() -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_checkpoint(&SHAPE, 3, dir.path()).expect("the folder is writable");
    dir
}

/// Loads everything of the folder, block by block.
fn load(dir: &Path, weights: WeightType) -> Result<(), ModelError> {
    let source = Source::folder(dir)?;
    for start in 0..source.config().shape.layers {
        Span::load(&source, BlockRange { start, end: start + 1 }, weights, &Device::Cpu)?;
    }
    Ends::load(&source, weights, &Device::Cpu).map(|_| ())
}

fn edit(dir: &Path, file: &str, from: &str, to: &str) {
    let path = dir.join(file);
    let bytes = fs::read(&path).expect("the file was written");
    let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).expect("the text is there");
    let edited = [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat();
    fs::write(path, edited).expect("the file is writable");
}

#[test]
fn a_sound_folder_loads() {
    load(checkpoint().path(), WeightType::F32).expect("nothing was changed");
}

#[test]
fn a_configuration_of_another_model_names_the_tensor_that_differs() {
    let dir = checkpoint();
    edit(dir.path(), "config.json", "\"ffn_dim\": 32", "\"ffn_dim\": 48");
    let Err(ModelError::WrongShape { tensor, found, wanted, .. }) = load(dir.path(), WeightType::F32) else {
        panic!("an fc1 of 32 rows was taken for 48")
    };
    assert_eq!((tensor.as_str(), found, wanted), ("model.decoder.layers.0.fc1.weight", vec![32, 16], vec![48, 16]));

    let dir = checkpoint();
    edit(dir.path(), "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    let why = load(dir.path(), WeightType::F32).expect_err("there is no third block");
    assert!(matches!(&why, ModelError::Missing { .. }), "{why}");
    assert!(why.to_string().contains("model.decoder.layers.2."), "{why}");
}

#[test]
fn configurations_that_cannot_be_executed_say_why() {
    let cases = [
        ("\"model_type\": \"opt\"", "\"model_type\": \"gpt2\"", "gpt2"),
        ("\"relu\"", "\"gelu\"", "gelu"),
        ("\"num_attention_heads\": 2", "\"num_attention_heads\": 3", "3 heads"),
        ("\"num_attention_heads\": 2", "\"num_attention_heads\": 0", "heads is 0"),
        ("\"hidden_size\": 16,", "", "hidden_size"),
        ("\"hidden_size\": 16", "\"hidden_size\": -16", "-16"),
        ("{", "[", "expected"),
    ];
    for (from, to, word) in cases {
        let dir = checkpoint();
        edit(dir.path(), "config.json", from, to);
        let why = load(dir.path(), WeightType::F32).expect_err(to).to_string();
        assert!(why.contains("config.json") && why.contains(word), "{to}: {why}");
    }
}

#[test]
fn a_file_cut_short_is_noticed_at_every_length() {
    let dir = checkpoint();
    let path = dir.path().join("model.safetensors");
    let whole = fs::read(&path).expect("the file was written");
    for length in (0..whole.len()).step_by(997).chain([7, 8, 9, whole.len() - 1]) {
        fs::write(&path, &whole[..length]).expect("the file is writable");
        let why = load(dir.path(), WeightType::F32).expect_err("the last tensor is not whole").to_string();
        assert!(why.contains("model.safetensors"), "{length}: {why}");
    }
}

#[test]
fn a_header_that_lies_is_not_believed() {
    let path = |dir: &TempDir| dir.path().join("model.safetensors");
    for size in [u64::MAX, 1 << 40, 99_000_000, 3] {
        let dir = checkpoint();
        let mut bytes = fs::read(path(&dir)).expect("the file was written");
        bytes[..8].copy_from_slice(&size.to_le_bytes());
        fs::write(path(&dir), bytes).expect("the file is writable");
        let why = load(dir.path(), WeightType::F32).expect_err("the size is not the header's");
        assert!(matches!(why, ModelError::Header { .. }), "{size}: {why}");
    }
    // A range beyond the file, a shape that does not go with its range, a type that weights do not have.
    for (from, to) in [("\"data_offsets\":[0,", "\"data_offsets\":[9,"), ("[32,16]", "[16,16]"), ("\"F32\"", "\"I32\"")]
    {
        let dir = checkpoint();
        edit(dir.path(), "model.safetensors", from, to);
        let why = load(dir.path(), WeightType::F32).expect_err(to).to_string();
        assert!(why.contains("model.safetensors"), "{to}: {why}");
    }
}

#[test]
fn an_index_names_only_files_of_its_folder() {
    let dir = checkpoint();
    let index = dir.path().join("model.safetensors.index.json");
    for file in ["../model.safetensors", "/etc/hostname", "missing.safetensors"] {
        let text = format!("{{\"weight_map\": {{\"model.decoder.embed_tokens.weight\": \"{file}\"}}}}");
        fs::write(&index, text).expect("the folder is writable");
        let why = load(dir.path(), WeightType::F32).expect_err(file).to_string();
        assert!(why.contains(file), "{file}: {why}");
    }
    fs::write(&index, "{\"weight_map\": {\"lm_head.weight\": \"model.safetensors\"}}").expect("writable");
    let why = load(dir.path(), WeightType::F32).expect_err("the file has no lm_head");
    assert!(matches!(&why, ModelError::Missing { tensor, .. } if tensor == "lm_head.weight"), "{why}");
}

#[test]
fn rows_too_short_for_quantised_weights_are_refused() {
    let why = load(checkpoint().path(), WeightType::Int8).expect_err("rows of 16 are half a block");
    assert!(matches!(why, ModelError::RowLength { row: 16, multiple: 32, .. }), "{why}");
}

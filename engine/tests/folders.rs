//! A folder that is not what it says gives an error that names the file and the tensor; it never panics.
use actors::id::BlockRange;
use candle_core::Device;
use engine::model::{Checkpoint, Config, Ends, ModelError, Source, Span, inspect, write_checkpoint};
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
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4000000000", "layers is 4000000000"),
        ("\"vocab_size\": 20", "\"vocab_size\": 4294967295", "vocab is 4294967295"),
        ("\"word_embed_proj_dim\": 16", "\"word_embed_proj_dim\": 0", "word_embed_proj_dim is 0"),
        ("\"model_type\": \"opt\",", "", "no model_type"),
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
        assert!(why.contains("model.safetensors") && why.contains("tensor `model.decoder."), "{to}: {why}");
    }
}

#[test]
fn numbers_that_would_make_nothing_of_a_text_are_refused() {
    let cases = [
        (Arch::Bloom, "\"layer_norm_epsilon\": 0.00001", "\"layer_norm_epsilon\": -1", "epsilon"),
        (Arch::Llama, "\"rope_theta\": 10000.0", "\"rope_theta\": 0", "rope_theta is 0"),
        (
            Arch::Llama,
            "\"rope_scaling\": null",
            "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, \
             \"high_freq_factor\": 4, \"original_max_position_embeddings\": 8192}",
            "low_freq_factor 4 is not below",
        ),
        (Arch::Llama, "\"rope_scaling\": null", "\"rope_scaling\": {\"rope_type\": \"yarn\"}", "`yarn`"),
    ];
    for (arch, from, to, word) in cases {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write_checkpoint(&Shape { arch, ffn: 64, ..SHAPE }, 3, dir.path()).expect("the folder is writable");
        let path = dir.path().join("config.json");
        let text = fs::read_to_string(&path).expect("it was written").replace("1e-5", "0.00001");
        fs::write(&path, text).expect("writable");
        edit(dir.path(), "config.json", from, to);
        let why = load(dir.path(), WeightType::F32).expect_err(to).to_string();
        assert!(why.contains("config.json") && why.contains(word), "{to}: {why}");
    }
}

/// The checkpoint in files of so many bytes at most.
fn sharded(shard_bytes: u64) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let config = Config::of(&SHAPE).expect("the shape is sound");
    Checkpoint { config, seed: 3, shard_bytes: Some(shard_bytes) }.write(dir.path()).expect("the folder is writable");
    dir
}

#[test]
fn shards_hold_the_same_tensors_as_one_file() {
    let (one, several) = (checkpoint(), sharded(4096));
    let (held, whole) = (inspect(several.path()).expect("sound"), inspect(one.path()).expect("sound"));
    assert!(held.files.len() > 2, "{held}");
    assert!(held.files.iter().all(|(_, bytes)| *bytes < 4096 + 2048), "a header and its values: {held}");
    assert_eq!((&held.blocks, held.ends, &held.missing, &held.unused), (&whole.blocks, whole.ends, &vec![], &vec![]));
    let logits = |dir: &TempDir| {
        let ends = Ends::load(&Source::folder(dir.path()).expect("sound"), WeightType::F32, &Device::Cpu);
        let ends = ends.expect("its ends");
        ends.logits(&ends.embed(&[3, 7], 1, 0).expect("ids")).and_then(|logits| Ok(logits.to_vec2::<f32>()?))
    };
    assert_eq!(logits(&one).expect("logits"), logits(&several).expect("logits"));
}

#[test]
fn of_shards_the_one_that_is_wrong_is_named() {
    let dir = sharded(4096);
    let names: Vec<_> = inspect(dir.path()).expect("sound").files.into_iter().map(|(path, _)| path).collect();
    let last = names.last().expect("there are some");
    let bytes = fs::read(last).expect("it was written");
    fs::write(last, &bytes[..bytes.len() - 1]).expect("writable");
    let why = Source::folder(dir.path()).and_then(|source| source.check()).expect_err("it is cut short").to_string();
    let name = last.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(why.contains(&name) && why.contains("cut short"), "{why}");
    fs::remove_file(last).expect("it is there");
    let why = load(dir.path(), WeightType::F32).expect_err("a shard is gone").to_string();
    assert!(why.contains(&name), "{why}");
}

#[test]
fn a_folder_that_holds_a_model_is_not_written_over() {
    let dir = checkpoint();
    let before = fs::read(dir.path().join("model.safetensors")).expect("it was written");
    let why = write_checkpoint(&SHAPE, 4, dir.path()).expect_err("it is taken");
    assert!(matches!(why, ModelError::Occupied { .. }), "{why}");
    assert_eq!(fs::read(dir.path().join("model.safetensors")).expect("it is there"), before);
}

#[test]
fn more_than_a_disk_holds_is_not_begun() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let huge = Shape { hidden: 65_532, heads: 4, kv_heads: 4, ffn: 1_000_000, layers: 1024, ..SHAPE };
    let why = write_checkpoint(&huge, 1, dir.path()).expect_err("it takes 600 TB");
    assert!(matches!(why, ModelError::Room { .. }), "{why}");
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 0);
}

#[test]
fn weights_in_another_format_are_named() {
    let dir = checkpoint();
    fs::rename(dir.path().join("model.safetensors"), dir.path().join("pytorch_model.bin")).expect("writable");
    let why = load(dir.path(), WeightType::F32).expect_err("there are no safetensors").to_string();
    assert!(why.contains("pytorch_model.bin is not read"), "{why}");
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

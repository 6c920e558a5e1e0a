//! Tests that an inconsistent folder causes an error that names the file and the tensor, and never a panic.
use actors::id::BlockRange;
use candle_core::Device;
use models::{
    BlockSpan, Checkpoint, Config, EmbeddingAndHead, ModelError, Source, Text, end_of_sequence, inspect,
    write_checkpoint,
};
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

/// Loads the whole folder, block by block.
fn load(dir: &Path, weights: WeightType) -> Result<(), ModelError> {
    let source = Source::folder(dir)?;
    for start in 0..source.config().shape.layers {
        BlockSpan::load(&source, BlockRange { start, end: start + 1 }, weights, &Device::Cpu)?;
    }
    EmbeddingAndHead::load(&source, weights, &Device::Cpu).map(|_| ())
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
        ("\"num_attention_heads\": 2", "\"num_attention_heads\": 3", "a multiple of `num_attention_heads` (3)"),
        ("\"num_attention_heads\": 2", "\"num_attention_heads\": 0", "`num_attention_heads` is 0"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4000000000", "`num_hidden_layers` is 4000000000"),
        ("\"vocab_size\": 20", "\"vocab_size\": 4294967295", "`vocab_size` is 4294967295"),
        ("\"word_embed_proj_dim\": 16", "\"word_embed_proj_dim\": 0", "`word_embed_proj_dim` is 0"),
        ("\"model_type\": \"opt\",", "", "`model_type` is missing"),
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
    // The cases are a range beyond the file, a shape that does not fit its range, and a type that weights do not have.
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
        (Arch::Llama, "\"rope_theta\": 10000.0", "\"rope_theta\": 0", "`rope_theta` is 0"),
        (
            Arch::Llama,
            "\"rope_scaling\": null",
            "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, \
             \"high_freq_factor\": 4, \"original_max_position_embeddings\": 8192}",
            "low_freq_factor of 4, which must be below",
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

/// Writes the checkpoint in files of at most `shard_bytes` bytes.
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
        let ends = EmbeddingAndHead::load(&Source::folder(dir.path()).expect("sound"), WeightType::F32, &Device::Cpu);
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
    assert!(why.contains(&name) && why.contains("truncated"), "{why}");
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
    assert!(why.contains("pytorch_model.bin has a format that cannot be read"), "{why}");
}

#[test]
fn an_index_names_only_files_of_its_folder() {
    let dir = checkpoint();
    fs::rename(dir.path().join("model.safetensors"), dir.path().join("all.safetensors")).expect("writable");
    let index = dir.path().join("model.safetensors.index.json");
    for file in ["../model.safetensors", "/etc/hostname", "missing.safetensors"] {
        let text = format!("{{\"weight_map\": {{\"model.decoder.embed_tokens.weight\": \"{file}\"}}}}");
        fs::write(&index, text).expect("the folder is writable");
        let why = load(dir.path(), WeightType::F32).expect_err(file).to_string();
        assert!(why.contains(file), "{file}: {why}");
    }
    fs::write(&index, "{\"weight_map\": {\"lm_head.weight\": \"all.safetensors\"}}").expect("writable");
    let why = load(dir.path(), WeightType::F32).expect_err("the file has no lm_head");
    assert!(matches!(&why, ModelError::Missing { tensor, .. } if tensor == "lm_head.weight"), "{why}");
}

#[test]
fn a_tensor_is_in_the_shard_that_the_index_names() {
    let set = |dir: &Path, edit: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let path = dir.join("model.safetensors.index.json");
        let mut index: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).expect("it was written")).expect("JSON");
        edit(index["weight_map"].as_object_mut().expect("a map"));
        fs::write(path, index.to_string()).expect("writable");
    };
    let shard = |dir: &Path, at: usize| inspect(dir).expect("sound").files[at].0.clone();
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let tensor = "model.decoder.layers.0.fc1.weight";

    // The index says that the tensor is in a shard that does not have it.
    let dir = sharded(4096);
    let last = name(&shard(dir.path(), 2));
    set(dir.path(), &|map| _ = map.insert(tensor.to_owned(), last.clone().into()));
    let why = load(dir.path(), WeightType::F32).expect_err("it is in another shard").to_string();
    assert!(why.contains(&format!("the tensor `{tensor}` is in the file model-0000")), "{why}");
    assert!(why.contains(&format!("but the index says {last}")), "{why}");

    // Two shards have the same tensor.
    let dir = sharded(4096);
    let (first, last) = (shard(dir.path(), 0), shard(dir.path(), 2));
    let mut tensors = candle_core::safetensors::load(&last, &Device::Cpu).expect("it was written");
    for (name, tensor) in candle_core::safetensors::load(&first, &Device::Cpu).expect("it was written") {
        tensors.insert(name, tensor.affine(2.0, 0.0).expect("a tensor"));
    }
    candle_core::safetensors::save(&tensors, &last).expect("writable");
    let why = load(dir.path(), WeightType::F32).expect_err("it is there twice").to_string();
    assert!(why.contains(&format!("is both in {} and in {}; keep one", name(&first), name(&last))), "{why}");
}

#[test]
fn rows_too_short_for_quantised_weights_are_refused() {
    let why = load(checkpoint().path(), WeightType::Int8).expect_err("rows of 16 are half a block");
    assert!(matches!(why, ModelError::RowLength { row: 16, multiple: 32, .. }), "{why}");
}

fn set_config(dir: &Path, text: &str) {
    fs::write(dir.join("config.json"), text).expect("writable");
}

#[test]
fn names_of_one_value_may_be_there_twice_if_they_agree() {
    let bloom = |more: &str| {
        format!(r#"{{"model_type": "bloom", "n_layer": 2, "n_head": 2, "vocab_size": 20, "seq_length": 8, {more}}}"#)
    };
    let read = |text: String| Config::parse(&text);
    let want = read(bloom(r#""hidden_size": 16"#)).expect("one name");
    assert_eq!(read(bloom(r#""n_embed": 16, "hidden_size": 16"#)), Ok(want.clone()));
    assert_eq!(read(bloom(r#""n_embed": 16, "num_hidden_layers": 2, "num_attention_heads": 2"#)), Ok(want));
    let why = read(bloom(r#""n_embed": 32, "hidden_size": 16"#)).expect_err("they differ");
    assert!(why.contains("`n_embed` is 32 and `hidden_size` is 16"), "{why}");

    let llama = |more: &str| {
        let sizes = r#""hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4"#;
        Config::parse(&format!(r#"{{"model_type": "llama", {sizes}, "vocab_size": 300, {more}}}"#))
    };
    let linear = llama(r#""rope_scaling": {"rope_type": "linear", "factor": 2.0}"#).expect("one name");
    assert_eq!(llama(r#""rope_scaling": {"type": "linear", "rope_type": "linear", "factor": 2}"#), Ok(linear.clone()));
    assert_eq!(
        llama(
            r#""rope_scaling": {"type": "linear", "factor": 2}, "rope_theta": 10000,
                 "rope_parameters": {"rope_type": "linear", "factor": 2, "rope_theta": 10000.0}"#
        ),
        Ok(linear)
    );
    let plain = llama(r#""head_dim": null"#).expect("the default");
    assert_eq!(llama(r#""head_dim": 16"#), Ok(plain), "as it follows from the hidden size and the heads");
    for (more, words) in [
        (
            r#""rope_scaling": {"type": "linear", "rope_type": "llama3", "factor": 2}"#,
            ["`type` is \"linear\"", "`rope_type`"],
        ),
        (
            r#""rope_theta": 5, "rope_parameters": {"rope_theta": 10}"#,
            ["`rope_theta` is 10 in `rope_parameters`", "5 in"],
        ),
        (r#""head_dim": 32"#, ["`head_dim` is 32", "`hidden_size` of 64"]),
        (r#""quantization_config": {"quant_method": "awq", "bits": 4}"#, ["quantization_config", "`awq`"]),
    ] {
        let why = llama(more).expect_err(more);
        assert!(words.iter().all(|word| why.contains(word)), "{more}: {why}");
    }
}

#[test]
fn values_of_another_type_name_their_key() {
    for (from, to, word) in [
        ("\"hidden_size\": 16", "\"hidden_size\": \"16\"", "`hidden_size` is \"16\""),
        ("\"hidden_size\": 16", "\"hidden_size\": 16.0", "`hidden_size` is 16.0"),
        ("\"enable_bias\": true", "\"enable_bias\": null", "`enable_bias` is null"),
        ("\"vocab_size\": 20", "\"vocab_size\": null", "`vocab_size` is null"),
    ] {
        let dir = checkpoint();
        edit(dir.path(), "config.json", from, to);
        let why = load(dir.path(), WeightType::F32).expect_err(to).to_string();
        assert!(why.contains("config.json") && why.contains(word), "{to}: {why}");
    }
}

#[test]
fn the_whole_file_goes_before_an_index_beside_it() {
    let (dir, other) = (sharded(4096), tempfile::tempdir().expect("a temporary folder"));
    write_checkpoint(&SHAPE, 9, other.path()).expect("writable");
    let first = |dir: &Path| {
        let ends = EmbeddingAndHead::load(&Source::folder(dir).expect("sound"), WeightType::F32, &Device::Cpu)
            .expect("its ends");
        ends.embed(&[3], 1, 0).and_then(|x| Ok(x.flatten_all()?.to_vec1::<f32>()?)).expect("an id")
    };
    assert_ne!(first(dir.path()), first(other.path()), "two seeds");
    fs::copy(other.path().join("model.safetensors"), dir.path().join("model.safetensors")).expect("writable");
    assert_eq!(first(dir.path()), first(other.path()));
    let warnings = inspect(dir.path()).expect("sound").warnings;
    assert_eq!(
        warnings,
        ["the weights are read from model.safetensors, and model.safetensors.index.json in the same folder is ignored"]
    );
    // The index is not read, so an invalid index causes no error.
    fs::write(dir.path().join("model.safetensors.index.json"), "stale").expect("writable");
    assert_eq!(first(dir.path()), first(other.path()));
}

#[test]
fn a_pointer_in_place_of_a_file_is_told() {
    let pointer = "version https://example.org/git-lfs/spec/v1\noid sha256:4d7a214614ab2935\nsize 988097824\n";
    for name in ["model.safetensors", "config.json", "tokenizer.json"] {
        let dir = checkpoint();
        fs::write(dir.path().join(name), pointer).expect("writable");
        let why = match name {
            "tokenizer.json" => Text::open(dir.path()).map(|_| ()).expect_err("a pointer"),
            _ => load(dir.path(), WeightType::F32).expect_err("a pointer"),
        };
        assert!(
            matches!(&why, ModelError::LfsPointer { path, bytes: Some(988_097_824) } if path.ends_with(name)),
            "{why}"
        );
    }
}

#[test]
fn weights_that_are_packed_or_lack_their_index_are_told() {
    let dir = checkpoint();
    let path = dir.path().join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).expect("it was written");
    let weight = tensors.remove("model.decoder.layers.0.fc1.weight").expect("it is there");
    tensors.insert("model.decoder.layers.0.fc1.qweight".to_owned(), weight);
    candle_core::safetensors::save(&tensors, &path).expect("writable");
    let why = load(dir.path(), WeightType::F32).expect_err("it is packed").to_string();
    assert!(why.contains("layers.0.fc1.qweight` of AWQ or GPTQ"), "{why}");

    let dir = sharded(4096);
    fs::remove_file(dir.path().join("model.safetensors.index.json")).expect("it was written");
    let why = load(dir.path(), WeightType::F32).expect_err("no index").to_string();
    assert!(why.contains("model-00001-of-") && why.contains("one of several files"), "{why}");
}

#[test]
fn a_tied_head_that_is_stored_alone_is_the_embedding() {
    for arch in [Arch::Opt, Arch::Bloom] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write_checkpoint(&Shape { arch, ffn: 64, ..SHAPE }, 3, dir.path()).expect("writable");
        let logits = || {
            let ends = EmbeddingAndHead::load(&Source::folder(dir.path())?, WeightType::F32, &Device::Cpu)?;
            Ok::<_, ModelError>(ends.logits(&ends.embed(&[3, 7], 1, 0)?)?.to_vec2::<f32>()?)
        };
        let want = logits().expect("sound");
        let path = dir.path().join("model.safetensors");
        let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).expect("it was written");
        let name =
            tensors.keys().find(|name| name.contains("embed_tokens") || name.ends_with("word_embeddings.weight"));
        let name = name.expect("an embedding").clone();
        let embedding = tensors.remove(&name).expect("it is there");
        tensors.insert("lm_head.weight".to_owned(), embedding.clone());
        candle_core::safetensors::save(&tensors, &path).expect("writable");
        assert_eq!(logits().expect("the head is the embedding"), want, "{arch:?}");
        // If the embedding is stored too, the stored head is ignored without a warning.
        tensors.insert(name, embedding);
        candle_core::safetensors::save(&tensors, &path).expect("writable");
        let held = inspect(dir.path()).expect("sound");
        assert_eq!((held.unused, held.warnings), (vec![], vec![]), "{arch:?}");
        // A stored head with other values than the embedding causes a warning.
        let head = tensors["lm_head.weight"].affine(1.0, 0.5).expect("a tensor");
        tensors.insert("lm_head.weight".to_owned(), head);
        candle_core::safetensors::save(&tensors, &path).expect("writable");
        let warnings = inspect(dir.path()).expect("sound").warnings.concat();
        assert!(warnings.contains("lm_head.weight of the folder differs from the embedding"), "{warnings}");
    }
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    for name in
        ["config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json", "generation_config.json"]
    {
        for kind in ["pipe", "folder", "broken link"] {
            let dir = checkpoint();
            let path = dir.path().join(name);
            let _ = fs::remove_file(&path);
            if name.ends_with("index.json") {
                fs::remove_file(dir.path().join("model.safetensors")).expect("it was written");
            }
            match kind {
                "pipe" => assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success()),
                "folder" => fs::create_dir(&path).expect("writable"),
                _ => std::os::unix::fs::symlink("nowhere", &path).expect("writable"),
            }
            let why = match name {
                "tokenizer.json" => Text::open(dir.path()).map(|_| ()),
                "generation_config.json" => end_of_sequence(dir.path()).map(|_| ()),
                _ => load(dir.path(), WeightType::F32),
            };
            let why = why.expect_err(kind);
            assert!(matches!(&why, ModelError::File(_)) && why.to_string().contains(name), "{name}, {kind}: {why}");
        }
    }
}

#[test]
fn files_beyond_their_bounds_are_not_read() {
    let dir = checkpoint();
    let config = fs::File::options().write(true).open(dir.path().join("config.json")).expect("it was written");
    config.set_len(1 << 40).expect("a sparse file");
    let why = load(dir.path(), WeightType::F32).expect_err("too large").to_string();
    assert!(why.contains("config.json") && why.contains("at most"), "{why}");

    let dir = checkpoint();
    let path = dir.path().join("model.safetensors");
    fs::write(&path, (1u64 << 39).to_le_bytes()).expect("writable");
    fs::File::options().write(true).open(&path).and_then(|file| file.set_len(1 << 40)).expect("a sparse file");
    let why = load(dir.path(), WeightType::F32).expect_err("too large a header").to_string();
    assert!(why.contains("model.safetensors") && why.contains("at most"), "{why}");
}

#[test]
fn an_end_of_sequence_that_is_no_id_names_its_key() {
    let dir = checkpoint();
    set_config(dir.path(), r#"{"eos_token_id": [2, 5]}"#);
    assert_eq!(end_of_sequence(dir.path()).expect("two ids"), [2, 5]);
    for text in [r#"{"eos_token_id": "2"}"#, r#"{"eos_token_id": [2, -1]}"#, r#"{"eos_token_id": 2.5}"#] {
        set_config(dir.path(), text);
        let why = end_of_sequence(dir.path()).expect_err(text).to_string();
        assert!(why.contains("config.json: `eos_token_id` is "), "{why}");
    }
}

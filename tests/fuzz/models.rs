//! Entries for the files of a Hugging Face model folder: its configuration, its weights, the index of its weights, and
//! its tokenizer.
use actors::id::BlockRange;
use candle_core::Device;
use models::{BlockSpan, Checkpoint, Config, EmbeddingAndHead, ModelError, Source, Text, end_of_sequence, inspect};
use scenarios::shape::{Arch, Shape, WeightType};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const TOKENIZER: &str = "tokenizer.json";

/// Text with spaces, numbers, combining marks, and characters of several bytes.
const PROMPT: &str = " Hello, wo\u{308}rld 1234!\n\tÄ 漢字 🦀 <s>";

thread_local! {
    static WHOLE: (TempDir, PathBuf) = folder(Arch::Opt, None);
    static SHARDS: (TempDir, PathBuf) = folder(Arch::Llama, Some(20_000));
}

/// Reads the bytes as a `config.json`, beside weights that may not match it.
pub fn config(bytes: &[u8]) {
    WHOLE.with(|(_, dir)| damaged(dir, CONFIG, bytes, |dir| load(dir).and(end_of_sequence(dir).map(drop))));
}

/// Reads a safetensors file.
pub fn safetensors(bytes: &[u8]) {
    WHOLE.with(|(_, dir)| damaged(dir, WEIGHTS, bytes, load));
}

/// Reads the index of several safetensors files.
pub fn safetensors_index(bytes: &[u8]) {
    SHARDS.with(|(_, dir)| damaged(dir, INDEX, bytes, load));
}

/// Reads a `tokenizer.json`.
pub fn tokenizer(bytes: &[u8]) {
    let speak = |dir: &Path| {
        let text = Text::open(dir)?;
        let ids = text.encode(PROMPT)?;
        text.decode(&ids)?;
        text.decode(&[0, 1, 2, u32::MAX]).map(drop)
    };
    WHOLE.with(|(_, dir)| damaged(dir, TOKENIZER, bytes, speak));
}

/// Inspects the folder, and loads its first block, its embedding and its head.
fn load(dir: &Path) -> Result<(), ModelError> {
    let _ = inspect(dir)?.to_json();
    let source = Source::folder(dir)?;
    source.check()?;
    let first = BlockRange { start: 0, end: 1 };
    BlockSpan::load(&source, first, WeightType::Int8, &Device::Cpu)?;
    let ends = EmbeddingAndHead::load(&source, WeightType::F32, &Device::Cpu)?;
    ends.embed(&[0], 1, 0).map(drop)
}

/// Reads a model folder whose file `name` is replaced by `bytes`, and then restores the file.
fn damaged(dir: &Path, name: &str, bytes: &[u8], read: impl Fn(&Path) -> Result<(), ModelError>) {
    let path = dir.join(name);
    let whole = fs::read(&path).expect("the folder is whole");
    fs::write(&path, bytes).expect("the folder can be written to");
    let told = read(dir);
    fs::write(&path, whole).expect("the folder can be written to");
    if let Err(why) = told.map_err(|why| why.to_string()) {
        let named = why.contains(&dir.display().to_string());
        assert!(named, "the error of a damaged {name} names no file: {why}");
    }
}

/// Writes a small model to a temporary folder: in files of the size `shard_bytes`, or in one file if that is `None`.
fn folder(arch: Arch, shard_bytes: Option<u64>) -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let dir = parent.path().join("model");
    let shape = Shape { arch, layers: 2, hidden: 32, heads: 2, kv_heads: 2, ffn: 128, vocab: 300, max_positions: 32 };
    let config = Config::of(&shape).expect("it can be executed");
    Checkpoint { config, seed: 1, shard_bytes }.write(&dir).expect("the folder can be written to");
    (parent, dir)
}

/// Returns valid files for the entry of this name.
pub fn seeds(entry: &str) -> Vec<Vec<u8>> {
    let read = |arch, shard_bytes, name: &str| {
        let (_parent, dir) = folder(arch, shard_bytes);
        fs::read(dir.join(name)).expect("a file of the folder")
    };
    match entry {
        "config" => [Arch::Opt, Arch::Bloom, Arch::Llama].map(|arch| read(arch, None, CONFIG)).into(),
        "safetensors" => vec![read(Arch::Opt, None, WEIGHTS)],
        "safetensors_index" => vec![read(Arch::Llama, Some(20_000), INDEX)],
        "tokenizer" => vec![read(Arch::Opt, None, TOKENIZER)],
        other => panic!("there is no model file {other}"),
    }
}

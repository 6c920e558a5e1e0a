//! Writes a random checkpoint as a Hugging Face folder.
use super::config::Config;
use super::error::ModelError;
use super::folder::{INDEX, WEIGHTS};
use super::source::Source;
use super::tensors::TensorSpec;
use super::text::byte_tokenizer;
use safetensors::Dtype;
use safetensors::tensor::View;
use scenarios::shape::Shape;
use serde_json::json;
use std::borrow::Cow;
use std::fs;
use std::path::Path;

/// The bytes of an f32, the type of all written values.
const VALUE: usize = 4;

/// A checkpoint with the same values as `Weights::Random` with the same seed.
pub struct Checkpoint {
    pub config: Config,
    pub seed: u64,
    /// The largest number of bytes of values in one file; a single tensor that is larger gets a file of its own. `None`
    /// writes one file.
    pub shard_bytes: Option<u64>,
}

/// Writes the usual form of `shape` into one file; see [`Checkpoint::write`].
///
/// # Errors
/// If the shape cannot be built, or for the errors of [`Checkpoint::write`].
pub fn write_checkpoint(shape: &Shape, seed: u64, dir: &Path) -> Result<(), ModelError> {
    Checkpoint { config: Config::of(shape)?, seed, shard_bytes: None }.write(dir)
}

impl Checkpoint {
    /// Writes the checkpoint into `dir`, which must not hold a model yet: `config.json`, `model.safetensors` (f32) or
    /// its shards with their index, and `tokenizer.json` if the vocabulary has at least 256 ids. Tensors are drawn one
    /// at a time while they are written. Files get their names when they are complete, `config.json` last, so that a
    /// folder whose writing was interrupted is not a model.
    ///
    /// # Errors
    /// If the folder holds a model already, its file system has too little space, or a file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), ModelError> {
        fs::create_dir_all(dir).map_err(ModelError::io(dir))?;
        let taken = ["config.json", WEIGHTS, INDEX].into_iter().find(|name| dir.join(name).exists());
        if let Some(name) = taken {
            return Err(ModelError::Occupied { path: dir.to_owned(), name });
        }
        let shape = &self.config.shape;
        let blocks = (0..shape.layers).map(|index| self.config.block_specs(index));
        let specs: Vec<TensorSpec> = blocks.chain([self.config.ends_specs()]).flat_map(|specs| specs.list).collect();
        room(dir, specs.iter().map(bytes).sum())?;
        let save = |name: &str, text: String| {
            let path = dir.join(name);
            fs::write(&path, text).map_err(ModelError::io(&path))
        };
        if shape.vocab >= 256 {
            save("tokenizer.json", byte_tokenizer(shape.vocab))?;
        }
        let source = Source::random(self.config.clone(), self.seed);
        let shards = shards(specs, self.shard_bytes.unwrap_or(u64::MAX));
        if let [all] = shards.as_slice() {
            write_file(&dir.join(WEIGHTS), all, &source)?;
        } else {
            let name = |at| dir.join(shard_name(at, shards.len()));
            shards.iter().enumerate().try_for_each(|(at, specs)| write_file(&name(at), specs, &source))?;
            save(INDEX, index(&shards))?;
        }
        save("config.json", self.config.to_json())
    }
}

fn bytes(spec: &TensorSpec) -> u64 {
    spec.values() as u64 * VALUE as u64
}

/// Returns an error if the file system of `dir` has fewer than `needed` free bytes.
fn room(dir: &Path, needed: u64) -> Result<(), ModelError> {
    let held = rustix::fs::statvfs(dir).map_err(|why| ModelError::Io { path: dir.to_owned(), why: why.into() })?;
    let free = held.f_bavail.saturating_mul(held.f_frsize);
    if free < needed { Err(ModelError::Room { path: dir.to_owned(), needed, free }) } else { Ok(()) }
}

/// Splits the tensors, in their order, into files of at most `most` bytes each.
fn shards(specs: Vec<TensorSpec>, most: u64) -> Vec<Vec<TensorSpec>> {
    let mut shards: Vec<Vec<TensorSpec>> = Vec::new();
    let mut held = 0;
    for spec in specs {
        let more = bytes(&spec);
        match shards.last_mut() {
            Some(shard) if held + more <= most => {
                held += more;
                shard.push(spec);
            }
            _ => {
                held = more;
                shards.push(vec![spec]);
            }
        }
    }
    shards
}

/// Returns the file name of a shard, as transformers names it.
fn shard_name(at: usize, of: usize) -> String {
    format!("model-{:05}-of-{of:05}.safetensors", at + 1)
}

/// Returns the text of `model.safetensors.index.json`.
fn index(shards: &[Vec<TensorSpec>]) -> String {
    let total: u64 = shards.iter().flatten().map(bytes).sum();
    let place = |(at, specs): (usize, &Vec<TensorSpec>)| {
        let file = shard_name(at, shards.len());
        specs.iter().map(|spec| (spec.name.clone(), json!(file))).collect::<Vec<_>>()
    };
    let map: serde_json::Map<_, _> = shards.iter().enumerate().flat_map(place).collect();
    format!("{:#}\n", json!({ "metadata": { "total_size": total }, "weight_map": map }))
}

fn write_file(path: &Path, specs: &[TensorSpec], source: &Source) -> Result<(), ModelError> {
    let views = specs.iter().map(|spec| (spec.name.clone(), Drawn { spec, source }));
    let note = [("format".to_owned(), "pt".to_owned())].into();
    let growing = path.with_extension("new");
    safetensors::serialize_to_file(views, Some(note), &growing)
        .map_err(|why| ModelError::Io { path: path.to_owned(), why: std::io::Error::other(why) })?;
    fs::rename(&growing, path).map_err(ModelError::io(path))
}

/// A tensor that is drawn when it is written.
struct Drawn<'a> {
    spec: &'a TensorSpec,
    source: &'a Source,
}

impl View for Drawn<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.spec.dims
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.source.tensor(self.spec).and_then(|tensor| Ok(tensor.flatten_all()?.to_vec1::<f32>()?));
        let values = values.expect("drawing an f32 tensor on the CPU has nothing to fail on");
        Cow::Owned(values.into_iter().flat_map(f32::to_le_bytes).collect())
    }

    fn data_len(&self) -> usize {
        self.spec.values() * VALUE
    }
}

//! Writes a random checkpoint as a Hugging Face folder.
use super::config::Config;
use super::error::ModelError;
use super::folder::{INDEX, WEIGHTS};
use super::source::Source;
use super::tensors::TensorSpec;
use super::text::byte_tokenizer;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use scenarios::shape::Shape;
use serde_json::json;
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The size in bytes of one written value, an f32.
const VALUE: usize = 4;

/// The name of the folder, within the model's folder, in which files are written until they are complete. Only the
/// program that has created this folder writes there.
const GROWING: &str = ".partial-model";

/// A random checkpoint to be written. It has the same values as a plan's `Weights::Random` with the same seed.
pub struct Checkpoint {
    pub config: Config,
    pub seed: u64,
    /// The maximum total size of the tensors in one file, in bytes. A single tensor that is larger gets a file of its
    /// own. With `None` all tensors are written into one file.
    pub shard_bytes: Option<u64>,
}

/// Writes a random checkpoint with the dimensions `shape` and the usual settings of its architecture, all tensors in
/// one file; see [`Checkpoint::write`].
///
/// # Errors
/// If no model can have these dimensions, or for the errors of [`Checkpoint::write`].
pub fn write_checkpoint(shape: &Shape, seed: u64, dir: &Path) -> Result<(), ModelError> {
    Checkpoint { config: Config::of(shape)?, seed, shard_bytes: None }.write(dir)
}

impl Checkpoint {
    /// Writes the checkpoint into `dir`, which must not hold a model yet: `config.json`, `model.safetensors` (f32) or
    /// its shards with their index, and `tokenizer.json` if the vocabulary has at least 256 ids. Tensors are generated
    /// one at a time while they are written. The files are written in a temporary folder and moved to `dir` when all
    /// are complete, `config.json` last, so a folder whose writing was interrupted does not count as a model.
    ///
    /// # Errors
    /// If the folder holds a model already, another program is writing one there, its file system has too little space,
    /// or a file cannot be written. The files written so far are then removed.
    pub fn write(&self, dir: &Path) -> Result<(), ModelError> {
        self.write_until(dir, &AtomicBool::new(false))
    }

    /// Does the same as [`Checkpoint::write`], but stops when `interrupt` is set.
    ///
    /// # Errors
    /// Those of [`Checkpoint::write`], and [`ModelError::Interrupted`].
    pub fn write_until(&self, dir: &Path, interrupt: &AtomicBool) -> Result<(), ModelError> {
        let claim = Claim::new(dir)?;
        let taken = ["config.json", WEIGHTS, INDEX].into_iter().find(|name| dir.join(name).exists());
        if let Some(name) = taken {
            return Err(ModelError::Occupied { path: dir.to_owned(), name });
        }
        let names = self.write_files(&claim.growing, interrupt)?;
        for (at, name) in names.iter().enumerate() {
            if let Err(why) = claim.settle(name) {
                names[..at].iter().for_each(|name| drop(fs::remove_file(dir.join(name))));
                return Err(why);
            }
        }
        Ok(())
    }

    /// Writes the files, and returns their names in the order in which they must be moved to the model's folder.
    fn write_files(&self, dir: &Path, interrupt: &AtomicBool) -> Result<Vec<String>, ModelError> {
        let shape = &self.config.shape;
        let blocks = (0..shape.layers).map(|index| self.config.block_specs(index));
        let specs: Vec<TensorSpec> = blocks.chain([self.config.client_specs()]).flat_map(|specs| specs.list).collect();
        room(dir, specs.iter().map(bytes).sum())?;
        let mut names = Vec::new();
        let mut save = |name: &str, text: String| {
            let path = dir.join(name);
            names.push(name.to_owned());
            fs::write(&path, text).map_err(ModelError::io(&path))
        };
        if shape.vocab >= 256 {
            save("tokenizer.json", byte_tokenizer(shape.vocab))?;
        }
        let source = Source::random(self.config.clone(), self.seed);
        let shards = shards(specs, self.shard_bytes.unwrap_or(u64::MAX));
        let mut files: Vec<String> = (0..shards.len()).map(|at| shard_name(at, shards.len())).collect();
        if let [whole] = files.as_mut_slice() {
            *whole = WEIGHTS.to_owned();
        } else {
            save(INDEX, index(&shards))?;
        }
        save("config.json", self.config.to_json())?;
        for (name, specs) in files.iter().zip(&shards) {
            write_file(&dir.join(name), specs, &source, interrupt)?;
        }
        // The weights are moved before their index, and `config.json` is moved last.
        let at = names.iter().position(|name| name != "tokenizer.json").unwrap_or(names.len());
        names.splice(at..at, files);
        Ok(names)
    }
}

/// A folder in which this program alone writes a model.
struct Claim {
    dir: PathBuf,
    growing: PathBuf,
    /// The folders that this program had to create, the outermost first.
    made: Vec<PathBuf>,
}

impl Claim {
    fn new(dir: &Path) -> Result<Claim, ModelError> {
        let absent = dir.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists());
        let mut absent: Vec<PathBuf> = absent.map(Path::to_owned).collect();
        absent.reverse();
        let mut claim = Claim { dir: dir.to_owned(), growing: dir.join(GROWING), made: Vec::new() };
        for folder in absent {
            match fs::create_dir(&folder) {
                Ok(()) => claim.made.push(folder),
                // Another program has created the folder meanwhile.
                Err(_) if folder.is_dir() => {}
                Err(why) => return Err(claim.refused(ModelError::io(&folder)(why))),
            }
        }
        match fs::create_dir(&claim.growing) {
            Ok(()) => Ok(claim),
            Err(why) if why.kind() == ErrorKind::AlreadyExists => {
                let path = claim.growing.clone();
                Err(claim.refused(ModelError::Claimed { path }))
            }
            Err(why) => {
                let failed = ModelError::io(dir)(why);
                Err(claim.refused(failed))
            }
        }
    }

    /// Returns the error `why` of a failed claim. If a temporary folder exists then, it belongs to another program and
    /// is not removed.
    fn refused(mut self, why: ModelError) -> ModelError {
        self.growing = PathBuf::new();
        why
    }

    /// Moves a complete file from the temporary folder to the model's folder.
    fn settle(&self, name: &str) -> Result<(), ModelError> {
        let place = self.dir.join(name);
        fs::rename(self.growing.join(name), &place).map_err(ModelError::io(&place))
    }
}

impl Drop for Claim {
    /// Removes the temporary folder with its files, and the folders that the program created if they are empty.
    fn drop(&mut self) {
        if !self.growing.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.growing);
        }
        for folder in self.made.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
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

/// Writes a file of the format safetensors: the length of the header, the header, and the values in the order of the
/// tensors' names.
fn write_file(path: &Path, specs: &[TensorSpec], source: &Source, interrupt: &AtomicBool) -> Result<(), ModelError> {
    let failed = ModelError::io;
    let mut specs: Vec<&TensorSpec> = specs.iter().collect();
    specs.sort_by(|one, other| one.name.cmp(&other.name));
    let mut file = BufWriter::new(File::create(path).map_err(failed(path))?);
    file.write_all(&header(&specs).map_err(failed(path))?).map_err(failed(path))?;
    for spec in specs {
        if interrupt.load(Ordering::Relaxed) {
            return Err(ModelError::Interrupted);
        }
        for value in source.tensor(spec)?.flatten_all()?.to_vec1::<f32>()? {
            file.write_all(&value.to_le_bytes()).map_err(failed(path))?;
        }
    }
    file.flush().map_err(failed(path))
}

fn header(specs: &[&TensorSpec]) -> std::io::Result<Vec<u8>> {
    let mut end = 0;
    let info = |spec: &&TensorSpec| {
        let start = end;
        end += spec.values() * VALUE;
        (spec.name.clone(), TensorInfo { dtype: Dtype::F32, shape: spec.dims.clone(), data_offsets: (start, end) })
    };
    let tensors = specs.iter().map(info).collect();
    let note = [("format".to_owned(), "pt".to_owned())].into();
    let header = Metadata::new(Some(note), tensors).map_err(std::io::Error::other)?;
    let mut text = serde_json::to_vec(&header)?;
    // Values begin at a multiple of 8 bytes.
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut text);
    Ok(bytes)
}

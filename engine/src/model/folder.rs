//! Tensors in the safetensors files of a Hugging Face folder, read one byte range at a time.
//!
//! No header is believed: sizes and offsets are held against the file before anything is allocated.
mod header;

use super::error::ModelError;
use super::tensors::TensorSpec;
use candle_core::{DType, Device, Tensor};
use header::Entry;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// All tensors, where they are in one file.
pub const WEIGHTS: &str = "model.safetensors";
/// Which file has which tensor, where they are in several.
pub const INDEX: &str = "model.safetensors.index.json";

/// Some files on the hub lack these at the front of their names.
const PREFIXES: [&str; 2] = ["model.", "transformer."];

pub struct Folder {
    dir: PathBuf,
    /// By the tensors' names: the number of the file, and where in it.
    entries: BTreeMap<String, (usize, Entry)>,
    /// With their bytes.
    files: Vec<(PathBuf, u64)>,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Folder {
    /// Reads the headers of all files.
    pub fn open(dir: &Path) -> Result<Folder, ModelError> {
        let mut folder = Folder { dir: dir.to_owned(), entries: BTreeMap::new(), files: Vec::new() };
        let index = dir.join(INDEX);
        if !index.is_file() {
            let whole = dir.join(WEIGHTS);
            if !whole.is_file() {
                return Err(ModelError::NoWeights { path: dir.to_owned(), other: other_weights(dir) });
            }
            folder.add(&whole)?;
            return Ok(folder);
        }
        let text = std::fs::read_to_string(&index).map_err(ModelError::io(&index))?;
        let map: Index = serde_json::from_str(&text).map_err(|why| ModelError::config(&index, why.to_string()))?;
        let mut names: Vec<&String> = map.weight_map.values().collect();
        names.sort();
        names.dedup();
        for name in names {
            if Path::new(name).components().count() != 1 || name.contains("..") {
                return Err(ModelError::config(&index, format!("`{name}` is not a file of the folder")));
            }
            folder.add(&dir.join(name))?;
        }
        match map.weight_map.iter().find(|(tensor, _)| !folder.entries.contains_key(*tensor)) {
            Some((tensor, file)) => Err(ModelError::Missing { path: dir.join(file), tensor: tensor.clone() }),
            None => Ok(folder),
        }
    }

    /// The tensor of `spec`, in f32 on the CPU.
    pub fn tensor(&self, spec: &TensorSpec) -> Result<Tensor, ModelError> {
        let Found { path, start, dtype } = self.locate(spec)?;
        let mut data = vec![0; spec.values() * dtype.size_in_bytes()];
        let mut file = File::open(path).map_err(ModelError::io(path))?;
        file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut data)).map_err(ModelError::io(path))?;
        Ok(Tensor::from_raw_buffer(&data, dtype, &spec.dims, &Device::Cpu)?.to_dtype(DType::F32)?)
    }

    /// Whether the tensor of `spec` is there, whole, in its shape and in a type that is read. Nothing of it is read.
    pub fn check(&self, spec: &TensorSpec) -> Result<(), ModelError> {
        self.locate(spec).map(|_| ())
    }

    fn locate(&self, spec: &TensorSpec) -> Result<Found<'_>, ModelError> {
        let tensor = spec.name.clone();
        let Some((file, entry)) = self.find(&spec.name) else {
            return Err(ModelError::Missing { path: self.dir.clone(), tensor });
        };
        let (path, length) = &self.files[*file];
        let dtype = match entry.dtype.as_str() {
            "F32" => DType::F32,
            "F16" => DType::F16,
            "BF16" => DType::BF16,
            other => return Err(ModelError::WrongType { path: path.clone(), tensor, found: other.to_owned() }),
        };
        if entry.dims != spec.dims {
            let (found, wanted) = (entry.dims.clone(), spec.dims.clone());
            return Err(ModelError::WrongShape { path: path.clone(), tensor, found, wanted });
        }
        if entry.end > *length {
            return Err(ModelError::Truncated { path: path.clone(), tensor, end: entry.end, length: *length });
        }
        Ok(Found { path, start: entry.start, dtype })
    }

    /// What the folder calls the tensor `name`, and the bytes it takes.
    pub fn stored(&self, name: &str) -> Option<(&str, u64)> {
        self.find(name).map(|(_, entry)| (entry.name.as_str(), entry.end - entry.start))
    }

    /// Of every tensor: name and type.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.values().map(|(_, entry)| (entry.name.as_str(), entry.dtype.as_str()))
    }

    /// The files and their bytes.
    pub fn files(&self) -> &[(PathBuf, u64)] {
        &self.files
    }

    fn find(&self, name: &str) -> Option<&(usize, Entry)> {
        let bare = PREFIXES.iter().filter_map(|prefix| name.strip_prefix(prefix));
        std::iter::once(name).chain(bare).find_map(|name| self.entries.get(name))
    }

    fn add(&mut self, path: &Path) -> Result<(), ModelError> {
        let (entries, length) = header::read(path)?;
        let number = self.files.len();
        self.files.push((path.to_owned(), length));
        self.entries.extend(entries.into_iter().map(|entry| (entry.name.clone(), (number, entry))));
        Ok(())
    }
}

/// Where to read a tensor.
struct Found<'a> {
    path: &'a Path,
    start: u64,
    dtype: DType,
}

/// Weights that `dir` has in a format that is not read.
fn other_weights(dir: &Path) -> Option<String> {
    let names = std::fs::read_dir(dir).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| [".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack"].iter().any(|end| name.ends_with(end))).min()
}

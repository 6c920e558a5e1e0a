//! Tensors in the safetensors files of a Hugging Face folder, read one byte range at a time.
//!
//! No header is believed: sizes and offsets are held against the file before anything is allocated.
mod header;

use super::error::ModelError;
use super::file::{is_present, read_text};
use super::finite::check_finite;
use super::tensors::TensorSpec;
use candle_core::{DType, Device, Tensor};
use header::Entry;
use scenarios::input::{self, CONFIG_BYTES};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// All tensors, where they are in one file.
pub const WEIGHTS: &str = "model.safetensors";
/// Which file has which tensor, where they are in several.
pub const INDEX: &str = "model.safetensors.index.json";

/// Some files on the hub lack these at the front of their names.
const PREFIXES: [&str; 2] = ["model.", "transformer."];

/// Reads the JSON header of a safetensors file, without the 8 bytes of its length, and returns how many tensors it lists.
///
/// # Errors
/// If this is no header, or if a tensor's place, shape and type do not go together.
pub fn parse_header(text: &[u8]) -> Result<usize, String> {
    header::entries(text, 0).map(|entries| entries.len())
}

/// The last parts of the names under which AWQ, GPTQ and compressed-tensors keep a packed matrix.
const PACKED: [&str; 3] = ["qweight", "weight_packed", "weight_q"];

pub struct Folder {
    dir: PathBuf,
    /// By the tensors' names: the number of the file, and where in it.
    entries: BTreeMap<String, (usize, Entry)>,
    /// With their bytes.
    files: Vec<(PathBuf, u64)>,
    /// There is an index beside the whole file.
    passed_over: bool,
}

/// `model.safetensors.index.json`: the file of each tensor.
#[derive(Deserialize)]
pub struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Index {
    /// Reads the text of an index, all of whose files are in the index's own folder.
    ///
    /// # Errors
    /// If this is no index, or if it names a file outside of its folder.
    pub fn parse(text: &str) -> Result<Index, String> {
        let index: Index = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let plain = |name: &str| Path::new(name).components().count() == 1 && !name.contains("..");
        match index.weight_map.values().find(|name| !plain(name)) {
            Some(name) => Err(format!("`{name}` is not a file of the folder")),
            None => Ok(index),
        }
    }

    fn files(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

impl Folder {
    /// Reads the headers of all files. The whole file `model.safetensors` goes before an index, as in transformers.
    pub fn open(dir: &Path) -> Result<Folder, ModelError> {
        let mut folder =
            Folder { dir: dir.to_owned(), entries: BTreeMap::new(), files: Vec::new(), passed_over: false };
        let (whole, index) = (dir.join(WEIGHTS), dir.join(INDEX));
        if is_present(&whole) {
            folder.add(&whole)?;
            folder.passed_over = is_present(&index);
            return Ok(folder);
        }
        if !is_present(&index) {
            return Err(ModelError::NoWeights { path: dir.to_owned(), hint: other_weights(dir) });
        }
        let parsed = Index::parse(&read_text(&index, CONFIG_BYTES)?);
        let map = parsed.map_err(|why| ModelError::config(&index, why))?;
        for name in map.files() {
            folder.add(&dir.join(name))?;
        }
        match map.weight_map.iter().find(|(tensor, _)| !folder.entries.contains_key(*tensor)) {
            Some((tensor, file)) => Err(ModelError::Missing { path: dir.join(file), tensor: tensor.clone() }),
            None => Ok(folder),
        }
    }

    /// Whether there is an index that was not read, because the whole file is there.
    pub fn passes_over_an_index(&self) -> bool {
        self.passed_over
    }

    /// The tensor of `spec`, in f32 on the CPU, all of whose values are finite.
    pub fn tensor(&self, spec: &TensorSpec) -> Result<Tensor, ModelError> {
        let Found { path, name, start, dtype } = self.locate(spec)?;
        let mut data = vec![0; spec.values() * dtype.size_in_bytes()];
        let (mut file, _) = input::open(path)?;
        file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut data)).map_err(ModelError::io(path))?;
        let tensor = Tensor::from_raw_buffer(&data, dtype, &spec.dims, &Device::Cpu)?.to_dtype(DType::F32)?;
        check_finite(&tensor, || format!("{}: values of the tensor `{name}`", path.display()))?;
        Ok(tensor)
    }

    /// Whether the tensor of `spec` is there, whole, in its shape and in a type that is read. Nothing of it is read.
    pub fn check(&self, spec: &TensorSpec) -> Result<(), ModelError> {
        self.locate(spec).map(|_| ())
    }

    fn locate(&self, spec: &TensorSpec) -> Result<Found<'_>, ModelError> {
        let Some((file, entry)) = self.find(spec) else {
            let (path, tensor) = (self.dir.clone(), spec.name.clone());
            return match self.packed(&tensor) {
                Some(packed) => Err(ModelError::Packed { path, tensor, packed }),
                None => Err(ModelError::Missing { path, tensor }),
            };
        };
        let tensor = entry.name.clone();
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
        Ok(Found { path, name: &entry.name, start: entry.start, dtype })
    }

    /// The name of the tensor of `spec` in the folder, and its bytes.
    pub fn stored(&self, spec: &TensorSpec) -> Option<(&str, u64)> {
        self.find(spec).map(|(_, entry)| (entry.name.as_str(), entry.end - entry.start))
    }

    /// Of every tensor: name and type.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.values().map(|(_, entry)| (entry.name.as_str(), entry.dtype.as_str()))
    }

    /// The files and their bytes.
    pub fn files(&self) -> &[(PathBuf, u64)] {
        &self.files
    }

    fn find(&self, spec: &TensorSpec) -> Option<&(usize, Entry)> {
        let names = std::iter::once(spec.name.as_str()).chain(spec.shared_with);
        names.flat_map(with_and_without_prefix).find_map(|name| self.entries.get(name))
    }

    /// What the folder has in place of a weight if it was packed for a quantised kernel.
    fn packed(&self, name: &str) -> Option<String> {
        let layer = name.strip_suffix(".weight")?;
        let mut packed = PACKED.iter().map(|part| format!("{layer}.{part}"));
        packed.find(|name| with_and_without_prefix(name).any(|name| self.entries.contains_key(name)))
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
    name: &'a str,
    start: u64,
    dtype: DType,
}

fn with_and_without_prefix(name: &str) -> impl Iterator<Item = &str> {
    std::iter::once(name).chain(PREFIXES.iter().filter_map(move |prefix| name.strip_prefix(prefix)))
}

/// Says which weights `dir` has that are not read, and what to do about them.
fn other_weights(dir: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(dir) else { return String::new() };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    let named = |ends: &[&str]| names.iter().find(|name| ends.iter().any(|end| name.ends_with(end)));
    if let Some(name) = named(&[".safetensors"]) {
        return match name.contains("-of-") {
            true => format!(", and {name} is one of several files: the index says which tensor is in which, add it"),
            false => format!(", but {name}: name it {WEIGHTS} if it has the whole model"),
        };
    }
    match named(&[".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack"]) {
        Some(name) => format!(", and {name} is not read: convert it to safetensors"),
        None => String::new(),
    }
}

//! Tensors in the safetensors files of a Hugging Face folder, read one byte range at a time.
//!
//! No header is believed: sizes and offsets are held against the file before anything is allocated.
use super::error::ModelError;
use super::tensors::TensorSpec;
use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes of a header: the safetensors crate's own bound.
const HEADER_BYTES: u64 = 100_000_000;

/// Some files on the hub lack these at the front of their names.
const PREFIXES: [&str; 2] = ["model.", "transformer."];

pub struct Folder {
    dir: PathBuf,
    entries: BTreeMap<String, Entry>,
    files: Vec<(PathBuf, u64)>,
}

/// Where a tensor lies: in which file, and at which bytes of it.
struct Entry {
    file: usize,
    dtype: Dtype,
    dims: Vec<usize>,
    start: u64,
    end: u64,
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
        let index = dir.join("model.safetensors.index.json");
        if !index.is_file() {
            folder.add(&dir.join("model.safetensors"))?;
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
        let Some((_, entry)) = self.find(&spec.name) else {
            return Err(ModelError::Missing { path: self.dir.clone(), tensor: spec.name.clone() });
        };
        let (path, length) = &self.files[entry.file];
        let (path, tensor) = (path.clone(), spec.name.clone());
        if entry.dims != spec.dims {
            return Err(ModelError::WrongShape { path, tensor, found: entry.dims.clone(), wanted: spec.dims.clone() });
        }
        let dtype = match entry.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => return Err(ModelError::WrongType { path, tensor, found: format!("{other:?}") }),
        };
        let bytes = spec.values() * dtype.size_in_bytes();
        if entry.end > *length || entry.end - entry.start != bytes as u64 {
            return Err(ModelError::Truncated { path, tensor, end: entry.start + bytes as u64, length: *length });
        }
        let mut data = vec![0; bytes];
        let mut file = File::open(&path).map_err(ModelError::io(&path))?;
        file.seek(SeekFrom::Start(entry.start))
            .and_then(|_| file.read_exact(&mut data))
            .map_err(ModelError::io(&path))?;
        Ok(Tensor::from_raw_buffer(&data, dtype, &spec.dims, &Device::Cpu)?.to_dtype(DType::F32)?)
    }

    /// What the folder calls the tensor `name`, its dimensions, and the bytes it takes.
    pub fn stored(&self, name: &str) -> Option<(&str, &[usize], u64)> {
        self.find(name).map(|(name, entry)| (name, entry.dims.as_slice(), entry.end - entry.start))
    }

    /// Why the tensor `name` cannot be read, where its file ends before it does.
    pub fn cut_off(&self, name: &str) -> Option<ModelError> {
        let (_, entry) = self.find(name)?;
        let (path, length) = &self.files[entry.file];
        let (path, tensor) = (path.clone(), name.to_owned());
        (entry.end > *length).then(|| ModelError::Truncated { path, tensor, end: entry.end, length: *length })
    }

    /// Of every tensor: name and type.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, Dtype)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry.dtype))
    }

    /// The files and their bytes.
    pub fn files(&self) -> &[(PathBuf, u64)] {
        &self.files
    }

    fn find(&self, name: &str) -> Option<(&str, &Entry)> {
        let bare = PREFIXES.iter().filter_map(|prefix| name.strip_prefix(prefix));
        let held = |name| self.entries.get_key_value(name).map(|(name, entry)| (name.as_str(), entry));
        std::iter::once(name).chain(bare).find_map(held)
    }

    fn add(&mut self, path: &Path) -> Result<(), ModelError> {
        let header = |why: &str| ModelError::Header { path: path.to_owned(), why: why.to_owned() };
        let mut file = File::open(path).map_err(ModelError::io(path))?;
        let length = file.metadata().map_err(ModelError::io(path))?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size).map_err(|_| header("the file has less than 8 bytes"))?;
        let size = u64::from_le_bytes(size);
        if size > HEADER_BYTES || size > length.saturating_sub(8) {
            return Err(header(&format!("it claims {size} bytes of a file of {length}")));
        }
        let mut text = vec![0; size as usize];
        file.read_exact(&mut text).map_err(ModelError::io(path))?;
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|why| header(&why.to_string()))?;
        let number = self.files.len();
        self.files.push((path.to_owned(), length));
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let entry = Entry {
                file: number,
                dtype: info.dtype,
                dims: info.shape.clone(),
                start: (start as u64).saturating_add(8 + size),
                end: (end as u64).saturating_add(8 + size),
            };
            if end < start {
                return Err(header(&format!("tensor `{name}` ends before it starts")));
            }
            self.entries.insert(name, entry);
        }
        Ok(())
    }
}

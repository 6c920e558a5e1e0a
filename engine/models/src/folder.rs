//! Reads tensors from the safetensors files of a Hugging Face folder. Only the bytes of the requested tensor are read.
//!
//! Headers are not trusted: sizes and offsets are checked against the file before anything is allocated.
mod header;

use super::config::Keys;
use super::error::ModelError;
use super::file::{is_present, read_text};
use super::finite::check_finite;
use super::tensors::TensorSpec;
use candle_core::{DType, Device, Tensor};
use header::Entry;
use scenarios::input::{self, CONFIG_BYTES, excerpt};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The file that holds all tensors of an unsharded checkpoint.
pub const WEIGHTS: &str = "model.safetensors";
/// The name of the index of a sharded checkpoint, which lists the file of each tensor.
pub const INDEX: &str = "model.safetensors.index.json";

/// The prefixes that some files on the hub omit from their tensors' names.
const PREFIXES: [&str; 2] = ["model.", "transformer."];

/// Parses the JSON header of a safetensors file, and returns the number of tensors that the header lists. `text` must
/// not include the first 8 bytes of the file, which hold the header's length.
///
/// # Errors
/// If the text is not a header, or if a tensor's byte range, shape and type are inconsistent.
pub fn parse_header(text: &[u8]) -> Result<usize, String> {
    header::entries(text, 0).map(|entries| entries.len())
}

/// The endings of the names of tensors in which AWQ, GPTQ and compressed-tensors store a packed matrix.
const PACKED: [&str; 3] = ["qweight", "weight_packed", "weight_q"];

/// The number of bytes that are read at a time when two tensors are compared.
const COMPARED: usize = 1 << 20;

/// The safetensors files of a folder, with their headers read.
pub struct Folder {
    dir: PathBuf,
    /// For each tensor name, the index of its file and its entry in the file's header.
    entries: BTreeMap<String, (usize, Entry)>,
    /// The files and their sizes in bytes.
    files: Vec<(PathBuf, u64)>,
    /// Whether the folder has an index that is not read, because it also has `model.safetensors`.
    passed_over: bool,
}

/// The content of `model.safetensors.index.json`: the name of the file that has each tensor.
pub struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Index {
    /// Reads the text of an index. All files that the index names must be in its own folder.
    ///
    /// # Errors
    /// If the text is not an index, or names a file outside of the index's folder.
    pub fn parse(text: &str) -> Result<Index, String> {
        let map = Keys::parse(text)?.object("weight_map")?.ok_or("the key `weight_map` is missing")?;
        let plain = |name: &str| Path::new(name).components().count() == 1 && !name.contains("..");
        let mut weight_map = BTreeMap::new();
        for (tensor, file) in map.into_entries() {
            let quoted = excerpt(&tensor);
            let Some(file) = file.as_str() else {
                return Err(format!(
                    "`{quoted}` is {}, but the name of a file is expected",
                    excerpt(&file.to_string())
                ));
            };
            if !plain(file) {
                return Err(format!("the file name `{}` does not name a file directly in the folder", excerpt(file)));
            }
            let before = weight_map.insert(tensor, file.to_owned());
            if let Some(before) = before.filter(|before| before != file) {
                return Err(format!(
                    "the tensor `{quoted}` is listed twice, in {} and in {}; keep one of the two",
                    excerpt(&before),
                    excerpt(file)
                ));
            }
        }
        Ok(Index { weight_map })
    }

    fn files(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }
}

impl Folder {
    /// Reads the headers of all files. An unsharded `model.safetensors` takes precedence over an index, as in
    /// transformers.
    ///
    /// # Errors
    /// If there are no weights, a file cannot be read or has an invalid header, or an index names a tensor that its
    /// file does not have.
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
        for (tensor, file) in &map.weight_map {
            let path = dir.join(file);
            match folder.entries.get(tensor) {
                None => return Err(ModelError::Missing { path, tensor: tensor.clone() }),
                Some((number, _)) if folder.files[*number].0 != path => {
                    let other = shown(&folder.files[*number].0);
                    let why = format!(
                        "the tensor `{}` is in the file {other}, but the index says {file}; correct the index",
                        excerpt(tensor)
                    );
                    return Err(ModelError::config(&index, why));
                }
                Some(_) => {}
            }
        }
        Ok(folder)
    }

    /// Whether the folder has a shard index that was ignored, because it also has an unsharded `model.safetensors`.
    pub fn passes_over_an_index(&self) -> bool {
        self.passed_over
    }

    /// Reads the tensor that `spec` names, as f32 on the CPU.
    ///
    /// # Errors
    /// If the tensor is missing, packed, truncated, or of another shape or type, or if a value is not finite.
    pub fn tensor(&self, spec: &TensorSpec) -> Result<Tensor, ModelError> {
        let Found { path, name, start, dtype } = self.locate(spec)?;
        let mut data = vec![0; spec.values() * dtype.size_in_bytes()];
        let (mut file, _) = input::open(path)?;
        file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut data)).map_err(ModelError::io(path))?;
        let tensor = Tensor::from_raw_buffer(&data, dtype, &spec.dims, &Device::Cpu)?.to_dtype(DType::F32)?;
        check_finite(&tensor, || format!("{}: the values of the tensor `{name}`", path.display()))?;
        Ok(tensor)
    }

    /// Checks that the folder has the tensor that `spec` names, with the shape of `spec`, with a type that can be read,
    /// and with all of its bytes. Reads no values.
    ///
    /// # Errors
    /// If the tensor is missing, packed, truncated, or of another shape or type.
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
            other => return Err(ModelError::WrongType { path: path.clone(), tensor, found: excerpt(other) }),
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

    /// Returns false if the folder has both the tensor of `spec` and the tensor `other`, and their types, shapes or
    /// bytes differ. Otherwise returns true.
    pub fn is_same(&self, spec: &TensorSpec, other: &str) -> Result<bool, ModelError> {
        let mut pair = Vec::with_capacity(2);
        for found in [self.find(spec), with_and_without_prefix(other).find_map(|name| self.entries.get(name))] {
            let Some((file, entry)) = found else { return Ok(true) };
            pair.push((self.files[*file].0.as_path(), entry));
        }
        let [(a_path, a), (b_path, b)] = pair.as_slice() else { return Ok(true) };
        if a.name == b.name {
            return Ok(true);
        }
        if a.dtype != b.dtype || a.dims != b.dims {
            return Ok(false);
        }
        let reader = |path: &Path, entry: &Entry| {
            let (mut file, _) = input::open(path)?;
            file.seek(SeekFrom::Start(entry.start)).map_err(ModelError::io(path))?;
            Ok::<_, ModelError>(file)
        };
        let (mut a_file, mut b_file) = (reader(a_path, a)?, reader(b_path, b)?);
        let (mut left, mut chunks) = (a.end - a.start, [vec![0; COMPARED], vec![0; COMPARED]]);
        while left > 0 {
            let bytes = (COMPARED as u64).min(left) as usize;
            let [a_chunk, b_chunk] = &mut chunks;
            a_file.read_exact(&mut a_chunk[..bytes]).map_err(ModelError::io(a_path))?;
            b_file.read_exact(&mut b_chunk[..bytes]).map_err(ModelError::io(b_path))?;
            if a_chunk[..bytes] != b_chunk[..bytes] {
                return Ok(false);
            }
            left -= bytes as u64;
        }
        Ok(true)
    }

    /// Returns the name of the tensor of `spec` in the folder, and its size in bytes.
    pub fn stored(&self, spec: &TensorSpec) -> Option<(&str, u64)> {
        self.find(spec).map(|(_, entry)| (entry.name.as_str(), entry.end - entry.start))
    }

    /// Returns the name and the type of every tensor.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.values().map(|(_, entry)| (entry.name.as_str(), entry.dtype.as_str()))
    }

    /// Returns the files and their sizes in bytes.
    pub fn files(&self) -> &[(PathBuf, u64)] {
        &self.files
    }

    fn find(&self, spec: &TensorSpec) -> Option<&(usize, Entry)> {
        let names = std::iter::once(spec.name.as_str()).chain(spec.shared_with);
        names.flat_map(with_and_without_prefix).find_map(|name| self.entries.get(name))
    }

    /// Returns the name under which a quantised folder stores the weight `name` in packed form, if it does.
    fn packed(&self, name: &str) -> Option<String> {
        let layer = name.strip_suffix(".weight")?;
        let mut packed = PACKED.iter().map(|part| format!("{layer}.{part}"));
        packed.find(|name| with_and_without_prefix(name).any(|name| self.entries.contains_key(name)))
    }

    fn add(&mut self, path: &Path) -> Result<(), ModelError> {
        let (entries, length) = header::read(path)?;
        let number = self.files.len();
        self.files.push((path.to_owned(), length));
        for entry in entries {
            let name = entry.name.clone();
            if let Some((before, _)) = self.entries.insert(name.clone(), (number, entry)) {
                let (first, here) = (shown(&self.files[before].0), shown(path));
                let why =
                    format!("the tensor `{}` is both in {first} and in {here}; keep one of the two", excerpt(&name));
                return Err(ModelError::config(&self.dir.join(INDEX), why));
            }
        }
        Ok(())
    }
}

/// Returns the name of a file within the folder, for messages.
fn shown(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// The file, name, start and type of a stored tensor.
struct Found<'a> {
    path: &'a Path,
    name: &'a str,
    start: u64,
    dtype: DType,
}

fn with_and_without_prefix(name: &str) -> impl Iterator<Item = &str> {
    std::iter::once(name).chain(PREFIXES.iter().filter_map(move |prefix| name.strip_prefix(prefix)))
}

/// Returns a hint for the error that `dir` has no weights: a file that may have weights, and what to do with the file.
/// Returns an empty text if there is no such file.
fn other_weights(dir: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(dir) else { return String::new() };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    let named = |ends: &[&str]| names.iter().find(|name| ends.iter().any(|end| name.ends_with(end)));
    if let Some(name) = named(&[".safetensors"]) {
        return match name.contains("-of-") {
            true => {
                format!("; {name} is one of several files, so add the index, which says in which file each tensor is")
            }
            false => format!(", but it has {name}; rename that file to {WEIGHTS} if it has the whole model"),
        };
    }
    match named(&[".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack"]) {
        Some(name) => format!("; {name} has a format that cannot be read, so convert it to safetensors"),
        None => String::new(),
    }
}

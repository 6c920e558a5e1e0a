//! The errors from reading a folder of weights to choosing a token.
use actors::id::BlockRange;
use actors::message::NotFinite;
use scenarios::input::InputError;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a model cannot be loaded or executed.
#[derive(Debug, Error)]
pub enum ModelError {
    #[error("{}: {why}", path.display())]
    Io { path: PathBuf, why: io::Error },
    #[error(transparent)]
    File(#[from] InputError),
    #[error("{}: this is a Git LFS pointer to a file of {} bytes, not the file: run `git lfs pull` in the folder", path.display(), size(bytes))]
    LfsPointer { path: PathBuf, bytes: Option<u64> },
    #[error("{}: {why}", path.display())]
    Config { path: PathBuf, why: String },
    #[error("{}: there is neither model.safetensors nor model.safetensors.index.json{hint}", path.display())]
    NoWeights { path: PathBuf, hint: String },
    #[error("{} holds a model already ({name}): name another folder, or empty it", path.display())]
    Occupied { path: PathBuf, name: &'static str },
    #[error("{} is there: another program writes a model into the folder, or was killed while it did; name another folder, or remove it if no program writes there", path.display())]
    Claimed { path: PathBuf },
    #[error("interrupted: no model was written")]
    Interrupted,
    #[error("{} has room for {:.3} GB, and the model takes {:.3} GB", path.display(), *free as f64 / 1e9, *needed as f64 / 1e9)]
    Room { path: PathBuf, needed: u64, free: u64 },
    #[error("{}: the safetensors header is not valid: {why}", path.display())]
    Header { path: PathBuf, why: String },
    #[error("{}: there is no tensor `{tensor}`, which config.json asks for", path.display())]
    Missing { path: PathBuf, tensor: String },
    #[error("{}: in place of the tensor `{tensor}` there is `{packed}`, which AWQ and GPTQ use; such checkpoints are not supported: use the folder of the unquantised model", path.display())]
    Packed { path: PathBuf, tensor: String, packed: String },
    #[error("{what} are not finite")]
    NotFinite { what: String },
    /// The blocks' values overflow: computing them again gives the same.
    #[error("values of the tensor `{tensor}`, held as {format}, are out of range: hold it in a wider type")]
    OutOfRange { tensor: String, format: &'static str },
    #[error(transparent)]
    Overflow(#[from] NotFinite),
    #[error("{}: tensor `{tensor}` has shape {found:?}, config.json makes it {wanted:?}", path.display())]
    WrongShape { path: PathBuf, tensor: String, found: Vec<usize>, wanted: Vec<usize> },
    #[error("{}: tensor `{tensor}` is of type {found}; F32, F16 and BF16 can be read", path.display())]
    WrongType { path: PathBuf, tensor: String, found: String },
    #[error("{}: tensor `{tensor}` should end at byte {end}, but the file has {length} bytes: is it cut short?", path.display())]
    Truncated { path: PathBuf, tensor: String, end: u64, length: u64 },
    #[error("the scenario's shape is not the folder's: {what} is {asked} in the plan and {found} in {}", path.display())]
    ShapeDiffers { path: PathBuf, what: &'static str, asked: String, found: String },
    #[error("a model with these dimensions cannot be built: {0}")]
    Shape(String),
    #[error("tensor `{tensor}` has rows of {row} values; {format} weights want a multiple of {multiple}")]
    RowLength { tensor: String, row: usize, format: &'static str, multiple: usize },
    #[error("blocks {asked} asked, but {held} are held")]
    Blocks { asked: BlockRange, held: BlockRange },
    #[error("a step at position {asked} came to a cache that holds {held} tokens")]
    Position { asked: usize, held: usize },
    #[error("{tokens} tokens at position {position} do not fit: there is room for {capacity}")]
    Full { position: usize, tokens: usize, capacity: usize },
    #[error("an input of shape {found:?} came where {wanted} is wanted")]
    Input { found: Vec<usize>, wanted: String },
    #[error("{}: {why}", path.display())]
    Text { path: PathBuf, why: String },
    #[error("token id {id} is not in a vocabulary of {vocab}")]
    Token { id: u32, vocab: usize },
    #[error("an echo model has no weights: only the simulation knows it")]
    Echo,
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

fn size(bytes: &Option<u64>) -> String {
    bytes.map_or("unknown".to_owned(), |bytes| bytes.to_string())
}

impl ModelError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> ModelError + '_ {
        move |why| ModelError::Io { path: path.to_owned(), why }
    }

    pub(crate) fn config(path: &Path, why: impl Into<String>) -> ModelError {
        ModelError::Config { path: path.to_owned(), why: why.into() }
    }
}

//! The errors of loading and executing models, from reading a folder of weights to choosing a token.
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
    #[error("{}: the file is a Git LFS pointer to a file of {} bytes, not the weights themselves; run `git lfs pull` \
        in the folder", path.display(), size(bytes))]
    LfsPointer { path: PathBuf, bytes: Option<u64> },
    #[error("{}: {why}", path.display())]
    Config { path: PathBuf, why: String },
    #[error("{}: the folder has neither model.safetensors nor model.safetensors.index.json{hint}", path.display())]
    NoWeights { path: PathBuf, hint: String },
    #[error("the folder {} already holds a model ({name}); name another folder, or empty this one", path.display())]
    Occupied { path: PathBuf, name: &'static str },
    #[error("the file {} exists: another program is writing a model into the folder, or was killed while it wrote; \
        name another folder, or remove the file if no program writes there", path.display())]
    Claimed { path: PathBuf },
    #[error("the command was interrupted, and no model was written")]
    Interrupted,
    #[error("the file system of {} has room for {:.3} GB, but the model takes {:.3} GB; free some space, or write to \
        another folder", path.display(), *free as f64 / 1e9, *needed as f64 / 1e9)]
    Room { path: PathBuf, needed: u64, free: u64 },
    #[error("{}: the safetensors header is not valid: {why}", path.display())]
    Header { path: PathBuf, why: String },
    #[error("{}: the tensor `{tensor}` is missing, but config.json requires it", path.display())]
    Missing { path: PathBuf, tensor: String },
    #[error("{}: the checkpoint has the tensor `{packed}` of AWQ or GPTQ in place of `{tensor}`; checkpoints with \
        packed weights are not supported, so use the folder of the unquantised model", path.display())]
    Packed { path: PathBuf, tensor: String, packed: String },
    #[error("{what} are not finite")]
    NotFinite { what: String },
    #[error("the tensor `{tensor}` has values outside the range of {format}; choose a wider type for the weights")]
    OutOfRange { tensor: String, format: &'static str },
    /// Computed values overflow. To repeat the computation is useless, since it gives the same result.
    #[error(transparent)]
    Overflow(#[from] NotFinite),
    #[error("{}: the tensor `{tensor}` has the shape {found:?}, but config.json implies {wanted:?}", path.display())]
    WrongShape { path: PathBuf, tensor: String, found: Vec<usize>, wanted: Vec<usize> },
    #[error("{}: the tensor `{tensor}` has the type {found}; only F32, F16 and BF16 can be read", path.display())]
    WrongType { path: PathBuf, tensor: String, found: String },
    #[error("{}: the tensor `{tensor}` ends at byte {end}, but the file has only {length} bytes; the file is probably \
        truncated, so download it again", path.display())]
    Truncated { path: PathBuf, tensor: String, end: u64, length: u64 },
    #[error("the scenario and the model folder disagree: {what} is {asked} in the scenario, and {found} in {}", path.display())]
    ShapeDiffers { path: PathBuf, what: &'static str, asked: String, found: String },
    #[error("no model can be built with these dimensions: {0}")]
    Shape(String),
    #[error(
        "the tensor `{tensor}` has rows of {row} values, but {format} needs a multiple of {multiple}; choose another \
         type for the weights"
    )]
    RowLength { tensor: String, row: usize, format: &'static str, multiple: usize },
    #[error("blocks {asked} were requested, but only blocks {held} are loaded")]
    Blocks { asked: BlockRange, held: BlockRange },
    #[error("the step begins at position {asked}, but the KV cache holds {held} tokens")]
    Position { asked: usize, held: usize },
    #[error("the step adds {tokens} tokens at position {position}, but at most {capacity} tokens fit in total")]
    Full { position: usize, tokens: usize, capacity: usize },
    #[error("the input has the shape {found:?}, but the layer needs {wanted}")]
    Input { found: Vec<usize>, wanted: String },
    #[error("{}: {why}", path.display())]
    Text { path: PathBuf, why: String },
    #[error("the token id {id} is outside the vocabulary, whose {vocab} ids begin at 0")]
    Token { id: u32, vocab: usize },
    #[error("an echo model has no weights, so it can only be simulated")]
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

//! Errors of run directories and charts, with messages that say what to do.
use std::path::{Path, PathBuf};

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {why}")]
    Io { path: PathBuf, why: std::io::Error },
    #[error(transparent)]
    Input(scenarios::input::InputError),
    #[error("{path} is not a run directory: {why}")]
    NotARun { path: PathBuf, why: String },
    #[error("{parent} has no free number for a directory {stem}-<n>: use another --out")]
    NoNumber { parent: PathBuf, stem: String },
    #[error("{path}: its format is {found}, this version reads {known}; redraw it with the version that wrote it")]
    Format { path: PathBuf, found: u64, known: u32 },
    #[error("{path}: {why}")]
    Damaged { path: PathBuf, why: String },
    #[error("cell {cell} varies other fields than the first cell did")]
    OtherAxes { cell: u32 },
    #[error("the chart {chart}: {why}")]
    Chart { chart: String, why: String },
    #[error("{what} could not be written: {why}")]
    Encode { what: &'static str, why: String },
    #[error("nothing can be calibrated from {path}: {why}")]
    NotLive { path: PathBuf, why: String },
    #[error("the two runs have no cell (combination of swept values) in common: {why}")]
    NoTwin { why: String },
}

impl Error {
    /// Returns a converter for `map_err` that adds the path concerned.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
        move |why| Error::Io { path: path.to_owned(), why }
    }

    pub(crate) fn damaged<E: std::fmt::Display>(path: &Path) -> impl FnOnce(E) -> Error + '_ {
        move |why| Error::Damaged { path: path.to_owned(), why: why.to_string() }
    }

    pub(crate) fn encode<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Error {
        move |why| Error::Encode { what, why: why.to_string() }
    }
}

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
    #[error("every number for a directory {stem}-<n> in {parent} is taken; use another --out")]
    NoNumber { parent: PathBuf, stem: String },
    #[error(
        "{path}: the run directory has format {found}, but this version reads format {known}; use the version of \
         swarmbench that wrote the directory"
    )]
    Format { path: PathBuf, found: u64, known: u32 },
    #[error("{path}: {why}")]
    Damaged { path: PathBuf, why: String },
    #[error("cell {cell} sets other fields than the first cell does; give the same fields in every case")]
    OtherAxes { cell: u32 },
    #[error("the chart {chart} cannot be drawn: {why}")]
    Chart { chart: String, why: String },
    #[error("{what} could not be written: {why}")]
    Encode { what: &'static str, why: String },
    #[error("{path} cannot be used for calibration: {why}")]
    NotLive { path: PathBuf, why: String },
    #[error("the two runs cannot be compared cell by cell (a cell is one combination of swept values): {why}")]
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

//! Errors in tables, with their position in the file.
use crate::input::{InputError, shortened};

/// An error at a position in a table's file, or in the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}{message}")]
pub(crate) struct TableError {
    /// The prefix of the message: the file, or `file:line:column` (both counted from 1, the column in characters), and
    /// a colon. Empty if the message itself names the position.
    place: String,
    pub message: String,
    pub help: Option<String>,
}

impl TableError {
    pub fn file(file: &str, message: impl Into<String>) -> TableError {
        TableError { place: format!("{file}: "), message: shortened(&message.into()), help: None }
    }

    pub fn at(file: &str, line: u64, column: u32, message: impl Into<String>) -> TableError {
        // A message is shortened because it may quote a field, which may be as long as its line.
        let message = shortened(&message.into());
        TableError { place: format!("{file}:{line}:{column}: "), message, help: None }
    }

    /// Converts the error of a file that cannot be opened. The input error already names the file.
    pub fn input(error: &InputError) -> TableError {
        TableError { place: String::new(), message: error.to_string(), help: None }
    }

    pub fn help(self, help: impl Into<Option<String>>) -> TableError {
        TableError { help: help.into(), ..self }
    }
}

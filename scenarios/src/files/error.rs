//! What is wrong with a table, and where in its file.
use crate::input::InputError;

/// An error at a place of a table's file, or of the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}{message}")]
pub(crate) struct TableError {
    /// The file, or `file:line:column` (lines and columns in characters, from 1), and a colon; empty if the message has it.
    place: String,
    pub message: String,
    pub help: Option<String>,
}

impl TableError {
    pub fn file(file: &str, message: impl Into<String>) -> TableError {
        TableError { place: format!("{file}: "), message: message.into(), help: None }
    }

    pub fn at(file: &str, line: u64, column: u32, message: impl Into<String>) -> TableError {
        TableError { place: format!("{file}:{line}:{column}: "), message: message.into(), help: None }
    }

    /// A file that cannot be opened; the error names it.
    pub fn input(error: &InputError) -> TableError {
        TableError { place: String::new(), message: error.to_string(), help: None }
    }

    pub fn help(self, help: impl Into<Option<String>>) -> TableError {
        TableError { help: help.into(), ..self }
    }
}

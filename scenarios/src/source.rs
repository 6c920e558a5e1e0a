//! The text of a scenario and the places in it.
use crate::paths::{self, Path};
use ron::error::{Position, SpannedError};
use std::ops::Range;

/// A scenario's text as it was given, and what to call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file's path, or the scenario's name in the library.
    pub name: String,
    pub text: String,
}

impl Source {
    /// Where the file lies; the current folder for one of the library.
    pub(crate) fn folder(&self) -> &std::path::Path {
        std::path::Path::new(&self.name).parent().unwrap_or(std::path::Path::new(""))
    }

    /// Line and column (in characters) of a byte, counted from 1.
    pub(crate) fn line_column(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The bytes that an error of ron's is about.
    pub(crate) fn range(&self, error: &SpannedError) -> Range<usize> {
        range(&self.text, error)
    }

    /// The bytes of a path's value, or of the nearest thing above it that is written.
    pub(crate) fn written(&self, path: &Path) -> Range<usize> {
        paths::locate(&self.text, path).unwrap_or_else(|missing| self.first_line(missing.reached))
    }

    /// A range that spans lines is shown by its first.
    fn first_line(&self, range: Range<usize>) -> Range<usize> {
        let text = &self.text[range.clone()];
        range.start..range.start + text.find('\n').unwrap_or(text.len())
    }
}

/// The bytes of `text` that an error of ron's is about. Ron tells where its cursor stood after what it read last.
pub(crate) fn range(text: &str, error: &SpannedError) -> Range<usize> {
    let end = byte(text, error.span.end);
    let read = &text[..end];
    let word = match &error.code {
        ron::Error::NoSuchStructField { found, .. }
        | ron::Error::NoSuchEnumVariant { found, .. }
        | ron::Error::ExpectedDifferentStructName { found, .. } => Some(found.as_str()),
        ron::Error::DuplicateStructField { field, .. } => Some(*field),
        _ => None,
    };
    if let Some(start) = word.and_then(|word| text[..word_end(text, end)].rfind(word)) {
        return start..start + word.map_or(0, str::len);
    }
    let token = read.trim_end();
    let start = match token.strip_suffix('"') {
        Some(inside) => inside.rfind('"').unwrap_or(inside.len()),
        None => {
            let before = |(_, c): &(usize, char)| !c.is_alphanumeric() && !matches!(c, '_' | '.');
            token.char_indices().rev().find(before).map_or(0, |(at, c)| at + c.len_utf8())
        }
    };
    match &error.code {
        // A value was read, and is not what it should be.
        ron::Error::Message(_) | ron::Error::InvalidValueForType { .. } | ron::Error::IntegerOutOfBounds
            if start < token.len() =>
        {
            start..token.len()
        }
        // What comes next is not what it should be.
        _ => end..word_end(text, end).max(end + text[end..].chars().next().map_or(0, char::len_utf8)),
    }
}

/// Where the word that begins at `at` ends.
fn word_end(text: &str, at: usize) -> usize {
    at + text[at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len() - at)
}

/// The byte of a position, whose columns count characters.
fn byte(text: &str, position: Position) -> usize {
    let line_start = match position.line {
        0 | 1 => 0,
        line => text.match_indices('\n').nth(line - 2).map_or(text.len(), |(newline, _)| newline + 1),
    };
    let line = &text[line_start..];
    line_start + line.char_indices().nth(position.col.saturating_sub(1)).map_or(line.len(), |(at, _)| at)
}

//! The text of a scenario and the positions in it.
use crate::paths::{self, Path};
use ron::error::{Position, SpannedError};
use std::ops::Range;

/// The original text of a scenario, with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path of the file, or the name of the built-in scenario.
    pub name: String,
    pub text: String,
}

impl Source {
    /// The line and the column (in characters) of a byte offset, both counted from 1.
    pub(crate) fn line_column(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The byte range to which an error of ron refers.
    pub(crate) fn range(&self, error: &SpannedError) -> Range<usize> {
        range(&self.text, error)
    }

    /// The byte range of the value at a path. If the text does not contain the path, the range of its nearest ancestor
    /// is returned.
    pub(crate) fn written(&self, path: &Path) -> Range<usize> {
        paths::locate(&self.text, path).unwrap_or_else(|missing| self.first_line(missing.reached))
    }

    /// Shortens a range of several lines to its first line.
    fn first_line(&self, range: Range<usize>) -> Range<usize> {
        let text = &self.text[range.clone()];
        range.start..range.start + text.find('\n').unwrap_or(text.len())
    }
}

/// The byte range in `text` to which an error of ron refers. Ron only reports the position of its cursor, which is
/// after the last token that it read.
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
        // Ron read a value and then rejected it, so the value lies before the cursor.
        ron::Error::Message(_) | ron::Error::InvalidValueForType { .. } | ron::Error::IntegerOutOfBounds
            if start < token.len() =>
        {
            start..token.len()
        }
        // Ron expected something else at the cursor, so the wrong text lies after it.
        _ => end..word_end(text, end).max(end + text[end..].chars().next().map_or(0, char::len_utf8)),
    }
}

/// The offset at which the word that begins at `at` ends.
fn word_end(text: &str, at: usize) -> usize {
    at + text[at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len() - at)
}

/// The byte offset of a position. The position's column counts characters.
fn byte(text: &str, position: Position) -> usize {
    let line_start = match position.line {
        0 | 1 => 0,
        line => text.match_indices('\n').nth(line - 2).map_or(text.len(), |(newline, _)| newline + 1),
    };
    let line = &text[line_start..];
    line_start + line.char_indices().nth(position.col.saturating_sub(1)).map_or(line.len(), |(at, _)| at)
}

//! Input files with size limits. All files that come from users or from other programs are opened here.
//!
//! A file is refused before it is read if it is not a regular file (opening a named pipe without a writer would block
//! forever) or if it is larger than the limit of its kind. This file defines the limits of all kinds, each with its
//! reason.
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The limit of a scenario or of a device profile, in bytes. A scenario is written by hand; a profile is a table of
/// some thousand measured points.
pub const TEXT_BYTES: u64 = 64 << 20;

/// The limit of a `config.json`, `tokenizer_config.json` or shard index, in bytes. Published files have at most some
/// MB.
pub const CONFIG_BYTES: u64 = 16 << 20;

/// The limit of the JSON header of a safetensors file, in bytes. A header has some 100 bytes a tensor, and published
/// files have at most some 10,000 tensors.
pub const SAFETENSORS_HEADER_BYTES: u64 = 32 << 20;

/// The limit of a `tokenizer.json`, in bytes. The largest published files have 35 MB.
pub const TOKENIZER_BYTES: u64 = 128 << 20;

/// The largest number of steps of a tokenizer that replace text. Published tokenizers have at most ten.
pub const TOKENIZER_STEPS: usize = 64;

/// The limit of the factor by which a tokenizer may lengthen a text before it splits the text into tokens. Published
/// tokenizers have a factor of some forty, for the longest replacement of a single character.
pub const TOKENIZER_GROWTH: u64 = 1024;

/// The limit of a prompt after all replacements of its tokenizer, in bytes. The tokenizers library keeps some twenty
/// bytes of memory for each byte of the prompt, most of them for two offsets.
pub const NORMALIZED_BYTES: u64 = 256 << 20;

/// The limit of a file of prompts, in bytes: some hundred prompts as long as the longest contexts of today.
pub const PROMPT_BYTES: u64 = 64 << 20;

/// The limit of the `manifest.json` of a run directory, in bytes. A sweep has at most 65,536 runs of some sixty bytes
/// each, 4 MB together. Reading a manifest takes memory of some sixteen times its length.
pub const MANIFEST_BYTES: u64 = 16 << 20;

/// The limit of the `plan.ron` of a run directory, in bytes: some hundred bytes for each of a million nodes, in each of
/// several cells.
pub const PLAN_BYTES: u64 = 1 << 30;

/// The limit of a CSV table of a run directory, in bytes: some ten bytes for each of a hundred columns of a million
/// runs.
pub const TABLE_BYTES: u64 = 1 << 30;

/// The maximum size of a parquet footer in a run directory, in bytes: some kilobytes for each of a thousand groups of
/// 65,536 rows.
pub const FOOTER_BYTES: u64 = 16 << 20;

/// The limit of a trace, in bytes after unpacking. A trace is read as a stream and only the needed values are kept, so
/// the limit bounds time, not memory. Public traces of a week have over 1 GB.
pub const STREAM_BYTES: u64 = 4 << 30;

/// The limit of a table of round trips, samples or absences of hosts, in bytes after unpacking: over two million rows
/// of a hundred bytes.
pub const SMALL_STREAM_BYTES: u64 = 256 << 20;

/// The limit of all empty lines and comments of a table together, in bytes.
pub const BLANK_BYTES: u64 = 4 << 20;

/// The limit of one line of a table, in bytes. Tables are read line by line, so only one line is in memory as a whole.
/// In a matrix of a thousand sites, a line has 10 kB. A request of a million tokens, with a hash for each block of
/// tokens, has some 100 kB.
pub const LINE_BYTES: u64 = 1 << 20;

/// The largest number of samples in a table's column. A sample takes 8 bytes of memory. A delay keeps only a thousand
/// quantiles of the samples.
pub const SAMPLES: usize = 1 << 22;

/// The largest number of round trips in a table, enough for a matrix of a thousand sites. A round trip takes 50 bytes
/// of memory.
pub const ROUND_TRIPS: usize = 1 << 20;

/// The number of characters of a file's text that an error quotes: enough to find the text in the file.
const EXCERPT: usize = 60;

/// Returns the beginning of a text from an input file, for errors: a name may be as long as its file.
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The largest number of characters of a message that is shown in full.
const MESSAGE: usize = 1000;

/// Returns a parser's message about a file, without its middle if it is long: the message may quote the whole file.
pub fn shortened(message: &str) -> String {
    shortened_to(message, MESSAGE)
}

/// Returns a text, without its middle if it has more than `most` characters.
pub fn shortened_to(text: &str, most: usize) -> String {
    let characters = text.chars().count();
    if characters <= most {
        return text.to_owned();
    }
    let begin: String = text.chars().take(most / 2).collect();
    let end: String = text.chars().skip(characters - most / 4).collect();
    format!("{begin}...{end}")
}

/// The error for a file that begins with a byte order mark of UTF-16.
pub const UTF16: &str = "the file is UTF-16 text, but UTF-8 is expected";
/// The help text of the error [`UTF16`].
pub const UTF16_HELP: &str = "save the file as UTF-8, or convert it: iconv -f UTF-16 -t UTF-8 FILE > OTHER";

/// Whether bytes begin with a byte order mark of UTF-16, big-endian or little-endian. Such bytes are not valid UTF-8.
pub fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])
}

/// The reason why an input file was not read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("{}: {why}", path.display())]
    Io { path: PathBuf, why: io::Error },
    #[error("{}: the path is {found}, but only regular files are read", path.display())]
    NotRegular { path: PathBuf, found: &'static str },
    #[error("{}: the file has {found} bytes, but at most {limit} are read", path.display())]
    TooLarge { path: PathBuf, found: u64, limit: u64 },
    #[error("{}: the file is not UTF-8 text; its byte {at} is not valid", path.display())]
    NotUtf8 { path: PathBuf, at: usize },
    #[error("{}: {UTF16}: {UTF16_HELP}", path.display())]
    Utf16 { path: PathBuf },
}

/// Opens a regular file for reading. Returns the file and its length in bytes.
///
/// # Errors
/// If the file cannot be opened, or is a directory, named pipe, socket or device.
pub fn open(path: &Path) -> Result<(File, u64), InputError> {
    let io = |why| InputError::Io { path: path.to_owned(), why };
    // The type is checked before the file is opened, because opening a named pipe waits for a writer.
    let kind = std::fs::metadata(path).map_err(io)?.file_type();
    if !kind.is_file() {
        let found = if kind.is_dir() { "a directory" } else { "a pipe, a socket or a device" };
        return Err(InputError::NotRegular { path: path.to_owned(), found });
    }
    let file = File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    Ok((file, bytes))
}

/// Opens a regular file of at most `limit` bytes, to be read in pieces.
///
/// # Errors
/// The errors of [`open`]. Also an error if the file is larger than `limit`.
pub fn open_within(path: &Path, limit: u64) -> Result<File, InputError> {
    let (file, found) = open(path)?;
    if found > limit {
        return Err(InputError::TooLarge { path: path.to_owned(), found, limit });
    }
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// The errors of [`open`]. Also an error if the file is larger than `limit`, or grows beyond `limit` while it is read.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, InputError> {
    let (file, found) = open(path)?;
    let too_large = |found| InputError::TooLarge { path: path.to_owned(), found, limit };
    if found > limit {
        return Err(too_large(found));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|why| InputError::Io { path: path.to_owned(), why })?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// Reads a regular UTF-8 file of at most `limit` bytes as text, without a leading byte order mark.
///
/// # Errors
/// The errors of [`read_bytes`], and if the bytes are not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, InputError> {
    let bytes = read_bytes(path, limit)?;
    if is_utf16(&bytes) {
        return Err(InputError::Utf16 { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| InputError::NotUtf8 { path: path.to_owned(), at: error.utf8_error().valid_up_to() })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::{InputError, excerpt, read_bytes, read_text, shortened};

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_text() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.ron");
        std::fs::write(&path, "\u{feff}Scenario()").expect("written");
        assert_eq!(read_text(&path, 100).expect("text"), "Scenario()");
    }

    #[test]
    fn a_file_over_its_limit_is_refused_with_both_sizes() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.json");
        std::fs::write(&path, [b' '; 11]).expect("written");
        assert_eq!(read_bytes(&path, 11).expect("at the limit").len(), 11);
        let error = read_bytes(&path, 10).expect_err("over the limit");
        assert!(matches!(error, InputError::TooLarge { found: 11, limit: 10, .. }), "{error}");
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success());
        for path in [pipe.as_path(), dir.path(), std::path::Path::new("/dev/zero")] {
            let error = read_bytes(path, 10).expect_err("not a regular file");
            assert!(matches!(error, InputError::NotRegular { .. }), "{error}");
        }
    }

    #[test]
    fn long_quotes_lose_their_middle() {
        let message = |count: usize| format!("`{}` is not a number, at line 3", "é".repeat(count));
        assert_eq!(shortened(&message(900)), message(900));
        let cut = shortened(&message(1_000_000));
        assert!(
            cut.len() < 2000 && cut.starts_with("`é") && cut.ends_with("at line 3") && cut.contains("..."),
            "{cut}"
        );
        assert_eq!(excerpt(&"é".repeat(61)), format!("{}...", "é".repeat(60)));
    }

    #[test]
    fn utf_16_is_told_in_either_order() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.ron");
        for bytes in [b"\xff\xfeS\0c\0", b"\xfe\xff\0S\0c"] {
            std::fs::write(&path, bytes).expect("written");
            let error = read_text(&path, 10).expect_err("not UTF-8").to_string();
            assert!(error.contains("UTF-16 text") && error.contains("iconv -f UTF-16"), "{error}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_place() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.txt");
        std::fs::write(&path, b"abc\xff").expect("written");
        let error = read_text(&path, 10).expect_err("not UTF-8");
        assert!(matches!(error, InputError::NotUtf8 { at: 3, .. }), "{error}");
    }
}

//! Reads files of a model folder: only regular files of bounded size. Git LFS pointers are rejected.
use super::error::ModelError;
use scenarios::input;
use std::path::Path;

/// By its specification, a Git LFS pointer is smaller than this number of bytes. A pointer has about 130 bytes.
const POINTER_BYTES: u64 = 1024;

/// Whether anything exists at `path`. A pipe or a broken link counts too, and is rejected when it is read.
pub fn is_present(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// If the file cannot be read, is too large, is not UTF-8 text, or is a Git LFS pointer.
pub fn read_text(path: &Path, limit: u64) -> Result<String, ModelError> {
    let text = input::read_text(path, limit)?;
    match pointer(text.as_bytes()) {
        Some(bytes) => Err(ModelError::LfsPointer { path: path.to_owned(), bytes }),
        None => Ok(text),
    }
}

/// Returns an error if the file at `path`, of `length` bytes, is a Git LFS pointer.
///
/// # Errors
/// If the file is a Git LFS pointer, or a file small enough to be one cannot be read.
pub fn check_no_pointer(path: &Path, length: u64) -> Result<(), ModelError> {
    if length >= POINTER_BYTES {
        return Ok(());
    }
    match pointer(&input::read_bytes(path, POINTER_BYTES)?) {
        Some(bytes) => Err(ModelError::LfsPointer { path: path.to_owned(), bytes }),
        None => Ok(()),
    }
}

/// Returns `None` if `bytes` are not a Git LFS pointer. The inner value is the size that the pointer states for its
/// file, or `None` if it states no size.
fn pointer(bytes: &[u8]) -> Option<Option<u64>> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() < POINTER_BYTES as usize)?;
    let first = text.lines().next()?;
    if !(first.starts_with("version ") && first.contains("git-lfs") && text.contains("oid sha256:")) {
        return None;
    }
    Some(text.lines().find_map(|line| line.strip_prefix("size ")?.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::pointer;

    #[test]
    fn a_pointer_is_told_by_its_first_line_and_its_object() {
        let text = "version https://example.org/git-lfs/spec/v1\noid sha256:4d7a\nsize 988097824\n";
        assert_eq!(pointer(text.as_bytes()), Some(Some(988_097_824)));
        assert_eq!(pointer(text.replace("size", "sise").as_bytes()), Some(None));
        assert_eq!(pointer(text.replace("oid sha256", "id").as_bytes()), None);
        assert_eq!(pointer(b"{\"version\": 1}"), None);
        assert_eq!(pointer(&[0xff; 100]), None);
    }
}

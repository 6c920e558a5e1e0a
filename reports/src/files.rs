//! Files that are written whole or not at all.
use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Writes a value as JSON with [`write_synced`].
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(Error::encode("JSON"))?;
    write_synced(path, (text + "\n").as_bytes())
}

/// Writes and syncs a whole file, then puts it in its place. An existing file stays unchanged until then.
///
/// # Errors
/// The file cannot be written or renamed.
pub fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.new"));
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&new))).map_err(Error::io(path))
}

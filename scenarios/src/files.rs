//! The tables that a scenario names: samples of delays or lengths, round trips, arrivals, absences of hosts.
//!
//! Tables are read when a cell is planned, so that a plan contains their data and needs no file. Rows are read one at a
//! time, and only the needed values are kept, once for all cells of a sweep. Paths are relative to the scenario's
//! folder.
mod error;
mod fields;
mod lines;
mod number;
mod table;
pub(crate) mod trace;

pub(crate) use error::TableError;
pub(crate) use table::{Row, Table};

use crate::input::{SAMPLES, SMALL_STREAM_BYTES};
use crate::library::TABLES;
use actors::time::Duration;
use lines::Lines;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use trace::{Cut, Recorded};

/// The files of a scenario, and the data that have been read from them so far.
#[derive(Debug)]
pub(crate) struct Files {
    folder: PathBuf,
    times: Cache<(String, String), [Duration]>,
    counts: Cache<(String, String), [u32]>,
    traces: Cache<Cut, [Recorded]>,
    /// Notes for the user about the files that have been read.
    notes: Mutex<BTreeSet<String>>,
}

type Cache<K, V> = Mutex<BTreeMap<K, Arc<V>>>;

impl Files {
    pub fn of(folder: &Path) -> Files {
        Files {
            folder: folder.to_owned(),
            times: Mutex::default(),
            counts: Mutex::default(),
            traces: Mutex::default(),
            notes: Mutex::default(),
        }
    }

    /// The folder of the scenario.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens a file by lines, with or without gzip, of at most `limit` bytes after unpacking.
    pub fn lines(&self, path: &str, limit: u64) -> Result<Lines, TableError> {
        let here = self.folder.join(path);
        match TABLES.iter().find(|known| known.0 == path) {
            Some((_, text)) if !here.is_file() => Ok(Lines::of_text(path, *text)),
            _ => Lines::open(path, &here, limit),
        }
    }

    /// Opens a CSV file as a table.
    pub fn table(&self, path: &str) -> Result<Table, TableError> {
        Table::new(self.lines(path, SMALL_STREAM_BYTES)?)
    }

    /// Reads a column of token counts.
    pub fn counts(&self, path: &str, column: &str) -> Result<Arc<[u32]>, TableError> {
        kept(&self.counts, (path.to_owned(), column.to_owned()), || {
            self.samples(path, column, |row, at| row.tokens(at))
        })
    }

    /// Reads the durations in a column. The column's name ends with the unit of the durations.
    pub fn times(&self, path: &str, column: &str) -> Result<Arc<[Duration]>, TableError> {
        kept(&self.times, (path.to_owned(), column.to_owned()), || {
            let unit = table::unit_of(column).ok_or_else(|| {
                let message = format!("the name of the column `{column}` does not give the unit of its times");
                TableError::file(path, message).help("end the column's name in _s, _ms, _us or _ns".to_owned())
            })?;
            self.samples(path, column, |row, at| row.time(at, unit))
        })
    }

    fn samples<T>(
        &self,
        path: &str,
        column: &str,
        read: impl Fn(Row<'_>, usize) -> Result<T, TableError>,
    ) -> Result<Arc<[T]>, TableError> {
        let mut table = self.table(path)?;
        let at = table.column(column)?;
        let mut samples = Vec::new();
        while let Some(row) = table.read()? {
            if samples.len() == SAMPLES {
                let error = row.wrong(at, format!("the column `{column}` has more than {SAMPLES} samples"));
                return Err(error
                    .help("cut the file to fewer rows; a part of the samples gives the same distribution".to_owned()));
            }
            samples.push(read(row, at)?);
        }
        if samples.is_empty() {
            Err(table.heading(at, "the file has no rows below the heading"))
        } else {
            Ok(samples.into())
        }
    }

    /// Adds a note for the user about a file.
    pub fn note(&self, note: &str) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).insert(note.to_owned());
    }

    /// The notes about the files that were read, each once.
    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Returns the value that is stored for a key. If there is none, reads the value and stores it.
fn kept<K: Ord, V: ?Sized>(
    cache: &Cache<K, V>,
    key: K,
    read: impl FnOnce() -> Result<Arc<V>, TableError>,
) -> Result<Arc<V>, TableError> {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(value) = cache.get(&key) {
        return Ok(value.clone());
    }
    let value = read()?;
    cache.insert(key, value.clone());
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::Files;
    use actors::time::Duration;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    #[test]
    fn plain_or_packed_a_table_is_the_same() {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let text = "# round trips\nwhen,rtt_ms\n1, 10\n2,20.5\n";
        std::fs::write(dir.path().join("a.csv"), text).expect("it is written");
        let mut gz = GzEncoder::new(Vec::new(), Compression::default());
        gz.write_all(text.as_bytes()).expect("packed");
        let packed = gz.finish().expect("packed");
        for name in ["a.csv.gz", "packed.csv"] {
            std::fs::write(dir.path().join(name), &packed).expect("it is written");
        }
        let files = Files::of(dir.path());
        for name in ["a.csv", "a.csv.gz", "packed.csv"] {
            let times = files.times(name, "rtt_ms").expect("times");
            assert_eq!(times[..], [Duration::from_micros(10_000), Duration::from_micros(20_500)]);
            assert_eq!(files.counts(name, "when").expect("counts")[..], [1, 2]);
        }
        let why = files.times("a.csv", "rtt_mss").expect_err("a typo");
        assert_eq!(why.to_string(), "a.csv: the name of the column `rtt_mss` does not give the unit of its times");
        let why = files.times("a.csv", "rt_ms").expect_err("a typo");
        assert_eq!(why.to_string(), "a.csv:2:1: the heading has no column `rt_ms`");
        assert_eq!(why.help.as_deref(), Some("did you mean `rtt_ms`?"));
        assert!(files.times("nowhere.csv", "rtt_ms").expect_err("no file").to_string().ends_with("(os error 2)"));
        std::fs::write(dir.path().join("b.csv"), "rtt_ms\n1\n\nsoon\n").expect("it is written");
        let why = files.times("b.csv", "rtt_ms").expect_err("no time").to_string();
        assert_eq!(why, "b.csv:4:1: `soon` is not a time in ms");
        std::fs::write(dir.path().join("c.csv"), "rtt_ms\n").expect("it is written");
        let why = files.times("c.csv", "rtt_ms").expect_err("no rows").to_string();
        assert_eq!(why, "c.csv:1:1: the file has no rows below the heading");
    }
}

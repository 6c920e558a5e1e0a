//! Raw rows as parquet files: one schema for each kind of row, written in bounded chunks and read back by column.
//!
//! The same rows give the same bytes. Times are INT64 nanoseconds. The meaning of each column is in the file's
//! key-value metadata.
//!
//! A parquet file cannot be read without its footer, which is written last. During a sweep the rows of each run are
//! therefore also written to a small file under `parts/`. These files are removed once the complete file has its name.
//! If a sweep dies before, they are read instead of it.
mod bounds;
mod columns;
mod reader;

pub use reader::{Columns, rows};

use crate::error::{Error, Result};
use actors::record::{Looked, Pinged};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;
use rows::{HopRow, RequestRow, TokenRow};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The number of rows of a chunk (a parquet row group), which are held in memory before they are written.
const CHUNK: usize = 1 << 16;

/// A row with the cell and repetition of its run.
pub struct Filed<R> {
    pub cell: u32,
    pub repeat: u32,
    pub row: R,
}

/// A column of the rows `R`: its name, its meaning, and the function that extracts it.
pub struct Field<R> {
    pub name: &'static str,
    pub about: &'static str,
    pub get: Get<R>,
}

pub enum Get<R> {
    Int(fn(&Filed<R>) -> i64),
    Maybe(fn(&Filed<R>) -> Option<i64>),
    Text(fn(&Filed<R>) -> String),
    Flag(fn(&Filed<R>) -> bool),
}

/// A kind of row that has a file.
pub trait Row: Sized + 'static {
    const FIELDS: &'static [Field<Self>];
}

impl Row for RequestRow {
    const FIELDS: &'static [Field<Self>] = columns::REQUESTS;
}

impl Row for TokenRow {
    const FIELDS: &'static [Field<Self>] = columns::TOKENS;
}

impl Row for HopRow {
    const FIELDS: &'static [Field<Self>] = columns::HOPS;
}

impl Row for Looked {
    const FIELDS: &'static [Field<Self>] = columns::LOOKUPS;
}

impl Row for Pinged {
    const FIELDS: &'static [Field<Self>] = columns::PINGS;
}

/// The folder of the rows of single runs, in an incomplete directory.
const PARTS: &str = "parts";

/// A parquet file that is being written.
pub struct Sheet<R> {
    /// The name of the complete file, and the name until then.
    path: PathBuf,
    growing: PathBuf,
    writer: SerializedFileWriter<File>,
    schema: TypePtr,
    /// The rows that are in no chunk of the file yet.
    rows: Vec<Filed<R>>,
    /// The rows of the current run.
    run: Vec<Filed<R>>,
}

impl<R: Row> Sheet<R> {
    /// Begins `<name>.parquet` in `dir`. The file gets this name when it is closed.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(dir: &Path, name: &str) -> Result<Sheet<R>> {
        let path = dir.join(format!("{name}.parquet"));
        let growing = dir.join(format!(".{name}.parquet.new"));
        let schema = schema::<R>().map_err(Error::damaged(&path))?;
        let about = |field: &Field<R>| KeyValue::new(format!("about {}", field.name), field.about.to_owned());
        let properties = properties().set_key_value_metadata(Some(R::FIELDS.iter().map(about).collect()));
        let file = File::create(&growing).map_err(Error::io(&growing))?;
        let writer = SerializedFileWriter::new(file, schema.clone(), Arc::new(properties.build()));
        let writer = writer.map_err(Error::damaged(&path))?;
        Ok(Sheet { path, growing, writer, schema, rows: Vec::new(), run: Vec::new() })
    }

    pub fn push(&mut self, cell: u32, repeat: u32, row: R) {
        self.run.push(Filed { cell, repeat, row });
    }

    /// Ends the rows of a run. They can be read from then on, even if the sweep dies.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn end_run(&mut self, cell: u32, repeat: u32) -> Result<()> {
        if self.run.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.run);
        let dir = self.path.with_file_name(PARTS);
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let path = dir.join(format!("{stem}-{cell:06}-{repeat:06}.parquet"));
        fs::create_dir_all(&dir).map_err(Error::io(&dir))?;
        let growing = path.with_extension("new");
        let file = File::create(&growing).map_err(Error::io(&growing))?;
        // A sweep may have thousands of these files, so they have no statistics and no dictionary.
        let small = properties().set_statistics_enabled(EnabledStatistics::None).set_dictionary_enabled(false);
        let part = SerializedFileWriter::new(file, self.schema.clone(), Arc::new(small.build()));
        let written = part.and_then(|mut part| {
            rows.chunks(CHUNK).try_for_each(|rows| write_group(&mut part, rows))?;
            part.close().map(drop)
        });
        written.map_err(Error::damaged(&path))?;
        fs::rename(&growing, &path).map_err(Error::io(&path))?;
        for row in rows {
            self.rows.push(row);
            if self.rows.len() >= CHUNK {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        write_group(&mut self.writer, &rows).map_err(Error::damaged(&self.path))
    }

    /// Writes the footer, without which the file cannot be read, and gives the file its name.
    ///
    /// # Errors
    /// The file cannot be written or renamed.
    pub fn close(mut self) -> Result<()> {
        self.flush()?;
        let file = self.writer.into_inner().map_err(Error::damaged(&self.path))?;
        file.sync_all().and_then(|()| fs::rename(&self.growing, &self.path)).map_err(Error::io(&self.path))
    }
}

/// Removes the rows of single runs, once the complete files have their names.
///
/// # Errors
/// The folder cannot be removed.
pub fn remove_parts(dir: &Path) -> Result<()> {
    let parts = dir.join(PARTS);
    if parts.exists() { fs::remove_dir_all(&parts).map_err(Error::io(&parts)) } else { Ok(()) }
}

/// Returns whether the rows of the directory are in files of single runs, because its sweep did not come to its end.
pub fn has_parts(dir: &Path) -> bool {
    dir.join(PARTS).exists()
}

/// Reads the named columns of a parquet file of this crate. In an incomplete directory, reads the rows of those runs
/// that are present.
///
/// # Errors
/// A file cannot be read or is damaged.
pub fn read(path: &Path, names: &[&str]) -> Result<Columns> {
    let dir = path.with_file_name(PARTS);
    if path.exists() || !dir.exists() {
        return reader::read(path, names);
    }
    let stem = format!("{}-", path.file_stem().unwrap_or_default().to_string_lossy());
    let mut parts = Vec::new();
    for entry in fs::read_dir(&dir).map_err(Error::io(&dir))? {
        let name = entry.map_err(Error::io(&dir))?.file_name().to_string_lossy().into_owned();
        if name.starts_with(&stem) && name.ends_with(".parquet") {
            parts.push(name);
        }
    }
    parts.sort();
    let mut columns = Columns::default();
    parts.iter().try_for_each(|part| reader::read(&dir.join(part), names).map(|part| columns.extend(part)))?;
    Ok(columns)
}

fn schema<R: Row>() -> parquet::errors::Result<TypePtr> {
    let fields = R::FIELDS.iter().map(|field| match field.get {
        Get::Int(_) => format!("REQUIRED INT64 {};", field.name),
        Get::Maybe(_) => format!("OPTIONAL INT64 {};", field.name),
        Get::Text(_) => format!("REQUIRED BYTE_ARRAY {} (STRING);", field.name),
        Get::Flag(_) => format!("REQUIRED BOOLEAN {};", field.name),
    });
    parse_message_type(&format!("message rows {{ {} }}", fields.collect::<Vec<_>>().join(" "))).map(Arc::new)
}

fn properties() -> WriterPropertiesBuilder {
    let compression = Compression::ZSTD(ZstdLevel::default());
    WriterProperties::builder().set_compression(compression).set_created_by("swarmbench".to_owned())
}

/// Writes the rows as one row group.
fn write_group<R: Row>(writer: &mut SerializedFileWriter<File>, rows: &[Filed<R>]) -> parquet::errors::Result<()> {
    let mut group = writer.next_row_group()?;
    for field in R::FIELDS {
        let Some(mut column) = group.next_column()? else { break };
        write_column(&mut column, field, rows)?;
        column.close()?;
    }
    group.close()?;
    Ok(())
}

fn write_column<R>(
    column: &mut SerializedColumnWriter<'_>,
    field: &Field<R>,
    rows: &[Filed<R>],
) -> parquet::errors::Result<()> {
    match field.get {
        Get::Int(get) => {
            let values: Vec<i64> = rows.iter().map(get).collect();
            column.typed::<Int64Type>().write_batch(&values, None, None)?;
        }
        Get::Maybe(get) => {
            let cells: Vec<Option<i64>> = rows.iter().map(get).collect();
            let levels: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
            let values: Vec<i64> = cells.into_iter().flatten().collect();
            column.typed::<Int64Type>().write_batch(&values, Some(&levels), None)?;
        }
        Get::Text(get) => {
            let values: Vec<ByteArray> = rows.iter().map(|row| ByteArray::from(get(row).into_bytes())).collect();
            column.typed::<ByteArrayType>().write_batch(&values, None, None)?;
        }
        Get::Flag(get) => {
            let values: Vec<bool> = rows.iter().map(get).collect();
            column.typed::<BoolType>().write_batch(&values, None, None)?;
        }
    }
    Ok(())
}

//! Raw rows as parquet files: one schema for each kind of row, written in bounded chunks and read back by column.
//!
//! The same rows give the same bytes. Times are INT64 nanoseconds. The meaning of each column is in the file's
//! key-value metadata.
//!
//! A parquet file cannot be read without its footer, which is written last. During a sweep the rows of each run are
//! therefore also written to a file of their own under `parts/`, group by group while the run goes on. Full groups are
//! copied from there to the complete file as they are. The files of single runs are removed once the complete file has
//! its final name. If a sweep is killed before that, the files of single runs are read instead of the complete file.
mod bounds;
mod columns;
mod reader;

pub use reader::{Columns, rows};

use crate::error::{Error, Result};
use actors::record::{Looked, Pinged};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::TypePtr;
use rows::{HopRow, RequestRow, TokenRow};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The number of rows of a chunk (a parquet row group), which are held in memory before they are written.
pub(crate) const CHUNK: usize = 1 << 16;

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

/// A kind of row that has a parquet file of its own.
pub trait Row: Sized + 'static {
    const FIELDS: &'static [Field<Self>];

    /// Sorts the rows of a chunk before they are written.
    fn sort(rows: &mut [Filed<Self>]);
}

impl Row for RequestRow {
    const FIELDS: &'static [Field<Self>] = columns::REQUESTS;

    fn sort(rows: &mut [Filed<Self>]) {
        rows.sort_by_key(|filed| filed.row.request);
    }
}

impl Row for TokenRow {
    const FIELDS: &'static [Field<Self>] = columns::TOKENS;

    fn sort(rows: &mut [Filed<Self>]) {
        rows.sort_by_key(|filed| (filed.row.request, filed.row.session, filed.row.position));
    }
}

impl Row for HopRow {
    const FIELDS: &'static [Field<Self>] = columns::HOPS;

    fn sort(rows: &mut [Filed<Self>]) {
        rows.sort_by_key(|filed| (filed.row.request, filed.row.position, filed.row.hop, filed.row.session));
    }
}

impl Row for Looked {
    const FIELDS: &'static [Field<Self>] = columns::LOOKUPS;

    fn sort(rows: &mut [Filed<Self>]) {
        rows.sort_by_key(|filed| (filed.row.node, filed.row.at, filed.row.purpose));
    }
}

impl Row for Pinged {
    const FIELDS: &'static [Field<Self>] = columns::PINGS;

    fn sort(rows: &mut [Filed<Self>]) {
        rows.sort_by_key(|filed| (filed.row.client, filed.row.peer, filed.row.at));
    }
}

/// The folder of the rows of single runs, in an incomplete directory.
pub(crate) const PARTS: &str = "parts";

/// The rows of one run, written to a file of their own while the run goes on. At most a chunk of them is in memory.
pub struct Part<R> {
    path: PathBuf,
    growing: PathBuf,
    cell: u32,
    repeat: u32,
    chunk: usize,
    /// The rows that are in no chunk of the file yet.
    rows: Vec<Filed<R>>,
    /// The file, which is created with the first full chunk.
    file: Option<SerializedFileWriter<File>>,
    /// The number of full chunks in the file.
    chunks: usize,
}

/// The rows of a run that is over. They can be read from the file, even if the sweep dies.
pub struct FinishedPart<R> {
    path: PathBuf,
    /// The number of full chunks in the file.
    chunks: usize,
    /// The rows that are in none of the full chunks.
    rows: Vec<Filed<R>>,
}

impl<R: Row> Part<R> {
    /// Begins to write the rows of a run in the run directory `dir`, in chunks of `chunk` rows. The file is created
    /// with the first full chunk.
    pub fn new(dir: &Path, name: &str, (cell, repeat): (u32, u32), chunk: usize) -> Part<R> {
        let path = dir.join(PARTS).join(format!("{name}-{cell:06}-{repeat:06}.parquet"));
        let growing = path.with_extension("new");
        Part { path, growing, cell, repeat, chunk, rows: Vec::new(), file: None, chunks: 0 }
    }

    /// The number of rows in memory.
    pub fn buffered(&self) -> usize {
        self.rows.len()
    }

    /// Adds a row, and writes a chunk if it is full.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn push(&mut self, row: R) -> Result<()> {
        self.rows.push(Filed { cell: self.cell, repeat: self.repeat, row });
        if self.rows.len() < self.chunk {
            return Ok(());
        }
        self.write_chunk(properties())?;
        self.chunks += 1;
        self.rows.clear();
        Ok(())
    }

    /// Writes the rows in memory as a chunk of the file. Creates the file with `properties` if it does not exist yet.
    fn write_chunk(&mut self, properties: WriterPropertiesBuilder) -> Result<()> {
        R::sort(&mut self.rows);
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let dir = self.path.parent().unwrap_or(Path::new(""));
                fs::create_dir_all(dir).map_err(Error::io(dir))?;
                let file = File::create(&self.growing).map_err(Error::io(&self.growing))?;
                let schema = schema::<R>().map_err(Error::damaged(&self.path))?;
                let file = SerializedFileWriter::new(file, schema, Arc::new(properties.build()));
                none.insert(file.map_err(Error::damaged(&self.path))?)
            }
        };
        write_group(file, &self.rows).map_err(Error::damaged(&self.path))
    }

    /// Ends the rows of the run.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<FinishedPart<R>> {
        if !self.rows.is_empty() {
            // A sweep may have thousands of these files, so they have no statistics and no dictionary, and they are not
            // compressed: to begin the compression of a column costs more than to write its few rows.
            let small = properties()
                .set_statistics_enabled(EnabledStatistics::None)
                .set_dictionary_enabled(false)
                .set_compression(Compression::UNCOMPRESSED);
            self.write_chunk(small)?;
        }
        if let Some(file) = self.file {
            file.close().map_err(Error::damaged(&self.path))?;
            fs::rename(&self.growing, &self.path).map_err(Error::io(&self.path))?;
        }
        Ok(FinishedPart { path: self.path, chunks: self.chunks, rows: self.rows })
    }
}

/// A parquet file that is being written, with the rows of all runs of a sweep.
pub struct Sheet<R> {
    /// The final path of the file.
    path: PathBuf,
    /// The path of the file while it is being written.
    growing: PathBuf,
    writer: SerializedFileWriter<File>,
    chunk: usize,
    /// The rows that are in no chunk of the file yet.
    rows: Vec<Filed<R>>,
}

impl<R: Row> Sheet<R> {
    /// Begins `<name>.parquet` in `dir`, in chunks of `chunk` rows. The file gets this name when it is closed.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(dir: &Path, name: &str, chunk: usize) -> Result<Sheet<R>> {
        let path = dir.join(format!("{name}.parquet"));
        let growing = dir.join(format!(".{name}.parquet.new"));
        let schema = schema::<R>().map_err(Error::damaged(&path))?;
        let about = |field: &Field<R>| KeyValue::new(format!("about {}", field.name), field.about.to_owned());
        let properties = properties().set_key_value_metadata(Some(R::FIELDS.iter().map(about).collect()));
        let file = File::create(&growing).map_err(Error::io(&growing))?;
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties.build()));
        let writer = writer.map_err(Error::damaged(&path))?;
        Ok(Sheet { path, growing, writer, chunk, rows: Vec::new() })
    }

    /// Adds the rows of a run.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn append(&mut self, part: FinishedPart<R>) -> Result<()> {
        if part.chunks > 0 {
            self.flush()?;
            let file = File::open(&part.path).map_err(Error::io(&part.path))?;
            copy_groups(&mut self.writer, &file, part.chunks).map_err(Error::damaged(&self.path))?;
        }
        for row in part.rows {
            self.rows.push(row);
            if self.rows.len() >= self.chunk {
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

/// Removes the files of single runs. Call this once the complete files have their final names.
///
/// # Errors
/// The folder cannot be removed.
pub fn remove_parts(dir: &Path) -> Result<()> {
    let parts = dir.join(PARTS);
    if parts.exists() { fs::remove_dir_all(&parts).map_err(Error::io(&parts)) } else { Ok(()) }
}

/// Returns whether the rows of the directory are in files of single runs, because its sweep is incomplete.
pub fn has_parts(dir: &Path) -> bool {
    dir.join(PARTS).exists()
}

/// Reads the named columns of a parquet file of this crate. In an incomplete directory, reads the rows of those runs
/// that are present.
///
/// # Errors
/// A file cannot be read or is damaged.
pub fn read(path: &Path, names: &[&str]) -> Result<Columns> {
    let mut all = Columns::default();
    scan(path, names, |columns| {
        all.extend(columns);
        Ok(())
    })?;
    Ok(all)
}

/// Reads the named columns as [`read`] does, but group by group, so that only one group is in memory. An error of
/// `each` is reported as damage of the file.
///
/// # Errors
/// A file cannot be read or is damaged.
pub fn scan(
    path: &Path,
    names: &[&str],
    mut each: impl FnMut(&Columns) -> std::result::Result<(), String>,
) -> Result<()> {
    let files = files(path)?;
    files.iter().try_for_each(|file| reader::scan(file, (&[], &|_, _| true), names, &mut |columns, _| each(columns)))
}

/// Reads the named columns as [`scan`] does, but only of groups with a wanted row. The columns `keys` decide which rows
/// are wanted, and `each` gets these rows.
///
/// # Errors
/// A file cannot be read or is damaged.
pub fn scan_where(
    path: &Path,
    keys: &[&str],
    wanted: impl Fn(&Columns, usize) -> bool,
    names: &[&str],
    mut each: impl FnMut(&Columns, &[usize]),
) -> Result<()> {
    files(path)?.iter().try_for_each(|file| {
        reader::scan(file, (keys, &wanted), names, &mut |columns, rows| {
            each(columns, rows);
            Ok(())
        })
    })
}

/// Returns the files with the rows: the complete file, or those of single runs in an incomplete directory.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let dir = path.with_file_name(PARTS);
    if path.exists() || !dir.exists() {
        return Ok(vec![path.to_owned()]);
    }
    let stem = format!("{}-", path.file_stem().unwrap_or_default().to_string_lossy());
    let mut parts = Vec::new();
    for entry in fs::read_dir(&dir).map_err(Error::io(&dir))? {
        let name = entry.map_err(Error::io(&dir))?.file_name().to_string_lossy().into_owned();
        if name.starts_with(&stem) && name.ends_with(".parquet") {
            parts.push(dir.join(name));
        }
    }
    parts.sort();
    Ok(parts)
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

/// Copies the first `count` row groups of a file as they are.
fn copy_groups(writer: &mut SerializedFileWriter<File>, from: &File, count: usize) -> parquet::errors::Result<()> {
    let reader = SerializedFileReader::new(from.try_clone()?)?;
    for group in reader.metadata().row_groups().iter().take(count) {
        let mut into = writer.next_row_group()?;
        for column in group.columns() {
            let closed = ColumnCloseResult {
                bytes_written: column.compressed_size() as u64,
                rows_written: group.num_rows() as u64,
                metadata: column.clone(),
                bloom_filter: None,
                column_index: None,
                offset_index: None,
            };
            into.append_column(from, closed)?;
        }
        into.close()?;
    }
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

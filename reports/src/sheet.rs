//! Raw rows as parquet: one schema for each kind of row, written in bounded chunks and read back by column.
//!
//! Same rows, same bytes. Times are INT64 nanoseconds; what a column means stands in the file's key-value metadata.
mod bounds;
mod columns;
mod reader;

pub use reader::{Columns, read, rows};

use crate::error::{Error, Result};
use crate::fold::{HopRow, RequestRow, TokenRow};
use actors::record::{Looked, Pinged};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::parser::parse_message_type;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Rows of a chunk (a parquet row group): what is held in memory before it goes to the file.
const CHUNK: usize = 1 << 16;

/// A row and the run it is of.
pub struct Filed<R> {
    pub cell: u32,
    pub repeat: u32,
    pub row: R,
}

/// A column of the rows `R`: its name, its meaning, and how to get it.
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

/// A parquet file in the making.
pub struct Sheet<R> {
    writer: SerializedFileWriter<File>,
    rows: Vec<Filed<R>>,
}

impl<R: Row> Sheet<R> {
    pub fn create(path: &Path) -> Result<Sheet<R>> {
        let fields = R::FIELDS.iter().map(|field| match field.get {
            Get::Int(_) => format!("REQUIRED INT64 {};", field.name),
            Get::Maybe(_) => format!("OPTIONAL INT64 {};", field.name),
            Get::Text(_) => format!("REQUIRED BYTE_ARRAY {} (STRING);", field.name),
            Get::Flag(_) => format!("REQUIRED BOOLEAN {};", field.name),
        });
        let schema = format!("message rows {{ {} }}", fields.collect::<Vec<_>>().join(" "));
        let schema = parse_message_type(&schema).map_err(Error::damaged(path))?;
        let about = |field: &Field<R>| KeyValue::new(format!("about {}", field.name), field.about.to_owned());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by("swarmbench".to_owned())
            .set_key_value_metadata(Some(R::FIELDS.iter().map(about).collect()))
            .build();
        let file = File::create(path).map_err(Error::io(path))?;
        let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties));
        Ok(Sheet { writer: writer.map_err(Error::damaged(path))?, rows: Vec::new() })
    }

    pub fn push(&mut self, cell: u32, repeat: u32, row: R) -> Result<()> {
        self.rows.push(Filed { cell, repeat, row });
        if self.rows.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.write(&rows).map_err(Error::encode("a parquet file"))
    }

    fn write(&mut self, rows: &[Filed<R>]) -> parquet::errors::Result<()> {
        let mut group = self.writer.next_row_group()?;
        for field in R::FIELDS {
            let Some(mut column) = group.next_column()? else { break };
            write_column(&mut column, field, rows)?;
            column.close()?;
        }
        group.close()?;
        Ok(())
    }

    /// Writes the footer, without which nothing can be read.
    pub fn close(mut self) -> Result<File> {
        self.flush()?;
        self.writer.into_inner().map_err(Error::encode("a parquet file"))
    }
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

//! Raw files back as columns.
use crate::error::{Error, Result};
use parquet::column::reader::{ColumnReader, get_typed_column_reader};
use parquet::data_type::{BoolType, ByteArrayType, Int64Type};
use parquet::errors::Result as ParquetResult;
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// The columns asked for, as long as each other.
#[derive(Debug, Default)]
pub struct Columns {
    ints: BTreeMap<String, Vec<Option<i64>>>,
    texts: BTreeMap<String, Vec<String>>,
    flags: BTreeMap<String, Vec<bool>>,
}

impl Columns {
    /// Empty if the file has no such column.
    pub fn ints(&self, name: &str) -> &[Option<i64>] {
        self.ints.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn texts(&self, name: &str) -> &[String] {
        self.texts.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn flags(&self, name: &str) -> &[bool] {
        self.flags.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Reads the named columns of a parquet file that this crate wrote.
pub fn read(path: &Path, names: &[&str]) -> Result<Columns> {
    let file = File::open(path).map_err(Error::io(path))?;
    read_columns(file, names).map_err(Error::damaged(path))
}

fn read_columns(file: File, names: &[&str]) -> ParquetResult<Columns> {
    let reader = SerializedFileReader::new(file)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let mut columns = Columns::default();
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group)?;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        for at in 0..schema.num_columns() {
            let name = schema.column(at).name().to_owned();
            if names.contains(&name.as_str()) {
                columns.append(name, group.get_column_reader(at)?, rows)?;
            }
        }
    }
    Ok(columns)
}

impl Columns {
    fn append(&mut self, name: String, reader: ColumnReader, rows: usize) -> ParquetResult<()> {
        match reader {
            reader @ ColumnReader::Int64ColumnReader(_) => {
                let mut typed = get_typed_column_reader::<Int64Type>(reader);
                let (mut values, mut levels) = (Vec::new(), Vec::new());
                typed.read_records(rows, Some(&mut levels), None, &mut values)?;
                let into = self.ints.entry(name).or_default();
                if levels.is_empty() {
                    into.extend(values.into_iter().map(Some));
                } else {
                    let mut present = values.into_iter();
                    into.extend(levels.into_iter().map(|level| if level > 0 { present.next() } else { None }));
                }
            }
            reader @ ColumnReader::ByteArrayColumnReader(_) => {
                let mut values = Vec::new();
                get_typed_column_reader::<ByteArrayType>(reader).read_records(rows, None, None, &mut values)?;
                let texts = values.iter().map(|bytes| String::from_utf8_lossy(bytes.data()).into_owned());
                self.texts.entry(name).or_default().extend(texts);
            }
            reader @ ColumnReader::BoolColumnReader(_) => {
                let mut values = Vec::new();
                get_typed_column_reader::<BoolType>(reader).read_records(rows, None, None, &mut values)?;
                self.flags.entry(name).or_default().extend(values);
            }
            // This crate writes no other type; a column it does not know it does not read.
            _ => {}
        }
        Ok(())
    }
}

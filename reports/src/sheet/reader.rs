//! Reading of the parquet files of a run directory into columns.
use super::bounds;
use crate::error::{Error, Result};
use parquet::column::reader::{ColumnReader, get_typed_column_reader};
use parquet::data_type::{BoolType, ByteArrayType, Int64Type};
use parquet::file::reader::{FileReader, SerializedFileReader};
use scenarios::guard::guard;
use scenarios::input;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// The largest absolute value of a number in a column: 36 years in ns, so that sums of several numbers do not overflow.
/// Only session ids may be larger.
const LARGEST: i64 = 1 << 60;

/// The requested columns, all of the same length.
#[derive(Debug, Default)]
pub struct Columns {
    ints: BTreeMap<String, Vec<Option<i64>>>,
    texts: BTreeMap<String, Vec<String>>,
    flags: BTreeMap<String, Vec<bool>>,
    /// The bytes of memory that the values of further columns and groups may take.
    left: u64,
}

impl Columns {
    /// Returns a column of integers; empty if the file has no such column.
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

/// The columns that are read first, and a function that decides by these columns whether a row is wanted.
pub type Wanted<'a> = (&'a [&'a str], &'a dyn Fn(&Columns, usize) -> bool);

/// A function that takes the columns of a row group and the indices of its wanted rows. Its error is reported as damage
/// of the file.
pub type Each<'a> = &'a mut dyn FnMut(&Columns, &[usize]) -> std::result::Result<(), String>;

/// Reads the named columns of a parquet file of a run directory, group by group. Groups without a wanted row are
/// skipped.
///
/// # Errors
/// The file cannot be read, is damaged, or is no file of a run.
pub fn scan(path: &Path, wanted: Wanted<'_>, names: &[&str], each: Each<'_>) -> Result<()> {
    let (file, length) = input::open(path).map_err(Error::Input)?;
    let done = guard(|| decode(&file, length, wanted, names, each));
    done.and_then(|done| done).map_err(Error::damaged(path))
}

/// Counts the rows of a parquet file of a run directory by its footer.
///
/// # Errors
/// The file cannot be read, is damaged, or is no file of a run.
pub fn rows(path: &Path) -> Result<u64> {
    let (file, _) = input::open(path).map_err(Error::Input)?;
    let rows = guard(|| bounds::rows(footer(&file)?.metadata()));
    rows.and_then(|rows| rows).map_err(Error::damaged(path))
}

fn text(why: impl std::fmt::Display) -> String {
    why.to_string()
}

fn footer(file: &File) -> std::result::Result<SerializedFileReader<File>, String> {
    bounds::footer(file)?;
    SerializedFileReader::new(file.try_clone().map_err(text)?).map_err(text)
}

fn decode(
    file: &File,
    length: u64,
    (keys, wanted): Wanted<'_>,
    names: &[&str],
    each: Each<'_>,
) -> std::result::Result<(), String> {
    let reader = footer(file)?;
    let rows = bounds::rows(reader.metadata())?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let [mut first, mut then] = [Vec::<(usize, &str)>::new(), Vec::new()];
    for (at, column) in schema.columns().iter().enumerate() {
        let path = column.path().string();
        let asked = |names: &[&str]| names.iter().position(|name| *name == path);
        let (into, name) = match (asked(keys), asked(names)) {
            (Some(key), _) => (&mut first, keys[key]),
            (None, Some(name)) => (&mut then, names[name]),
            (None, None) => continue,
        };
        if into.iter().any(|known| known.1 == name) {
            return Err(format!("the file has the column {name} twice"));
        }
        into.push((at, name));
    }
    // These two columns name the row's run, and every version has written them.
    for name in ["cell", "repeat"] {
        let asked = keys.contains(&name) || names.contains(&name);
        if asked && !first.iter().chain(&then).any(|known| known.1 == name) {
            return Err(format!("the file has no column {name}"));
        }
    }
    let (most, count) = (bounds::memory(length), first.len() + then.len());
    if rows.saturating_mul(count as u64) > most {
        return Err(format!(
            "the file claims {rows} rows of {count} columns, which are too many for its {length} bytes"
        ));
    }
    let mut left = most;
    for at in 0..reader.num_row_groups() {
        let group = reader.get_row_group(at).map_err(text)?;
        let rows = usize::try_from(group.metadata().num_rows()).map_err(text)?;
        let mut columns = Columns { left, ..Columns::default() };
        let take = |columns: &mut Columns, which: &[(usize, &str)]| {
            which.iter().try_for_each(|&(column, name)| {
                let of = |why: String| format!("column {name}, row group {at}: {why}");
                bounds::chunk(file, group.metadata().column(column), rows as u64).map_err(of)?;
                let reader = group.get_column_reader(column).map_err(|why| of(text(why)))?;
                columns.append(name, reader, rows).map_err(of)
            })
        };
        take(&mut columns, &first)?;
        let chosen: Vec<usize> = (0..rows).filter(|row| wanted(&columns, *row)).collect();
        if !chosen.is_empty() {
            take(&mut columns, &then)?;
            each(&columns, &chosen)?;
        }
        left = columns.left;
    }
    Ok(())
}

impl Columns {
    /// Appends the rows of another group.
    pub(super) fn extend(&mut self, more: &Columns) {
        more.ints.iter().for_each(|(name, values)| self.ints.entry(name.clone()).or_default().extend(values));
        more.texts
            .iter()
            .for_each(|(name, texts)| self.texts.entry(name.clone()).or_default().extend_from_slice(texts));
        more.flags.iter().for_each(|(name, flags)| self.flags.entry(name.clone()).or_default().extend(flags));
    }

    /// Returns a number of a row; `None` if the file has no such column, or the row no such number.
    pub fn int(&self, name: &str, row: usize) -> Option<i64> {
        self.ints(name).get(row).copied().flatten()
    }

    /// Appends a group's values of a column.
    fn append(&mut self, name: &str, reader: ColumnReader, rows: usize) -> std::result::Result<(), String> {
        match reader {
            reader @ ColumnReader::Int64ColumnReader(_) => {
                let mut typed = get_typed_column_reader::<Int64Type>(reader);
                let (mut values, mut levels) = (Vec::new(), Vec::new());
                let (read, ..) = typed.read_records(rows, Some(&mut levels), None, &mut values).map_err(text)?;
                whole(read, rows)?;
                self.take((rows * size_of::<Option<i64>>()) as u64)?;
                let beyond = |value: &&i64| name != "session" && value.unsigned_abs() > LARGEST.unsigned_abs();
                if let Some(value) = values.iter().find(beyond) {
                    return Err(format!("the column holds {value}, but the numbers of a run are at most {LARGEST}"));
                }
                let into = self.ints.entry(name.to_owned()).or_default();
                if levels.is_empty() {
                    into.extend(values.into_iter().map(Some));
                } else {
                    let mut present = values.into_iter();
                    into.extend(levels.into_iter().map(|level| if level > 0 { present.next() } else { None }));
                }
            }
            reader @ ColumnReader::ByteArrayColumnReader(_) => {
                let (mut values, mut typed) = (Vec::new(), get_typed_column_reader::<ByteArrayType>(reader));
                let (read, ..) = typed.read_records(rows, None, None, &mut values).map_err(text)?;
                whole(read, rows)?;
                self.take(values.iter().map(|bytes| (bytes.len() + size_of::<String>()) as u64).sum())?;
                let texts = values.iter().map(|bytes| String::from_utf8_lossy(bytes.data()).into_owned());
                self.texts.entry(name.to_owned()).or_default().extend(texts);
            }
            reader @ ColumnReader::BoolColumnReader(_) => {
                let (mut values, mut typed) = (Vec::new(), get_typed_column_reader::<BoolType>(reader));
                let (read, ..) = typed.read_records(rows, None, None, &mut values).map_err(text)?;
                whole(read, rows)?;
                self.take(rows as u64)?;
                self.flags.entry(name.to_owned()).or_default().extend(values);
            }
            _ => return Err("the values have a type that swarmbench does not write".to_owned()),
        }
        Ok(())
    }

    fn take(&mut self, bytes: u64) -> std::result::Result<(), String> {
        self.left = self.left.checked_sub(bytes).ok_or("the values take more memory than a file of this length may")?;
        Ok(())
    }
}

fn whole(read: usize, rows: usize) -> std::result::Result<(), String> {
    if read == rows { Ok(()) } else { Err(format!("{read} values were read, but the row group has {rows} rows")) }
}

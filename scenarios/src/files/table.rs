//! Tables read row by row: CSV with commas, semicolons or tabs.
//!
//! The first line that is neither empty nor a comment (`#`) is the heading. Its separator applies to all rows. Rows in
//! which all fields are empty are skipped.
use super::error::TableError;
use super::fields;
use super::lines::Lines;
use super::number::{self, NumberError};
use crate::input::LINE_BYTES;
use crate::suggest;
use crate::units::{Time, UnitError};
use actors::time::Duration;
use std::borrow::Cow;
use std::ops::Range;

/// The largest number of lines of one row. Quotes may contain line ends, but a missing closing quote must not consume
/// the whole file.
const RECORD_LINES: u32 = 100;

pub(crate) struct Table {
    lines: Lines,
    pub header: Vec<String>,
    heading: Record,
    separator: u8,
    row: Record,
}

/// The text of a table's row, which may contain line ends within quotes, and the byte ranges of its fields.
#[derive(Default)]
struct Record {
    text: String,
    line: u64,
    fields: Vec<Range<usize>>,
}

/// A row of a table.
#[derive(Clone, Copy)]
pub(crate) struct Row<'t> {
    file: &'t str,
    record: &'t Record,
}

impl Table {
    /// Reads the heading of a table.
    pub fn new(lines: Lines) -> Result<Table, TableError> {
        let mut table =
            Table { lines, header: Vec::new(), heading: Record::default(), separator: b',', row: Record::default() };
        let mut heading = Record::default();
        if !record(&mut table.lines, None, &mut heading)? {
            return Err(TableError::file(
                &table.lines.file,
                "the file is empty; a table must begin with the names of its columns",
            ));
        }
        table.separator = fields::separator(&heading.text);
        fields::split(&heading.text, table.separator, &mut heading.fields);
        table.heading = heading;
        let names = table.row_of(&table.heading);
        table.header = (0..table.heading.fields.len()).map(|at| names.text(at).into_owned()).collect();
        Ok(table)
    }

    /// Returns the index of the column `name`. An absent column is an error.
    pub fn column(&self, name: &str) -> Result<usize, TableError> {
        self.find(name)?.ok_or_else(|| {
            let hint = suggest::hint(name, self.header.iter().map(String::as_str));
            self.heading(0, format!("the heading has no column `{name}`")).help(hint)
        })
    }

    /// Returns the index of the column `name`, or `None` if it is absent.
    pub fn find(&self, name: &str) -> Result<Option<usize>, TableError> {
        let mut found = self.header.iter().enumerate().filter(|(_, column)| *column == name).map(|(at, _)| at);
        let Some(first) = found.next() else { return Ok(None) };
        match found.next() {
            None => Ok(Some(first)),
            Some(again) => {
                let column = self.row_of(&self.heading).column(first);
                let message = format!("the heading names the column `{name}` twice, here and at column {column}");
                Err(self.heading(again, message).help("rename or remove one of the two columns".to_owned()))
            }
        }
    }

    /// Returns an error that points at a column's name.
    pub fn heading(&self, at: usize, message: impl Into<String>) -> TableError {
        self.row_of(&self.heading).wrong(at, message)
    }

    /// Reads the next row. Returns `None` after the last row.
    pub fn read(&mut self) -> Result<Option<Row<'_>>, TableError> {
        loop {
            if !record(&mut self.lines, Some(self.separator), &mut self.row)? {
                return Ok(None);
            }
            fields::split(&self.row.text, self.separator, &mut self.row.fields);
            let says = self.row.fields.iter().any(|field| !self.row.text[field.clone()].trim().is_empty());
            if says {
                break;
            }
            self.lines.pass_over()?;
        }
        let (found, expected) = (self.row.fields.len(), self.header.len());
        let row = self.row_of(&self.row);
        if found != expected {
            let message = format!("the row has {found} fields, but the heading has {expected}");
            return Err(row.wrong(expected.min(found - 1), message));
        }
        Ok(Some(row))
    }

    fn row_of<'t>(&'t self, record: &'t Record) -> Row<'t> {
        Row { file: &self.lines.file, record }
    }
}

/// Reads the next record: a line that is neither empty nor a comment, and further lines while a quote is open. If
/// `separator` is `None`, the record is a heading, and its separator is found in its text.
fn record(lines: &mut Lines, separator: Option<u8>, record: &mut Record) -> Result<bool, TableError> {
    record.text.clear();
    while record.text.is_empty() {
        let Some(line) = lines.read()? else { return Ok(false) };
        if !line.trim().is_empty() && !line.starts_with('#') {
            record.text.push_str(line);
        } else {
            lines.pass_over()?;
        }
    }
    record.line = lines.number();
    let separator = separator.unwrap_or_else(|| fields::separator(&record.text));
    let mut more = RECORD_LINES;
    while record.text.contains('"') && fields::is_open(&record.text, separator) {
        more -= 1;
        match lines.read()? {
            Some(line) if more > 0 && (record.text.len() + line.len()) as u64 <= LINE_BYTES => {
                record.text.push('\n');
                record.text.push_str(line);
            }
            _ => {
                fields::split(&record.text, separator, &mut record.fields);
                let row = Row { file: &lines.file, record };
                return Err(row.wrong(record.fields.len() - 1, "the quote that opens here is never closed"));
            }
        }
    }
    Ok(true)
}

impl<'t> Row<'t> {
    /// A field's text without its quotes and the whitespace around it.
    pub fn text(&self, at: usize) -> Cow<'t, str> {
        self.record.fields.get(at).map_or(Cow::Borrowed(""), |field| fields::plain(&self.record.text[field.clone()]))
    }

    /// The line in which the row begins, counted from 1.
    pub fn line(&self) -> u64 {
        self.place(0).0
    }

    /// The position of a field's first character in its line, counted in characters from 1.
    pub fn column(&self, at: usize) -> u32 {
        self.place(at).1
    }

    fn place(&self, at: usize) -> (u64, u32) {
        let start = self.record.fields.get(at).map_or(0, |field| {
            let text = &self.record.text[field.clone()];
            let blank = text.len() - text.trim_start().len();
            field.start + if blank == text.len() { 0 } else { blank }
        });
        let before = &self.record.text[..start];
        let line = before.matches('\n').count() as u64;
        let begin = before.rfind('\n').map_or(0, |newline| newline + 1);
        (self.record.line + line, before[begin..].chars().count() as u32 + 1)
    }

    /// Returns an error that points at a field.
    pub fn wrong(&self, at: usize, message: impl Into<String>) -> TableError {
        let (line, column) = self.place(at);
        TableError::at(self.file, line, column, message)
    }

    /// Parses a number of tokens.
    pub fn tokens(&self, at: usize) -> Result<u32, TableError> {
        self.count(at, "number of tokens")
    }

    /// Parses a whole number. Errors call it `what`.
    pub fn count(&self, at: usize, what: &str) -> Result<u32, TableError> {
        let text = self.text(at);
        match number::scaled(&text, 1) {
            Ok((count, true)) if count <= u64::from(u32::MAX) => Ok(count as u32),
            Ok((_, true)) | Err(NumberError::TooLarge) => {
                Err(self.wrong(at, format!("`{text}` is too large for a {what}")))
            }
            Ok((_, false)) => Err(self.wrong(at, format!("`{text}` is not a whole number, but a {what} must be one"))),
            Err(_) if text.is_empty() => Err(self.wrong(at, format!("the field is empty, but a {what} is expected"))),
            Err(_) => Err(self.wrong(at, format!("`{text}` is not a {what}"))),
        }
    }

    /// Parses a duration that includes its unit.
    pub fn quantity(&self, at: usize) -> Result<Time, TableError> {
        let text = self.text(at);
        let error = match text.parse::<Time>() {
            Ok(time) => return Ok(time),
            Err(error) => error,
        };
        // The quantities of scenarios have no exponents, but other programs may write numbers with exponents.
        let (number, unit) = text.split_at(text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).len());
        if let (Ok((time, _)), true) = (number::scaled(number.trim_end(), nanoseconds(unit)), UNITS.contains(&unit)) {
            return Ok(Time(time));
        }
        let message = match text.is_empty() {
            true => "the field is empty, but a time with its unit is expected".to_owned(),
            false => error.to_string(),
        };
        let help = match error {
            UnitError::Comma(_) => POINT,
            _ => "write the time with its unit, as in `12.5 s`",
        };
        Err(self.wrong(at, message).help(help.to_owned()))
    }

    /// Parses a duration in `unit`, which may also follow the number.
    pub fn time(&self, at: usize, unit: &str) -> Result<Duration, TableError> {
        let text = self.text(at);
        let wrong = |message: String| self.wrong(at, message);
        let number = text.strip_suffix(unit).map_or(&*text, str::trim_end);
        match number::scaled(number, nanoseconds(unit)) {
            Ok((time, _)) => Ok(Duration(time)),
            Err(NumberError::TooLarge) => Err(wrong(format!("the time `{text}` is too long"))),
            Err(_) if text.is_empty() => Err(wrong(format!("the field is empty, but a time in {unit} is expected"))),
            Err(_) if text.parse::<Time>().is_ok() => {
                Err(wrong(format!("`{text}` does not have the unit of its column, whose times are in {unit}")))
            }
            Err(NumberError::Negative) => {
                Err(wrong(format!("`{text}` is negative, but a time in {unit} must be 0 or more")))
            }
            Err(NumberError::NotANumber) if number::scaled(&number.replacen(',', ".", 1), 1).is_ok() => {
                Err(wrong(format!("`{text}` is not a time in {unit}")).help(POINT.to_owned()))
            }
            Err(NumberError::NotANumber) => Err(wrong(format!("`{text}` is not a time in {unit}"))),
        }
    }
}

/// The help text for a number with a comma.
const POINT: &str = "write a decimal point instead of the comma, and no separator between thousands";

/// The units of time with which the name of a table's column may end.
const UNITS: [&str; 4] = ["s", "ms", "us", "ns"];

/// Returns the unit of time at the end of a column's name, as in `delay_ms`.
pub(crate) fn unit_of(column: &str) -> Option<&str> {
    let (_, unit) = column.rsplit_once('_')?;
    UNITS.contains(&unit).then_some(unit)
}

fn nanoseconds(unit: &str) -> u64 {
    match unit {
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1_000,
        _ => 1,
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

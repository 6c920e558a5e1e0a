//! The formats of traces, read row by row.
use super::timestamp::{Clock, timestamp};
use super::{Place, Recorded};
use crate::files::lines::Lines;
use crate::files::number::{self, scaled};
use crate::files::{Row, Table, TableError};
use crate::schema::Columns;
use crate::suggest;
use actors::time::Duration;
use serde::Deserialize;
use serde_json::Number;

/// The requests of a file, in the order of the file.
pub(super) struct Rows {
    source: Source,
    columns: Columns,
    /// The number of rows that have been read so far.
    pub read: u64,
    /// The number of rows among them that were left out, because they are not requests.
    pub skipped: u64,
}

enum Source {
    Csv { table: Box<Table>, at: Fields, clock: Option<Clock> },
    Json { lines: Lines },
}

/// The indices of a request's fields among the columns of a CSV file.
struct Fields {
    at: usize,
    prompt: usize,
    generate: usize,
    client: Option<usize>,
    route: Option<usize>,
}

/// A line of a JSON trace. Its other fields are ignored.
#[derive(Deserialize)]
struct Line {
    timestamp: Number,
    input_length: Number,
    output_length: Number,
}

/// The columns of this program's own format. `first_ms` holds published times to the first token, which are not
/// replayed.
const OURS: [&str; 6] = ["at_s", "prompt", "generate", "client", "route", "first_ms"];

/// Returns the names of a CSV format's required columns: time, prompt, answer. `None` for formats of JSON lines.
fn required(columns: Columns) -> Option<[&'static str; 3]> {
    match columns {
        Columns::Ours => Some(["at_s", "prompt", "generate"]),
        Columns::Azure2023 | Columns::Azure2024 => Some(["TIMESTAMP", "ContextTokens", "GeneratedTokens"]),
        Columns::BurstGpt => Some(["Timestamp", "Request tokens", "Response tokens"]),
        Columns::Mooncake | Columns::QwenBailian => None,
    }
}

/// The CSV formats that may be suggested if a heading does not match the scenario's format.
const CSV: [Columns; 3] = [Columns::Ours, Columns::Azure2023, Columns::BurstGpt];

impl Rows {
    pub fn new(lines: Lines, columns: Columns, ignore: &[String]) -> Result<Rows, TableError> {
        let source = match required(columns) {
            None => Source::Json { lines },
            Some(names) => {
                let table = Box::new(Table::new(lines)?);
                let at = fields(&table, columns, names, ignore)?;
                Source::Csv { table, at, clock: None }
            }
        };
        Ok(Rows { source, columns, read: 0, skipped: 0 })
    }

    /// Reads the next request. Returns `None` after the last one.
    pub fn read(&mut self) -> Result<Option<Recorded>, TableError> {
        loop {
            let read = match &mut self.source {
                Source::Csv { table, at, clock } => match table.read()? {
                    Some(row) => Some(recorded(&row, at, self.columns, clock)?),
                    None => None,
                },
                Source::Json { lines } => json(lines, self.columns)?,
            };
            let Some(request) = read else { return Ok(None) };
            self.read += 1;
            let failed = match self.columns {
                // A row that is not a request is an error in this program's own format.
                Columns::Ours => false,
                Columns::BurstGpt => request.prompt == 0 || request.generate == 0,
                _ => request.prompt == 0,
            };
            if !failed {
                return Ok(Some(request));
            }
            self.skipped += 1;
        }
    }
}

/// Finds the columns of a CSV format in the heading. In this program's own format an unknown column is refused as a
/// misspelt one unless `ignore` names it. Other formats may have further columns.
fn fields(table: &Table, columns: Columns, names: [&str; 3], ignore: &[String]) -> Result<Fields, TableError> {
    let required = |name: &str| table.column(name).map_err(|error| proposed(table, columns, error));
    let [at, prompt, generate] = [required(names[0])?, required(names[1])?, required(names[2])?];
    if columns != Columns::Ours {
        return Ok(Fields { at, prompt, generate, client: None, route: None });
    }
    for (index, name) in table.header.iter().enumerate() {
        if !OURS.contains(&name.as_str()) && !ignore.contains(name) {
            let unused = OURS.into_iter().filter(|known| !table.header.iter().any(|column| column == known));
            let help = suggest::nearest(name, unused).map(|known| format!("did you mean `{known}`?"));
            let ignored = format!("if the column is to be ignored, write: `ignore: [{name:?}]`");
            return Err(table.heading(index, format!("the column `{name}` is unknown")).help(help.unwrap_or(ignored)));
        }
    }
    Ok(Fields { at, prompt, generate, client: table.find("client")?, route: table.find("route")? })
}

/// Returns the error of a missing column. If the heading matches another format, the error suggests that format.
fn proposed(table: &Table, columns: Columns, error: TableError) -> TableError {
    let has = |other: &Columns| {
        required(*other).is_some_and(|names| names.iter().all(|name| table.header.iter().any(|column| column == name)))
    };
    if table.header.first().is_some_and(|first| first.starts_with('{')) {
        let message = format!("the file begins with JSON, but `columns: {columns:?}` is a CSV format");
        return table.heading(0, message).help("write `columns: Mooncake` or `columns: QwenBailian`".to_owned());
    }
    match CSV.iter().find(|other| has(other)) {
        Some(other) => error.help(format!("the heading matches `columns: {other:?}`; use that format")),
        None => error,
    }
}

fn recorded(row: &Row<'_>, at: &Fields, columns: Columns, clock: &mut Option<Clock>) -> Result<Recorded, TableError> {
    let time = match columns {
        Columns::Azure2023 | Columns::Azure2024 => time_of_day(row, at.at, clock)?,
        _ => row.time(at.at, "s")?,
    };
    let client = match at.client.filter(|client| !row.text(*client).is_empty()) {
        Some(client) => Some(row.count(client, "client's number")?),
        None => None,
    };
    let route = at.route.map(|route| row.text(route).into_owned()).unwrap_or_default();
    let column = |at: Option<usize>| at.map_or(0, |at| row.column(at));
    let place = Place {
        line: row.line(),
        at: row.column(at.at),
        prompt: row.column(at.prompt),
        client: column(at.client),
        route: column(at.route),
    };
    let (prompt, generate) = (row.tokens(at.prompt)?, row.tokens(at.generate)?);
    Ok(Recorded { at: time, prompt, generate, client, route, place })
}

/// Reads the timestamp of a request. Either all timestamps of a file have an offset from UTC, or none has.
fn time_of_day(row: &Row<'_>, at: usize, clock: &mut Option<Clock>) -> Result<Duration, TableError> {
    let text = row.text(at);
    let (time, found) = timestamp(&text).ok_or_else(|| {
        row.wrong(
            at,
            format!("`{text}` is not a timestamp such as `2024-05-10 00:00:00.5` or `2024-05-10 00:00:00.5+00:00`"),
        )
    })?;
    if *clock.get_or_insert(found) != found {
        let message = match found {
            Clock::Local => format!("`{text}` has no offset from UTC, but the times above have one"),
            Clock::Offset => format!("`{text}` has an offset from UTC, but the times above have none"),
        };
        return Err(row.wrong(at, message));
    }
    Ok(time)
}

/// Reads the next request of a trace of JSON lines.
fn json(lines: &mut Lines, columns: Columns) -> Result<Option<Recorded>, TableError> {
    loop {
        let (file, number) = (lines.file.clone(), lines.number() + 1);
        let Some(text) = lines.read()? else { return Ok(None) };
        if text.trim().is_empty() {
            lines.pass_over()?;
            continue;
        }
        // Converts a byte offset in the line to a column in characters, counted from 1.
        let column = |byte: usize| text.get(..byte).map_or(1, |before| before.chars().count() as u32 + 1);
        let line: Line = serde_json::from_str(text).map_err(|error| {
            let why = error.to_string();
            let why = why.split(" at line ").next().unwrap_or_default();
            let message = format!("the line is not a request of the format `columns: {columns:?}`: {why}");
            let error = TableError::at(&file, number, column(error.column().saturating_sub(1)), message);
            error.help(format!("write each line like {EXAMPLE}; further keys are ignored"))
        })?;
        let place = |key: &str| column(text.find(&format!("\"{key}\"")).unwrap_or(0));
        let read = |key: &str, value: &Number, factor: u64, what: &str| {
            match scaled(&value.to_string(), factor) {
                Ok((value, exact)) if exact || factor > 1 => Ok(value),
                Ok(_) => Err(format!("`{value}` is not a whole number, but a {what} must be one")),
                Err(number::NumberError::TooLarge) => Err(format!("`{value}` is too large for a {what}")),
                Err(_) => Err(format!("`{value}` is not a {what}")),
            }
            .map_err(|message| TableError::at(&file, number, place(key), message))
        };
        let tokens = |key: &str, value: &Number| {
            let count = read(key, value, 1, "number of tokens")?;
            u32::try_from(count).map_err(|_| {
                TableError::at(&file, number, place(key), format!("`{count}` is too large for a number of tokens"))
            })
        };
        let nanoseconds = if columns == Columns::Mooncake { 1_000_000 } else { 1_000_000_000 };
        return Ok(Some(Recorded {
            at: Duration(read("timestamp", &line.timestamp, nanoseconds, "time")?),
            prompt: tokens("input_length", &line.input_length)?,
            generate: tokens("output_length", &line.output_length)?,
            client: None,
            route: String::new(),
            place: Place { line: number, at: place("timestamp"), prompt: place("input_length"), ..Place::default() },
        }));
    }
}

const EXAMPLE: &str = r#"{"timestamp": 27482, "input_length": 6955, "output_length": 52}"#;

//! All output of the program to stdout and stderr: results in the requested format, and progress.
//!
//! No other module prints, so that a closed or full stream never ends the program with a panic.
use crate::exit::Exit;
use clap::ValueEnum;
use reports::table::Table;
use std::fmt::Arguments;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::Mutex;

/// The format of results.
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
    Csv,
    Md,
}

/// The format of results that are not tables.
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum Plain {
    #[default]
    Text,
    Json,
}

/// Prints results to stdout.
macro_rules! say {
    ($($text:tt)*) => { $crate::print::result(format_args!($($text)*)) };
}

/// Prints a line of results to stdout.
macro_rules! sayln {
    ($($text:tt)*) => { $crate::print::result(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a line to stderr: progress, notes and errors.
macro_rules! errln {
    ($($text:tt)*) => { $crate::print::message(format_args!("{}\n", format_args!($($text)*))) };
}

pub(crate) use {errln, say, sayln};

/// The first error in writing results to stdout.
static UNWRITTEN: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes results to stdout. An error is kept for [`finish`], so that the command can still save its other data.
pub fn result(text: Arguments) {
    keep(io::stdout().lock().write_fmt(text));
}

/// Writes a message to stderr in one piece. If this fails, the error is ignored, because there is no other stream on
/// which to report it.
pub fn message(text: Arguments) {
    let _ = io::stderr().lock().write_all(text.to_string().as_bytes());
}

/// Shows on stderr the log messages that `RUST_LOG` selects, or warnings if it is not set.
pub fn log() {
    // Warnings of `usvg`, which renders charts, are hidden: they are about letters that the bundled font lacks.
    let quiet = || "warn,usvg=error".into();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| quiet());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(stderr_is_terminal());
    // The logger would report failed writes to stderr on stderr itself, and panic if that fails too.
    subscriber.with_writer(io::stderr).log_internal_errors(false).init();
}

/// Returns a number with its noun in the singular or plural: `1 cell`, `2 cells`.
pub fn count(number: u64, kind: &str) -> String {
    if number == 1 { format!("1 {kind}") } else { format!("{number} {kind}s") }
}

pub fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Keeps the first error of writing results, for [`finish`]. A closed pipe is not an error: its reader, such as `head`,
/// has read enough.
pub fn keep(written: io::Result<()>) {
    if let Err(why) = written
        && why.kind() != ErrorKind::BrokenPipe
    {
        UNWRITTEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(why);
    }
}

/// Writes the output that is still buffered.
///
/// # Errors
/// If some results could not be written to stdout.
pub fn finish() -> io::Result<()> {
    keep(io::stdout().lock().flush());
    UNWRITTEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take().map_or(Ok(()), Err)
}

pub fn print_table(table: &Table, format: Format) -> Result<(), Exit> {
    match format {
        Format::Table => say!("{}", table.text(width())),
        Format::Json => sayln!("{}", table.json()),
        Format::Csv => say!("{}", table.csv()),
        Format::Md => say!("{}", table.markdown()),
    }
    Ok(())
}

/// Prints rows and their headings as Markdown or, for all other formats, as CSV.
pub fn print_rows(headings: &[String], rows: &[Vec<String>], format: Format) -> Result<(), Exit> {
    let all = std::iter::once(headings).chain(rows.iter().map(Vec::as_slice));
    if let Format::Md = format {
        let cell = |cell: &String| cell.trim_end().replace('|', "\\|").replace('\n', "<br>");
        for (index, row) in all.enumerate() {
            sayln!("| {} |", row.iter().map(cell).collect::<Vec<_>>().join(" | "));
            if index == 0 {
                sayln!("|{}", " --- |".repeat(headings.len()));
            }
        }
        return Ok(());
    }
    let mut text = csv::Writer::from_writer(Vec::new());
    for row in all {
        text.write_record(row)?;
    }
    say!("{}", String::from_utf8_lossy(&text.into_inner()?));
    Ok(())
}

/// The width of the terminal in columns, or `None` if the output is not a terminal.
pub fn width() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns))
}

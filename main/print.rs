//! Results on stdout, in the format that was asked for.
use crate::stop::Stop;
use clap::ValueEnum;
use reports::table::Table;

/// How results are printed.
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
    Csv,
    Md,
}

/// How that is printed which is no table.
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum Plain {
    #[default]
    Text,
    Json,
}

/// Prints to stdout. A reader that has seen enough and closed the pipe (`head`) is no error.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = write!(std::io::stdout(), $($text)*);
    }};
}

macro_rules! sayln {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

pub(crate) use {say, sayln};

pub fn print_table(table: &Table, format: Format) -> Result<(), Stop> {
    match format {
        Format::Table => say!("{}", table.text(width())),
        Format::Json => sayln!("{}", table.json()),
        Format::Csv => say!("{}", table.csv()),
        Format::Md => say!("{}", table.markdown()),
    }
    Ok(())
}

/// Columns of the terminal, if it is one.
pub fn width() -> Option<usize> {
    console::Term::stdout().size_checked().map(|(_, columns)| usize::from(columns))
}

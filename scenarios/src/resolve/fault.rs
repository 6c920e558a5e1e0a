//! An error in the meaning of a scenario, with the path of the value that caused it.
use crate::error::explain;
use crate::files::TableError;
use crate::paths::Path;
use crate::schema::delay;
use crate::source;
use crate::suggest;
use std::ops::Range;

#[derive(Debug)]
pub(crate) struct Fault {
    pub path: Path,
    /// The range of the value's text that caused the error, if it is known.
    pub within: Option<Range<usize>>,
    pub message: String,
    pub help: Option<String>,
}

impl Fault {
    pub fn new(path: &str, message: impl Into<String>) -> Fault {
        Fault { path: Path::dotted(path), within: None, message: message.into(), help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Fault {
        self.help = Some(help.into());
        self
    }

    /// Returns the error for an unknown name, with the most similar known name.
    pub fn unknown<'a>(path: &str, what: &str, name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Fault {
        let help = suggest::hint(name, known);
        Fault { help, ..Fault::new(path, format!("the {what} `{name}` does not exist")) }
    }

    /// Returns an error in a table that the value at `path` names.
    pub fn table(path: &str, error: TableError) -> Fault {
        Fault { help: error.help.clone(), ..Fault::new(path, error.to_string()) }
    }

    pub fn delay(path: &str, text: &str, fault: delay::Fault) -> Fault {
        match fault {
            delay::Fault::Meaning(message) => Fault::new(path, message),
            delay::Fault::Table(error) => Fault::table(path, error),
            delay::Fault::Written(error) => {
                let (message, help) = explain(&error.code);
                Fault { within: Some(source::range(text, &error)), help, ..Fault::new(path, message) }
            }
        }
    }
}

/// Checks that `value` is within `least..=most`.
pub(crate) fn bounded(path: &str, what: &str, value: u32, least: u32, most: u32) -> Result<(), Fault> {
    if value < least {
        return Err(Fault::new(path, format!("{what} is {value}, but must be at least {least}")));
    }
    if value > most {
        return Err(Fault::new(path, format!("{what} is {value}, but must be at most {most}")));
    }
    Ok(())
}

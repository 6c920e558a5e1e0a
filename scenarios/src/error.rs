//! The errors of scenarios: the message, the place and a hint, worded for the author of the scenario.
use crate::input::{InputError, shortened, shortened_to};
use crate::source::Source;
use crate::suggest;
use miette::{Diagnostic, NamedSource, SourceSpan};
use std::ops::Range;

/// The reason why a scenario cannot be used.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum ScenarioError {
    /// An error at a place in the file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    At(Box<At>),
    /// An error in an override that was given on the command line.
    #[error("{}: {}", brief(flag), shortened(message))]
    #[diagnostic(code(scenario::flag))]
    Flag {
        flag: String,
        message: String,
        #[help]
        help: Option<String>,
    },
    #[error("the scenario `{}` is neither a file nor in the library", brief(name))]
    #[diagnostic(code(scenario::unknown))]
    Unknown {
        name: String,
        #[help]
        help: Option<String>,
    },
    // The message contains all causes. No `source` is given, because a report would print the causes again.
    #[error("{0}")]
    #[diagnostic(code(scenario::unreadable))]
    Unreadable(InputError),
}

/// An error at a place in a scenario's text.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{file}:{line}:{column}: {message}")]
#[diagnostic(code(scenario::bad))]
pub struct At {
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    pub message: String,
    #[source_code]
    text: NamedSource<String>,
    #[label("here")]
    span: SourceSpan,
    #[help]
    pub help: Option<String>,
}

impl ScenarioError {
    pub(crate) fn at(source: &Source, range: Range<usize>, message: String, help: Option<String>) -> ScenarioError {
        let (line, column) = source.line_column(range.start);
        let (text, span) = excerpt(&source.text, range);
        ScenarioError::At(Box::new(At {
            file: source.name.clone(),
            line,
            column,
            message: shortened(&message),
            text: NamedSource::new(&source.name, text),
            span: span.into(),
            help,
        }))
    }

    /// Converts a syntax or type error of ron.
    pub(crate) fn syntax(source: &Source, error: &ron::error::SpannedError) -> ScenarioError {
        let (message, help) = explain(&error.code);
        ScenarioError::at(source, source.range(error), message, help)
    }
}

/// Returns a command-line flag for use in a message, without its middle if the flag is long.
pub(crate) fn brief(flag: &str) -> String {
    const REPEATED: usize = 400;
    shortened_to(flag, REPEATED)
}

/// Returns the text to show and the position of `range` in it. If a line is too long to show, every long line is
/// shortened to the part near `range`.
fn excerpt(text: &str, range: Range<usize>) -> (String, Range<usize>) {
    const SHOWN: usize = 240;
    if text.lines().all(|line| line.len() <= SHOWN) {
        return (text.to_owned(), range);
    }
    let (mut shown, mut span, mut at) = (String::new(), range.clone(), 0);
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        let holds = (at..end).contains(&range.start) || range.start == text.len() && end == text.len();
        let focus = if holds { range.start - at } else { 0 };
        let from = if line.len() > SHOWN { line.floor_char_boundary(focus.saturating_sub(SHOWN / 2)) } else { 0 };
        let till = if line.len() > SHOWN { line.floor_char_boundary(from + SHOWN) } else { line.len() };
        shown.push_str(if from > 0 { ".. " } else { "" });
        if holds {
            let start = shown.len() + focus - from;
            span = start..start + range.len().min(till - focus);
        }
        shown.push_str(&line[from..till]);
        shown.push_str(if till < line.len() { " ..\n" } else { "" });
        at = end;
    }
    (shown, span)
}

/// Rewords an error of ron for the author of a scenario. Returns the message and a hint.
pub(crate) fn explain(code: &ron::Error) -> (String, Option<String>) {
    let of = |outer: &Option<String>| outer.as_ref().map(|name| format!(" of `{name}`")).unwrap_or_default();
    match code {
        ron::Error::NoSuchStructField { expected, found, outer } => {
            (format!("unknown field `{found}`{}", of(outer)), suggest::hint(found, expected.iter().copied()))
        }
        ron::Error::NoSuchEnumVariant { expected, found, outer } => {
            (format!("unknown variant `{found}`{}", of(outer)), suggest::hint(found, expected.iter().copied()))
        }
        ron::Error::MissingStructField { field, outer } => {
            (format!("missing field `{field}`{}", of(outer)), Some(format!("add `{field}: ..`")))
        }
        ron::Error::DuplicateStructField { field, outer } => {
            (format!("field `{field}`{} is given twice", of(outer)), None)
        }
        ron::Error::ExpectedDifferentStructName { expected, found } => {
            (format!("expected `{expected}`, found `{found}`"), Some(format!("write `{expected}(..)`")))
        }
        other => {
            let text = other.to_string();
            let mut chars = text.chars();
            let first = chars.next().map(|c| c.to_lowercase().to_string()).unwrap_or_default();
            let help = match other {
                ron::Error::ExpectedComma => Some(
                    "close the bracket before this place, or insert a comma; write a quantity as a string with its \
                     unit (\"10 ms\"), and a count as a whole number",
                ),
                ron::Error::ExpectedInteger => Some("write a whole number, without quotes"),
                ron::Error::ExpectedFloat => Some("write a number without quotes or unit; a share of 5 % is 0.05"),
                ron::Error::IntegerOutOfBounds => Some("write a count as a whole number that is not negative"),
                _ => None,
            };
            (first + chars.as_str(), help.map(str::to_owned))
        }
    }
}

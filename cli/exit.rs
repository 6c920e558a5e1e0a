//! How a command ends: with an exit code, or with a report of why it could not go on.
use miette::Diagnostic;
use std::sync::atomic::AtomicBool;

pub type Done = Result<u8, Exit>;

/// Why the program ends without what it was asked for.
pub struct Exit {
    pub code: u8,
    pub report: miette::Report,
}

/// Whatever is not said otherwise is internal or I/O.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for Exit {
    fn from(error: E) -> Exit {
        Exit { code: 1, report: miette::Report::from_err(error) }
    }
}

pub fn bad_scenario(error: impl Diagnostic + Send + Sync + 'static) -> Exit {
    Exit { code: 3, report: miette::Report::new(error) }
}

/// Set by the first signal: what runs is given up, what is done is saved.
pub static INTERRUPT: AtomicBool = AtomicBool::new(false);

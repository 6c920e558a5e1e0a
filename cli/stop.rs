//! How a command ends: with an exit code, or with a report of why it could not go on.
use miette::Diagnostic;
use std::sync::atomic::AtomicBool;

pub type Done = Result<u8, Stop>;

/// Why the program ends without what it was asked for.
pub struct Stop {
    pub code: u8,
    pub report: miette::Report,
}

/// Whatever is not said otherwise is internal or I/O.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop { code: 1, report: miette::Report::from_err(error) }
    }
}

pub fn bad_scenario(error: impl Diagnostic + Send + Sync + 'static) -> Stop {
    Stop { code: 3, report: miette::Report::new(error) }
}

/// Set by the first signal: what runs is given up, what is done is saved.
pub static INTERRUPT: AtomicBool = AtomicBool::new(false);

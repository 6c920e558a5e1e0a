//! The end of a command: an exit code, or an error report.
use miette::Diagnostic;
use std::sync::atomic::AtomicBool;

pub type Done = Result<u8, Exit>;

/// The error with which a command ends, and its exit code.
pub struct Exit {
    pub code: u8,
    pub report: miette::Report,
}

/// All other errors end a command with exit code 1, which stands for internal and I/O errors.
impl<E: std::error::Error + Send + Sync + 'static> From<E> for Exit {
    fn from(error: E) -> Exit {
        Exit { code: 1, report: miette::Report::from_err(error) }
    }
}

pub fn bad_scenario(error: impl Diagnostic + Send + Sync + 'static) -> Exit {
    Exit { code: 3, report: miette::Report::new(error) }
}

/// Whether a signal has asked the command to end. The command then abandons the current run and saves the completed
/// runs.
pub static INTERRUPT: AtomicBool = AtomicBool::new(false);

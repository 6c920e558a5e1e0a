//! Warnings that other processes can cause any number of times: the first few are logged, and the others are only
//! counted.
use actors::limits::REPEATED_WARNINGS;
use std::cell::Cell;

/// Warnings of one kind. Dropping the value logs how many were left out.
pub struct Warnings {
    /// The subject of the warnings in the plural, such as `connections that were dropped`.
    about: &'static str,
    count: Cell<u64>,
}

impl Warnings {
    /// Creates a group of warnings. `about` is their subject in the plural, such as `connections that were dropped`.
    pub fn new(about: &'static str) -> Warnings {
        Warnings { about, count: Cell::new(0) }
    }

    /// Logs the warning, or only counts it once [`REPEATED_WARNINGS`] have been logged.
    pub fn warn(&self, warning: impl FnOnce() -> String) {
        if self.is_next_logged() {
            tracing::warn!("{}", warning());
        }
    }

    fn is_next_logged(&self) -> bool {
        self.count.set(self.count.get() + 1);
        self.count.get() <= REPEATED_WARNINGS
    }

    fn left_out(&self) -> u64 {
        self.count.get().saturating_sub(REPEATED_WARNINGS)
    }
}

impl Drop for Warnings {
    fn drop(&mut self) {
        if self.left_out() > 0 {
            tracing::warn!("{} more {}", self.left_out(), self.about);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Warnings;
    use actors::limits::REPEATED_WARNINGS;

    #[test]
    fn the_first_warnings_are_logged_and_the_others_counted() {
        let warnings = Warnings::new("calls");
        let logged = (0..1_000).filter(|_| warnings.is_next_logged()).count() as u64;
        assert_eq!((logged, warnings.left_out()), (REPEATED_WARNINGS, 1_000 - REPEATED_WARNINGS));
    }
}

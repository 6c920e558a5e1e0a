//! The progress of a command: a bar on a terminal, lines in a pipe or file.
use crate::exit::Exit;
use crate::print::{errln, stderr_is_terminal};
use indicatif::{ProgressBar, ProgressStyle};

/// The number of progress lines in a pipe or file.
const STEPS: u64 = 10;

/// Counts steps towards a known total.
pub struct Progress {
    name: &'static str,
    bar: ProgressBar,
}

impl Progress {
    /// Starts the display: a pipe gets a line with `task`, a terminal a bar with `name`.
    pub fn new(name: &'static str, steps: u64, task: &str) -> Result<Progress, Exit> {
        let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} {msg}  {eta} left")?;
        let bar = ProgressBar::new(steps).with_style(style).with_prefix(name);
        if stderr_is_terminal() {
            bar.tick();
        } else {
            errln!("{name}: {task}");
        }
        Ok(Progress { name, bar })
    }

    /// Counts a finished step and updates the progress display. A pipe gets one line for each 10 % of the steps.
    pub fn step(&self) {
        self.count();
        let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
        if !stderr_is_terminal() && is_told(done, all) {
            errln!("{} {done}/{all}", self.name);
        }
    }

    /// Counts a step without printing a line.
    pub fn count(&self) {
        self.bar.inc(1);
    }

    /// Shows beside the bar which step runs now, or ran last.
    pub fn doing(&self, what: String) {
        self.bar.set_message(what);
    }

    /// Prints a line above the bar.
    pub fn line(&self, line: &str) {
        self.bar.suspend(|| errln!("{line}"));
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Whether step `done` of `all` completes another tenth of the steps.
fn is_told(done: u64, all: u64) -> bool {
    all > 0 && done * STEPS / all > done.saturating_sub(1) * STEPS / all
}

#[cfg(test)]
mod tests {
    use super::is_told;

    #[test]
    fn a_pipe_is_told_of_every_tenth_part_and_of_the_last() {
        let told = |all| (1..=all).filter(|done| is_told(*done, all)).collect::<Vec<_>>();
        assert_eq!(told(3), [1, 2, 3]);
        assert_eq!(told(35), [4, 7, 11, 14, 18, 21, 25, 28, 32, 35]);
        assert_eq!(told(1000).len(), 10);
        assert_eq!(told(0), [0u64; 0]);
    }
}

//! The origins of a cell's values, so that an error can point at the place in the file or at the flag that gave the
//! value.
use crate::error::{ScenarioError, explain};
use crate::input::shortened;
use crate::paths::{self, NoSuchPath, Path};
use crate::raw::{self, Raw, options};
use crate::resolve::Fault;
use crate::schema::{Scenario, Sweep};
use crate::source::{self, Source};
use std::ops::Range;
use std::sync::Arc;

/// The text of a scenario, and the overrides that have been applied to it.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub source: Arc<Source>,
    /// The overrides in the order in which they were applied.
    pub assignments: Vec<Assignment>,
}

/// A value that is assigned to a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assignment {
    pub path: Path,
    pub value: String,
    pub from: From,
}

/// The origin of an assigned value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum From {
    /// A flag of the command line, as the user wrote it.
    Flag(String),
    /// A byte range of the scenario's text.
    File(Range<usize>),
}

/// The reason why a value was rejected, and the range of the value's text that caused it, if known.
type Rejected = (ron::Error, Option<Range<usize>>);

impl Origin {
    pub fn of(source: Arc<Source>) -> Origin {
        Origin { source, assignments: Vec::new() }
    }

    /// Returns the scenario with all overrides except `left_out`, or `None` if this is not a valid scenario.
    pub fn without(&self, left_out: &Assignment) -> Option<Scenario> {
        let written = Scenario::from_ron(&self.source.text).ok()?;
        let base =
            Scenario { sweep: Sweep { axes: Default::default(), cases: Vec::new(), ..written.sweep }, ..written };
        let mut others = self.assignments.iter().filter(|assignment| *assignment != left_out);
        let (_, scenario) = others
            .try_fold((raw::print(&base).ok()?, base), |(text, _), assignment| self.assign(&text, assignment).ok())?;
        Some(scenario)
    }

    /// Returns an error that points at an override.
    pub fn blame_value(&self, assignment: &Assignment, fault: Fault) -> ScenarioError {
        self.reject(assignment, None, fault.message, fault.help)
    }

    /// Converts a fault into an error that points at its cause.
    pub fn blame(&self, fault: Fault) -> ScenarioError {
        let Fault { path, within, message, help } = fault;
        if let Some(assignment) = self.assignments.iter().rev().find(|assignment| assignment.path.touches(&path)) {
            return self.reject(assignment, blamed(assignment, &path, within), message, help);
        }
        let written = self.source.written(&path);
        let range = within.map_or(written.clone(), |part| inside(&written, part));
        ScenarioError::at(&self.source, range, message, help)
    }

    /// Assigns a value in a scenario's canonical text. Returns the new canonical text and the new scenario.
    pub fn assign(&self, text: &str, assignment: &Assignment) -> Result<(String, Scenario), ScenarioError> {
        let range = paths::locate(text, &assignment.path).map_err(|missing| self.no_such(assignment, missing))?;
        let mut refused = match self.try_value(text, &range, &assignment.value) {
            Ok(assigned) => return Ok(assigned),
            Err(refused) => refused,
        };
        if let From::Flag(_) = assignment.from {
            // Shells strip quotes, so a value that is not valid RON for the field is tried again as a string.
            let quoted = options().to_string(&assignment.value).unwrap_or_default();
            match self.try_value(text, &range, &quoted) {
                Ok(assigned) => return Ok(assigned),
                Err(as_string) if Raw::new(&assignment.value).is_err() => refused = as_string,
                Err(_) => {}
            }
        }
        let (error, part) = refused;
        let (message, help) = explain(&error);
        Err(self.reject(assignment, part, message, help))
    }

    /// Replaces the value at `range` of a canonical text by `value`. Returns the new text and the new scenario, or the
    /// error and the part of `value` that caused it.
    fn try_value(&self, text: &str, range: &Range<usize>, value: &str) -> Result<(String, Scenario), Rejected> {
        // The value is parsed alone first, because a value with an unbalanced bracket could change the text around it.
        Raw::new(value).map_err(|error| (error.code, None))?;
        let spliced = paths::splice(text, range.clone(), value);
        let scenario = Scenario::from_ron(&spliced).map_err(|error| {
            let at = source::range(&spliced, &error);
            let part = at.start.checked_sub(range.start).map(|start| start..start + at.len());
            (error.code, part.filter(|part| part.end <= value.len()))
        })?;
        raw::print(&scenario).map(|text| (text, scenario)).map_err(|error| (error, None))
    }

    /// Returns the canonical text of a scenario.
    pub fn print(&self, scenario: &Scenario) -> Result<String, ScenarioError> {
        raw::print(scenario).map_err(|error| {
            let (message, help) = explain(&error);
            ScenarioError::at(&self.source, 0..0, message, help)
        })
    }

    fn reject(
        &self,
        assignment: &Assignment,
        part: Option<Range<usize>>,
        message: String,
        help: Option<String>,
    ) -> ScenarioError {
        match &assignment.from {
            From::Flag(flag) => ScenarioError::Flag { flag: flag.clone(), message: shortened(&message), help },
            From::File(range) => {
                let range = part.map_or(range.clone(), |part| inside(range, part));
                ScenarioError::at(&self.source, range, message, help)
            }
        }
    }

    fn no_such(&self, assignment: &Assignment, missing: NoSuchPath) -> ScenarioError {
        let NoSuchPath { message, help, .. } = missing;
        match &assignment.from {
            From::Flag(_) => self.reject(assignment, None, message, help),
            From::File(range) => {
                // The path of the assignment is the key of a map, written before the value.
                let key = format!("\"{}\"", assignment.path);
                let start = self.source.text[..range.start].rfind(&key).unwrap_or(range.start);
                let end = if start < range.start { start + key.len() } else { range.end };
                ScenarioError::at(&self.source, start..end, message, help)
            }
        }
    }
}

/// Returns the range of an assignment's value that caused a fault: the value at `path`, or the range `within` of that
/// value.
fn blamed(assignment: &Assignment, path: &Path, within: Option<Range<usize>>) -> Option<Range<usize>> {
    if !assignment.path.contains(path) {
        return None;
    }
    let at = paths::locate_in(&assignment.value, &path.below(&assignment.path)).ok()?;
    Some(within.map_or(at.clone(), |part| inside(&at, part)))
}

/// Converts `part`, which is relative to the start of `whole`, to an absolute range. The result is clamped to the end
/// of `whole`.
fn inside(whole: &Range<usize>, part: Range<usize>) -> Range<usize> {
    (whole.start + part.start).min(whole.end)..(whole.start + part.end).min(whole.end)
}

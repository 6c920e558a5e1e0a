//! Finds and reads a scenario: a file, or a built-in scenario by its name.
use crate::error::ScenarioError;
use crate::files::Files;
use crate::input;
use crate::library;
use crate::nearest;
use crate::origin::Origin;
use crate::renamed;
use crate::resolve;
use crate::schema::Scenario;
use crate::source::Source;
use std::path::Path;
use std::sync::Arc;

/// A scenario as text and as parsed.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub(crate) source: Arc<Source>,
    pub(crate) scenario: Scenario,
    pub(crate) files: Arc<Files>,
}

/// Reads a scenario from a path, or by the name of a built-in scenario.
///
/// # Errors
/// If there is no such scenario, or its text cannot be read or parsed.
pub fn load(scenario: &str) -> Result<Loaded, ScenarioError> {
    let path = Path::new(scenario);
    if let (false, Some(text)) = (path.is_file(), library::find(scenario)) {
        return Loaded::read(&format!("{scenario}.ron"), text.to_owned());
    }
    if !path.exists() {
        return Err(unknown(scenario));
    }
    let text = input::read_text(path, input::TEXT_BYTES).map_err(ScenarioError::Unreadable)?;
    Loaded::read(scenario, text)
}

fn unknown(scenario: &str) -> ScenarioError {
    // The user may have added a folder or an extension to the name of a built-in scenario.
    let stem = Path::new(scenario).file_stem().map_or(scenario.into(), std::ffi::OsStr::to_string_lossy);
    let help = match nearest::nearest(&stem, library::names()) {
        Some(name) => format!("did you mean `{name}`, a scenario of the library?"),
        None => "give the path of a scenario file, or the name of one that `swarmbench library` lists".to_owned(),
    };
    ScenarioError::Unknown { name: scenario.to_owned(), help: Some(help) }
}

impl Loaded {
    /// Parses the text of a scenario. `name` names the scenario in errors.
    ///
    /// # Errors
    /// If the text is not a scenario.
    pub fn read(name: &str, text: String) -> Result<Loaded, ScenarioError> {
        let source = Arc::new(Source { name: name.to_owned(), text });
        let scenario = Scenario::from_ron(&source.text).map_err(|error| ScenarioError::syntax(&source, &error))?;
        let files = Arc::new(Files::of(source.folder()));
        let loaded = Loaded { source, scenario, files };
        let origin = Origin::of(loaded.source.clone());
        resolve::charts(&loaded.scenario, &loaded.canonical()?).map_err(|fault| origin.blame(fault))?;
        Ok(loaded)
    }

    /// The text of the file, unchanged.
    pub fn text(&self) -> &str {
        &self.source.text
    }

    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Notes about the files that the plans made so far have read, for example rows that were left out or not read.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = renamed::notes(self.text());
        notes.extend(self.files.notes());
        notes
    }

    /// Returns the scenario's text with every field written out.
    pub(crate) fn canonical(&self) -> Result<String, ScenarioError> {
        Origin::of(self.source.clone()).print(&self.scenario)
    }
}

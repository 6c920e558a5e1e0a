//! Finding and reading a scenario: a file, or one of the library by its name.
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

/// A scenario as it was written and as it was understood.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub(crate) source: Arc<Source>,
    pub(crate) scenario: Scenario,
    pub(crate) files: Arc<Files>,
}

/// Reads the scenario that a person names: a path, or a name in the library.
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
    // A file's name may be one of the library with a folder or an extension too many.
    let stem = Path::new(scenario).file_stem().map_or(scenario.into(), std::ffi::OsStr::to_string_lossy);
    let help = match nearest::nearest(&stem, library::names()) {
        Some(name) => format!("did you mean `{name}`, a scenario of the library?"),
        None => "give the path of a scenario file, or the name of one that `swarmbench library` lists".to_owned(),
    };
    ScenarioError::Unknown { name: scenario.to_owned(), help: Some(help) }
}

impl Loaded {
    /// Reads the text of a scenario; `name` stands for it in errors.
    pub fn read(name: &str, text: String) -> Result<Loaded, ScenarioError> {
        let source = Arc::new(Source { name: name.to_owned(), text });
        let scenario = Scenario::from_ron(&source.text).map_err(|error| ScenarioError::syntax(&source, &error))?;
        let files = Arc::new(Files::of(source.folder()));
        let loaded = Loaded { source, scenario, files };
        let origin = Origin::of(loaded.source.clone());
        resolve::charts(&loaded.scenario, &loaded.canonical()?).map_err(|fault| origin.blame(fault))?;
        Ok(loaded)
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.source.text
    }

    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// What a person should know of the files that plans were made of so far: rows that were left out or not read.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = renamed::notes(self.text());
        notes.extend(self.files.notes());
        notes
    }

    /// The scenario with every field written out.
    pub(crate) fn canonical(&self) -> Result<String, ScenarioError> {
        Origin::of(self.source.clone()).print(&self.scenario)
    }
}

//! Finding and reading a scenario: a file, or one of the library by its name.
use crate::error::ScenarioError;
use crate::files::Files;
use crate::library;
use crate::nearest;
use crate::origin::Origin;
use crate::resolve;
use crate::schema::Scenario;
use crate::source::Source;
use std::path::Path;
use std::sync::Arc;

/// A scenario file bound for this size is not one: the largest of the library has some kilobytes.
const FILE_BYTES: u64 = 16 << 20;

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
    if path.is_file() {
        return Loaded::read(scenario, read(path)?);
    }
    if let Some(text) = library::find(scenario) {
        return Loaded::read(&format!("{scenario}.ron"), text.to_owned());
    }
    let help = match nearest::hint(scenario, library::names()) {
        Some(hint) if hint.starts_with("there is") => Some(format!("in the library {hint}")),
        hint => hint,
    };
    Err(ScenarioError::Unknown { name: scenario.to_owned(), help })
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

    /// The scenario with every field written out.
    pub(crate) fn canonical(&self) -> Result<String, ScenarioError> {
        Origin::of(self.source.clone()).print(&self.scenario)
    }
}

fn read(path: &Path) -> Result<String, ScenarioError> {
    let unreadable = |cause| ScenarioError::Unreadable { path: path.to_owned(), cause };
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > FILE_BYTES {
        return Err(unreadable(std::io::Error::other(format!("it has {size} bytes, a scenario at most {FILE_BYTES}"))));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

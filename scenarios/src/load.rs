//! Finds and reads a scenario: a file, or a built-in scenario by its name.
use crate::error::ScenarioError;
use crate::files::Files;
use crate::input;
use crate::library;
use crate::origin::Origin;
use crate::renamed;
use crate::resolve;
use crate::schema::Scenario;
use crate::source::Source;
use crate::suggest;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A scenario, as its original text and parsed.
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
    if path.symlink_metadata().is_err() {
        return Err(unknown(scenario));
    }
    let text = input::read_text(path, input::TEXT_BYTES).map_err(ScenarioError::Unreadable)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    match original_folder(path, folder) {
        Some(original) => Loaded::read_from(scenario, text, &original),
        None => Loaded::read_from(scenario, text, folder),
    }
}

/// If `path` is the copy of a scenario in a run directory, returns the folder of the original, to which paths in the
/// copy are relative. Returns `None` for any other file.
fn original_folder(path: &Path, folder: &Path) -> Option<PathBuf> {
    let manifest = folder.join("manifest.json");
    if path.file_name()? != "scenario.ron" || !manifest.is_file() {
        return None;
    }
    let text = input::read_text(&manifest, input::MANIFEST_BYTES).ok()?;
    let manifest: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(PathBuf::from(manifest.get("scenario_folder")?.as_str()?))
}

fn unknown(scenario: &str) -> ScenarioError {
    // The user may have added a folder or an extension to the name of a built-in scenario.
    let stem = Path::new(scenario).file_stem().map_or(scenario.into(), std::ffi::OsStr::to_string_lossy);
    let names = library::names().filter(|name| !is_file_name(scenario) || suggest::is_slip(&stem, name));
    let help = match suggest::nearest(&stem, names) {
        Some(name) => format!("did you mean `{name}`, a scenario of the library?"),
        None => "give the path of a scenario file, or the name of one that `swarmbench library` lists".to_owned(),
    };
    ScenarioError::Unknown { name: scenario.to_owned(), help: Some(help) }
}

/// Whether the user means a file. Then a built-in scenario is suggested only if its name is almost the same.
fn is_file_name(scenario: &str) -> bool {
    scenario.contains('/') || scenario.ends_with(".ron")
}

impl Loaded {
    /// Parses the text of a scenario. `name` names the scenario in errors. If it is a path, paths in the scenario are
    /// relative to its folder.
    ///
    /// # Errors
    /// If the text is not a scenario.
    pub fn read(name: &str, text: String) -> Result<Loaded, ScenarioError> {
        Loaded::read_from(name, text, Path::new(name).parent().unwrap_or(Path::new("")))
    }

    /// Parses the text of a scenario called `name`. Paths in the scenario are relative to `folder`.
    fn read_from(name: &str, text: String, folder: &Path) -> Result<Loaded, ScenarioError> {
        let source = Arc::new(Source { name: name.to_owned(), text });
        let scenario = Scenario::from_ron(&source.text).map_err(|error| ScenarioError::syntax(&source, &error))?;
        let files = Arc::new(Files::of(folder));
        let loaded = Loaded { source, scenario, files };
        let origin = Origin::of(loaded.source.clone());
        resolve::charts(&loaded.scenario, &loaded.canonical()?).map_err(|fault| origin.blame(fault))?;
        Ok(loaded)
    }

    /// The absolute path of the folder to which paths in the scenario are relative. `None` for a built-in scenario.
    pub fn folder(&self) -> Option<PathBuf> {
        if library::find(self.source.name.trim_end_matches(".ron")).is_some() && !Path::new(&self.source.name).exists()
        {
            return None;
        }
        std::path::absolute(self.files.folder().join(".")).ok()
    }

    /// The text of the file, unchanged.
    pub fn text(&self) -> &str {
        &self.source.text
    }

    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Notes about the files that have been read for plans so far, for example about rows that were left out or not
    /// read.
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

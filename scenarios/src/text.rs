//! Scenarios and plans as RON text.
use crate::plan::Plan;
use crate::presets;
use crate::raw::{options, print};
use crate::schema::Scenario;

impl Scenario {
    /// Returns the canonical text of the scenario: every field, with struct names.
    ///
    /// # Errors
    /// If a value cannot be written as RON.
    pub fn to_ron(&self) -> Result<String, ron::Error> {
        print(self)
    }

    pub fn from_ron(text: &str) -> Result<Scenario, ron::error::SpannedError> {
        presets::swarm::read(text)
    }
}

impl Plan {
    /// Returns the RON text of the plan, as a run directory keeps it.
    ///
    /// # Errors
    /// If a value cannot be written as RON.
    pub fn to_ron(&self) -> Result<String, ron::Error> {
        print(self)
    }

    pub fn from_ron(text: &str) -> Result<Plan, ron::error::SpannedError> {
        options().from_str(text)
    }
}

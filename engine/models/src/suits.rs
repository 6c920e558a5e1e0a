//! Checks that the files of a plan exist and match the plan. Reads only the headers of weight files, except to compare
//! a stored LM head with the embedding to which the configuration ties it.
use super::prompts::prompt_ids;
use super::source::Source;
use scenarios::plan::{Plan, Weights};

/// A value of a scenario that does not fit the files that the scenario names: the path of the value, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsuited {
    pub path: &'static str,
    pub why: String,
}

/// Checks the folder of the weights and the prompts of `plan`, and returns warnings.
///
/// # Errors
/// If a tensor or a prompt cannot be used as the plan states.
pub fn suits(plan: &Plan) -> Result<Vec<String>, Unsuited> {
    let mut warnings = Vec::new();
    if let Weights::Dir(dir) = &plan.model.weights {
        let sound = Source::open(&plan.model).and_then(|source| source.check().map(|()| source.warnings()));
        let found = sound.map_err(|why| Unsuited { path: "model.weights", why: why.to_string() })?;
        warnings.extend(found.into_iter().map(|warning| format!("{dir}: {warning}")));
    }
    prompt_ids(plan).map_err(|why| Unsuited { path: "prompts", why: why.to_string() })?;
    Ok(warnings)
}

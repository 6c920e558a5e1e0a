//! Whether what a plan takes from files is there and is what the plan says. Reads headers only.
use super::prompts::prompt_ids;
use super::source::Source;
use scenarios::plan::{Plan, Weights};

/// What of a scenario is to blame: the path of its value, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsuited {
    pub path: &'static str,
    pub why: String,
}

/// Looks at the folder of the weights and at the prompts of `plan`, and returns what to warn of.
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

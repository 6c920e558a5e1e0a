//! The parts of live execution that depend on the build. A build without the feature `live` can only simulate, and
//! contains neither devices nor models.
use scenarios::plan::Plan;

/// A problem with the files of a plan's model or prompts. `path` is the field of the scenario that names the files.
pub struct Unsuited {
    pub path: &'static str,
    pub why: String,
}

#[cfg(feature = "live")]
mod with_live {
    use super::{Plan, Unsuited};

    /// The reasons why this machine and this build cannot open the devices of `plan`.
    pub fn device_obstacles(plan: &Plan) -> Vec<String> {
        live::device_obstacles(plan)
    }

    /// Opens the model folder and the prompts of `plan`, and returns warnings.
    ///
    /// # Errors
    /// The folder or a prompt cannot be used.
    pub fn check_files(plan: &Plan) -> Result<Vec<String>, Unsuited> {
        models::suits(plan).map_err(|models::Unsuited { path, why }| Unsuited { path, why })
    }
}

#[cfg(not(feature = "live"))]
mod without_live {
    use super::{Plan, Unsuited};

    /// The reason why this build cannot run anything live.
    pub fn device_obstacles(_: &Plan) -> Vec<String> {
        vec![
            "this build of swarmbench can only simulate; build swarmbench with its default features to run live"
                .to_owned(),
        ]
    }

    /// A simulation needs neither weights nor tokenizers, so this build does not check them.
    ///
    /// # Errors
    /// This build returns no error.
    pub fn check_files(_: &Plan) -> Result<Vec<String>, Unsuited> {
        Ok(Vec::new())
    }
}

#[cfg(feature = "live")]
pub use with_live::{check_files, device_obstacles};
#[cfg(not(feature = "live"))]
pub use without_live::{check_files, device_obstacles};

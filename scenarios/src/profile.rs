//! Device profiles: RON files of measurements that a scenario names, as in `device: Profile("t4.ron")`.
//!
//! `calibrate` writes a profile of this machine; profiles of published measurements are built in. A profile has figures
//! of one or more models, because the time of a block depends on the model's dimensions and number format. A scenario
//! with another model is refused, because the profile has no figures for that model.
use crate::input::{self, InputError};
use crate::plan::{self, Jitter};
use crate::raw;
use crate::shape::{Arch, Shape, WeightType};
use crate::units::{Rate, Time};
use serde::{Deserialize, Serialize};
use std::path::Path;

mod removed;
mod way;

use removed::ReadOverhead;
pub use way::Way;

/// The version of the profile format that this program reads and writes.
pub const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub version: u32,
    pub name: String,
    /// The source of the profile's figures: a publication with its licence, or the machine and the command of the
    /// measurement.
    pub source: String,
    /// The number of threads of a CPU; 0 for other devices.
    #[serde(default)]
    pub threads: u32,
    pub models: Vec<Measured>,
    /// The extra time that the first job after the start of a device takes.
    #[serde(default)]
    pub first_job: Time,
    /// The random variation of the times of jobs. `calibrate` measures none: the author of a profile assumes it.
    #[serde(default)]
    pub jitter: Jitter,
    #[serde(default)]
    pub overhead: Overhead,
    /// The measured links between hosts.
    #[serde(default)]
    pub links: Vec<Way>,
    /// How much repeated measurements of the profile's figures differ. `None` if the measurements were not repeated.
    #[serde(default)]
    pub spread: Option<Spread>,
}

/// The figures that were measured with one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    pub model: Served,
    /// The fixed time of a job, in addition to its blocks.
    #[serde(default)]
    pub per_job: Time,
    /// The times of one block in steps of more than one token, by the number of new tokens of all rows.
    #[serde(default)]
    pub prefill: Vec<At>,
    /// The times of one block in one-token steps, by the number of rows.
    #[serde(default)]
    pub decode: Vec<At>,
    /// The cold-cache penalty of the model's blocks and LM head.
    #[serde(default)]
    #[serde(alias = "cold")]
    pub cold_cache: ColdCache,
    /// The times of the embedding, by the number of new tokens of all rows.
    #[serde(default)]
    pub embed: Vec<(u32, Time)>,
    /// The times of final norm, LM head and sampling together, by the number of rows.
    #[serde(default)]
    pub head: Vec<(u32, Time)>,
}

/// The cold-cache penalty; see [`plan::ColdCache`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColdCache {
    pub per_block: Time,
    pub head: Time,
    pub half_after: Time,
    pub left: f64,
}

/// The dimensions and number formats of the model that was measured: all that determines the times of its blocks, its
/// embedding and its LM head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Served {
    pub arch: Arch,
    pub hidden: u32,
    pub heads: u32,
    pub kv_heads: u32,
    pub ffn: u32,
    /// The size of the vocabulary; 0 if the embedding and the LM head were not measured.
    #[serde(default)]
    pub vocab: u32,
    pub dtype: WeightType,
}

/// Measured times as (size, time) pairs for one context, which is the number of tokens before the new ones. All
/// contexts of a table have the same sizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct At {
    pub context: u32,
    pub times: Vec<(u32, Time)>,
}

/// The times that a host adds to jobs and to messages; see [`plan::Overhead`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "ReadOverhead")]
pub struct Overhead {
    pub to_device: Time,
    pub from_device: Time,
    pub hand_over: Time,
    pub frame: Time,
    /// The time that each thousand bytes of a frame take at the sender, and again at the receiver.
    pub per_kilobyte: Time,
    pub idle: Time,
    pub half_after: Time,
    pub cpu_steal: CpuSteal,
}

/// CPU steal; see [`plan::CpuSteal`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CpuSteal {
    pub every: Time,
    pub last: Time,
}

/// How much the repetitions of a measurement differ on one machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spread {
    /// The difference in the times of jobs: the median of |a - b| / mean(a, b) over all pairs (a, b) of repetitions.
    pub compute: f64,
    /// The difference in the overheads: the median of |a - b| / mean(a, b) over all pairs (a, b) of repetitions.
    pub overhead: f64,
    /// The number of repetitions.
    pub repetitions: u32,
}

/// The reason why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("the profile `{name}` is neither a file ({path}) nor a built-in profile")]
    Unknown { name: String, path: String },
    #[error("the profile cannot be read: {0}")]
    Unreadable(InputError),
    #[error("{path}:{line}:{column}: {message}")]
    Written { path: String, line: usize, column: usize, message: String },
    #[error("the profile `{name}` has version {found}, but this program reads version {VERSION}; calibrate again")]
    Version { name: String, found: u32 },
    #[error("the profile `{name}` is not valid: {what}")]
    Meaning { name: String, what: String },
    #[error("the profile `{name}` has no measured times for {wanted}; it has times for {known}")]
    NotMeasured { name: String, wanted: String, known: String },
}

/// The name and the text of each built-in profile.
const LIBRARY: [(&str, &str); 3] = [
    ("helix-a100", include_str!("../profiles/helix-a100.ron")),
    ("helix-l4", include_str!("../profiles/helix-l4.ron")),
    ("helix-t4", include_str!("../profiles/helix-t4.ron")),
];

/// Reads the profile that a scenario in `folder` names.
///
/// # Errors
/// If there is no such profile, or its text is not a valid profile.
pub fn load(name: &str, folder: &Path) -> Result<Profile, ProfileError> {
    let path = folder.join(name);
    let shown = path.display().to_string();
    if !path.is_file() {
        if let Some((_, text)) = LIBRARY.iter().find(|known| known.0 == name) {
            return Profile::read(name, text);
        }
        // If the path exists but is not a regular file, reading it gives the right error.
        if path.symlink_metadata().is_err() {
            return Err(ProfileError::Unknown { name: name.to_owned(), path: shown });
        }
    }
    Profile::read(&shown, &input::read_text(&path, input::TEXT_BYTES).map_err(ProfileError::Unreadable)?)
}

/// The names of the built-in profiles.
pub fn names() -> impl Iterator<Item = &'static str> + Clone {
    LIBRARY.iter().map(|known| known.0)
}

impl Profile {
    /// Parses a profile's text. `path` names the profile in errors.
    ///
    /// # Errors
    /// If the text is not a valid profile.
    pub fn read(path: &str, text: &str) -> Result<Profile, ProfileError> {
        let profile: Profile = raw::options().from_str(text).map_err(|error| ProfileError::Written {
            path: path.to_owned(),
            line: error.span.start.line,
            column: error.span.start.col,
            message: input::shortened(&error.code.to_string()),
        })?;
        if profile.version != VERSION {
            return Err(ProfileError::Version { name: profile.name, found: profile.version });
        }
        profile.check()?;
        Ok(profile)
    }

    pub fn to_ron(&self) -> Result<String, ron::Error> {
        raw::print(self)
    }

    fn check(&self) -> Result<(), ProfileError> {
        let wrong = |what: String| Err(ProfileError::Meaning { name: self.name.clone(), what });
        for measured in &self.models {
            let curve = |name, points: &[(u32, Time)]| match rising(points) {
                true => Ok(()),
                false => wrong(format!("the sizes of `{name}` must be above 0 and ascend")),
            };
            curve("embed", &measured.embed)?;
            curve("head", &measured.head)?;
            for (name, rows) in [("prefill", &measured.prefill), ("decode", &measured.decode)] {
                rows.iter().try_for_each(|row| curve(name, &row.times))?;
                let sizes = |row: &At| row.times.iter().map(|point| point.0).collect::<Vec<_>>();
                if !rows.windows(2).all(|pair| pair[0].context < pair[1].context && sizes(&pair[0]) == sizes(&pair[1]))
                {
                    return wrong(format!("the contexts of `{name}` must ascend, and all must have the same sizes"));
                }
            }
        }
        for path in &self.links {
            if path.rtt.is_empty() || !path.rtt.is_sorted() {
                return wrong(format!(
                    "the link from {} to {} must have at least one round trip, and its round trips must ascend",
                    path.from, path.to
                ));
            }
            if path.bandwidth == Some(Rate(0)) {
                return wrong(format!(
                    "the link from {} to {} has a bandwidth of 0, so it delivers nothing; leave `bandwidth` out for a \
                     link without limit",
                    path.from, path.to
                ));
            }
        }
        if let Some(Measured { cold_cache: cold, .. }) =
            self.models.iter().find(|of| !(0.0..1.0).contains(&of.cold_cache.left))
        {
            return wrong(format!("`left` of `cold_cache` is {}, but must be a share from 0 to below 1", cold.left));
        }
        let CpuSteal { every, last } = self.overhead.cpu_steal;
        if every.0 > 0 && (every.0 < 1_000_000 || last.0 > every.0) {
            return wrong(format!(
                "the CPU steal lasts {} in every {}, but it must not last longer than its period, and the period must \
                 be at least 1 ms",
                last, every
            ));
        }
        match &self.jitter {
            Jitter::LogNormal { sigma } if !(sigma.is_finite() && (0.0..=3.0).contains(sigma)) => {
                wrong(format!("sigma, the standard deviation of ln(time), is {sigma}, but must be from 0 to 3"))
            }
            _ => Ok(()),
        }
    }

    /// Replaces the figures in `cost` by those that were measured with `model`.
    ///
    /// # Errors
    /// If the profile has no figures of this model.
    pub fn apply(&self, cost: &mut plan::Cost, model: &plan::Model) -> Result<(), ProfileError> {
        let wanted = Served::of(&model.shape, model.block_type);
        let fits = |known: &Served| Served { vocab: wanted.vocab, ..*known } == wanted;
        let measured = self.models.iter().find(|measured| fits(&measured.model)).ok_or_else(|| {
            let known: Vec<String> = self.models.iter().map(|measured| measured.model.to_string()).collect();
            ProfileError::NotMeasured { name: self.name.clone(), wanted: wanted.to_string(), known: known.join(", ") }
        })?;
        cost.table = Some(plan::Table {
            prefill: grid(&measured.prefill),
            decode: grid(&measured.decode),
            per_job: measured.per_job.duration(),
        });
        // If the vocabulary differs or was not measured, the roofline gives the times of the embedding and the LM head.
        cost.ends = (measured.model.vocab == model.shape.vocab)
            .then(|| plan::Ends { embed: curve(&measured.embed), head: curve(&measured.head) });
        cost.first_job = self.first_job.duration();
        let ColdCache { per_block, head, half_after, left } = measured.cold_cache;
        cost.cold = plan::ColdCache {
            per_block: per_block.duration(),
            head: head.duration(),
            half_after: half_after.duration(),
            left,
        };
        cost.jitter = self.jitter;
        cost.overhead = self.overhead.resolve();
        Ok(())
    }
}

impl Served {
    pub fn of(shape: &Shape, dtype: WeightType) -> Served {
        let Shape { arch, hidden, heads, kv_heads, ffn, vocab, .. } = *shape;
        Served { arch, hidden, heads, kv_heads, ffn, vocab, dtype }
    }
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Served { arch, hidden, heads, kv_heads, ffn, dtype, .. } = self;
        write!(f, "{arch:?} blocks in {dtype:?} of hidden {hidden}, {heads} heads ({kv_heads} of keys), ffn {ffn}")
    }
}

impl Overhead {
    pub fn resolve(&self) -> plan::Overhead {
        plan::Overhead {
            to_device: self.to_device.duration(),
            from_device: self.from_device.duration(),
            hand_over: self.hand_over.duration(),
            frame: self.frame.duration(),
            per_byte: self.per_kilobyte.duration().as_secs_f64() / 1e3,
            idle: self.idle.duration(),
            half_after: self.half_after.duration(),
            cpu_steal: plan::CpuSteal { every: self.cpu_steal.every.duration(), last: self.cpu_steal.last.duration() },
        }
    }
}

fn rising(points: &[(u32, Time)]) -> bool {
    points.windows(2).all(|pair| pair[0].0 < pair[1].0) && points.first().is_none_or(|first| first.0 > 0)
}

fn grid(rows: &[At]) -> plan::Grid {
    let rows: Vec<(f64, Vec<(f64, f64)>)> =
        rows.iter().map(|row| (f64::from(row.context), curve(&row.times))).collect();
    plan::Grid::new(&rows)
}

fn curve(points: &[(u32, Time)]) -> plan::Curve {
    points.iter().map(|(size, time)| (f64::from(*size), time.duration().as_secs_f64())).collect()
}

#[cfg(test)]
mod tests {
    use super::{LIBRARY, Profile, load};
    use crate::cost::blocks_time;
    use crate::plan::{Cost, Model, Weights};
    use crate::presets::{devices, models};
    use crate::shape::{Arch, WeightType};
    use actors::message::WireType;
    use actors::time::Duration;
    use std::path::Path;

    fn llama(name: &str, block_type: WeightType) -> Model {
        Model {
            shape: models::shape(Arch::Llama, name).expect(name),
            block_type,
            client_type: WeightType::F16,
            wire: WireType::F16,
            cache_value_bytes: 2,
            weights: Weights::Random { seed: 1 },
        }
    }

    #[test]
    fn what_comes_with_the_program_is_read_and_printed_the_same() {
        for (name, text) in LIBRARY {
            let profile = Profile::read(name, text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(profile.name, name);
            let again = Profile::read(name, &profile.to_ron().expect("it is printed"));
            assert_eq!(again.expect("and read again"), profile);
        }
    }

    #[test]
    fn a_layer_takes_what_was_measured() {
        for (device, model, batch, tokens, micros) in [
            ("helix-t4", "30b", 2, 1, 4_700),
            ("helix-l4", "70b", 30, 1, 7_900),
            // Published as 9 ms, rounded to whole milliseconds.
            ("helix-a100", "30b", 1, 2000, 9_180),
        ] {
            let mut cost: Cost = devices::cpu(1);
            let model = llama(model, WeightType::F16);
            let profile = load(device, Path::new("")).expect("it comes with the program");
            profile.apply(&mut cost, &model).expect("it has this model");
            assert_eq!(blocks_time(&cost, &model, 1, batch, tokens, 64), Duration::from_micros(micros), "{device}");
        }
    }

    #[test]
    fn a_model_that_was_not_measured_is_refused() {
        let profile = load("helix-t4", Path::new("")).expect("it comes with the program");
        let error = profile.apply(&mut devices::cpu(1), &llama("30b", WeightType::Int8)).expect_err("no int8 there");
        assert!(error.to_string().contains("Int8") && error.to_string().contains("6656"), "{error}");
        let unknown = load("helix-t5", Path::new("somewhere")).expect_err("no such profile");
        assert!(unknown.to_string().contains("somewhere/helix-t5"), "{unknown}");
    }
}

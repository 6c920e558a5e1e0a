//! `model`: writes and inspects checkpoints.
use crate::exit::{Done, Exit, INTERRUPT, bad_scenario};
use crate::place;
use crate::print::{Plain, sayln};
use crate::signals::{Heeding, INTERRUPTED};
use crate::sweep::assignment;
use actors::seed::Seed;
use clap::{Args, Subcommand};
use miette::miette;
use models::{Checkpoint, Config, ModelError};
use scenarios::presets;
use scenarios::shape::{Arch, Shape};
use scenarios::units::Size;
use scenarios::{Overrides, ScenarioError};
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub enum Model {
    /// Write a checkpoint with random weights: config.json, safetensors, and a byte tokenizer if the vocabulary allows
    Write(Write),
    /// Print the contents of a model folder, and the cost of each block
    Inspect {
        /// A Hugging Face model folder
        folder: PathBuf,
        /// The output format of the result
        #[arg(long, value_enum, default_value_t)]
        format: Plain,
    },
}

#[derive(Args)]
pub struct Write {
    /// A published model (opt-125m, bloom-560m, llama-3-8b, ...), or a scenario, of which the model is written
    what: String,
    /// The folder to write, which must not contain a model
    #[arg(long)]
    out: PathBuf,
    /// The seed of the random weights
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For a published model: multiply the numbers of layers and heads by this factor and keep the head size [default:
    /// 1]
    #[arg(long)]
    scale: Option<f64>,
    /// For a published model: the number of layers, whatever the scale
    #[arg(long)]
    layers: Option<u32>,
    /// For a published model: the number of tokens in the vocabulary
    #[arg(long)]
    vocab: Option<u32>,
    /// For a scenario: set a field to a value
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Split the weights into files of at most this size ("500 MB") with an index; without this option, write one file
    #[arg(long, value_name = "SIZE")]
    shard_size: Option<Size>,
}

pub fn model(asked: &Model) -> Done {
    match asked {
        Model::Write(asked) => {
            place::directory(&asked.out)?;
            let shard_bytes = asked.shard_size.map(|size| size.0);
            let checkpoint = Checkpoint { config: config(asked)?, seed: asked.seed, shard_bytes };
            let _heeding = Heeding::new();
            checkpoint.write_until(&asked.out, &INTERRUPT).map_err(unwritten)?;
            sayln!("{}", asked.out.display());
            Ok(0)
        }
        Model::Inspect { folder, format } => inspect(folder, *format),
    }
}

fn unwritten(why: ModelError) -> Exit {
    let code = if matches!(why, ModelError::Interrupted) { INTERRUPTED } else { 1 };
    Exit { code, report: miette!("{why}") }
}

fn usage(why: String) -> Exit {
    Exit { code: 2, report: miette!("{why}") }
}

fn config(asked: &Write) -> Result<Config, Exit> {
    let cannot = |why: ModelError| usage(why.to_string());
    match published(&asked.what)? {
        Some((name, shape)) => {
            if !asked.set.is_empty() {
                return Err(usage(format!("--set applies only to scenarios, but {} is a published model", asked.what)));
            }
            let scale = asked.scale.unwrap_or(1.0);
            if !(scale.is_finite() && scale > 0.0) {
                return Err(usage(format!("--scale is {scale}, but must be above 0")));
            }
            let mut shape = shape.scaled(scale);
            shape.layers = asked.layers.unwrap_or(shape.layers);
            shape.vocab = asked.vocab.unwrap_or(shape.vocab);
            Config::published(name, &shape).map_err(cannot)
        }
        None if asked.scale.is_some() || asked.layers.is_some() || asked.vocab.is_some() => {
            let what = &asked.what;
            Err(usage(format!(
                "--scale, --layers and --vocab apply only to published models, but {what} is a scenario; use --set \
                 instead"
            )))
        }
        None => Config::of(&of_scenario(asked)?).map_err(cannot),
    }
}

fn of_scenario(asked: &Write) -> Result<Shape, Exit> {
    let loaded = match scenarios::load(&asked.what) {
        Err(ScenarioError::Unknown { .. }) => return Err(neither(&asked.what)),
        loaded => loaded.map_err(bad_scenario)?,
    };
    let overrides = Overrides { set: asked.set.clone(), ..Overrides::default() };
    let cells = loaded.cells(&overrides).map_err(bad_scenario)?;
    let cell = cells.first().expect("a sweep without cells is a bad scenario");
    Ok(cell.plan(Seed(asked.seed), 0).map_err(bad_scenario)?.model.shape)
}

/// The error for a name that is neither a published model nor a scenario. It suggests similar models, or lists all.
fn neither(what: &str) -> Exit {
    let all: Vec<String> = FAMILIES.iter().flat_map(|(family, arch)| names(family, *arch)).collect();
    let help = scenarios::nearest(what, all.iter().map(String::as_str)).map_or_else(
        || format!("the published models are {}; `swarmbench library` lists the scenarios", all.join(", ")),
        |name| format!("did you mean `{name}`?"),
    );
    Exit { code: 2, report: miette!(help = help, "`{what}` is neither a published model nor a scenario") }
}

/// The prefixes of the names of published models, with the model family of each prefix.
const FAMILIES: [(&str, Arch); 3] = [("opt", Arch::Opt), ("bloom", Arch::Bloom), ("llama", Arch::Llama)];

fn names(family: &str, arch: Arch) -> Vec<String> {
    presets::models::names(arch).iter().map(|name| format!("{family}-{name}")).collect()
}

/// Returns the shape of a published model and its name within its family. Returns `None` if `what` does not begin with
/// the prefix of a family, or if no such model is published and `what` is an existing path.
fn published(what: &str) -> Result<Option<(&str, Shape)>, Exit> {
    let Some((family, name)) = what.split_once('-') else { return Ok(None) };
    let Some((_, arch)) = FAMILIES.iter().find(|known| known.0 == family) else { return Ok(None) };
    let arch = *arch;
    match presets::models::shape(arch, name) {
        Some(shape) => Ok(Some((name, shape))),
        None if Path::new(what).exists() => Ok(None),
        None => Err(usage(format!(
            "the published model {what} does not exist; the models of this family are {}",
            names(family, arch).join(", ")
        ))),
    }
}

fn inspect(folder: &Path, format: Plain) -> Done {
    let held = models::inspect(folder).map_err(|why| Exit { code: 3, report: miette!("{why}") })?;
    match format {
        Plain::Json => sayln!("{}", held.to_json()),
        Plain::Text => sayln!("{}", held.to_string().trim_end()),
    }
    Ok(if held.missing.is_empty() { 0 } else { 3 })
}

//! `model`: checkpoints, written and looked at.
use crate::print::{Format, sayln};
use crate::stop::{Done, Stop, bad_scenario};
use crate::sweep::assignment;
use actors::seed::Seed;
use clap::{Args, Subcommand};
use miette::miette;
use scenarios::Overrides;
use scenarios::presets::models;
use scenarios::shape::{Arch, Shape};
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub enum Model {
    /// Write a random checkpoint: config.json, model.safetensors, and a tokenizer of bytes
    Write(Write),
    /// Print what a folder holds, and what each block costs
    Inspect {
        folder: PathBuf,
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

#[derive(Args)]
pub struct Write {
    /// A published model (opt-125m, bloom-560m, llama-3-8b, ...), or a scenario whose model is meant
    what: String,
    /// The folder to write
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Of a published model: how much of its layers and of its heads; a head keeps its width
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    #[arg(long)]
    layers: Option<u32>,
    #[arg(long)]
    vocab: Option<u32>,
    /// Put a value over the scenario's
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

pub fn model(asked: &Model) -> Done {
    match asked {
        Model::Write(asked) => {
            engine::model::write_checkpoint(&shape(asked)?, asked.seed, &asked.out)?;
            sayln!("{}", asked.out.display());
            Ok(0)
        }
        Model::Inspect { folder, format } => inspect(folder, *format),
    }
}

fn shape(asked: &Write) -> Result<Shape, Stop> {
    let Some(preset) = preset(&asked.what) else { return of_scenario(asked) };
    if !(asked.scale.is_finite() && asked.scale > 0.0) {
        return Err(Stop { code: 2, report: miette!("a scale of {} is not a number above 0", asked.scale) });
    }
    let mut shape = preset.scaled(asked.scale);
    shape.layers = asked.layers.unwrap_or(shape.layers);
    shape.vocab = asked.vocab.unwrap_or(shape.vocab);
    Ok(shape)
}

fn of_scenario(asked: &Write) -> Result<Shape, Stop> {
    let loaded = scenarios::load(&asked.what).map_err(bad_scenario)?;
    let overrides = Overrides { set: asked.set.clone(), ..Overrides::default() };
    let cells = loaded.cells(&overrides).map_err(bad_scenario)?;
    let cell = cells.first().expect("a sweep without cells is a bad scenario");
    Ok(cell.plan(Seed(asked.seed), 0).map_err(bad_scenario)?.model.shape)
}

fn preset(name: &str) -> Option<Shape> {
    let (family, size) = name.split_once('-')?;
    let arch = match family {
        "opt" => Arch::Opt,
        "bloom" => Arch::Bloom,
        "llama" => Arch::Llama,
        _ => return None,
    };
    models::shape(arch, size)
}

fn inspect(folder: &Path, format: Format) -> Done {
    let held = engine::model::inspect(folder).map_err(|why| Stop { code: 3, report: miette!("{why}") })?;
    match format {
        Format::Json => sayln!("{}", held.to_json()),
        _ => sayln!("{}", held.to_string().trim_end()),
    }
    Ok(if held.missing.is_empty() { 0 } else { 3 })
}

//! The contents of a Hugging Face folder, and the costs of its blocks. Reads headers only, except for a stored LM head
//! that the configuration ties to the embedding.
use super::config::Config;
use super::error::ModelError;
use super::folder::Folder;
use super::tensors::Specs;
use super::unused::{unused, warnings};
use scenarios::cost::{block_flops, block_weight_bytes, cache_values};
use scenarios::input::excerpt;
use scenarios::shape::WeightType;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The context length, in tokens, of the decode step whose cost is reported.
const CONTEXT: u32 = 512;

/// The largest number of lines that list missing tensors, and the largest number of lines that list unused tensors.
const LINES: usize = 8;

/// The contents of a Hugging Face folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    pub config: Config,
    /// The files and their sizes in bytes.
    pub files: Vec<(PathBuf, u64)>,
    /// The number of tensors of each type.
    pub types: BTreeMap<String, usize>,
    /// The tensors of each block, in order.
    pub blocks: Vec<Holding>,
    /// The tensors outside the blocks: embedding, norms and LM head.
    pub ends: Holding,
    /// The reasons why tensors that the configuration needs cannot be read: they are missing, truncated, or of another
    /// shape or type.
    pub missing: Vec<String>,
    /// The names of the stored tensors that the model does not use, except tensors that transformers ignores too.
    pub unused: Vec<String>,
    /// The reasons why texts generated from the folder may differ from those of the authors' program.
    pub warnings: Vec<String>,
}

/// The number and the stored size of the parameters in one part of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The number of parameters that the configuration requires.
    pub parameters: u64,
    /// The size of the stored tensors in bytes.
    pub bytes: u64,
}

/// Inspects the folder `dir`.
///
/// # Errors
/// If the configuration or a file's header cannot be read.
pub fn inspect(dir: &Path) -> Result<Inspection, ModelError> {
    let (config, folder) = (Config::read(dir)?, Folder::open(dir)?);
    let mut missing = Vec::new();
    let mut holding = |specs: Specs| {
        let mut held = Holding { parameters: 0, bytes: 0 };
        for spec in specs.list {
            held.parameters += spec.values() as u64;
            missing.extend(folder.check(&spec).err().map(|why| why.to_string()));
            held.bytes += folder.stored(&spec).map_or(0, |(_, bytes)| bytes);
        }
        held
    };
    let blocks = (0..config.shape.layers).map(|index| holding(config.block_specs(index))).collect();
    let ends = holding(config.client_specs());
    let mut types = BTreeMap::new();
    for (_, dtype) in folder.tensors() {
        *types.entry(excerpt(dtype)).or_insert(0) += 1;
    }
    let (unused, warnings) = (unused(&config, &folder), warnings(&config, &folder));
    Ok(Inspection { files: folder.files().to_vec(), config, types, blocks, ends, missing, unused, warnings })
}

impl Inspection {
    /// Returns the number of parameters of the whole model.
    pub fn parameters(&self) -> u64 {
        self.blocks.iter().chain([&self.ends]).map(|part| part.parameters).sum()
    }

    /// Returns the inspection as JSON, for programs.
    pub fn to_json(&self) -> String {
        let shape = &self.config.shape;
        let part = |held: &Holding| serde_json::json!({ "parameters": held.parameters, "bytes": held.bytes });
        let files = self.files.iter().map(|(path, bytes)| serde_json::json!({ "path": path, "bytes": bytes }));
        let costs = serde_json::json!({
            "flops_per_token": block_flops(shape, 1, 1, CONTEXT),
            "context": CONTEXT,
            "cache_values_per_token": cache_values(shape),
        });
        let value = serde_json::json!({
            "shape": shape,
            "tied_head": self.config.tied,
            "parameters": self.parameters(),
            "files": files.collect::<Vec<_>>(),
            "tensor_types": self.types,
            "blocks": self.blocks.iter().map(part).collect::<Vec<_>>(),
            "ends": part(&self.ends),
            "each_block": costs,
            "missing": self.missing,
            "unused": self.unused,
            "warnings": self.warnings,
        });
        format!("{value:#}")
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = &self.config.shape;
        writeln!(f, "architecture    {:?}, {}", shape.arch, if self.config.tied { "tied head" } else { "own head" })?;
        writeln!(
            f,
            "shape           {} layers, hidden {}, {} heads ({} of keys), ffn {}, vocabulary {}, positions {}",
            shape.layers, shape.hidden, shape.heads, shape.kv_heads, shape.ffn, shape.vocab, shape.max_positions
        )?;
        writeln!(f, "parameters      {:.3} M", self.parameters() as f64 / 1e6)?;
        for (path, bytes) in &self.files {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            writeln!(f, "file            {name}, {:.3} MB", *bytes as f64 / 1e6)?;
        }
        let types: Vec<String> = self.types.iter().map(|(dtype, count)| format!("{count} of {dtype}")).collect();
        writeln!(f, "tensors         {}", types.join(", "))?;
        for (block, held) in self.blocks.iter().enumerate() {
            let (millions, megabytes) = (held.parameters as f64 / 1e6, held.bytes as f64 / 1e6);
            writeln!(f, "block {block:<9} {millions:.3} M parameters, {megabytes:.3} MB stored")?;
        }
        let (millions, megabytes) = (self.ends.parameters as f64 / 1e6, self.ends.bytes as f64 / 1e6);
        writeln!(f, "ends            {millions:.3} M parameters, {megabytes:.3} MB stored")?;
        for held in [WeightType::F32, WeightType::F16, WeightType::Int8, WeightType::Int4] {
            let megabytes = block_weight_bytes(shape, held) / 1e6;
            writeln!(f, "a block as {:<4} {megabytes:.3} MB", format!("{held:?}"))?;
        }
        let (flops, values) = (block_flops(shape, 1, 1, CONTEXT) / 1e6, cache_values(shape));
        writeln!(f, "a block's step  {flops:.3} MFLOP for one token with {CONTEXT} before it")?;
        let (wide, narrow) = (4.0 * values / 1e3, 2.0 * values / 1e3);
        writeln!(f, "a block's cache {wide:.3} kB a token in F32, {narrow:.3} kB in F16")?;
        for (what, names) in [("missing", &self.missing), ("unused", &self.unused)] {
            for name in names.iter().take(LINES) {
                writeln!(f, "{what:<15} {name}")?;
            }
            if names.len() > LINES {
                writeln!(f, "{what:<15} and {} more; --format json lists all", names.len() - LINES)?;
            }
        }
        for warning in &self.warnings {
            writeln!(f, "warning         {warning}")?;
        }
        Ok(())
    }
}

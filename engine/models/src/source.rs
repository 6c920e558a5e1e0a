//! The origin of weights: a seed, or a Hugging Face folder.
use super::config::Config;
use super::error::ModelError;
use super::folder::Folder;
use super::random;
use super::tensors::{Specs, TensorSpec, Tensors};
use super::unused::warnings;
use candle_core::{DType, Device, Tensor};
use scenarios::plan;
use scenarios::shape::WeightType;
use std::path::Path;

/// The origin of a model's weights, with the model's configuration.
pub struct Source {
    config: Config,
    origin: Origin,
}

enum Origin {
    Random { seed: u64 },
    Folder(Folder),
}

impl Source {
    /// Opens the source of a plan's model. Reads the configuration and the headers of a folder, but no weights.
    ///
    /// # Errors
    /// If the folder's configuration or headers cannot be read, or its shape differs from the plan's; also for an echo
    /// model, which has no weights.
    pub fn open(model: &plan::Model) -> Result<Source, ModelError> {
        match &model.weights {
            plan::Weights::Random { seed } => Ok(Source::random(Config::of(&model.shape)?, *seed)),
            plan::Weights::Dir(dir) => {
                let source = Source::folder(Path::new(dir))?;
                source.config.agrees(&model.shape, Path::new(dir))?;
                Ok(source)
            }
            plan::Weights::Echo => Err(ModelError::Echo),
        }
    }

    /// Creates a source of random weights. Each tensor is generated from `seed` when it is requested.
    pub fn random(config: Config, seed: u64) -> Source {
        Source { config, origin: Origin::Random { seed } }
    }

    /// Opens a Hugging Face folder: `config.json`, and `model.safetensors` or its shards with their index.
    ///
    /// # Errors
    /// If the configuration or a header cannot be read.
    pub fn folder(dir: &Path) -> Result<Source, ModelError> {
        Ok(Source { config: Config::read(dir)?, origin: Origin::Folder(Folder::open(dir)?) })
    }

    /// The configuration of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Checks that the folder has every tensor of the model with all of its bytes and with the shape that the
    /// configuration implies. Reads headers only. Does nothing for random weights.
    ///
    /// # Errors
    /// If a tensor is missing, packed, truncated, or of another shape or type.
    pub fn check(&self) -> Result<(), ModelError> {
        let Origin::Folder(folder) = &self.origin else { return Ok(()) };
        let blocks = (0..self.config.shape.layers).map(|index| self.config.block_specs(index));
        blocks.chain([self.config.client_specs()]).flat_map(|specs| specs.list).try_for_each(|spec| folder.check(&spec))
    }

    /// Returns the reasons why texts generated from the folder may differ from those of the authors' program, one
    /// sentence each. Reads headers only, except for a stored LM head that the configuration ties to the embedding.
    pub fn warnings(&self) -> Vec<String> {
        match &self.origin {
            Origin::Folder(folder) => warnings(&self.config, folder),
            Origin::Random { .. } => Vec::new(),
        }
    }

    /// Returns the tensor of `spec`, in f32 on the CPU.
    pub(super) fn tensor(&self, spec: &TensorSpec) -> Result<Tensor, ModelError> {
        match &self.origin {
            Origin::Random { seed } => Ok(random::draw(*seed, spec)?),
            Origin::Folder(folder) => folder.tensor(spec),
        }
    }

    /// Loads the tensors of a part of the model.
    pub(super) fn part(&self, specs: Specs, weight_type: WeightType, device: &Device) -> Result<Tensors, ModelError> {
        let name = |spec: &TensorSpec| spec.name[specs.prefix.len()..].to_owned();
        let held =
            specs.list.iter().map(|spec| Ok((name(spec), self.tensor(spec)?))).collect::<Result<_, ModelError>>()?;
        let compute = compute_type(weight_type, device);
        Ok(Tensors { prefix: specs.prefix, held, weight_type, device: device.clone(), compute })
    }
}

/// Returns the type in which activations are computed: f32 on a CPU and with quantised weights, which require it; on a
/// GPU the type of the weights.
pub(super) fn compute_type(weight_type: WeightType, device: &Device) -> DType {
    match weight_type {
        WeightType::F16 if !device.is_cpu() => DType::F16,
        WeightType::Bf16 if !device.is_cpu() => DType::BF16,
        _ => DType::F32,
    }
}

//! The tensors that a part of a model consists of: what each is called, how large it is, and, loaded, its values.
use super::error::ModelError;
use super::linear::{Linear, Weight};
use super::norm::Norm;
use candle_core::{DType, Device, Tensor};
use scenarios::shape::WeightType;
use std::collections::BTreeMap;

/// The head, in each family.
pub const HEAD: &str = "lm_head.weight";

/// One tensor of a checkpoint, by its Hugging Face name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: String,
    /// Another tensor that holds the same values and may be stored alone: the head that is tied to an embedding.
    pub shared_with: Option<&'static str>,
    pub dims: Vec<usize>,
    pub draw: Draw,
}

/// How a random checkpoint fills a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// A linear layer's weight: keeps the variance of what it takes.
    Matrix,
    /// An embedding or a head: unit variance.
    Embedding,
    /// A norm's weight: near 1.
    Scale,
    /// The last norm's weight: of either sign.
    LastScale,
    /// Near 0.
    Bias,
}

impl TensorSpec {
    pub fn values(&self) -> usize {
        self.dims.iter().product()
    }
}

/// Lists the tensors of one part, under one prefix.
pub struct Specs {
    pub prefix: String,
    pub list: Vec<TensorSpec>,
}

impl Specs {
    /// `prefix` ends with a dot, or is empty.
    pub fn under(prefix: impl Into<String>) -> Specs {
        Specs { prefix: prefix.into(), list: Vec::new() }
    }

    /// A table of `rows` vectors: tokens, positions, or a head.
    pub fn embedding(&mut self, name: &str, rows: usize, width: usize) {
        self.push(format!("{name}.weight"), vec![rows, width], Draw::Embedding);
    }

    /// The embedding of tokens; where the head is `tied` to it, a folder may have the head alone.
    pub fn tokens(&mut self, name: &str, rows: usize, width: usize, tied: bool) {
        self.embedding(name, rows, width);
        if let Some(spec) = self.list.last_mut().filter(|_| tied) {
            spec.shared_with = Some(HEAD);
        }
    }

    /// A linear layer from `inputs` to `outputs`, stored `[outputs, inputs]`.
    pub fn linear(&mut self, name: &str, inputs: usize, outputs: usize, bias: bool) {
        self.push(format!("{name}.weight"), vec![outputs, inputs], Draw::Matrix);
        if bias {
            self.push(format!("{name}.bias"), vec![outputs], Draw::Bias);
        }
    }

    pub fn layer_norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.weight"), vec![width], Draw::Scale);
        self.push(format!("{name}.bias"), vec![width], Draw::Bias);
    }

    pub fn last_layer_norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.weight"), vec![width], Draw::LastScale);
        self.push(format!("{name}.bias"), vec![width], Draw::Bias);
    }

    pub fn rms_norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.weight"), vec![width], Draw::Scale);
    }

    pub fn last_rms_norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.weight"), vec![width], Draw::LastScale);
    }

    fn push(&mut self, name: String, dims: Vec<usize>, draw: Draw) {
        self.list.push(TensorSpec { name: format!("{}{name}", self.prefix), shared_with: None, dims, draw });
    }
}

/// The loaded tensors of one part, in f32 on the CPU, by their names without the part's prefix; each is taken once and
/// then takes the type and device that it will be used with.
pub struct Tensors {
    pub prefix: String,
    pub held: BTreeMap<String, Tensor>,
    pub weight_type: WeightType,
    pub device: Device,
    /// What activations are computed in.
    pub compute: DType,
}

impl Tensors {
    /// A vector, or a small table, in the compute type.
    pub fn plain(&mut self, name: &str) -> Result<Tensor, ModelError> {
        Ok(self.take(name)?.to_device(&self.device)?.to_dtype(self.compute)?)
    }

    /// A matrix in the weight type.
    pub fn weight(&mut self, name: &str) -> Result<Weight, ModelError> {
        let tensor = self.take(&format!("{name}.weight"))?;
        Weight::new(&tensor, &format!("{}{name}.weight", self.prefix), self.weight_type, &self.device)
    }

    /// A linear layer, with a bias where the part has one.
    pub fn linear(&mut self, name: &str) -> Result<Linear, ModelError> {
        let weight = self.weight(name)?;
        let bias = format!("{name}.bias");
        let bias = if self.held.contains_key(&bias) { Some(self.plain(&bias)?) } else { None };
        Ok(Linear::new(weight, bias)?)
    }

    /// Linear layers of the same input as one, their outputs in the order of `names`.
    pub fn fused(&mut self, names: &[&str]) -> Result<Linear, ModelError> {
        let first = names[0];
        for part in ["weight", "bias"] {
            if part == "weight" || self.held.contains_key(&format!("{first}.bias")) {
                let rows =
                    names.iter().map(|name| self.take(&format!("{name}.{part}"))).collect::<Result<Vec<_>, _>>()?;
                self.held.insert(format!("{first}.{part}"), Tensor::cat(&rows, 0)?);
            }
        }
        self.linear(first)
    }

    /// Turns the outputs of a linear layer from `[outer, inner, rest]` into `[inner, outer, rest]`.
    pub fn regroup(&mut self, name: &str, outer: usize, inner: usize) -> Result<(), ModelError> {
        for part in ["weight", "bias"] {
            let name = format!("{name}.{part}");
            let tensor = self.take(&name)?;
            let dims = tensor.dims().to_vec();
            let rows = tensor.reshape((outer, inner, ()))?.transpose(0, 1)?.contiguous()?.reshape(dims)?;
            self.held.insert(name, rows);
        }
        Ok(())
    }

    pub fn layer_norm(&mut self, name: &str, eps: f64) -> Result<Norm, ModelError> {
        let (weight, bias) = (self.plain(&format!("{name}.weight"))?, self.plain(&format!("{name}.bias"))?);
        Ok(Norm::Layer { weight, bias, eps: eps as f32 })
    }

    pub fn rms_norm(&mut self, name: &str, eps: f64) -> Result<Norm, ModelError> {
        Ok(Norm::Rms { weight: self.plain(&format!("{name}.weight"))?, eps: eps as f32 })
    }

    fn take(&mut self, name: &str) -> Result<Tensor, ModelError> {
        let missing = || ModelError::Missing { path: Default::default(), tensor: format!("{}{name}", self.prefix) };
        self.held.remove(name).ok_or_else(missing)
    }
}

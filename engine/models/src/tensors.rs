//! The tensors of a part of a model: their names and shapes, and their values once they are loaded.
use super::error::ModelError;
use super::linear::{Linear, Weight};
use super::norm::Norm;
use candle_core::{DType, Device, Tensor};
use scenarios::shape::WeightType;
use std::collections::BTreeMap;

/// The name of the LM head's weight, in every family.
pub const HEAD: &str = "lm_head.weight";

/// One tensor of a checkpoint, with its Hugging Face name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: String,
    /// The name of another tensor with the same values, which a folder may store instead of this tensor: the LM head,
    /// if this tensor is the embedding to which the head is tied.
    pub shared_with: Option<&'static str>,
    pub dims: Vec<usize>,
    pub draw: Draw,
}

/// How a random checkpoint fills a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// The weight of a linear layer, scaled so that the layer's output has about the variance of its input.
    Matrix,
    /// An embedding or an LM head, with variance 1.
    Embedding,
    /// The weight of a norm, with values near 1.
    Scale,
    /// The weight of the norm before the LM head, with values of both signs.
    LastScale,
    /// A bias, with values near 0.
    Bias,
}

impl TensorSpec {
    /// The number of values of the tensor.
    pub fn values(&self) -> usize {
        self.dims.iter().product()
    }
}

/// The list of the tensors of one part of a model. The name of each tensor begins with `prefix`.
pub struct Specs {
    pub prefix: String,
    pub list: Vec<TensorSpec>,
}

impl Specs {
    /// Creates an empty list. `prefix` ends with a dot, or is empty.
    pub fn under(prefix: impl Into<String>) -> Specs {
        Specs { prefix: prefix.into(), list: Vec::new() }
    }

    /// Adds an embedding of tokens or positions, or an LM head: a tensor of `rows` vectors with `width` values each.
    pub fn embedding(&mut self, name: &str, rows: usize, width: usize) {
        self.push(format!("{name}.weight"), vec![rows, width], Draw::Embedding);
    }

    /// Adds the embedding of tokens. If the LM head is `tied` to the embedding, a folder may store the head instead of
    /// the embedding.
    pub fn tokens(&mut self, name: &str, rows: usize, width: usize, tied: bool) {
        self.embedding(name, rows, width);
        if let Some(spec) = self.list.last_mut().filter(|_| tied) {
            spec.shared_with = Some(HEAD);
        }
    }

    /// Adds a linear layer: the weight `[outputs, inputs]`, and the bias `[outputs]` if `bias` is true.
    pub fn linear(&mut self, name: &str, inputs: usize, outputs: usize, bias: bool) {
        self.push(format!("{name}.weight"), vec![outputs, inputs], Draw::Matrix);
        if bias {
            self.push(format!("{name}.bias"), vec![outputs], Draw::Bias);
        }
    }

    /// Adds a layer norm: a weight and a bias.
    pub fn layer_norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.weight"), vec![width], Draw::Scale);
        self.push(format!("{name}.bias"), vec![width], Draw::Bias);
    }

    /// Adds the layer norm before the LM head: a weight and a bias.
    pub fn last_layer_norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.weight"), vec![width], Draw::LastScale);
        self.push(format!("{name}.bias"), vec![width], Draw::Bias);
    }

    /// Adds an RMS norm, which has only a weight.
    pub fn rms_norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.weight"), vec![width], Draw::Scale);
    }

    /// Adds the RMS norm before the LM head.
    pub fn last_rms_norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.weight"), vec![width], Draw::LastScale);
    }

    fn push(&mut self, name: String, dims: Vec<usize>, draw: Draw) {
        self.list.push(TensorSpec { name: format!("{}{name}", self.prefix), shared_with: None, dims, draw });
    }
}

/// The loaded tensors of one part of a model, in f32 on the CPU, by their names without the part's prefix. Each tensor
/// is taken out once, and then converted to the type and device on which it is used.
pub struct Tensors {
    pub prefix: String,
    pub held: BTreeMap<String, Tensor>,
    pub weight_type: WeightType,
    pub device: Device,
    /// The type in which activations are computed.
    pub compute: DType,
}

impl Tensors {
    /// Takes out a vector or a small table, converted to the compute type.
    ///
    /// # Errors
    /// If the tensor was not loaded, or was taken before.
    pub fn plain(&mut self, name: &str) -> Result<Tensor, ModelError> {
        Ok(self.take(name)?.to_device(&self.device)?.to_dtype(self.compute)?)
    }

    /// Takes out a matrix, converted to the weight type.
    ///
    /// # Errors
    /// If the tensor was not loaded or was taken before, or cannot be converted to the weight type.
    pub fn weight(&mut self, name: &str) -> Result<Weight, ModelError> {
        self.joined(name, &[name])
    }

    /// Takes out the matrix `name`, which was joined from the rows of the matrices `parts`, in this order.
    fn joined(&mut self, name: &str, parts: &[&str]) -> Result<Weight, ModelError> {
        let tensor = self.take(&format!("{name}.weight"))?;
        let full: Vec<String> = parts.iter().map(|part| format!("{}{part}.weight", self.prefix)).collect();
        Weight::new(&tensor, &full.join("` or `"), self.weight_type, &self.device)
    }

    /// Takes out a linear layer, with a bias if a bias of the layer was loaded.
    ///
    /// # Errors
    /// If a tensor was not loaded or was taken before, or cannot be converted to the weight type.
    pub fn linear(&mut self, name: &str) -> Result<Linear, ModelError> {
        self.linear_of(name, &[name])
    }

    fn linear_of(&mut self, name: &str, parts: &[&str]) -> Result<Linear, ModelError> {
        let weight = self.joined(name, parts)?;
        let bias = format!("{name}.bias");
        let bias = if self.held.contains_key(&bias) { Some(self.plain(&bias)?) } else { None };
        Ok(Linear::new(weight, bias)?)
    }

    /// Takes out several linear layers that have the same input, as one layer. Its outputs have the order of `names`.
    ///
    /// # Errors
    /// If a tensor was not loaded or was taken before, or cannot be converted to the weight type.
    pub fn fused(&mut self, names: &[&str]) -> Result<Linear, ModelError> {
        let first = names[0];
        for part in ["weight", "bias"] {
            if part == "weight" || self.held.contains_key(&format!("{first}.bias")) {
                let rows =
                    names.iter().map(|name| self.take(&format!("{name}.{part}"))).collect::<Result<Vec<_>, _>>()?;
                self.held.insert(format!("{first}.{part}"), Tensor::cat(&rows, 0)?);
            }
        }
        self.linear_of(first, names)
    }

    /// Reorders the outputs of a linear layer from `[outer, inner, rest]` to `[inner, outer, rest]`.
    ///
    /// # Errors
    /// If a tensor was not loaded, or cannot be reshaped to `[outer, inner, rest]`.
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

    /// Takes out a layer norm.
    ///
    /// # Errors
    /// If a tensor was not loaded, or was taken before.
    pub fn layer_norm(&mut self, name: &str, eps: f64) -> Result<Norm, ModelError> {
        let (weight, bias) = (self.plain(&format!("{name}.weight"))?, self.plain(&format!("{name}.bias"))?);
        Ok(Norm::Layer { weight, bias, eps: eps as f32 })
    }

    /// Takes out an RMS norm.
    ///
    /// # Errors
    /// If the tensor was not loaded, or was taken before.
    pub fn rms_norm(&mut self, name: &str, eps: f64) -> Result<Norm, ModelError> {
        Ok(Norm::Rms { weight: self.plain(&format!("{name}.weight"))?, eps: eps as f32 })
    }

    fn take(&mut self, name: &str) -> Result<Tensor, ModelError> {
        let missing = || ModelError::Missing { path: Default::default(), tensor: format!("{}{name}", self.prefix) };
        self.held.remove(name).ok_or_else(missing)
    }
}

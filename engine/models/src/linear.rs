//! Linear layers over weights of any stored type.
use super::cpu::{Finish, PlainLinear, QuantisedLinear};
use super::error::ModelError;
use super::finite::{check_finite, is_near};
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{DType, Device, Module, Result, Tensor};
use scenarios::shape::WeightType;
use std::sync::Arc;

/// The layer `y = activation(x W^T + b)` over the last dimension.
pub struct Linear {
    weight: Weight,
    bias: Option<Bias>,
}

struct Bias {
    tensor: Tensor,
    /// The values of the bias in f32, for the CPU kernels; empty on other devices.
    values: Vec<f32>,
}

/// The activation function after a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Identity,
    Relu,
    GeluTanh,
}

/// A matrix `[outputs, inputs]` in its stored type.
#[derive(Clone)]
pub enum Weight {
    Plain(Tensor),
    Quantised(Arc<QTensor>),
}

impl Linear {
    /// Creates a layer from its weight and bias.
    pub fn new(weight: Weight, bias: Option<Tensor>) -> Result<Linear> {
        let values = |bias: &Tensor| match bias.device() {
            Device::Cpu => bias.to_dtype(DType::F32)?.to_vec1(),
            _ => Ok(Vec::new()),
        };
        let bias = bias.map(|tensor| Result::Ok(Bias { values: values(&tensor)?, tensor })).transpose()?;
        Ok(Linear { weight, bias })
    }

    /// Maps `x`, [.., inputs], to [.., outputs].
    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(|bias| bias.values.as_slice());
        if let Some(y) = self.weight.fused(x, Finish { bias, activation }) {
            return y;
        }
        let y = self.weight.multiply(x)?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(&bias.tensor)?,
            None => y,
        };
        match activation {
            Activation::Identity => Ok(y),
            // candle's ReLU turns NaN into 0 and so hides an overflow; adding 0 times the input keeps NaN.
            Activation::Relu => y.relu()? + (&y * 0.0)?,
            Activation::GeluTanh => y.gelu(),
        }
    }

    /// The matrix of the layer.
    pub fn weight(&self) -> &Weight {
        &self.weight
    }
}

impl Weight {
    /// Converts `tensor`, which is in f32 on the CPU, to the type `held`. Errors refer to the tensor as `name`.
    ///
    /// # Errors
    /// If a value is out of the type's range, or the row length is not a multiple of the type's block size.
    pub fn new(
        tensor: &Tensor,
        name: &str,
        held: WeightType,
        device: &Device,
    ) -> std::result::Result<Weight, ModelError> {
        let plain = |dtype| {
            let held = tensor.to_dtype(dtype)?.to_device(device)?;
            if dtype != DType::F32 {
                // A value beyond the range of the type has become infinite in the conversion.
                check_finite(&held, || format!("the values of the tensor `{name}`, converted to {dtype:?},"))?;
            }
            Ok(Weight::Plain(held))
        };
        match held {
            WeightType::F32 => plain(DType::F32),
            WeightType::F16 => plain(DType::F16),
            WeightType::Bf16 => plain(DType::BF16),
            WeightType::Int8 => Weight::quantise(tensor, name, &[GgmlDType::Q8_0], "Int8", device),
            // Both types take 4.5 bits per value; Q4K, with its larger blocks, is more exact.
            WeightType::Int4 => Weight::quantise(tensor, name, &[GgmlDType::Q4K, GgmlDType::Q4_0], "Int4", device),
        }
    }

    fn quantise(
        tensor: &Tensor,
        name: &str,
        types: &[GgmlDType],
        format: &'static str,
        device: &Device,
    ) -> std::result::Result<Weight, ModelError> {
        let row = tensor.dim(1)?;
        let Some(dtype) = types.iter().find(|dtype| row.is_multiple_of(dtype.block_size())) else {
            let multiple = types.iter().map(|dtype| dtype.block_size()).min().unwrap_or(1);
            return Err(ModelError::RowLength { tensor: name.to_owned(), row, format, multiple });
        };
        let held = QTensor::quantize_onto(tensor, *dtype, device)?;
        // Each block has a scale in f16. If large values need a scale beyond the range of f16, the block decodes to
        // wrong values.
        if !is_near(&held.dequantize(&Device::Cpu)?, tensor)? {
            return Err(ModelError::OutOfRange { tensor: name.to_owned(), format });
        }
        Ok(Weight::Quantised(Arc::new(held)))
    }

    /// Computes `x W^T` with bias and activation by a CPU kernel. Returns `None` if no kernel supports the device and
    /// the types.
    fn fused(&self, x: &Tensor, finish: Finish<'_>) -> Option<Result<Tensor>> {
        if !x.device().is_cpu() || x.dtype() != DType::F32 {
            return None;
        }
        let x = x.contiguous();
        match self {
            Weight::Plain(weight) => Some(x.and_then(|x| x.apply_op2_no_bwd(weight, &PlainLinear(finish)))),
            Weight::Quantised(weight) if QuantisedLinear::knows(weight.dtype()) => {
                Some(x.and_then(|x| x.apply_op1_no_bwd(&QuantisedLinear { weight, finish })))
            }
            Weight::Quantised(_) => None,
        }
    }

    /// Computes `x W^T` over the last dimension of `x`: [.., inputs] -> [.., outputs].
    pub fn multiply(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(y) = self.fused(x, Finish { bias: None, activation: Activation::Identity }) {
            return y;
        }
        match self {
            Weight::Quantised(weight) => QMatMul::from_arc(weight.clone())?.forward(&x.contiguous()?),
            Weight::Plain(weight) => {
                let (outputs, inputs) = weight.dims2()?;
                let mut dims = x.dims().to_vec();
                if let Some(last) = dims.last_mut() {
                    *last = outputs;
                }
                let weight = if weight.dtype() == x.dtype() { weight.clone() } else { weight.to_dtype(x.dtype())? };
                x.reshape(((), inputs))?.matmul(&weight.t()?)?.reshape(dims)
            }
        }
    }

    /// Returns the rows `ids` of the matrix (an embedding lookup): `[ids, inputs]` in the type `compute`.
    pub fn rows(&self, ids: &Tensor, compute: DType) -> Result<Tensor> {
        match self {
            Weight::Quantised(weight) => weight.embedding(ids)?.to_dtype(compute),
            Weight::Plain(weight) => weight.index_select(ids, 0)?.to_dtype(compute),
        }
    }

    /// Returns the number of weights.
    pub fn values(&self) -> usize {
        match self {
            Weight::Quantised(weight) => weight.shape().elem_count(),
            Weight::Plain(weight) => weight.elem_count(),
        }
    }

    /// Returns the bytes of the weights as stored.
    pub fn bytes(&self) -> usize {
        match self {
            Weight::Quantised(weight) => weight.storage_size_in_bytes(),
            Weight::Plain(weight) => weight.elem_count() * weight.dtype().size_in_bytes(),
        }
    }
}

//! Calls the code of the model family that the configuration names.
use super::block::Block;
use super::config::{Config, Form};
use super::embedding_and_head::Parts;
use super::error::ModelError;
use super::tensors::{Specs, Tensors};
use super::{bloom, llama, opt};

impl Config {
    /// Lists the tensors of block `index`.
    pub(super) fn block_specs(&self, index: u32) -> Specs {
        match &self.form {
            Form::Opt(form) => opt::block_specs(self, form, index),
            Form::Bloom(_) => bloom::block_specs(self, index),
            Form::Llama(form) => llama::block_specs(self, form, index),
        }
    }

    /// Lists the tensors outside the blocks: embedding, norms and LM head.
    pub(super) fn client_specs(&self) -> Specs {
        match &self.form {
            Form::Opt(form) => opt::client_specs(self, form),
            Form::Bloom(_) => bloom::client_specs(self),
            Form::Llama(_) => llama::client_specs(self),
        }
    }

    pub(super) fn block(&self, tensors: &mut Tensors) -> Result<Box<dyn Block>, ModelError> {
        match &self.form {
            Form::Opt(form) => opt::block(self, form, tensors),
            Form::Bloom(form) => bloom::block(self, form, tensors),
            Form::Llama(_) => llama::block(self, tensors),
        }
    }

    pub(super) fn ends(&self, tensors: &mut Tensors) -> Result<Parts, ModelError> {
        match &self.form {
            Form::Opt(form) => opt::ends(self, form, tensors),
            Form::Bloom(_) => bloom::ends(self, tensors),
            Form::Llama(_) => llama::ends(self, tensors),
        }
    }
}

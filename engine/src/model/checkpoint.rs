//! Writes a random checkpoint as a Hugging Face folder.
use super::config::Config;
use super::error::ModelError;
use super::source::Source;
use super::tensors::TensorSpec;
use super::text::byte_tokenizer;
use safetensors::Dtype;
use safetensors::tensor::View;
use scenarios::shape::Shape;
use std::borrow::Cow;
use std::path::Path;

/// Writes `config.json`, `model.safetensors` (f32) and, where the vocabulary has room for bytes, `tokenizer.json` into `dir`, with the values that `Weights::Random` of this seed
/// has. Tensors are drawn one at a time as they are written.
pub fn write_checkpoint(shape: &Shape, seed: u64, dir: &Path) -> Result<(), ModelError> {
    let config = Config::of(shape)?;
    std::fs::create_dir_all(dir).map_err(ModelError::io(dir))?;
    let path = dir.join("config.json");
    std::fs::write(&path, config.to_json()).map_err(ModelError::io(&path))?;
    if shape.vocab >= 256 {
        let path = dir.join("tokenizer.json");
        std::fs::write(&path, byte_tokenizer(shape.vocab)).map_err(ModelError::io(&path))?;
    }
    let specs: Vec<TensorSpec> =
        (0..shape.layers).flat_map(|index| config.block_specs(index).list).chain(config.ends_specs().list).collect();
    let source = Source::random(config, seed);
    let views = specs.into_iter().map(|spec| (spec.name.clone(), Drawn { spec, source: &source }));
    let path = dir.join("model.safetensors");
    let note = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize_to_file(views, Some(note), &path)
        .map_err(|why| ModelError::Io { path, why: std::io::Error::other(why) })
}

/// A tensor that is drawn when it is written.
struct Drawn<'a> {
    spec: TensorSpec,
    source: &'a Source,
}

impl View for Drawn<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.spec.dims
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.source.tensor(&self.spec).and_then(|tensor| Ok(tensor.flatten_all()?.to_vec1::<f32>()?));
        let values = values.expect("drawing an f32 tensor on the CPU has nothing to fail on");
        Cow::Owned(values.into_iter().flat_map(f32::to_le_bytes).collect())
    }

    fn data_len(&self) -> usize {
        self.spec.values() * 4
    }
}

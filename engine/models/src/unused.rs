//! Tensors of a folder that no part of the model uses: a sign that `config.json` does not describe the weights
//! completely.
use super::config::{Config, Form};
use super::error::ModelError;
use super::folder::{Folder, INDEX, WEIGHTS};
use super::tensors::HEAD;
use scenarios::input::excerpt;
use std::collections::BTreeSet;

/// The largest number of unused tensors that a warning names.
const NAMES: usize = 4;

/// Returns the names of the stored tensors that a model with `config` does not use, except tensors that transformers
/// ignores too.
pub fn unused(config: &Config, folder: &Folder) -> Vec<String> {
    let blocks = (0..config.shape.layers).map(|index| config.block_specs(index));
    let specs = blocks.chain([config.client_specs()]).flat_map(|specs| specs.list);
    let used: BTreeSet<String> = specs.filter_map(|spec| Some(folder.stored(&spec)?.0.to_owned())).collect();
    let names = folder.tensors().map(|(name, _)| name);
    names.filter(|name| !used.contains(*name) && !is_spare(config, name)).map(excerpt).collect()
}

/// Whether the configuration ties the LM head to the embedding although the folder stores a head with other values.
/// Reads both tensors up to the first byte that differs.
fn has_another_head(config: &Config, folder: &Folder) -> Result<bool, ModelError> {
    let tokens = config.client_specs().list.into_iter().find(|spec| spec.shared_with == Some(HEAD));
    match tokens {
        Some(tokens) if config.tied => Ok(!folder.is_same(&tokens, HEAD)?),
        _ => Ok(false),
    }
}

/// Whether transformers ignores the stored tensor `name`: an LM head that is tied to the embedding, or the frequencies
/// of rotary positions, which transformers computes itself.
fn is_spare(config: &Config, name: &str) -> bool {
    let tied_head = config.tied && name == HEAD;
    tied_head || matches!(config.form, Form::Llama(_)) && name.ends_with("rotary_emb.inv_freq")
}

/// Returns the reasons why texts generated from the folder may differ from those of the authors' program, one sentence
/// each.
pub fn warnings(config: &Config, folder: &Folder) -> Vec<String> {
    let names = unused(config, folder);
    let mut warnings = Vec::new();
    if !names.is_empty() {
        let first = names.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = names.len().checked_sub(NAMES + 1).map_or(String::new(), |more| format!(" and {} more", more + 1));
        let (count, one) = (names.len(), names.len() == 1);
        let (tensors, them) = if one { ("tensor", "it") } else { ("tensors", "them") };
        let are = if one { "is" } else { "are" };
        warnings.push(format!(
            "{count} {tensors} of the folder {are} not used, since config.json does not require {them}{}: \
             {first}{more}",
            asking(config, &names).map(|key| format!(" (but would with `{key}: true`)")).unwrap_or_default()
        ));
    }
    // If the file cannot be read, loading the model reports that error.
    if has_another_head(config, folder).unwrap_or(false) {
        warnings.push(format!(
            "the tensor {HEAD} of the folder differs from the embedding and is not used, since config.json says \
             `tie_word_embeddings: true`"
        ));
    }
    if folder.passes_over_an_index() {
        warnings.push(format!("the weights are read from {WEIGHTS}, and {INDEX} in the same folder is ignored"));
    }
    warnings
}

/// Returns the configuration key that would make the model use the unused tensors, if they are biases.
fn asking(config: &Config, names: &[String]) -> Option<&'static str> {
    let has = |part: &str| names.iter().any(|name| name.contains(part) && name.ends_with(".bias"));
    match &config.form {
        Form::Llama(form) if !form.attention_bias && has(".self_attn.") => Some("attention_bias"),
        Form::Llama(form) if !form.mlp_bias && has(".mlp.") => Some("mlp_bias"),
        Form::Opt(form) if !form.biases && has(".layers.") => Some("enable_bias"),
        _ => None,
    }
}

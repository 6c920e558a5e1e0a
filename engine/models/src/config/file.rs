//! `config.json` in the format of Hugging Face's transformers.
use super::keys::Keys;
use super::{BloomForm, Config, Form, LlamaForm, Names, OptForm, RopeScaling, check};
use crate::error::ModelError;
use crate::file::read_text;
use actors::limits;
use scenarios::input::{CONFIG_BYTES, excerpt};
use scenarios::shape::{Arch, Shape};
use serde_json::{Value, json};
use std::ops::RangeInclusive;
use std::path::Path;

/// The accepted values of epsilon, which a norm adds to a variance; published models have 1e-12 to 1e-5.
const EPSILON: RangeInclusive<f64> = 1e-15..=0.1;

/// The accepted values of `rope_theta`, the base of rotary positions; published models have 1e4 to 5e10.
const ROPE_THETA: RangeInclusive<f64> = 1.0..=1e12;

/// The accepted factors by which rotary positions are stretched; published models have 2 to 64.
const ROPE_FACTOR: RangeInclusive<f64> = 1.0..=1e4;

/// The accepted `low_freq_factor` and `high_freq_factor` of Llama 3's positions; published models have 1 and 4.
const FREQUENCY_FACTOR: RangeInclusive<f64> = 1e-3..=1e4;

/// The accepted context lengths of the original training, in tokens.
const POSITIONS: RangeInclusive<f64> = 1.0..=limits::TOKENS_PER_REQUEST as f64;

impl Config {
    /// Reads `dir/config.json`.
    ///
    /// # Errors
    /// If the file cannot be read, or for the errors of [`Config::parse`].
    pub fn read(dir: &Path) -> Result<Config, ModelError> {
        let path = dir.join("config.json");
        let text = read_text(&path, CONFIG_BYTES)?;
        Config::parse(&text).map_err(|why| ModelError::Config { path, why })
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// If the text is not a `config.json`, or if the model that it describes cannot be executed. The error names the
    /// key and its value.
    pub fn parse(text: &str) -> Result<Config, String> {
        let keys = Keys::parse(text)?;
        let Some(model_type) = keys.text(&["model_type"])? else {
            return Err("the key `model_type` is missing; it must be opt, bloom or llama".to_owned());
        };
        let (config, names) = match model_type.as_str() {
            "opt" => opt(&keys)?,
            "bloom" => bloom(&keys)?,
            "llama" => llama(&keys)?,
            other => {
                return Err(format!(
                    "the model_type `{}` is not supported; only opt, bloom and llama are",
                    excerpt(other)
                ));
            }
        };
        unquantised(&keys)?;
        check(&config.shape, &names)?;
        match &config.form {
            Form::Opt(form) if form.embed_width == 0 || form.embed_width > limits::HIDDEN as usize => Err(format!(
                "`word_embed_proj_dim` is {}, but it must be from 1 to {}",
                form.embed_width,
                limits::HIDDEN
            )),
            Form::Llama(LlamaForm {
                rope_scaling: RopeScaling::Llama3 { low_freq_factor: low, high_freq_factor: high, .. },
                ..
            }) if low >= high => Err(format!(
                "the rope scaling has a low_freq_factor of {low}, which must be below its high_freq_factor of {high}"
            )),
            _ => Ok(config),
        }
    }

    /// Formats the configuration as a `config.json` that [`Config::read`] accepts.
    pub fn to_json(&self) -> String {
        let shape = &self.shape;
        let mut value = match &self.form {
            Form::Opt(form) => json!({
                "architectures": ["OPTForCausalLM"],
                "model_type": "opt",
                "hidden_size": shape.hidden,
                "num_hidden_layers": shape.layers,
                "num_attention_heads": shape.heads,
                "ffn_dim": shape.ffn,
                "max_position_embeddings": shape.max_positions,
                "do_layer_norm_before": form.norm_first,
                "_remove_final_layer_norm": form.norm_first && !form.final_norm,
                "word_embed_proj_dim": form.embed_width,
                "enable_bias": form.biases,
                "activation_function": "relu",
                "dropout": 0.0,
            }),
            Form::Bloom(form) => json!({
                "architectures": ["BloomForCausalLM"],
                "model_type": "bloom",
                "hidden_size": shape.hidden,
                "n_layer": shape.layers,
                "n_head": shape.heads,
                "seq_length": shape.max_positions,
                "layer_norm_epsilon": self.eps,
                "apply_residual_connection_post_layernorm": form.residual_after_norm,
            }),
            Form::Llama(form) => json!({
                "architectures": ["LlamaForCausalLM"],
                "model_type": "llama",
                "hidden_size": shape.hidden,
                "intermediate_size": shape.ffn,
                "num_hidden_layers": shape.layers,
                "num_attention_heads": shape.heads,
                "num_key_value_heads": shape.kv_heads,
                "max_position_embeddings": shape.max_positions,
                "rms_norm_eps": self.eps,
                "rope_theta": form.rope_theta,
                "rope_scaling": rope_json(&form.rope_scaling),
                "attention_bias": form.attention_bias,
                "mlp_bias": form.mlp_bias,
                "hidden_act": "silu",
            }),
        };
        value["vocab_size"] = json!(shape.vocab);
        value["tie_word_embeddings"] = json!(self.tied);
        value["torch_dtype"] = json!("float32");
        format!("{value:#}\n")
    }

    /// Checks that this configuration has the plan's shape; `max_positions` is not compared.
    ///
    /// # Errors
    /// If a dimension differs.
    pub fn agrees(&self, asked: &Shape, dir: &Path) -> Result<(), ModelError> {
        let found = &self.shape;
        let rows = [
            ("layers", asked.layers, found.layers),
            ("hidden", asked.hidden, found.hidden),
            ("heads", asked.heads, found.heads),
            ("kv_heads", asked.kv_heads, found.kv_heads),
            ("ffn", asked.ffn, found.ffn),
            ("vocab", asked.vocab, found.vocab),
        ];
        let differs = |what, asked: String, found: String| {
            Err(ModelError::ShapeDiffers { path: dir.join("config.json"), what, asked, found })
        };
        if asked.arch != found.arch {
            return differs("arch", format!("{:?}", asked.arch), format!("{:?}", found.arch));
        }
        match rows.iter().find(|(_, asked, found)| asked != found) {
            Some((what, asked, found)) => differs(what, asked.to_string(), found.to_string()),
            None => Ok(()),
        }
    }
}

/// Reads an `OPTConfig`. Missing keys have the same defaults as in transformers.
fn opt(keys: &Keys) -> Result<(Config, Names), String> {
    if let Some(name) = keys.text(&["activation_function"])?.filter(|name| name != "relu") {
        return Err(format!("the activation_function `{}` is not supported for OPT; only relu is", excerpt(&name)));
    }
    if !keys.flag("layer_norm_elementwise_affine", true)? {
        return Err("`layer_norm_elementwise_affine: false` is not supported".to_owned());
    }
    let (hidden, heads) = (keys.needed(&["hidden_size"])?, keys.needed(&["num_attention_heads"])?);
    let shape = Shape {
        arch: Arch::Opt,
        layers: keys.needed(&["num_hidden_layers"])?,
        hidden,
        heads,
        kv_heads: heads,
        ffn: keys.needed(&["ffn_dim"])?,
        vocab: keys.needed(&["vocab_size"])?,
        max_positions: keys.needed(&["max_position_embeddings"])?,
    };
    let norm_first = keys.flag("do_layer_norm_before", true)?;
    let form = OptForm {
        norm_first,
        final_norm: norm_first && !keys.flag("_remove_final_layer_norm", false)?,
        embed_width: keys.count(&["word_embed_proj_dim"])?.unwrap_or(hidden) as usize,
        biases: keys.flag("enable_bias", true)?,
    };
    let names = Names {
        layers: keys.name(&["num_hidden_layers"]),
        hidden: keys.name(&["hidden_size"]),
        heads: keys.name(&["num_attention_heads"]),
        kv_heads: keys.name(&["num_attention_heads"]),
        ffn: keys.name(&["ffn_dim"]),
        vocab: keys.name(&["vocab_size"]),
        max_positions: keys.name(&["max_position_embeddings"]),
    };
    let tied = keys.flag("tie_word_embeddings", true)?;
    Ok((Config { shape, form: Form::Opt(form), tied, eps: 1e-5 }, names))
}

/// Reads a `BloomConfig`. Missing keys have the same defaults as in transformers. Older files use GPT-2's key names.
fn bloom(keys: &Keys) -> Result<(Config, Names), String> {
    let (widths, head_counts) = (["hidden_size", "n_embed"], ["n_head", "num_attention_heads"]);
    let (hidden, heads) = (keys.needed(&widths)?, keys.needed(&head_counts)?);
    let shape = Shape {
        arch: Arch::Bloom,
        layers: keys.needed(&["n_layer", "num_hidden_layers"])?,
        hidden,
        heads,
        kv_heads: heads,
        ffn: hidden.saturating_mul(4),
        vocab: keys.needed(&["vocab_size"])?,
        // The default is the context length with which BLOOM was trained; ALiBi itself has no longest position.
        max_positions: keys.count(&["seq_length"])?.unwrap_or(2048),
    };
    let residual_after_norm = keys.flag("apply_residual_connection_post_layernorm", false)?;
    let tied = keys.flag("tie_word_embeddings", true)?;
    let eps = keys.number("layer_norm_epsilon", EPSILON)?.unwrap_or(1e-5);
    let names = Names {
        layers: keys.name(&["n_layer", "num_hidden_layers"]),
        hidden: keys.name(&widths),
        heads: keys.name(&head_counts),
        kv_heads: keys.name(&head_counts),
        ffn: format!("4 x {}", keys.name(&widths)),
        vocab: keys.name(&["vocab_size"]),
        max_positions: keys.name(&["seq_length"]),
    };
    Ok((Config { shape, form: Form::Bloom(BloomForm { residual_after_norm }), tied, eps }, names))
}

/// Reads a `LlamaConfig`. Missing keys have the same defaults as in transformers.
fn llama(keys: &Keys) -> Result<(Config, Names), String> {
    if let Some(name) = keys.text(&["hidden_act"])?.filter(|name| name != "silu") {
        return Err(format!("the hidden_act `{}` is not supported for Llama; only silu is", excerpt(&name)));
    }
    let (hidden, heads) = (keys.needed(&["hidden_size"])?, keys.needed(&["num_attention_heads"])?);
    if let Some(head_dim) = keys.count(&["head_dim"])?.filter(|head_dim| head_dim.checked_mul(heads) != Some(hidden)) {
        return Err(format!(
            "`head_dim` is {head_dim}, which times {heads} heads is not the `hidden_size` of {hidden}; such models \
             are not supported"
        ));
    }
    let shape = Shape {
        arch: Arch::Llama,
        layers: keys.needed(&["num_hidden_layers"])?,
        hidden,
        heads,
        kv_heads: keys.count(&["num_key_value_heads"])?.unwrap_or(heads),
        ffn: keys.needed(&["intermediate_size"])?,
        vocab: keys.needed(&["vocab_size"])?,
        max_positions: keys.count(&["max_position_embeddings"])?.unwrap_or(2048),
    };
    let (rope_theta, rope_scaling) = rope(keys)?;
    let form = LlamaForm {
        rope_theta,
        rope_scaling,
        attention_bias: keys.flag("attention_bias", false)?,
        mlp_bias: keys.flag("mlp_bias", false)?,
    };
    let eps = keys.number("rms_norm_eps", EPSILON)?.unwrap_or(1e-6);
    let names = Names {
        layers: keys.name(&["num_hidden_layers"]),
        hidden: keys.name(&["hidden_size"]),
        heads: keys.name(&["num_attention_heads"]),
        kv_heads: keys.name(&["num_key_value_heads"]),
        ffn: keys.name(&["intermediate_size"]),
        vocab: keys.name(&["vocab_size"]),
        max_positions: keys.name(&["max_position_embeddings"]),
    };
    let tied = keys.flag("tie_word_embeddings", false)?;
    Ok((Config { shape, form: Form::Llama(form), tied, eps }, names))
}

/// Reads the rotary positions: `rope_theta` and `rope_scaling`, or `rope_parameters`, which replaces both in
/// transformers 5.
fn rope(keys: &Keys) -> Result<(f64, RopeScaling), String> {
    let names = ["rope_parameters", "rope_scaling"];
    let mut read = Vec::new();
    for name in names {
        if let Some(inner) = keys.object(name)? {
            let within = |why: String| format!("`{name}`: {why}");
            let theta = inner.number("rope_theta", ROPE_THETA).map_err(within)?;
            read.push((name, theta, scaling(&inner).map_err(within)?));
        }
    }
    if let [(_, _, a), (_, _, b)] = read.as_slice()
        && a != b
    {
        return Err(
            "`rope_parameters` and `rope_scaling` are two names of the same settings, but their values differ; keep \
             one of them"
                .to_owned(),
        );
    }
    let thetas = read.iter().filter_map(|(name, theta, _)| theta.map(|theta| (*name, theta)));
    let outer = keys.number("rope_theta", ROPE_THETA)?.map(|theta| ("config.json", theta));
    let thetas: Vec<(&str, f64)> = thetas.chain(outer).collect();
    if let Some(pair) = thetas.windows(2).find(|pair| pair[0].1 != pair[1].1) {
        let [(a, first), (b, second)] = [pair[0], pair[1]];
        return Err(format!("`rope_theta` is {first} in `{a}` and {second} in `{b}`; keep one of the two"));
    }
    let theta = thetas.first().map_or(10_000.0, |(_, theta)| *theta);
    Ok((theta, read.first().map_or(RopeScaling::Unscaled, |(_, _, scaling)| *scaling)))
}

fn scaling(keys: &Keys) -> Result<RopeScaling, String> {
    let need = |name: &str, range| keys.number(name, range)?.ok_or(format!("the rope scaling lacks the key `{name}`"));
    match keys.text(&["rope_type", "type"])?.as_deref().unwrap_or("default") {
        "default" => Ok(RopeScaling::Unscaled),
        "linear" => Ok(RopeScaling::Linear { factor: need("factor", ROPE_FACTOR)? }),
        "llama3" => Ok(RopeScaling::Llama3 {
            factor: need("factor", ROPE_FACTOR)?,
            low_freq_factor: need("low_freq_factor", FREQUENCY_FACTOR)?,
            high_freq_factor: need("high_freq_factor", FREQUENCY_FACTOR)?,
            original_positions: need("original_max_position_embeddings", POSITIONS)?,
        }),
        other => {
            Err(format!("the rope scaling `{}` is not supported; only default, linear and llama3 are", excerpt(other)))
        }
    }
}

/// Returns an error that names the quantisation method if the checkpoint's weights are quantised: packed weights cannot
/// be read.
fn unquantised(keys: &Keys) -> Result<(), String> {
    let Some(packing) = keys.object("quantization_config")? else { return Ok(()) };
    let method = packing.text(&["quant_method"])?.map_or("unknown".to_owned(), |method| excerpt(&method));
    Err(format!(
        "`quantization_config` has the quant_method `{method}`, whose weights cannot be read; use the folder of the \
         unquantised model, and choose Int8 or Int4 as the type of its weights to save memory"
    ))
}

fn rope_json(scaling: &RopeScaling) -> Value {
    match *scaling {
        RopeScaling::Unscaled => Value::Null,
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_positions } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_positions as u64,
        }),
    }
}

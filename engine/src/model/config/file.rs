//! `config.json` as Hugging Face's transformers writes it.
use super::{Config, Form, OptForm, check};
use crate::model::error::ModelError;
use scenarios::shape::{Arch, Shape};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

impl Config {
    /// Reads `dir/config.json`.
    pub fn read(dir: &Path) -> Result<Config, ModelError> {
        let path = dir.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(ModelError::io(&path))?;
        Config::parse(&text).map_err(|why| ModelError::Config { path, why })
    }

    fn parse(text: &str) -> Result<Config, String> {
        let value: Value = serde_json::from_str(text).map_err(|why| why.to_string())?;
        let model_type = value.get("model_type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let config = match model_type.as_str() {
            "opt" => serde_json::from_value(value).map_err(|why| why.to_string()).and_then(OptFile::config)?,
            other => return Err(format!("model_type `{other}` is not one of opt, bloom, llama")),
        };
        check(&config.shape).map_err(|why| why.to_string())?;
        Ok(config)
    }

    /// What `read` reads.
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
        };
        value["vocab_size"] = json!(shape.vocab);
        value["tie_word_embeddings"] = json!(self.tied);
        value["torch_dtype"] = json!("float32");
        format!("{value:#}\n")
    }

    /// Whether the plan's shape is this one.
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

fn yes() -> bool {
    true
}

/// `OPTConfig`, with its defaults.
#[derive(Deserialize)]
struct OptFile {
    hidden_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    ffn_dim: u32,
    vocab_size: u32,
    max_position_embeddings: u32,
    #[serde(default = "yes")]
    do_layer_norm_before: bool,
    #[serde(default, rename = "_remove_final_layer_norm")]
    remove_final_layer_norm: bool,
    word_embed_proj_dim: Option<u32>,
    #[serde(default = "yes")]
    enable_bias: bool,
    #[serde(default = "yes")]
    layer_norm_elementwise_affine: bool,
    activation_function: Option<String>,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
}

impl OptFile {
    fn config(self) -> Result<Config, String> {
        if let Some(name) = self.activation_function.filter(|name| name != "relu") {
            return Err(format!("activation_function `{name}`: OPT blocks have relu"));
        }
        if !self.layer_norm_elementwise_affine {
            return Err("layer_norm_elementwise_affine: false is not supported".to_owned());
        }
        let shape = Shape {
            arch: Arch::Opt,
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            heads: self.num_attention_heads,
            kv_heads: self.num_attention_heads,
            ffn: self.ffn_dim,
            vocab: self.vocab_size,
            max_positions: self.max_position_embeddings,
        };
        let form = OptForm {
            norm_first: self.do_layer_norm_before,
            final_norm: self.do_layer_norm_before && !self.remove_final_layer_norm,
            embed_width: self.word_embed_proj_dim.unwrap_or(self.hidden_size) as usize,
            biases: self.enable_bias,
        };
        Ok(Config { shape, form: Form::Opt(form), tied: self.tie_word_embeddings, eps: 1e-5 })
    }
}

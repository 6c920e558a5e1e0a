//! `config.json` as Hugging Face's transformers writes it.
use super::{BloomForm, Config, Form, LlamaForm, OptForm, RopeScaling, check};
use crate::model::error::ModelError;
use actors::limits;
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
        let Some(model_type) = value.get("model_type").and_then(Value::as_str).map(str::to_owned) else {
            return Err("there is no model_type: it says whether this is opt, bloom or llama".to_owned());
        };
        let config = match model_type.as_str() {
            "opt" => serde_json::from_value(value).map_err(|why| why.to_string()).and_then(OptFile::config)?,
            "bloom" => serde_json::from_value(value).map_err(|why| why.to_string()).map(BloomFile::config)?,
            "llama" => serde_json::from_value(value).map_err(|why| why.to_string()).and_then(LlamaFile::config)?,
            other => return Err(format!("model_type `{other}` is not one of opt, bloom, llama")),
        };
        check(&config.shape).map_err(|why| why.to_string())?;
        positive(config.eps, "the norms' epsilon")?;
        match &config.form {
            Form::Opt(form) if form.embed_width == 0 || form.embed_width > limits::HIDDEN as usize => {
                Err(format!("word_embed_proj_dim is {}: it may be 1 to {}", form.embed_width, limits::HIDDEN))
            }
            Form::Llama(form) => {
                positive(form.rope_theta, "rope_theta")?;
                match form.rope_scaling {
                    RopeScaling::Llama3 { low_freq_factor: low, high_freq_factor: high, .. } if low >= high => {
                        Err(format!("rope scaling: low_freq_factor {low} is not below high_freq_factor {high}"))
                    }
                    _ => Ok(config),
                }
            }
            _ => Ok(config),
        }
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

fn positive(value: f64, name: &str) -> Result<f64, String> {
    if value.is_finite() && value > 0.0 { Ok(value) } else { Err(format!("{name} is {value}, not a positive number")) }
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

/// `BloomConfig`, with its defaults. Older files have the names that GPT-2 has.
#[derive(Deserialize)]
struct BloomFile {
    #[serde(alias = "n_embed")]
    hidden_size: u32,
    #[serde(alias = "num_hidden_layers")]
    n_layer: u32,
    #[serde(alias = "num_attention_heads")]
    n_head: u32,
    vocab_size: u32,
    seq_length: Option<u32>,
    layer_norm_epsilon: Option<f64>,
    #[serde(default)]
    apply_residual_connection_post_layernorm: bool,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
}

impl BloomFile {
    fn config(self) -> Config {
        let shape = Shape {
            arch: Arch::Bloom,
            layers: self.n_layer,
            hidden: self.hidden_size,
            heads: self.n_head,
            kv_heads: self.n_head,
            ffn: self.hidden_size.saturating_mul(4),
            vocab: self.vocab_size,
            // What BLOOM was trained on; its positions have no end.
            max_positions: self.seq_length.unwrap_or(2048),
        };
        let form = BloomForm { residual_after_norm: self.apply_residual_connection_post_layernorm };
        let eps = self.layer_norm_epsilon.unwrap_or(1e-5);
        Config { shape, form: Form::Bloom(form), tied: self.tie_word_embeddings, eps }
    }
}

/// `LlamaConfig`, with its defaults.
#[derive(Deserialize)]
struct LlamaFile {
    hidden_size: u32,
    intermediate_size: u32,
    num_hidden_layers: u32,
    num_attention_heads: u32,
    num_key_value_heads: Option<u32>,
    head_dim: Option<u32>,
    vocab_size: u32,
    max_position_embeddings: Option<u32>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeFile>,
    /// What transformers 5 writes instead of the two.
    rope_parameters: Option<RopeFile>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    hidden_act: Option<String>,
    #[serde(default)]
    tie_word_embeddings: bool,
}

#[derive(Deserialize)]
struct RopeFile {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

impl LlamaFile {
    fn config(self) -> Result<Config, String> {
        if let Some(name) = self.hidden_act.filter(|name| name != "silu") {
            return Err(format!("hidden_act `{name}`: Llama blocks have silu"));
        }
        let heads = self.num_attention_heads;
        if let Some(head_dim) = self.head_dim.filter(|head_dim| head_dim.checked_mul(heads) != Some(self.hidden_size)) {
            return Err(format!(
                "{heads} heads of {head_dim} are not the hidden size {}: not supported",
                self.hidden_size
            ));
        }
        let rope = self.rope_parameters.or(self.rope_scaling);
        let theta = rope.as_ref().and_then(|rope| rope.rope_theta).or(self.rope_theta);
        let shape = Shape {
            arch: Arch::Llama,
            layers: self.num_hidden_layers,
            hidden: self.hidden_size,
            heads,
            kv_heads: self.num_key_value_heads.unwrap_or(heads),
            ffn: self.intermediate_size,
            vocab: self.vocab_size,
            max_positions: self.max_position_embeddings.unwrap_or(2048),
        };
        let form = LlamaForm {
            rope_theta: theta.unwrap_or(10_000.0),
            rope_scaling: rope.map_or(Ok(RopeScaling::Unscaled), RopeFile::scaling)?,
            attention_bias: self.attention_bias,
            mlp_bias: self.mlp_bias,
        };
        let eps = self.rms_norm_eps.unwrap_or(1e-6);
        Ok(Config { shape, form: Form::Llama(form), tied: self.tie_word_embeddings, eps })
    }
}

impl RopeFile {
    fn scaling(self) -> Result<RopeScaling, String> {
        let need = |value: Option<f64>, name: &str| {
            value.ok_or(format!("rope scaling wants a {name}")).and_then(|value| positive(value, name))
        };
        match self.rope_type.as_deref().unwrap_or("default") {
            "default" => Ok(RopeScaling::Unscaled),
            "linear" => Ok(RopeScaling::Linear { factor: need(self.factor, "factor")? }),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: need(self.factor, "factor")?,
                low_freq_factor: need(self.low_freq_factor, "low_freq_factor")?,
                high_freq_factor: need(self.high_freq_factor, "high_freq_factor")?,
                original_positions: need(self.original_max_position_embeddings, "original_max_position_embeddings")?,
            }),
            other => Err(format!("rope scaling `{other}` is not one of default, linear, llama3")),
        }
    }
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

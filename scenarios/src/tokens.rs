//! The source of the input tokens of requests, and the sampling of output tokens.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The source of the prompts' tokens. The prompts of a list are dealt out to the clients in turn, one for each row
/// of their requests: to the first row of every client, then to the second row of every client, and so on. After the
/// last prompt the list begins again. A prompt is
/// truncated to the length that the workload gives, and must not be shorter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Prompts {
    /// Random token ids, sampled uniformly from the vocabulary for each request.
    #[default]
    Random,
    /// A list of prompts, each as its token ids.
    Ids(Vec<Vec<u32>>),
    /// A list of prompts as texts. The `tokenizer.json` of the weights' folder turns them into token ids.
    Texts(Vec<String>),
    /// A file with the text of a prompt on each line. Empty lines are skipped.
    Lines(String),
}

/// How a client chooses the next token from the model's scores. `temperature`, `top_k` and `top_p` apply in this order,
/// as in Hugging Face transformers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// The number by which the scores are divided. With 0, the token with the highest score is chosen (greedy
    /// decoding).
    pub temperature: f32,
    /// The number of candidates: the next token is sampled from this many tokens with the highest scores. Without it,
    /// all tokens are candidates.
    pub top_k: Option<u32>,
    /// Nucleus sampling (Holtzman et al. 2020): the next token is sampled from the most probable tokens, as few as have
    /// a total probability of at least this value. Without it, all tokens are candidates.
    pub top_p: Option<f32>,
}

impl Sampling {
    pub const GREEDY: Sampling = Sampling { temperature: 0.0, top_k: None, top_p: None };

    /// Checks that all values are in range.
    ///
    /// # Errors
    /// The name of the first field that is out of range, and the reason.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(("temperature", format!("the temperature is {}, but must be 0 or more", self.temperature)));
        }
        if self.top_k == Some(0) {
            return Err(("top_k", "top_k is 0, which leaves no token to choose; give at least 1".to_owned()));
        }
        match self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            Some(p) => Err(("top_p", format!("top_p is {p}, but must be above 0 and at most 1"))),
            None => Ok(()),
        }
    }
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling::GREEDY
    }
}

#[cfg(test)]
mod tests {
    use super::Sampling;

    #[test]
    fn bounds_are_checked() {
        assert_eq!(Sampling::GREEDY.check(), Ok(()));
        for (bad, field) in [
            (Sampling { temperature: f32::NAN, ..Sampling::GREEDY }, "temperature"),
            (Sampling { temperature: -1.0, ..Sampling::GREEDY }, "temperature"),
            (Sampling { top_k: Some(0), ..Sampling::GREEDY }, "top_k"),
            (Sampling { top_p: Some(0.0), ..Sampling::GREEDY }, "top_p"),
            (Sampling { top_p: Some(f32::NAN), ..Sampling::GREEDY }, "top_p"),
        ] {
            assert!(bad.check().is_err_and(|(found, _)| found == field), "{bad:?}");
        }
    }
}

//! The source of the input tokens of requests, and the sampling of output tokens.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The source of prompts. Requests take the prompts of a list in turn: first one for each client, then a second for each,
/// and from the beginning again. Each prompt is cut to the length that the workload says, and must not be shorter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum Prompts {
    /// Random token ids, drawn uniformly from the vocabulary for each request.
    #[default]
    Random,
    /// Lists of token ids.
    Ids(Vec<Vec<u32>>),
    /// Texts. The `tokenizer.json` of the weights' folder turns them into token ids.
    Texts(Vec<String>),
    /// A file with a text on each line. Empty lines are skipped.
    Lines(String),
}

/// How a client chooses a token from its scores. The filters apply in this order, as in transformers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// The number that the scores are divided by; 0: the best token is taken (greedy).
    pub temperature: f32,
    /// The number of best tokens among which one is drawn.
    pub top_k: Option<u32>,
    /// Nucleus sampling (Holtzman et al. 2020): only the best tokens whose probabilities add up to this are drawn, including
    /// the one that reaches it.
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

//! Which tokens go into a swarm, and how those that come out of it are chosen.
use serde::{Deserialize, Serialize};

/// Where the tokens of prompts come from. Requests take the prompts of a list in turn: the first of each client, then the
/// second of each, and from the beginning again. Each is cut to the workload's length, and must not be shorter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Prompts {
    /// Drawn uniformly from the vocabulary, anew for each request.
    #[default]
    Random,
    /// Token ids.
    Ids(Vec<Vec<u32>>),
    /// Texts, turned into ids by the `tokenizer.json` of the folder that the weights are from.
    Texts(Vec<String>),
    /// A file with a text on each line that is not empty. A scenario's path begins at the scenario's folder, a plan's at
    /// the working directory.
    Lines(String),
}

/// How a token is chosen from its scores. The filters apply in this order, as transformers applies them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Divides the scores; 0 is greedy.
    pub temperature: f32,
    /// Only the best so many.
    pub top_k: Option<u32>,
    /// Only the best whose probabilities add up to this (Holtzman et al. 2020), the one that reaches it among them.
    pub top_p: Option<f32>,
}

impl Sampling {
    pub const GREEDY: Sampling = Sampling { temperature: 0.0, top_k: None, top_p: None };

    /// Whether all is within bounds; else which field is not, and why.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(("temperature", format!("a temperature of {} is not a number from 0 on", self.temperature)));
        }
        if self.top_k == Some(0) {
            return Err(("top_k", "a top_k of 0 leaves no token".to_owned()));
        }
        match self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            Some(p) => Err(("top_p", format!("a top_p of {p} is not above 0 and at most 1"))),
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

//! The prompts of a plan as token ids. Texts are encoded with the tokenizer in the folder of the weights.
use super::error::ModelError;
use super::text::Text;
use scenarios::input::{InputError, PROMPT_BYTES, read_text};
use scenarios::plan::{Plan, Weights};
use scenarios::tokens::Prompts;
use std::path::Path;

/// Why a plan's prompts cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    File(#[from] InputError),
    #[error(
        "a model with random weights has no tokenizer, so its prompts cannot be texts; give token ids, or weights \
         from a folder with a tokenizer.json"
    )]
    NoTokenizer,
    #[error("{path}: the file has no prompt, since every line is blank")]
    NoLine { path: String },
    #[error(
        "the prompt that begins with `{start}` has {found} tokens, but the workload needs {wanted} of each prompt; \
         give a longer prompt, or lower `prompt` in the workload"
    )]
    Short { start: String, found: usize, wanted: u32 },
    #[error("the token id {id} is outside the vocabulary, whose {vocab} ids begin at 0")]
    Token { id: u32, vocab: u32 },
}

/// Returns the ids of the plan's prompts, or `None` if the prompts are random. A text that encodes to fewer tokens than
/// the workload's prompt length is an error.
///
/// # Errors
/// If a file or tokenizer cannot be read, a text is too short, or an id is outside the vocabulary.
pub fn prompt_ids(plan: &Plan) -> Result<Option<Vec<Vec<u32>>>, PromptError> {
    let rows = match &plan.tokens.prompts {
        Prompts::Random => return Ok(None),
        Prompts::Ids(rows) => rows.clone(),
        Prompts::Texts(texts) => encode(plan, texts.iter().map(String::as_str))?,
        Prompts::Lines(file) => {
            let lines = read_text(Path::new(file), PROMPT_BYTES)?;
            let rows = encode(plan, lines.lines().filter(|line| !line.trim().is_empty()))?;
            if rows.is_empty() {
                return Err(PromptError::NoLine { path: file.clone() });
            }
            rows
        }
    };
    let vocab = plan.model.shape.vocab;
    match rows.iter().flatten().find(|id| **id >= vocab) {
        Some(&id) => Err(PromptError::Token { id, vocab }),
        None => Ok(Some(rows)),
    }
}

fn encode<'a>(plan: &Plan, texts: impl Iterator<Item = &'a str>) -> Result<Vec<Vec<u32>>, PromptError> {
    let Weights::Dir(dir) = &plan.model.weights else { return Err(PromptError::NoTokenizer) };
    let (tokenizer, wanted) = (Text::open(Path::new(dir))?, plan.workload.prompt);
    let row = |text: &str| {
        let ids = tokenizer.encode(text)?;
        if ids.len() < wanted as usize {
            let start = text.chars().take(40).collect();
            return Err(PromptError::Short { start, found: ids.len(), wanted });
        }
        Ok(ids)
    };
    texts.map(row).collect()
}

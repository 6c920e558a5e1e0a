//! The transcripts of a live run whose scenario gives the prompts: the token ids of each request and, if the checkpoint
//! has a tokenizer, the texts.
use actors::record::{Event, Transcript};
use models::{PromptError, Text, prompt_ids};
use scenarios::plan::{Plan, Weights};
use scenarios::tokens::Prompts;
use std::path::Path;
use topology::spawn;

/// Returns the transcripts of the run's timed requests, in order of request. Returns an empty list if the prompts are
/// random tokens, since these have no meaning.
///
/// # Errors
/// If the prompts cannot be loaded, the tokenizer cannot be opened, or tokens cannot be decoded.
pub fn texts(plan: &Plan, events: &[Event]) -> Result<Vec<Transcript>, PromptError> {
    let Some(rows) = prompt_ids(plan)? else { return Ok(Vec::new()) };
    let mut plan = plan.clone();
    plan.tokens.prompts = Prompts::Ids(rows);
    let tokenizer = match &plan.model.weights {
        Weights::Dir(dir) if Text::is_in(Path::new(dir)) => Some(Text::open(Path::new(dir))?),
        _ => None,
    };
    let mut said = Vec::new();
    for event in events {
        let Event::Ended(ended) = event else { continue };
        if ended.request.is_warmup() || ended.output.is_empty() {
            continue;
        }
        let prompts = spawn::prompts_of(&plan, ended.request.client);
        let mut prompt = prompts.draw(plan.seed, ended.request, ended.batch as usize, ended.prompt as usize);
        prompt.truncate(ended.prompt as usize);
        let decode = |text: &Text| Ok::<_, PromptError>((text.decode(&prompt)?, text.decode(&ended.output)?));
        let texts = tokenizer.as_ref().map(decode).transpose()?;
        said.push(Transcript { request: ended.request, ids: ended.output.clone(), texts, prompt });
    }
    said.sort_by_key(|said| said.request);
    Ok(said)
}

//! What a live run of given prompts said: the texts of its requests, where the checkpoint has a tokenizer.
use actors::record::{Event, Transcript};
use models::{PromptError, Text, prompt_ids};
use scenarios::plan::{Plan, Weights};
use scenarios::tokens::Prompts;
use std::path::Path;
use topology::spawn;

/// What the timed requests of a run said, in order. Nothing where prompts are random: their texts are noise.
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

//! Resolves the token ids of prompts and the sampling.
use super::fault::Fault;
use super::place;
use crate::files::Files;
use crate::plan;
use crate::schema::Scenario;
use crate::tokens::Prompts;

pub(super) fn resolve(
    scenario: &Scenario,
    model: &plan::Model,
    workload: &plan::Workload,
    files: &Files,
) -> Result<plan::Tokens, Fault> {
    let sampling = scenario.sampling;
    sampling.check().map_err(|(field, why)| Fault::new(&format!("sampling.{field}"), why))?;
    let prompts = match &scenario.prompts {
        Prompts::Lines(file) => Prompts::Lines(place(files, file)),
        prompts => prompts.clone(),
    };
    let none = match &prompts {
        Prompts::Random => false,
        Prompts::Ids(rows) => rows.is_empty(),
        Prompts::Texts(texts) => texts.is_empty(),
        Prompts::Lines(_) => false,
    };
    if none {
        return Err(Fault::new("prompts", "the list of prompts is empty")
            .help("add a prompt, or leave `prompts` out for random prompts"));
    }
    if let Prompts::Ids(rows) = &prompts {
        for row in rows {
            ids(row, model.shape.vocab, workload.prompt).map_err(|why| Fault::new("prompts", why))?;
        }
    }
    if let (Prompts::Texts(_) | Prompts::Lines(_), plan::Weights::Random { .. }) = (&prompts, &model.weights) {
        let fault =
            Fault::new("prompts", "a model with random weights has no tokenizer, so its prompts cannot be texts");
        return Err(fault.help(
            "give token ids, or take the weights from a folder with a tokenizer.json: model.weights=Dir(\"..\")",
        ));
    }
    Ok(plan::Tokens { prompts, sampling, stops: Vec::new(), scores: 0 })
}

/// Checks that a prompt's ids are in the vocabulary, and that the prompt has as many tokens as the workload needs.
fn ids(ids: &[u32], vocab: u32, wanted: u32) -> Result<(), String> {
    match ids.iter().find(|id| **id >= vocab) {
        Some(id) => Err(format!("the token id {id} is outside the vocabulary, whose {vocab} ids begin at 0")),
        None if (ids.len() as u64) < u64::from(wanted) => Err(format!(
            "the list has a prompt of {} ids, but the workload needs prompts of at least {wanted}",
            ids.len()
        )),
        None => Ok(()),
    }
}

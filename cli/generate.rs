//! `generate`: runs a local live swarm on a checkpoint, and prints the generated text.
use crate::exit::{Done, Exit, INTERRUPT, bad_scenario};
use crate::place;
use crate::print::{Plain, errln, sayln};
use crate::signals::{Heeding, INTERRUPTED};
use actors::limits;
use actors::record::{Ended, Event, Scored};
use actors::seed::Seed;
use clap::Args;
use live::LiveError;
use miette::miette;
use models::{Config, Text, end_of_sequence};
use scenarios::plan::Plan;
use scenarios::shape::Arch;
use scenarios::tokens::Sampling;
use scenarios::{Loaded, Overrides};
use std::collections::BTreeMap;
use std::path::PathBuf;
use topology::outcome::{Outcome, Run};

#[derive(Args)]
pub struct Generate {
    /// A Hugging Face model folder with config.json, safetensors, and tokenizer.json (needed only for text)
    folder: PathBuf,
    /// The prompt as text
    #[arg(long, conflicts_with = "ids", required_unless_present = "ids")]
    prompt: Option<String>,
    /// The prompt as token ids, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "ID,ID,...")]
    ids: Option<Vec<u32>>,
    /// The number of peers that share the blocks, each in its own process [default: 2, or 1 for a single block]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    peers: Option<u32>,
    /// The maximum number of tokens to generate
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    new: u32,
    /// Run a model of another family with the dimensions of the folder's model, and with random weights
    #[arg(long, value_parser = family)]
    run_as: Option<Arch>,
    /// The number format of the weights in memory
    #[arg(long, default_value = "F32", value_parser = ["F32", "F16", "Bf16", "Int8", "Int4"])]
    dtype: String,
    /// The number of threads of each process
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::THREADS)))]
    threads: u32,
    /// The sampling temperature; 0 always takes the most probable token
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    temperature: f32,
    /// Sample only from this number of most probable tokens
    #[arg(long, allow_negative_numbers = true)]
    top_k: Option<u32>,
    /// Sample only from the most probable tokens whose probabilities add up to this value
    #[arg(long, allow_negative_numbers = true)]
    top_p: Option<f32>,
    /// The seed of the sampling and of random weights
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Continue after an end-of-sequence token
    #[arg(long)]
    ignore_eos: bool,
    /// Also print the highest scores (logits) of the candidates for the last token
    #[arg(long, num_args = 0..=1, default_missing_value = "10", value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..))]
    logits: Option<u32>,
    /// The output format of the result
    #[arg(long, value_enum, default_value_t)]
    format: Plain,
}

impl Generate {
    /// The number of peers that share the `layers` blocks of the model.
    fn peers(&self, layers: u32) -> u32 {
        self.peers.unwrap_or(layers.clamp(1, 2))
    }
}

fn family(name: &str) -> Result<Arch, String> {
    match name.to_ascii_lowercase().as_str() {
        "opt" => Ok(Arch::Opt),
        "bloom" => Ok(Arch::Bloom),
        "llama" => Ok(Arch::Llama),
        _ => Err("the family must be opt, bloom or llama".to_owned()),
    }
}

/// The error for a folder or request that cannot be run.
fn refuse(why: impl std::fmt::Display) -> Exit {
    Exit { code: 3, report: miette!("{why}") }
}

pub fn generate(asked: &Generate) -> Done {
    let sampling = Sampling { temperature: asked.temperature, top_k: asked.top_k, top_p: asked.top_p };
    let usage = |why: String| Exit { code: 2, report: miette!("{why}") };
    sampling.check().map_err(|(_, why)| usage(why))?;
    if sampling.temperature == 0.0 && (asked.top_k.is_some() || asked.top_p.is_some()) {
        let why = "--top-k and --top-p have no effect at a temperature of 0, which always takes the best token";
        return Err(usage(format!("{why}; give --temperature too")));
    }
    let config = Config::read(&asked.folder).map_err(refuse)?;
    let prompt = prompt(asked, &config)?;
    let plan = plan(asked, &config, &prompt)?;
    let warnings = models::suits(&plan).map_err(|unsuited| refuse(unsuited.why))?;
    warnings.iter().for_each(|warning| errln!("warning: {warning}"));
    place::temporary()?;
    let _heeding = Heeding::new();
    let run = live::run(&plan, &live::Options::new(std::env::current_exe()?), &INTERRUPT);
    let run = run.map_err(|why| {
        let folder = matches!(why, LiveError::Load { .. } | LiveError::Prompts(_));
        Exit { code: if folder { 3 } else { 1 }, report: miette!("{}", plan.in_words(&why.to_string())) }
    })?;
    let Some(ended) = timed(&run).filter(|ended| ended.outcome.is_ok()) else {
        let (ids, interrupted) = (so_far(&run), matches!(run.outcome, Outcome::Interrupted));
        if interrupted || !ids.is_empty() {
            tell(asked, &prompt, &ids, None)?;
            errln!("{} of {} tokens were generated", ids.len(), asked.new);
        }
        if interrupted {
            return Ok(INTERRUPTED);
        }
        let why = timed(&run).and_then(|ended| ended.outcome.err()).map(|why| format!(": {why}"));
        let why = plan.in_words(&format!("{}{}", run.outcome, why.unwrap_or_default()));
        return Err(Exit { code: 4, report: miette!("{why}") });
    };
    tell(asked, &prompt, &ended.output, scores(&run, ended))?;
    let seconds = ended.at.since(ended.sent).as_secs_f64();
    errln!("{} tokens over {} peers in {seconds:.3} s", ended.output.len(), ended.route.len());
    Ok(0)
}

/// Returns the prompt's ids. Checks that all are in the vocabulary, and that the prompt and the new tokens fit the
/// model's positions.
fn prompt(asked: &Generate, config: &Config) -> Result<Vec<u32>, Exit> {
    let shape = &config.shape;
    let ids = match (&asked.ids, &asked.prompt) {
        (Some(ids), _) => ids.clone(),
        (None, Some(text)) => {
            let tokenizer = Text::open(&asked.folder).map_err(|why| {
                refuse(format!(
                    "a prompt as text needs the tokenizer of the folder, so repair the tokenizer or give --ids \
                     instead: {why}"
                ))
            })?;
            tokenizer.encode(text).map_err(refuse)?
        }
        (None, None) => Vec::new(),
    };
    if ids.is_empty() {
        return Err(refuse("the prompt has no tokens; give at least one"));
    }
    if let Some(id) = ids.iter().find(|id| **id >= shape.vocab) {
        return Err(refuse(format!(
            "the token id {id} is outside the vocabulary, whose {} ids begin at 0",
            shape.vocab
        )));
    }
    let (length, new, most) = (ids.len() as u64, u64::from(asked.new), u64::from(shape.max_positions));
    if asked.run_as.unwrap_or(shape.arch) != Arch::Bloom && length + new > most {
        return Err(refuse(format!(
            "the prompt of {length} tokens and {new} new tokens need more than the model's {most} positions; shorten \
             the prompt or lower --new"
        )));
    }
    let peers = asked.peers(shape.layers);
    if peers > shape.layers {
        return Err(refuse(format!(
            "the model's {} blocks cannot be shared by {peers} peers; lower --peers",
            shape.layers
        )));
    }
    Ok(ids)
}

/// Resolves the plan of the swarm from a generated scenario.
fn plan(asked: &Generate, config: &Config, prompt: &[u32]) -> Result<Plan, Exit> {
    let shape = &config.shape;
    let folder = asked
        .folder
        .to_str()
        .ok_or_else(|| refuse("the name of the folder is not valid Unicode; rename the folder"))?;
    let (run_as, weights) = match asked.run_as.filter(|arch| *arch != shape.arch) {
        Some(arch) => {
            errln!(
                "the {:?} model runs as {arch:?} with random weights, because the weights of the folder fit only \
                 their own family",
                shape.arch
            );
            (format!("run_as: {arch:?}, "), format!("Random(seed: {})", asked.seed))
        }
        None => (String::new(), format!("Dir({folder:?})")),
    };
    let text = format!(
        "#![enable(implicit_some, unwrap_newtypes)]\n\
         Scenario(\n    version: 1,\n    name: \"generate\",\n    \
         model: Model(shape: Custom(arch: {:?}, layers: {}, hidden: {}, heads: {}, kv_heads: {}, ffn: {}, vocab: {}, \
         max_positions: {}), {run_as}dtype: {dtype}, ends: {dtype}, wire: F32, weights: {weights}),\n    \
         machines: [Machine(name: \"here\", leases: 1)],\n    \
         hosts: [\n        Host(name: \"peer\", count: {}, machine: \"here\", device: Cpu(threads: {threads})),\n        \
         Host(name: \"client\", machine: \"here\", device: Cpu(threads: {threads})),\n    ],\n    \
         peers: [Peers(on: \"peer\", span: Even)],\n    swarm: Swarm(cache: \"64 GiB\"),\n    \
         workload: Closed(on: \"client\", clients: 1, prompt: {}, generate: {}),\n    prompts: Ids([{prompt:?}]),\n)\n",
        shape.arch,
        shape.layers,
        shape.hidden,
        shape.heads,
        shape.kv_heads,
        shape.ffn,
        shape.vocab,
        shape.max_positions,
        asked.peers(shape.layers),
        prompt.len(),
        asked.new,
        dtype = asked.dtype,
        threads = asked.threads,
    );
    let loaded = Loaded::read("generate", text).map_err(bad_scenario)?;
    let cells = loaded.cells(&Overrides::default()).map_err(bad_scenario)?;
    let cell = cells.first().expect("a scenario without a sweep has one cell");
    let mut plan = cell.plan(Seed(asked.seed), 0).map_err(bad_scenario)?;
    plan.tokens.sampling = Sampling { temperature: asked.temperature, top_k: asked.top_k, top_p: asked.top_p };
    // Recording scores also records every token when it is chosen, so that an interrupted run has its tokens so far.
    plan.tokens.scores = asked.logits.unwrap_or(1);
    if !asked.ignore_eos {
        plan.tokens.stops = end_of_sequence(&asked.folder).map_err(refuse)?;
    }
    Ok(plan)
}

fn timed(run: &Run) -> Option<&Ended> {
    run.events.iter().find_map(|event| match event {
        Event::Ended(ended) if !ended.request.is_warmup() => Some(&**ended),
        _ => None,
    })
}

/// The scores of the request's last token.
fn scores<'a>(run: &'a Run, ended: &Ended) -> Option<&'a Scored> {
    run.events.iter().find_map(|event| match event {
        Event::Scored(scored) if scored.request == ended.request && scored.output == ended.generated => Some(&**scored),
        _ => None,
    })
}

/// The tokens that the request generated before the run ended.
fn so_far(run: &Run) -> Vec<u32> {
    let chosen = run.events.iter().filter_map(|event| match event {
        Event::Scored(scored) if !scored.request.is_warmup() => Some((scored.output, scored.token?)),
        _ => None,
    });
    chosen.collect::<BTreeMap<u32, u32>>().into_values().collect()
}

/// Prints the tokens of an answer, and their text.
fn tell(asked: &Generate, prompt: &[u32], output: &[u32], scored: Option<&Scored>) -> Result<(), Exit> {
    let text = match Text::is_in(&asked.folder) {
        true => {
            let tokenizer = Text::open(&asked.folder).map_err(refuse)?;
            Some(tokenizer.decode(&[prompt, output].concat()).map_err(refuse)?)
        }
        false => None,
    };
    let best = scored.filter(|_| asked.logits.is_some()).map_or(&[][..], |scored| &scored.best);
    if matches!(asked.format, Plain::Json) {
        let mut said = serde_json::json!({ "prompt": prompt, "ids": output, "text": text });
        if asked.logits.is_some() {
            said["logits"] = best.iter().map(|(id, score)| serde_json::json!({ "id": id, "logit": score })).collect();
        }
        sayln!("{said}");
        return Ok(());
    }
    if let Some(text) = text {
        sayln!("{}", printable(&text));
    }
    let list = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    sayln!("prompt  {}", list(prompt));
    sayln!("ids     {}", list(output));
    for (id, score) in best {
        sayln!("logit   {id:>8}  {score:.6}");
    }
    Ok(())
}

/// Replaces control characters, which could move a terminal's cursor or worse. A model with random weights can generate
/// any text.
fn printable(text: &str) -> String {
    let shown = |symbol: char| match symbol {
        '\n' | '\t' => symbol,
        symbol if symbol.is_control() => char::REPLACEMENT_CHARACTER,
        symbol => symbol,
    };
    text.chars().map(shown).collect()
}

//! Tests that `generate` prints the model's text. Over 1, 2 and 4 peers, in processes that communicate over TCP, the
//! greedy text is the same as in one process without a swarm. For checkpoints of the library transformers, it is the
//! text that transformers generates.
#[path = "support/command.rs"]
mod command;

use actors::id::BlockRange;
use candle_core::{DType, Device};
use command::expect_code;
use models::{BlockSpan, EmbeddingAndHead, Source, greedy, write_checkpoint};
use scenarios::shape::{Arch, Shape, WeightType};
use serde_json::Value;
use std::path::{Path, PathBuf};

const NEW: usize = 6;

fn shape(arch: Arch) -> Shape {
    let (ffn, kv_heads) = if arch == Arch::Llama { (96, 2) } else { (256, 4) };
    Shape { arch, layers: 4, hidden: 64, heads: 4, kv_heads, ffn, vocab: 300, max_positions: 64 }
}

/// Returns the JSON output of `generate`.
fn generate(folder: &Path, more: &[&str]) -> Value {
    let mut arguments = vec!["generate", folder.to_str().expect("a plain path"), "--format", "json", "--ignore-eos"];
    arguments.extend(more);
    let said = expect_code(folder, &arguments, 0);
    serde_json::from_slice(&said.stdout).expect("JSON on stdout")
}

fn ids(said: &Value) -> Vec<u32> {
    said["ids"].as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

/// Generates a greedy text in this process, without a swarm.
fn alone(folder: &Path, prompt: &[u32]) -> Vec<u32> {
    let source = Source::folder(folder).expect("a checkpoint");
    let all = BlockRange { start: 0, end: source.config().shape.layers };
    let span = BlockSpan::load(&source, all, WeightType::F32, &Device::Cpu).expect("its blocks");
    let ends = EmbeddingAndHead::load(&source, WeightType::F32, &Device::Cpu).expect("its ends");
    let mut cache = span.cache(all, 1, prompt.len() + NEW).expect("a cache");
    let (mut text, mut position) = (prompt.to_vec(), 0);
    while text.len() < prompt.len() + NEW {
        let x = ends.embed(&text[position..], 1, position).expect("of the vocabulary");
        let y = span.forward(&mut cache, position, &x).expect("positions follow each other");
        position = text.len();
        text.extend(greedy(&ends.logits(&y).expect("the model's width")).expect("a vocabulary"));
    }
    text.split_off(prompt.len())
}

#[test]
fn the_text_is_the_same_over_any_number_of_peers_and_without_a_swarm() {
    for arch in [Arch::Opt, Arch::Bloom, Arch::Llama] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write_checkpoint(&shape(arch), 3, dir.path()).expect("writable");
        let prompt = "A swarm of".bytes().map(u32::from).collect::<Vec<_>>();
        let want = alone(dir.path(), &prompt);
        for peers in ["1", "2", "4"] {
            let said = generate(dir.path(), &["--prompt", "A swarm of", "--new", "6", "--peers", peers]);
            assert_eq!(ids(&said), want, "{arch:?} over {peers} peers");
            assert!(said["text"].as_str().expect("a text").starts_with("A swarm of"), "{said}");
        }
    }
}

#[test]
fn it_is_the_text_of_transformers() {
    for name in ["opt", "bloom", "llama-3"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/models/tests/fixtures").join(name);
        let golden = candle_core::safetensors::load(folder.join("golden.safetensors"), &Device::Cpu).expect("golden");
        let all: Vec<u32> =
            golden["greedy"].to_dtype(DType::U32).and_then(|ids| ids.flatten_all()?.to_vec1()).expect("ids");
        let (prompt, want) = all.split_at(all.len() - 12);
        let list = prompt.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let said = generate(&folder, &["--ids", &list, "--new", "12", "--peers", "2", "--logits", "3"]);
        assert_eq!(ids(&said), want, "{name}");
        let best = said["logits"].as_array().expect("scores");
        assert_eq!((best.len(), best[0]["id"].as_u64()), (3, want.last().map(|id| u64::from(*id))), "{name}");
    }
}

#[test]
fn sampling_follows_its_seed_and_stays_within_its_filters() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_checkpoint(&shape(Arch::Opt), 3, dir.path()).expect("writable");
    let sample = |more: &[&str]| ids(&generate(dir.path(), &[&["--ids", "1,2,3", "--new", "12"], more].concat()));
    let hot = ["--temperature", "2", "--seed", "5"];
    assert_eq!(sample(&hot), sample(&hot));
    assert_ne!(sample(&hot), sample(&["--temperature", "2", "--seed", "6"]));
    assert_eq!(sample(&["--temperature", "2", "--top-k", "1"]), sample(&[]), "of one token the best is chosen");
    for peers in ["1", "4"] {
        assert_eq!(sample(&[&hot[..], &["--peers", peers]].concat()), sample(&hot), "over {peers} peers");
    }
}

#[test]
fn other_families_run_the_dimensions_and_a_stop_ends_the_text() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_checkpoint(&shape(Arch::Opt), 3, dir.path()).expect("writable");
    for family in ["bloom", "llama"] {
        let said = generate(dir.path(), &["--ids", "1,2,3", "--new", "4", "--run-as", family]);
        assert_eq!(ids(&said).len(), 4);
    }
    let all = alone(dir.path(), &[1, 2, 3]);
    let first = all.iter().position(|id| *id == all[2]).expect("it is one of them");
    let config = dir.path().join("config.json");
    let text = std::fs::read_to_string(&config).expect("it was written");
    std::fs::write(&config, text.replacen('{', &format!("{{\"eos_token_id\": [{}],", all[2]), 1)).expect("writable");
    let folder = dir.path().to_str().expect("a plain path");
    let said = expect_code(dir.path(), &["generate", folder, "--ids", "1,2,3", "--new", "6", "--format", "json"], 0);
    let said: Value = serde_json::from_slice(&said.stdout).expect("JSON on stdout");
    assert_eq!(ids(&said), all[..=first]);
}

/// Returns stderr on one line.
fn said(output: &std::process::Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).replace('│', " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_cannot_be_generated_is_said() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_checkpoint(&Shape { vocab: 200, ..shape(Arch::Opt) }, 3, dir.path()).expect("writable");
    let folder: PathBuf = dir.path().to_owned();
    let folder = folder.to_str().expect("a plain path");
    for (code, arguments, why) in [
        (3, vec![folder, "--prompt", "hello"], "tokenizer.json"),
        (3, vec![folder, "--ids", "1,200"], "the token id 200 is outside the vocabulary"),
        (3, vec![folder, "--ids", "1", "--new", "64"], "64 positions"),
        (3, vec![folder, "--ids", "1", "--peers", "5"], "the model's 4 blocks cannot be shared by 5 peers"),
        (3, vec!["nowhere", "--ids", "1"], "nowhere/config.json"),
        (2, vec![folder], "--prompt"),
        (2, vec![folder, "--ids", "1,x"], "invalid value"),
        (2, vec![folder, "--ids", "1", "--temperature", "-1"], "temperature"),
        (2, vec![folder, "--ids", "1", "--temperature", "1", "--top-p", "1.5"], "top_p is 1.5"),
        (2, vec![folder, "--ids", "1", "--top-k", "5"], "give --temperature too"),
        (2, vec![folder, "--ids", "1", "--logits", "0"], "--logits"),
        (2, vec![folder, "--ids", "1", "--threads", "100000"], "--threads"),
        (2, vec![folder, "--ids", "1", "--format", "csv"], "--format"),
        (2, vec![folder, "--ids", "1", "--run-as", "gpt"], "opt, bloom or llama"),
    ] {
        let said = expect_code(dir.path(), &[&["generate"], arguments.as_slice()].concat(), code);
        let said = self::said(&said);
        assert!(said.contains(why), "{arguments:?} said:\n{said}");
    }
}

/// The program prints exactly one error and no log line, since it starts no process.
#[test]
fn a_folder_that_cannot_be_loaded_is_refused_before_a_swarm_is_started() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_checkpoint(&shape(Arch::Llama), 3, dir.path()).expect("writable");
    let path = dir.path().join("model.safetensors");
    let whole = std::fs::read(&path).expect("it was written");
    std::fs::write(&path, &whole[..whole.len() - 1]).expect("writable");
    let folder = dir.path().to_str().expect("a plain path");
    let refused = expect_code(dir.path(), &["generate", folder, "--ids", "1"], 3);
    let said = self::said(&refused).replace("/ ", "/");
    assert!(said.contains("model.safetensors: the tensor `") && said.contains("truncated"), "{said}");
    assert_eq!((said.matches("truncated").count(), said.contains("ERROR")), (1, false), "{said}");
}

#[test]
fn a_scenario_is_held_against_the_folder_that_it_names() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_checkpoint(&shape(Arch::Opt), 3, &dir.path().join("small")).expect("writable");
    let set = |value: &str| ["check", "nano", "--set", value].map(str::to_owned);
    let said = expect_code(dir.path(), &set("model.weights=Dir(\"small\")").each_ref().map(String::as_str), 3);
    let said = self::said(&said);
    assert!(
        said.contains("--set model.weights") && said.contains("the scenario and the model folder disagree"),
        "{said}"
    );
    let said = expect_code(dir.path(), &set("model.weights=Dir(\"gone\")").each_ref().map(String::as_str), 3);
    assert!(self::said(&said).contains("gone/config.json"));
}

const LIVE: &str = r#"#![enable(implicit_some, unwrap_newtypes)]
Scenario(
    version: 1,
    name: "said",
    model: Model(
        shape: Custom(arch: Opt, layers: 4, hidden: 64, heads: 4, ffn: 256, vocab: 300, max_positions: 64),
        dtype: F32, ends: F32, wire: F32, weights: Dir("small"),
    ),
    machines: [Machine(name: "here", leases: 1)],
    hosts: [
        Host(name: "peer", count: 2, machine: "here", device: Cpu(threads: 1)),
        Host(name: "client", machine: "here", device: Cpu(threads: 1)),
    ],
    peers: [Peers(on: "peer", span: Even)],
    workload: Closed(on: "client", clients: 1, micro_batches: 2, prompt: 10, generate: 6),
    prompts: Texts(["A swarm of bees", "Many peers"]),
)
"#;

#[test]
fn a_live_run_of_real_prompts_keeps_its_text_and_shows_some() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    write_checkpoint(&shape(Arch::Opt), 3, &dir.path().join("small")).expect("writable");
    std::fs::write(dir.path().join("said.ron"), LIVE).expect("writable");
    let shown = expect_code(dir.path(), &["live", "said.ron"], 0);
    let lines = std::fs::read_to_string(dir.path().join("runs/said-live-001/texts.jsonl")).expect("it was written");
    // Now the prompts are in a file beside the scenario, which begins with a byte order mark. The file is found from
    // any working directory.
    let (texts, file) = ("Texts([\"A swarm of bees\", \"Many peers\"])", "Lines(\"prompts.txt\")");
    std::fs::write(dir.path().join("said.ron"), LIVE.replace(texts, file)).expect("writable");
    std::fs::write(dir.path().join("prompts.txt"), "\u{feff}A swarm of bees\n\nMany peers\n").expect("writable");
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let scenario = dir.path().join("said.ron");
    expect_code(elsewhere.path(), &["live", scenario.to_str().expect("a plain path")], 0);
    let again = std::fs::read_to_string(elsewhere.path().join("runs/said-live-001/texts.jsonl"));
    assert_eq!(again.expect("it was written"), lines);
    let said: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(said.len(), 2, "the timed requests, and no warm-up:\n{lines}");
    for (said, prompt) in said.iter().zip(["A swarm of", "Many peers"]) {
        let bytes: Vec<u32> = prompt.bytes().map(u32::from).collect();
        let folder = dir.path().join("small");
        assert_eq!((said["prompt"].as_str(), ids(said)), (Some(prompt), alone(&folder, &bytes)), "{said}");
        let text = models::Text::open(&folder).expect("a tokenizer").decode(&ids(said)).expect("ids");
        assert_eq!(said["text"].as_str(), Some(text.as_str()));
    }
    assert!(self::said(&shown).contains("\"A swarm of\" ->"), "{}", self::said(&shown));
}

//! Tests that every architecture and variant agrees with Hugging Face transformers, on files written by transformers
//! with `fixtures/make_fixtures.py`. The tests run on a CPU; with `SWARMBENCH_TEST_DEVICE=cuda:0`, in a build with
//! CUDA, on a GPU.
use actors::id::BlockRange;
use candle_core::{DType, Device, Tensor};
use models::{BlockSpan, Cache, EmbeddingAndHead, Source, greedy};
use scenarios::shape::WeightType;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const FIXTURES: [&str; 9] = [
    "opt",
    "opt-350m-form",
    "opt-no-bias",
    "bloom",
    "bloom-6-heads",
    "bloom-residual-after-norm",
    "llama",
    "llama-3",
    "llama-linear-biases",
];

const TOLERANCE: f32 = 1e-4;

/// The model of a fixture, loaded in several block ranges as by the peers of a swarm.
struct Swarm {
    ends: EmbeddingAndHead,
    spans: Vec<BlockSpan>,
    caches: Vec<Cache>,
    batch: usize,
}

fn device() -> Device {
    let Ok(name) = std::env::var("SWARMBENCH_TEST_DEVICE") else { return Device::Cpu };
    let ordinal = name.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok());
    let ordinal = ordinal.unwrap_or_else(|| panic!("SWARMBENCH_TEST_DEVICE is {name}; expected cuda:N"));
    Device::new_cuda(ordinal).unwrap_or_else(|why| panic!("{name}: {why}"))
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn golden(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(folder(name).join("golden.safetensors"), &Device::Cpu).expect("a golden file")
}

fn ids(golden: &HashMap<String, Tensor>, name: &str) -> Vec<Vec<u32>> {
    golden[name].to_dtype(DType::U32).and_then(|ids| ids.to_vec2()).expect("ids are a matrix")
}

impl Swarm {
    fn load(name: &str, peers: u32, batch: usize, weights: WeightType) -> Swarm {
        let device = device();
        let source = Source::folder(&folder(name)).unwrap_or_else(|why| panic!("{name}: {why}"));
        let layers = source.config().shape.layers;
        let cut = |peer| peer * layers / peers;
        let span = |peer| {
            let blocks = BlockRange { start: cut(peer), end: cut(peer + 1) };
            BlockSpan::load(&source, blocks, weights, &device).unwrap_or_else(|why| panic!("{name}: {why}"))
        };
        let spans: Vec<BlockSpan> = (0..peers).map(span).collect();
        let caches = spans.iter().map(|span| span.cache(span.blocks(), batch, 40).expect("a cache")).collect();
        let ends = EmbeddingAndHead::load(&source, weights, &device).unwrap_or_else(|why| panic!("{name}: {why}"));
        Swarm { ends, spans, caches, batch }
    }

    /// Returns the logits after `ids`, which has one row of tokens per batch row. The first token of each row is at
    /// `position`.
    fn step(&mut self, ids: &[Vec<u32>], position: usize) -> Tensor {
        let mut x = self.ends.embed(&ids.concat(), self.batch, position).expect("ids fit the vocabulary");
        for (span, cache) in self.spans.iter().zip(&mut self.caches) {
            x = span.forward(cache, position, &x).expect("positions follow each other");
        }
        let logits = self.ends.logits(&x).expect("x has the model's width");
        logits.to_device(&Device::Cpu).expect("room")
    }
}

fn columns(ids: &[Vec<u32>], start: usize, end: usize) -> Vec<Vec<u32>> {
    ids.iter().map(|row| row[start..end].to_vec()).collect()
}

fn error(logits: &Tensor, golden: &Tensor, position: usize) -> f32 {
    let error = || (logits - golden.narrow(1, position, 1)?.squeeze(1)?)?.abs()?.max_all()?.to_scalar::<f32>();
    error().expect("shapes agree")
}

#[test]
fn prefill_chunks_and_steps_agree_with_transformers() {
    for name in FIXTURES {
        let golden = golden(name);
        let (ids, logits) = (ids(&golden, "ids"), &golden["logits"]);
        let tokens = ids[0].len();
        for chunk in [tokens, 5, 1] {
            let mut swarm = Swarm::load(name, 1, ids.len(), WeightType::F32);
            for start in (0..tokens).step_by(chunk) {
                let end = tokens.min(start + chunk);
                let error = error(&swarm.step(&columns(&ids, start, end), start), logits, end - 1);
                assert!(error < TOLERANCE, "{name}, chunks of {chunk}, at {end}: {error}");
            }
        }
    }
}

#[test]
fn greedy_text_is_that_of_transformers_over_any_number_of_spans() {
    for name in FIXTURES {
        let want = ids(&golden(name), "greedy").remove(0);
        let new = 12;
        let prompt = want.len() - new;
        for peers in [1, 2] {
            let mut swarm = Swarm::load(name, peers, 1, WeightType::F32);
            let mut text = want[..prompt].to_vec();
            let mut logits = swarm.step(&[text.clone()], 0);
            for position in prompt..want.len() {
                text.extend(greedy(&logits).expect("logits have a vocabulary"));
                logits = swarm.step(&[text[position..].to_vec()], position);
            }
            assert_eq!(text, want, "{name} over {peers} peers");
        }
    }
}

#[test]
fn narrower_weights_stay_near() {
    // The row lengths of the other two fixtures are not multiples of the quantised block size.
    let quantised: Vec<&str> =
        FIXTURES.into_iter().filter(|name| !["opt-350m-form", "bloom-6-heads"].contains(name)).collect();
    let cases: [(WeightType, f32, &[&str]); 4] = [
        (WeightType::F16, 0.02, &FIXTURES),
        (WeightType::Bf16, 0.1, &FIXTURES),
        (WeightType::Int8, 0.25, &quantised),
        (WeightType::Int4, 2.5, &quantised),
    ];
    for (weights, bound, names) in cases {
        for name in names {
            let golden = golden(name);
            let (ids, logits) = (ids(&golden, "ids"), &golden["logits"]);
            let spread = logits.abs().and_then(|x| x.mean_all()).and_then(|x| x.to_scalar::<f32>()).expect("logits");
            let mut swarm = Swarm::load(name, 1, ids.len(), weights);
            let error = error(&swarm.step(&ids, 0), logits, ids[0].len() - 1) / spread;
            assert!(error < bound, "{name} in {weights:?}: {error} of the spread {spread}");
        }
    }
}

//! Tests that the results do not depend on how the blocks are divided into ranges, on the number of tokens in a step,
//! and on whether the weights are generated from a seed or read from a folder that was written with that seed.
use actors::id::BlockRange;
use candle_core::{Device, Tensor};
use models::{BlockSpan, Cache, EmbeddingAndHead, ModelError, Part, Source, greedy, write_checkpoint};
use scenarios::plan::{Model, Weights};
use scenarios::shape::{Arch, Shape, WeightType};

const BATCH: usize = 2;

const ARCHS: [Arch; 3] = [Arch::Opt, Arch::Bloom, Arch::Llama];

fn shape(arch: Arch) -> Shape {
    let kv_heads = if arch == Arch::Llama { 2 } else { 4 };
    Shape { arch, layers: 4, hidden: 64, heads: 4, kv_heads, ffn: 256, vocab: 300, max_positions: 64 }
}

fn open(arch: Arch, weights: Weights) -> Source {
    let (f32, wire) = (WeightType::F32, actors::message::WireType::F32);
    let model = Model { shape: shape(arch), block_type: f32, client_type: f32, wire, cache_value_bytes: 4, weights };
    Source::open(&model).expect("the shape is sound and the folder complete")
}

fn range(start: u32, end: u32) -> BlockRange {
    BlockRange { start, end }
}

fn load_span(source: &Source, blocks: BlockRange) -> BlockSpan {
    BlockSpan::load(source, blocks, WeightType::F32, &Device::Cpu).expect("the range is within the model")
}

fn load_ends(source: &Source) -> EmbeddingAndHead {
    EmbeddingAndHead::load(source, WeightType::F32, &Device::Cpu).expect("random ends load")
}

fn difference(a: &Tensor, b: &Tensor) -> f32 {
    let largest = || (a - b)?.abs()?.max_all()?.to_scalar::<f32>();
    largest().expect("shapes are equal")
}

/// Returns the logits after 12 tokens per row. The tokens pass in steps of `chunk` tokens through the block ranges that
/// begin and end at `cuts`.
fn run(source: &Source, cuts: &[u32], chunk: usize) -> Tensor {
    let ends = load_ends(source);
    let spans: Vec<BlockSpan> = cuts.windows(2).map(|cut| load_span(source, range(cut[0], cut[1]))).collect();
    let cache = |span: &BlockSpan| span.cache(span.blocks(), BATCH, 32).expect("a cache of 32 tokens");
    let mut caches: Vec<_> = spans.iter().map(cache).collect();
    let ids: Vec<Vec<u32>> =
        (0..BATCH as u32).map(|row| (0..12).map(|i| (i * 37 + row * 11) % 300).collect()).collect();
    let mut logits = None;
    for start in (0..12).step_by(chunk) {
        let part: Vec<u32> = ids.iter().flat_map(|row| row[start..(start + chunk).min(12)].to_vec()).collect();
        let mut x = ends.embed(&part, BATCH, start).expect("ids are in the vocabulary");
        for (span, cache) in spans.iter().zip(&mut caches) {
            x = span.forward(cache, start, &x).expect("positions follow each other");
        }
        logits = Some(ends.logits(&x).expect("x has the model's width"));
    }
    logits.expect("there is at least one chunk")
}

#[test]
fn spans_and_chunks_agree_with_the_whole() {
    for arch in ARCHS {
        let source = open(arch, Weights::Random { seed: 5 });
        let whole = run(&source, &[0, 4], 12);
        for (cuts, chunk) in [(&[0, 2, 4][..], 12), (&[0, 1, 2, 3, 4], 12), (&[0, 4], 1), (&[0, 3, 4], 5)] {
            let error = difference(&whole, &run(&source, cuts, chunk));
            assert!(error < 1e-5, "{arch:?} cut at {cuts:?} in chunks of {chunk}: {error}");
        }
    }
}

#[test]
fn a_written_checkpoint_is_the_seed_it_was_drawn_from() {
    for arch in ARCHS {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write_checkpoint(&shape(arch), 5, dir.path()).expect("the folder is writable");
        let read = run(&open(arch, Weights::Dir(dir.path().display().to_string())), &[0, 4], 12);
        assert_eq!(difference(&read, &run(&open(arch, Weights::Random { seed: 5 }), &[0, 4], 12)), 0.0, "{arch:?}");
        let other = run(&open(arch, Weights::Random { seed: 6 }), &[0, 4], 12);
        assert!(difference(&read, &other) > 0.1, "{arch:?}");
    }
}

#[test]
fn random_texts_vary() {
    for arch in ARCHS {
        let source = open(arch, Weights::Random { seed: 1 });
        let (ends, span) = (load_ends(&source), load_span(&source, range(0, 4)));
        let mut cache = span.cache(range(0, 4), 1, 40).expect("a cache of 40 tokens");
        let (mut ids, mut text, mut position) = (vec![1, 2, 3], Vec::new(), 0);
        for _ in 0..30 {
            let x = ends.embed(&ids, 1, position).expect("greedy ids are in the vocabulary");
            let x = span.forward(&mut cache, position, &x).expect("positions follow each other");
            assert!(difference(&x, &x.zeros_like().expect("same shape")) < 50.0, "{arch:?}: activations grow");
            position += ids.len();
            ids = greedy(&ends.logits(&x).expect("x has the model's width")).expect("logits have a vocabulary");
            text.push(ids[0]);
        }
        println!("{arch:?}: {text:?}");
        text.sort_unstable();
        text.dedup();
        assert!(text.len() >= 5, "{arch:?}: only {text:?}");
    }
}

#[test]
fn a_part_of_a_span_is_served_and_wrong_steps_are_refused() {
    let source = open(Arch::Opt, Weights::Random { seed: 5 });
    let (whole, part, ends) = (load_span(&source, range(0, 4)), load_span(&source, range(1, 3)), load_ends(&source));
    let x = ends.embed(&[1, 2, 3, 4], 2, 0).expect("ids are in the vocabulary");
    let mut from_whole = whole.cache(range(1, 3), 2, 3).expect("within the span");
    let mut from_part = part.cache(range(1, 3), 2, 3).expect("the span");
    let a = whole.forward(&mut from_whole, 0, &x).expect("the first step");
    let b = part.forward(&mut from_part, 0, &x).expect("the first step");
    assert_eq!(difference(&a, &b), 0.0);

    assert!(matches!(part.forward(&mut from_part, 0, &x), Err(ModelError::Position { asked: 0, held: 2 })));
    assert!(matches!(part.forward(&mut from_part, 2, &x), Err(ModelError::Full { capacity: 3, .. })));
    assert!(matches!(part.cache(range(0, 2), 1, 8), Err(ModelError::Blocks { .. })));
    assert!(matches!(
        BlockSpan::load(&source, range(3, 5), WeightType::F32, &Device::Cpu),
        Err(ModelError::Blocks { .. })
    ));
    assert!(matches!(ends.embed(&[300], 1, 0), Err(ModelError::Token { id: 300, vocab: 300 })));
    assert!(matches!(ends.embed(&[1], 1, 64), Err(ModelError::Full { capacity: 64, .. })));
}

/// Checks that three sessions at different positions, one of them with a prompt, have nearly the same outputs in one
/// batch as alone, with all blocks in one pass and with one block in each pass.
#[test]
fn a_batch_of_sessions_gives_what_each_gives_alone() {
    for arch in ARCHS {
        let source = open(arch, Weights::Random { seed: 5 });
        let (span, ends) = (load_span(&source, range(0, 4)), load_ends(&source));
        let sessions: [(usize, usize, usize); 3] = [(1, 9, 1), (2, 4, 1), (1, 0, 7)]; // rows, tokens before, new tokens
        let filled = || -> Vec<Cache> {
            let fill = |&(rows, before, _): &(usize, usize, usize)| {
                let mut cache = span.cache(range(0, 4), rows, 32).expect("a cache of 32 tokens");
                if before > 0 {
                    let ids: Vec<u32> = (0..rows * before).map(|id| (id * 31 % 300) as u32).collect();
                    let x = ends.embed(&ids, rows, 0).expect("ids are in the vocabulary");
                    span.forward(&mut cache, 0, &x).expect("the first step");
                }
                cache
            };
            sessions.iter().map(fill).collect()
        };
        let input = |&(rows, before, new): &(usize, usize, usize)| {
            let ids: Vec<u32> = (0..rows * new).map(|id| ((id + before) * 17 % 300) as u32).collect();
            ends.embed(&ids, rows, before).expect("ids are in the vocabulary")
        };
        let mut inputs: Vec<Tensor> = sessions.iter().map(input).collect();
        let (mut alone, mut together, mut by_block) = (filled(), filled(), filled());
        let expected: Vec<Tensor> = (0..3)
            .map(|at| span.forward(&mut alone[at], sessions[at].1, &inputs[at]).expect("positions follow"))
            .collect();
        let pass = |blocks, caches: &mut [Cache], inputs: &[Tensor]| {
            let parts = caches.iter_mut().zip(&sessions).zip(inputs);
            let part = |((cache, session), x): ((_, &(usize, usize, usize)), _)| Part { cache, position: session.1, x };
            span.forward_batch(blocks, &mut parts.map(part).collect::<Vec<_>>()).expect("positions follow")
        };
        for (own, of_batch) in expected.iter().zip(pass(range(0, 4), &mut together, &inputs)) {
            assert!(difference(own, &of_batch) < 1e-4, "{arch:?}: {}", difference(own, &of_batch));
        }
        for block in 0..4 {
            inputs = pass(range(block, block + 1), &mut by_block, &inputs);
        }
        for (own, in_parts) in expected.iter().zip(&inputs) {
            assert!(difference(own, in_parts) < 1e-4, "{arch:?}: {}", difference(own, in_parts));
        }
        let lengths = |caches: &[Cache]| caches.iter().map(Cache::length).collect::<Vec<_>>();
        assert_eq!((lengths(&together), lengths(&by_block)), (vec![10, 5, 7], vec![10, 5, 7]));
        // The caches have the same content, since the next token of each gives the same output.
        for (at, &(rows, before, new)) in sessions.iter().enumerate() {
            let x = ends.embed(&vec![7; rows], rows, before + new).expect("ids are in the vocabulary");
            let own = span.forward(&mut alone[at], before + new, &x).expect("positions follow");
            let of_batch = span.forward(&mut together[at], before + new, &x).expect("positions follow");
            assert!(difference(&own, &of_batch) < 1e-4, "{arch:?}");
        }
    }
}

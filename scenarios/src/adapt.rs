//! Running one architecture's model as another: what carries over, what does not, and how far the work is from the
//! original.
//!
//! The four dimensions that make the cost of a layer and the memory of a model (hidden size, heads, layers, vocabulary)
//! carry over, and the length; the rest follows the other family's conventions. Weights do not carry over: an adapted
//! model has the original's work, not its answers.
use crate::cost::{block_flops, block_params, cache_values, ends_params, head_params};
use crate::presets::models;
use crate::shape::{Arch, Shape, WeightType};
use std::fmt;

/// A shape and what it becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adaptation {
    pub from: Shape,
    pub to: Shape,
}

/// One dimension, under the names that the two families' configurations have for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub from: (&'static str, u32),
    pub to: (&'static str, u32),
}

/// One measure of the work, before and after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    pub measure: &'static str,
    pub unit: &'static str,
    pub original: f64,
    pub adapted: f64,
}

impl Adaptation {
    /// `source` run as `arch`; the same shape where it already is one.
    pub fn of(source: &Shape, arch: Arch) -> Adaptation {
        let own = *source;
        let to = match own.arch == arch {
            true => own,
            false => Shape { arch, kv_heads: own.heads, ffn: models::ffn(arch, own.hidden), ..own },
        };
        Adaptation { from: own, to }
    }

    pub fn changes(&self) -> bool {
        self.from.arch != self.to.arch
    }

    /// The dimensions that carry over, then those that the other family sets.
    pub fn mapping(&self) -> Vec<Mapping> {
        let (from, to) = (fields(&self.from), fields(&self.to));
        from.into_iter().zip(to).map(|(from, to)| Mapping { from, to }).collect()
    }

    /// How far the adapted work is from the original, for one token with `context` before it, weights held as
    /// `weight_type` and cached values of `cache_value_bytes`.
    pub fn distances(&self, weight_type: WeightType, cache_value_bytes: u32, context: u32) -> [Distance; 4] {
        let params = |shape: &Shape| f64::from(shape.layers) * block_params(shape) + ends_params(shape);
        let flops =
            |shape: &Shape| f64::from(shape.layers) * block_flops(shape, 1, 1, context) + 2.0 * head_params(shape);
        let cached = |shape: &Shape| f64::from(shape.layers) * cache_values(shape) * f64::from(cache_value_bytes);
        let distance = |measure, unit, of: &dyn Fn(&Shape) -> f64| {
            let (original, adapted) = (of(&self.from), of(&self.to));
            Distance { measure, unit, original, adapted }
        };
        [
            distance("parameters", "", &params),
            distance("FLOPs a token", "", &flops),
            distance("weight bytes", "B", &|shape| params(shape) * weight_type.bytes()),
            distance("KV bytes a token", "B", &cached),
        ]
    }
}

/// A shape's dimensions by the names in its family's `config.json`; the same order for every family.
fn fields(shape: &Shape) -> [(&'static str, u32); 7] {
    let [heads, layers, kv_heads, ffn, positions] = match shape.arch {
        Arch::Opt => {
            ["num_attention_heads", "num_hidden_layers", "num_attention_heads", "ffn_dim", "max_position_embeddings"]
        }
        Arch::Bloom => ["n_head", "n_layer", "n_head", "4 x hidden_size", "seq_length"],
        Arch::Llama => [
            "num_attention_heads",
            "num_hidden_layers",
            "num_key_value_heads",
            "intermediate_size",
            "max_position_embeddings",
        ],
    };
    [
        ("hidden_size", shape.hidden),
        (heads, shape.heads),
        (layers, shape.layers),
        ("vocab_size", shape.vocab),
        (positions, shape.max_positions),
        (kv_heads, shape.kv_heads),
        (ffn, shape.ffn),
    ]
}

impl Distance {
    /// Of the original; 0 where nothing changed.
    pub fn relative(&self) -> f64 {
        if self.original == self.adapted { 0.0 } else { self.adapted / self.original - 1.0 }
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((from, was), (to, is)) = (self.from, self.to);
        write!(f, "{from} {was} -> {to} {is}")
    }
}

impl fmt::Display for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scaled = |value: f64| match value {
            value if value >= 1e9 => format!("{:.2} G", value / 1e9),
            value if value >= 1e6 => format!("{:.2} M", value / 1e6),
            value => format!("{:.2} k", value / 1e3),
        };
        let (measure, unit, percent) = (self.measure, self.unit, 100.0 * self.relative());
        write!(f, "{measure} {}{unit} -> {}{unit} ({percent:+.1} %)", scaled(self.original), scaled(self.adapted))
    }
}

#[cfg(test)]
mod tests {
    use super::Adaptation;
    use crate::presets::models::shape;
    use crate::shape::{Arch, WeightType};

    const ARCHS: [Arch; 3] = [Arch::Opt, Arch::Bloom, Arch::Llama];

    #[test]
    fn every_pair_keeps_the_four_dimensions() {
        for (from, name) in [(Arch::Opt, "30b"), (Arch::Bloom, "7b1"), (Arch::Llama, "7b")] {
            let source = shape(from, name).expect(name);
            for arch in ARCHS {
                let adapted = Adaptation::of(&source, arch);
                let kept = |s: &crate::shape::Shape| (s.layers, s.hidden, s.heads, s.vocab, s.max_positions);
                assert_eq!((adapted.to.arch, kept(&adapted.to)), (arch, kept(&source)));
                assert_eq!(adapted.changes(), arch != from);
                if arch == from {
                    assert!(adapted.distances(WeightType::F16, 2, 512).iter().all(|d| d.relative() == 0.0));
                }
            }
        }
    }

    #[test]
    fn opt_as_bloom_has_the_same_blocks_and_no_table_of_positions() {
        let source = shape(Arch::Opt, "30b").expect("a preset");
        let [params, flops, bytes, cached] = Adaptation::of(&source, Arch::Bloom).distances(WeightType::Int8, 2, 512);
        // BLOOM lacks 2050 learned positions and has a norm behind the embedding.
        assert_eq!(params.original - params.adapted, 2050.0 * 7168.0 - 2.0 * 7168.0);
        assert_eq!(bytes.relative(), params.relative());
        assert_eq!((flops.relative(), cached.relative()), (0.0, 0.0));
        assert_eq!(cached.original, 48.0 * 2.0 * 7168.0 * 2.0);
    }

    #[test]
    fn grouped_queries_are_lost() {
        let source = shape(Arch::Llama, "3-8b").expect("a preset");
        let adaptation = Adaptation::of(&source, Arch::Opt);
        let [.., cached] = adaptation.distances(WeightType::F16, 2, 0);
        assert_eq!(cached.relative(), 3.0);
        assert_eq!(cached.to_string(), "KV bytes a token 131.07 kB -> 524.29 kB (+300.0 %)");
        let lines: Vec<String> = adaptation.mapping().iter().map(|line| line.to_string()).collect();
        assert!(lines.contains(&"num_key_value_heads 8 -> num_attention_heads 32".to_owned()), "{lines:?}");
        assert!(lines.contains(&"intermediate_size 14336 -> ffn_dim 16384".to_owned()), "{lines:?}");
    }
}

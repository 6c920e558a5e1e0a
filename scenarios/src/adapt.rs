//! Adaptation of a model to another architecture: the dimensions that stay the same, the dimensions that change, and
//! how much the work differs.
//!
//! The adapted model keeps the number of positions and the four dimensions that determine the cost of a layer and the
//! memory of a model (hidden size, heads, layers, vocabulary). The other dimensions follow the conventions of the new
//! family. Weights are not kept: an adapted model does the work of the original, but does not give the original's
//! answers.
use crate::columns::Columns;
use crate::cost::{block_flops, block_params, cache_values, client_params, head_params};
use crate::presets::models;
use crate::shape::{Arch, Shape, WeightType};
use std::fmt;

/// A model's shape before and after its adaptation to another architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adaptation {
    pub from: Shape,
    pub to: Shape,
}

/// One dimension of a model, with its name and value in the `config.json` of the original and of the adapted family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    pub from: (&'static str, u32),
    pub to: (&'static str, u32),
}

/// One measure of a model's work, such as FLOPs a token, before and after the adaptation to another architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct Distance {
    pub measure: &'static str,
    /// The values on which the measure depends in addition to the model's dimensions, as text. Empty if there are none.
    pub given: String,
    pub unit: &'static str,
    pub original: f64,
    pub adapted: f64,
}

impl Adaptation {
    /// Adapts `source` to `arch`. The shape stays the same if `source` already belongs to this family.
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

    /// Returns the dimensions that the adapted model keeps, then those that its new family determines.
    pub fn mapping(&self) -> Vec<Mapping> {
        let (from, to) = (fields(&self.from), fields(&self.to));
        from.into_iter().zip(to).map(|(from, to)| Mapping { from, to }).collect()
    }

    /// Returns how the original's and the adapted model's work for one token differ. The token has `context` tokens
    /// before it, weights are in `weight_type`, and a cached value has `cache_value_bytes` bytes.
    pub fn distances(&self, weight_type: WeightType, cache_value_bytes: u32, context: u32) -> [Distance; 4] {
        let params = |shape: &Shape| f64::from(shape.layers) * block_params(shape) + client_params(shape);
        let flops =
            |shape: &Shape| f64::from(shape.layers) * block_flops(shape, 1, 1, context) + 2.0 * head_params(shape);
        let cached = |shape: &Shape| f64::from(shape.layers) * cache_values(shape) * f64::from(cache_value_bytes);
        let distance = |measure, given: String, unit, of: &dyn Fn(&Shape) -> f64| {
            let (original, adapted) = (of(&self.from), of(&self.to));
            Distance { measure, given, unit, original, adapted }
        };
        let weights = |shape: &Shape| params(shape) * weight_type.bytes();
        [
            distance("parameters", String::new(), "", &params),
            distance("weight bytes", format!("held as {weight_type:?}"), "B", &weights),
            distance("KV bytes a token", format!("{cache_value_bytes} bytes a value"), "B", &cached),
            distance("FLOPs a token", format!("{context} tokens before it"), "", &flops),
        ]
    }
}

/// Returns a shape's dimensions under their names in the `config.json` of its family. The order is the same for every
/// family.
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
    /// The change of the measure as a fraction of the original's value; 0 if the value is the same.
    pub fn relative(&self) -> f64 {
        if self.original == self.adapted { 0.0 } else { self.adapted / self.original - 1.0 }
    }

    /// Formats a value of this measure with a suitable scale.
    fn scaled(&self, value: f64) -> String {
        let (value, prefix) = match value {
            value if value >= 1e9 => (value / 1e9, "G"),
            value if value >= 1e6 => (value / 1e6, "M"),
            value => (value / 1e3, "k"),
        };
        format!("{value:.2} {prefix}{}", self.unit)
    }
}

/// A model that some cells of a sweep run as another family, with the numbers of these cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapted {
    pub adaptation: Adaptation,
    /// The numbers of the cells that run the adapted model, in ascending order.
    pub cells: Vec<u32>,
    /// The measures of the model's work before and after the adaptation. Each has the numbers of the cells to which it
    /// applies, because the sweep may vary a value on which the measure depends.
    pub distances: Vec<(Distance, Vec<u32>)>,
}

impl Adapted {
    /// Adds the adaptation of one cell's model to `list`, which holds the adaptations of earlier cells.
    pub fn add(list: &mut Vec<Adapted>, cell: u32, adaptation: Adaptation, distances: [Distance; 4]) {
        let at = list.iter().position(|adapted| adapted.adaptation == adaptation).unwrap_or_else(|| {
            list.push(Adapted { adaptation, cells: Vec::new(), distances: Vec::new() });
            list.len() - 1
        });
        let adapted = &mut list[at];
        adapted.cells.push(cell);
        for distance in distances {
            match adapted.distances.iter_mut().find(|(known, _)| *known == distance) {
                Some((_, cells)) => cells.push(cell),
                None => adapted.distances.push((distance, vec![cell])),
            }
        }
        // A measure has several entries if its values differ between cells. These entries are placed next to each
        // other.
        let order = |measure| DISTANCES.iter().position(|known| *known == measure);
        adapted.distances.sort_by_key(|(distance, _)| order(distance.measure));
    }
}

/// Prints two tables: the dimensions under the names of both families, and the measures of the work. Each measure is
/// shown with the values on which it depends, and with its cells if it applies only to some of them.
impl fmt::Display for Adapted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (format!("{:?}", self.adaptation.from.arch), format!("{:?}", self.adaptation.to.arch));
        writeln!(f, "{from} is run as {to} in {}", numbers(&self.cells))?;
        let mut rows = vec![[from.clone(), String::new(), to.clone(), String::new(), String::new()]];
        for Mapping { from: (from, was), to: (to, is) } in self.adaptation.mapping() {
            let row = [from.to_owned(), was.to_string(), to.to_owned(), is.to_string(), String::new()];
            // A family without grouped-query attention has the same name for the numbers of heads and of key heads. If
            // both families are like that, the two rows are equal, and one of them is left out.
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
        table(f, &rows, [false, true, false, true, false])?;
        let mut rows = vec![[String::new(), from, to, "change".to_owned(), String::new()]];
        rows.extend(self.distances.iter().map(|(distance, cells)| {
            let of = if *cells == self.cells { String::new() } else { numbers(cells) };
            let given = [distance.given.clone(), of].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
            let (was, is) = (distance.scaled(distance.original), distance.scaled(distance.adapted));
            let change = match distance.relative() {
                0.0 => "same".to_owned(),
                relative => format!("{:+.2} %", 100.0 * relative),
            };
            [distance.measure.to_owned(), was, is, change, given.join(", ")]
        }));
        table(f, &rows, [false, true, true, true, false])
    }
}

/// The names of the measures of a model's work, in the order in which they are shown.
const DISTANCES: [&str; 4] = ["parameters", "weight bytes", "KV bytes a token", "FLOPs a token"];

/// Prints `rows` as a table. `right` selects the columns that are aligned right.
fn table(f: &mut fmt::Formatter<'_>, rows: &[[String; 5]], right: [bool; 5]) -> fmt::Result {
    let columns = Columns::of(rows, &right);
    rows.iter().try_for_each(|row| writeln!(f, "  {}", columns.line(row)))
}

/// Formats a list of cell numbers with ranges: `cells 0 to 3, 7`.
pub(crate) fn numbers(cells: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &cell in cells {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == cell => *last = cell,
            _ => runs.push((cell, cell)),
        }
    }
    let run = |&(first, last): &(u32, u32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first}, {last}"),
        _ => format!("{first} to {last}"),
    };
    let list = runs.iter().map(run).collect::<Vec<_>>().join(", ");
    if cells.len() == 1 { format!("cell {list}") } else { format!("cells {list}") }
}

#[cfg(test)]
mod tests {
    use super::{Adaptation, Adapted};
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
        let [params, bytes, cached, flops] = Adaptation::of(&source, Arch::Bloom).distances(WeightType::Int8, 2, 512);
        // OPT's 2050 learned positions are absent from BLOOM, which has a norm after the embedding instead.
        assert_eq!(params.original - params.adapted, 2050.0 * 7168.0 - 2.0 * 7168.0);
        assert_eq!(bytes.relative(), params.relative());
        assert_eq!((flops.relative(), cached.relative()), (0.0, 0.0));
        assert_eq!(cached.original, 48.0 * 2.0 * 7168.0 * 2.0);
    }

    #[test]
    fn grouped_queries_are_lost() {
        let source = shape(Arch::Llama, "3-8b").expect("a preset");
        let adaptation = Adaptation::of(&source, Arch::Opt);
        let [.., cached, _] = adaptation.distances(WeightType::F16, 2, 0);
        assert_eq!(cached.relative(), 3.0);
    }

    #[test]
    fn a_table_says_which_cells_a_measure_is_of() {
        let source = shape(Arch::Llama, "3-8b").expect("a preset");
        let adaptation = Adaptation::of(&source, Arch::Opt);
        let mut list = Vec::new();
        for (cell, context) in [(0, 512), (1, 512), (2, 1024), (4, 512)] {
            Adapted::add(&mut list, cell, adaptation, adaptation.distances(WeightType::F16, 2, context));
        }
        let said = list.iter().map(Adapted::to_string).collect::<String>();
        let lines: Vec<String> =
            said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [
            "Llama is run as Opt in cells 0 to 2, 4",
            "num_key_value_heads 8 num_attention_heads 32",
            "intermediate_size 14336 ffn_dim 16384",
            "weight bytes 16.06 GB 14.01 GB -12.79 % held as F16",
            "KV bytes a token 131.07 kB 524.29 kB +300.00 % 2 bytes a value",
            "FLOPs a token 15.28 G 14.20 G -7.03 % 512 tokens before it, cells 0, 1, 4",
            "FLOPs a token 15.55 G 14.47 G -6.91 % 1024 tokens before it, cell 2",
        ] {
            assert!(lines.iter().any(|said| said == line), "{line} is not in\n{said}");
        }
    }
}

//! The dimensions of published models, from the `config.json` of their Hugging Face repositories.
use crate::shape::{Arch, Shape};

/// A model as name, number of layers, hidden size and number of heads.
type Row = (&'static str, u32, u32, u32);

/// OPT (Zhang et al. 2022, table 1): `facebook/opt-*`, vocabulary 50272, 2048 learned positions, ffn = 4 hidden.
const OPT: [Row; 9] = [
    ("125m", 12, 768, 12),
    ("350m", 24, 1024, 16),
    ("1.3b", 24, 2048, 32),
    ("2.7b", 32, 2560, 32),
    ("6.7b", 32, 4096, 32),
    ("13b", 40, 5120, 40),
    ("30b", 48, 7168, 56),
    ("66b", 64, 9216, 72),
    ("175b", 96, 12_288, 96),
];

/// BLOOM (BigScience 2022, table 3): `bigscience/bloom-*`, vocabulary 250880, trained on 2048 positions, ffn = 4
/// hidden.
const BLOOM: [Row; 6] = [
    ("560m", 24, 1024, 16),
    ("1b1", 24, 1536, 16),
    ("1b7", 24, 2048, 16),
    ("3b", 30, 2560, 32),
    ("7b1", 30, 4096, 32),
    ("176b", 70, 14_336, 112),
];

/// Llama: name, layers, hidden size, heads, key and value heads, ffn, vocabulary, positions. `30b` is a model of the
/// first generation (Touvron et al. 2023a), `7b`, `13b` and `70b` are models of the second (2023b), and `3-*` of the
/// third (Dubey et al. 2024).
const LLAMA: [(&str, [u32; 7]); 6] = [
    ("7b", [32, 4096, 32, 32, 11_008, 32_000, 4096]),
    ("13b", [40, 5120, 40, 40, 13_824, 32_000, 4096]),
    ("30b", [60, 6656, 52, 52, 17_920, 32_000, 2048]),
    ("70b", [80, 8192, 64, 8, 28_672, 32_000, 4096]),
    ("3-8b", [32, 4096, 32, 8, 14_336, 128_256, 8192]),
    ("3-70b", [80, 8192, 64, 8, 28_672, 128_256, 8192]),
];

/// Returns the shape of the published model with this name, or `None`.
pub fn shape(arch: Arch, name: &str) -> Option<Shape> {
    let plain = |rows: &[Row], vocab| {
        let &(_, layers, hidden, heads) = rows.iter().find(|row| row.0 == name)?;
        let ffn = ffn(arch, hidden);
        Some(Shape { arch, layers, hidden, heads, kv_heads: heads, ffn, vocab, max_positions: 2048 })
    };
    match arch {
        Arch::Opt => plain(&OPT, 50_272),
        Arch::Bloom => plain(&BLOOM, 250_880),
        Arch::Llama => {
            let &(_, [layers, hidden, heads, kv_heads, ffn, vocab, max_positions]) =
                LLAMA.iter().find(|row| row.0 == name)?;
            Some(Shape { arch, layers, hidden, heads, kv_heads, ffn, vocab, max_positions })
        }
    }
}

/// The names of a family's published models.
pub fn names(arch: Arch) -> Vec<&'static str> {
    match arch {
        Arch::Opt => OPT.iter().map(|row| row.0).collect(),
        Arch::Bloom => BLOOM.iter().map(|row| row.0).collect(),
        Arch::Llama => LLAMA.iter().map(|row| row.0).collect(),
    }
}

/// Returns the FFN width that a family has by default: 4 x hidden. For Llama it is 8/3 x hidden, rounded up to a
/// multiple of 256 (`llama/model.py`).
pub fn ffn(arch: Arch, hidden: u32) -> u32 {
    match arch {
        Arch::Opt | Arch::Bloom => hidden.saturating_mul(4),
        Arch::Llama => (hidden.saturating_mul(8) / 3).next_multiple_of(256),
    }
}

#[cfg(test)]
mod tests {
    use super::{names, shape};
    use crate::cost::{block_params, head_params};
    use crate::shape::Arch;

    /// The blocks and the embedding (tied in OPT and BLOOM) have together as many billions of parameters as the model's
    /// name says.
    #[test]
    fn sizes_are_as_named() {
        let billions = |arch, name: &str| {
            let shape = shape(arch, name).expect(name);
            let ends = if arch == Arch::Llama { 2.0 } else { 1.0 } * head_params(&shape);
            (f64::from(shape.layers) * block_params(&shape) + ends) / 1e9
        };
        for (arch, name, expected) in [
            (Arch::Opt, "125m", 0.125),
            (Arch::Opt, "350m", 0.350),
            (Arch::Opt, "1.3b", 1.3),
            (Arch::Opt, "2.7b", 2.65),
            (Arch::Opt, "6.7b", 6.66),
            (Arch::Opt, "13b", 12.85),
            (Arch::Opt, "30b", 29.97),
            (Arch::Opt, "66b", 65.7),
            (Arch::Opt, "175b", 174.6),
            (Arch::Bloom, "560m", 0.559),
            (Arch::Bloom, "1b1", 1.065),
            (Arch::Bloom, "1b7", 1.722),
            (Arch::Bloom, "3b", 3.003),
            (Arch::Bloom, "7b1", 7.069),
            (Arch::Bloom, "176b", 176.25),
            (Arch::Llama, "7b", 6.74),
            (Arch::Llama, "13b", 13.02),
            (Arch::Llama, "30b", 32.53),
            (Arch::Llama, "70b", 68.98),
            (Arch::Llama, "3-8b", 8.03),
            (Arch::Llama, "3-70b", 70.55),
        ] {
            let found = billions(arch, name);
            assert!((found / expected - 1.0).abs() < 0.06, "{arch:?} {name}: {found} B, not {expected}");
        }
    }

    #[test]
    fn every_name_has_a_shape_whose_heads_divide() {
        for arch in [Arch::Opt, Arch::Bloom, Arch::Llama] {
            for name in names(arch) {
                let shape = shape(arch, name).expect(name);
                assert_eq!((shape.hidden % shape.heads, shape.heads % shape.kv_heads), (0, 0), "{name}");
            }
        }
    }
}

//! Blocks of quantised values as GGML lays them out (ggml-common.h), which is how candle holds them.
use super::simd::Simd;

/// Where the values of a block go: `LANES` of them, which stand at `at` and behind it.
pub trait Sink<S: Simd<LANES>, const LANES: usize> {
    fn take(&mut self, simd: S, at: usize, values: S::F);
}

/// Values that share their scales.
pub trait Block {
    const COUNT: usize;

    /// Every value once. `LANES` divides [`GROUP`].
    fn decode<S: Simd<LANES>, const LANES: usize>(&self, simd: S, to: &mut impl Sink<S, LANES>);
}

/// `q8_0`: a scale in f16, 32 values of i8.
pub type Q8 = [u8; 2 + GROUP];

/// `q4_0`: a scale in f16, and 16 bytes of two values each, which stand 16 apart; 8 means 0.
pub type Q4 = [u8; 2 + GROUP / 2];

/// `q4_K`: 8 groups of 32 values. A scale and an offset in f16 of what follows; 8 scales and offsets of 6 bits each; 4
/// times 32 bytes of two values each, which are of successive groups.
pub type Q4K = [u8; 2 + 2 + PACKED + 8 * GROUP / 2];

/// Values of the smallest block, and those of a larger one that share a scale.
const GROUP: usize = 32;
/// Bytes of the 6-bit scales and offsets.
const PACKED: usize = 12;

impl Block for Q8 {
    const COUNT: usize = GROUP;

    #[inline(always)]
    fn decode<S: Simd<LANES>, const LANES: usize>(&self, simd: S, to: &mut impl Sink<S, LANES>) {
        let [low, high, values @ ..] = self;
        let scale = simd.splat_f16(half::f16::from_le_bytes([*low, *high]));
        for (index, values) in values.as_chunks::<LANES>().0.iter().enumerate() {
            to.take(simd, index * LANES, simd.multiply(simd.load_i8(values), scale));
        }
    }
}

impl Block for Q4 {
    const COUNT: usize = GROUP;

    #[inline(always)]
    fn decode<S: Simd<LANES>, const LANES: usize>(&self, simd: S, to: &mut impl Sink<S, LANES>) {
        let [low, high, pairs @ ..] = self;
        let scale = simd.splat_f16(half::f16::from_le_bytes([*low, *high]));
        let offset = simd.multiply(scale, simd.splat(-8.0));
        for (index, pairs) in pairs.as_chunks::<LANES>().0.iter().enumerate() {
            let [first, second] = simd.load_nibbles(pairs);
            to.take(simd, index * LANES, simd.multiply_add(first, scale, offset));
            to.take(simd, GROUP / 2 + index * LANES, simd.multiply_add(second, scale, offset));
        }
    }
}

impl Block for Q4K {
    const COUNT: usize = 8 * GROUP;

    #[inline(always)]
    fn decode<S: Simd<LANES>, const LANES: usize>(&self, simd: S, to: &mut impl Sink<S, LANES>) {
        let (head, pairs) = self.as_chunks::<4>().0.split_at(1 + PACKED / 4);
        let [a, b, c, d] = head[0];
        let scale = simd.splat_f16(half::f16::from_le_bytes([a, b]));
        let offset = simd.multiply(simd.splat_f16(half::f16::from_le_bytes([c, d])), simd.splat(-1.0));
        let [scales, offsets] = six_bits([head[1], head[2], head[3]].map(u32::from_le_bytes));
        for (index, pairs) in pairs.as_flattened().as_chunks::<GROUP>().0.iter().enumerate() {
            let group = |number: usize| {
                let (factor, shift) = (simd.splat(scales[number]), simd.splat(offsets[number]));
                (simd.multiply(scale, factor), simd.multiply(offset, shift))
            };
            let (a, b) = (group(2 * index), group(2 * index + 1));
            let start = 2 * index * GROUP;
            for (part, pairs) in pairs.as_chunks::<LANES>().0.iter().enumerate() {
                let [first, second] = simd.load_nibbles(pairs);
                to.take(simd, start + part * LANES, simd.multiply_add(first, a.0, a.1));
                to.take(simd, start + GROUP + part * LANES, simd.multiply_add(second, b.0, b.1));
            }
        }
    }
}

/// The 8 scales and the 8 offsets of the words in which they are packed: the first four of either have the low six bits of
/// the first or the second word's bytes; the others have four bits of the last word's, and above them the two bits that
/// were left of the first or the second.
#[inline(always)]
fn six_bits([scales, offsets, rest]: [u32; 3]) -> [[f32; 8]; 2] {
    let upper = |word: u32| ((word >> 6) & 0x0303_0303) << 4;
    let join = |first: u32, second: u32| u64::from(first & 0x3f3f_3f3f) | u64::from(second) << 32;
    let scales = join(scales, (rest & 0x0f0f_0f0f) | upper(scales));
    let offsets = join(offsets, ((rest >> 4) & 0x0f0f_0f0f) | upper(offsets));
    [scales.to_le_bytes().map(f32::from), offsets.to_le_bytes().map(f32::from)]
}

#[cfg(test)]
mod tests {
    use super::super::dispatch::{Kernel, levels, run_at};
    use super::super::simd::Simd;
    use super::super::unit::Unit;
    use super::{Q4, Q4K, Q8};
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{Device, Tensor};

    struct Widen<'a, U>(&'a [U], &'a mut [f32]);

    impl<U: Unit> Kernel for Widen<'_, U> {
        #[inline(always)]
        fn run<S: Simd<LANES>, const LANES: usize>(self, simd: S) {
            U::widen(simd, self.0, self.1);
        }
    }

    struct Tile<'a, U>([&'a [U]; 2], [&'a [f32]; 3], &'a mut [[f32; 3]; 2]);

    impl<U: Unit> Kernel for Tile<'_, U> {
        #[inline(always)]
        fn run<S: Simd<LANES>, const LANES: usize>(self, simd: S) {
            *self.2 = U::tile(simd, self.0, self.1);
        }
    }

    /// candle's own decoding is the reference.
    fn compare<U: Unit, const BYTES: usize>(dtype: GgmlDType, cast: fn(&[[u8; BYTES]]) -> &[U]) {
        const LENGTH: usize = 512;
        let noise = Tensor::randn(0f32, 0.3, (2, LENGTH), &Device::Cpu).expect("noise");
        let held = QTensor::quantize(&noise, dtype).expect("rows are whole blocks");
        let want: Vec<f32> =
            held.dequantize(&Device::Cpu).and_then(|values| values.flatten_all()?.to_vec1()).expect("values");
        let bytes = held.data().expect("on the CPU");
        let units = cast(bytes.as_chunks::<BYTES>().0);
        assert_eq!(units.len() * U::VALUES, want.len());
        let xs: Vec<Vec<f32>> =
            (0..3).map(|seed| (0..LENGTH).map(|i| ((i * 31 + seed * 17) % 23) as f32 / 23.0 - 0.5).collect()).collect();
        for level in levels() {
            let mut got = vec![f32::NAN; want.len()];
            run_at(level, Widen(units, &mut got));
            for (got, want) in got.iter().zip(&want) {
                assert!((got - want).abs() < 1e-6, "{dtype:?}, {level:?}: {got} {want}");
            }
            let (mut sums, half) = ([[f32::NAN; 3]; 2], units.len() / 2);
            run_at(level, Tile([&units[..half], &units[half..]], [&xs[0], &xs[1], &xs[2]], &mut sums));
            for (row, sums) in want.chunks_exact(LENGTH).zip(sums) {
                for (x, sum) in xs.iter().zip(sums) {
                    let want: f64 = row.iter().zip(x).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    assert!((f64::from(sum) - want).abs() < 1e-4, "{dtype:?}, {level:?}: {sum} {want}");
                }
            }
        }
    }

    #[test]
    fn blocks_are_decoded_as_candle_decodes_them() {
        compare::<Q8, 34>(GgmlDType::Q8_0, |blocks| blocks);
        compare::<Q4, 18>(GgmlDType::Q4_0, |blocks| blocks);
        compare::<Q4K, 144>(GgmlDType::Q4K, |blocks| blocks);
    }
}

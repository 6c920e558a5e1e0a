//! Blocks of quantised values in GGML's layout (ggml-common.h), which candle uses too.
use super::simd::Simd;

/// A receiver of a block's decoded values. Each call of `take` passes `LANES` values; the index of the first of them in
/// the block is `at`.
pub trait Sink<S: Simd<LANES>, const LANES: usize> {
    fn take(&mut self, simd: S, at: usize, values: S::F);
}

/// A block of quantised values that share a scale.
pub trait Block {
    const COUNT: usize;

    /// Passes each value of the block to `to` once, `LANES` (8 or 16) at a time.
    fn decode<S: Simd<LANES>, const LANES: usize>(&self, simd: S, to: &mut impl Sink<S, LANES>);
}

/// `q8_0`: a scale in f16, then 32 values in i8.
pub type Q8 = [u8; 2 + GROUP];

/// `q4_0`: a scale in f16, then 16 bytes. Byte `i` has value `i` in its lower four bits and value `i + 16` in its upper
/// four bits. The stored number 8 stands for 0.
pub type Q4 = [u8; 2 + GROUP / 2];

/// The number of values in a block.
const GROUP: usize = 32;

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

#[cfg(test)]
mod tests {
    use super::super::dispatch::{Kernel, levels, run_at};
    use super::super::simd::Simd;
    use super::super::unit::Unit;
    use super::{Q4, Q8};
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

    /// Compares the decoded values, and dot products with them, with the values that candle decodes.
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
    }
}

//! Blockwise int8 activations: each block of consecutive values of a token has a scale, which is the block's largest
//! magnitude divided by 127.
//!
//! The bytes of one token's hidden state are contiguous: first its scales as f32, then its values as i8. Packed tokens
//! can therefore be split and joined without unpacking. The last block of a token may be shorter than the others.

/// Packs `values`, rows of `hidden` values, into `bytes`. The length of `bytes` must be `WireType::row_bytes` times the
/// number of rows.
pub fn pack(values: &[f32], hidden: usize, block: usize, bytes: &mut [u8]) {
    let scales = 4 * hidden.div_ceil(block);
    for (row, bytes) in values.chunks(hidden).zip(bytes.chunks_mut(scales + hidden)) {
        let (scales, packed) = bytes.split_at_mut(scales);
        let blocks = row.chunks(block).zip(packed.chunks_mut(block)).zip(scales.chunks_exact_mut(4));
        for ((values, packed), scale) in blocks {
            let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            let step = largest / 127.0;
            scale.copy_from_slice(&step.to_le_bytes());
            let per_step = if step > 0.0 { 1.0 / step } else { 0.0 };
            for (value, byte) in values.iter().zip(packed) {
                *byte = (value * per_step).round().clamp(-127.0, 127.0) as i8 as u8;
            }
        }
    }
}

/// Unpacks `count` values in rows of `hidden` values. Each value differs from the original value by at most half of its
/// block's scale.
pub fn unpack(bytes: &[u8], count: usize, hidden: usize, block: usize) -> Vec<f32> {
    let scales = 4 * hidden.div_ceil(block);
    let mut values = Vec::with_capacity(count);
    for row in bytes.chunks_exact(scales + hidden) {
        let (scales, packed) = row.split_at(scales);
        for (packed, scale) in packed.chunks(block).zip(scales.chunks_exact(4)) {
            let step = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
            values.extend(packed.iter().map(|byte| f32::from(*byte as i8) * step));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::{pack, unpack};
    use actors::message::WireType;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_comes_back_within_half_a_scale(
            rows in 1..4usize,
            hidden in 1..200usize,
            block in 1..100u16,
            magnitude in -20..20i32,
            fill in any::<u64>(),
        ) {
            let value = |at: u64| (actors::seed::mix(fill ^ at) as f64 / u64::MAX as f64 - 0.5) as f32;
            let values: Vec<f32> = (0..(rows * hidden) as u64).map(|at| value(at) * 2f32.powi(magnitude)).collect();
            let wire = WireType::Int8 { block };
            let mut bytes = vec![0; rows * wire.row_bytes(hidden as u16) as usize];
            pack(&values, hidden, block.into(), &mut bytes);
            let back = unpack(&bytes, values.len(), hidden, block.into());
            prop_assert_eq!(back.len(), values.len());
            for (row, came) in values.chunks(hidden).zip(back.chunks(hidden)) {
                for (own, came) in row.chunks(block.into()).zip(came.chunks(block.into())) {
                    let largest = own.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
                    for (a, b) in own.iter().zip(came) {
                        prop_assert!((a - b).abs() <= largest / 127.0 * 0.51, "{a} came as {b}, of at most {largest}");
                    }
                }
            }
        }
    }
}

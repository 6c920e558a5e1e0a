//! Activations: hidden states in transit, with their size, and with their values in runs that compute values.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The number format of an activation on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub enum WireType {
    /// 32-bit floating point.
    #[default]
    F32,
    /// IEEE 754 half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// Blockwise quantisation: one byte for each value, and an f32 scale for each block of values.
    Int8 {
        /// The number of consecutive values of a hidden state that share one scale.
        block: u16,
    },
}

impl WireType {
    /// Returns the bytes that the hidden state of one token of one row takes on the wire. The values of one hidden
    /// state are contiguous.
    #[inline]
    pub fn row_bytes(self, hidden: u16) -> u64 {
        let hidden = u64::from(hidden);
        match self {
            WireType::F32 => 4 * hidden,
            WireType::F16 | WireType::Bf16 => 2 * hidden,
            WireType::Int8 { block } => hidden + 4 * hidden.div_ceil(u64::from(block.max(1))),
        }
    }
}

/// The hidden states of some tokens, `[batch, tokens, hidden]`, row-major.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activation {
    pub tokens: u32,
    pub batch: u16,
    pub hidden: u16,
    pub dtype: WireType,
    /// The values; `None` in a simulation that computes only costs, where only the size matters. The codec sends the
    /// values after the control part of a frame, never through serde.
    #[serde(skip)]
    pub data: Option<Arc<Payload>>,
}

impl Activation {
    /// Returns the bytes of the values on the wire, whether or not the values are present.
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.rows() as u64 * self.dtype.row_bytes(self.hidden)
    }

    /// Returns the number of hidden states: the tokens of all rows of the batch.
    #[inline]
    pub fn rows(&self) -> usize {
        self.tokens as usize * usize::from(self.batch)
    }

    /// Returns the bytes of the tensor part of a frame that carries the activation's values: 8 bytes for each hidden
    /// state if the values are digests, otherwise [`Activation::bytes`].
    pub fn carried_bytes(&self, digests: bool) -> u64 {
        if digests { 8 * self.rows() as u64 } else { self.bytes() }
    }

    /// Returns an activation of `tokens` tokens with the same batch, hidden size and format, but without values.
    pub fn hollow(&self, tokens: u32) -> Activation {
        Activation { tokens, data: None, ..*self }
    }

    /// Returns the activation without the first `count` tokens of each row.
    pub fn skip(self, count: u32) -> Activation {
        let count = count.min(self.tokens);
        if count == 0 {
            return self;
        }
        let data = self.data.as_deref().map(|payload| {
            let row = payload.row_bytes(&self);
            let width = row / self.tokens as usize;
            let mut rest = Buffer::zeroed(usize::from(self.batch) * (row - count as usize * width));
            let kept = row - count as usize * width;
            let rows = payload.buffer().bytes().chunks_exact(row.max(1));
            for (to, from) in rest.bytes_mut().chunks_exact_mut(kept.max(1)).zip(rows) {
                to.copy_from_slice(&from[row - kept..]);
            }
            Arc::new(payload.like(rest))
        });
        Activation { data, ..self.hollow(self.tokens - count) }
    }

    /// Returns the tokens of `parts` in order as one activation; `None` if `parts` is empty.
    ///
    /// All parts must have the same batch, hidden size and format, and either all or none must have values.
    pub fn join(parts: &[Activation]) -> Option<Activation> {
        let first = match parts {
            [] => return None,
            [only] => return Some(only.clone()),
            [first, ..] => first,
        };
        let tokens = parts.iter().map(|part| part.tokens).sum();
        let row: usize = parts.iter().filter_map(|part| Some(part.data.as_deref()?.row_bytes(part))).sum();
        let data = first.data.as_deref().map(|kind| {
            let mut joined = Buffer::zeroed(usize::from(first.batch) * row);
            let mut begins = 0;
            for (part, payload) in parts.iter().filter_map(|part| Some((part, part.data.as_deref()?))) {
                let length = payload.row_bytes(part);
                let rows = payload.buffer().bytes().chunks_exact(length.max(1));
                for (to, from) in joined.bytes_mut().chunks_exact_mut(row.max(1)).zip(rows) {
                    to[begins..begins + length].copy_from_slice(from);
                }
                begins += length;
            }
            Arc::new(kind.like(joined))
        });
        Some(Activation { data, ..first.hollow(tokens) })
    }
}

/// The values of an activation.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// One hash for each token of each row in place of its hidden state, as a 64-bit word (see [`crate::echo`]).
    Digests(Buffer),
    /// The values, in little-endian order.
    Buffer(Buffer),
}

impl Payload {
    fn buffer(&self) -> &Buffer {
        match self {
            Payload::Digests(buffer) | Payload::Buffer(buffer) => buffer,
        }
    }

    /// Wraps `buffer` as digests if `self` has digests, otherwise as values.
    fn like(&self, buffer: Buffer) -> Payload {
        match self {
            Payload::Digests(_) => Payload::Digests(buffer),
            Payload::Buffer(_) => Payload::Buffer(buffer),
        }
    }

    /// Returns the number of bytes of one row of `activation`; `self` is the payload of `activation`.
    fn row_bytes(&self, activation: &Activation) -> usize {
        activation.carried_bytes(matches!(self, Payload::Digests(_))) as usize / usize::from(activation.batch).max(1)
    }
}

/// The raw bytes of a tensor, 8-byte aligned so that a device can read them as numbers in place.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    words: Vec<u64>,
    len: usize,
}

impl Buffer {
    /// Returns a buffer of `len` zero bytes.
    pub fn zeroed(len: usize) -> Buffer {
        Buffer { words: vec![0; len.div_ceil(8)], len }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the storage as 64-bit words. The last word may be used only partly.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::{Activation, Buffer, Payload, WireType};
    use proptest::prelude::{prop_assert_eq, proptest};
    use std::sync::Arc;

    /// Returns an activation in which each value encodes its row and token.
    fn tokens(batch: u16, hidden: u16, range: std::ops::Range<u32>) -> Activation {
        let count = range.end - range.start;
        let mut buffer = Buffer::zeroed(usize::from(batch) * count as usize * usize::from(hidden) * 2);
        let mut values = buffer.bytes_mut().chunks_exact_mut(2);
        for row in 0..batch {
            for token in range.clone() {
                for _ in 0..hidden {
                    let value = row * 100 + token as u16;
                    values.next().expect("the size is right").copy_from_slice(&value.to_le_bytes());
                }
            }
        }
        let data = Some(Arc::new(Payload::Buffer(buffer)));
        Activation { tokens: count, batch, hidden, dtype: WireType::F16, data }
    }

    proptest! {
        /// An activation that was joined from parts, and then loses its first tokens, equals one that was made
        /// directly.
        #[test]
        fn joining_and_skipping_keep_every_row(
            batch in 1..4u16,
            hidden in 1..6u16,
            lengths in proptest::collection::vec(0..5u32, 1..6),
            skip in 0..9u32
        ) {
            let mut begin = 0;
            let parts: Vec<Activation> = lengths.iter().map(|length| {
                begin += length;
                tokens(batch, hidden, begin - length..begin)
            }).collect();
            let joined = Activation::join(&parts).expect("there are parts");
            prop_assert_eq!(&joined, &tokens(batch, hidden, 0..begin));
            let skip = skip.min(begin);
            prop_assert_eq!(joined.skip(skip), tokens(batch, hidden, skip..begin));
        }
    }
}

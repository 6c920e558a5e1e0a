//! The 256-bit keys of the DHT: the ids of nodes and the keys of blocks in one space, under the XOR metric.
use crate::id::NodeId;
use crate::seed::Seed;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::cmp::Ordering;
use std::fmt;

/// A point of the key space, as four words, the most significant first.
///
/// Keys are ordered as 256-bit numbers, so the lesser of two distances is the nearer one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key(pub [u64; 4]);

/// The XOR of two keys (Maymounkov and Mazieres 2002, section 2.1), ordered as a number.
pub type Distance = Key;

impl Key {
    /// The number of bits of a key.
    pub const BITS: u32 = 256;

    /// Returns the id of a node. A real node draws its id at random; here the id is derived from the run's seed.
    pub fn of_node(seed: Seed, node: NodeId) -> Key {
        Key::hash(&[b"node", &seed.0.to_be_bytes(), &node.0.to_be_bytes()])
    }

    /// Returns the key under which the servers of a block announce themselves: the hash of `prefix.block`, as in
    /// Petals.
    pub fn of_block(prefix: &str, block: u32) -> Key {
        Key::hash(&[format!("{prefix}.{block}").as_bytes()])
    }

    /// Returns the keys of all blocks of the model. A run has only one model.
    pub fn of_blocks(layers: u32) -> Vec<Key> {
        (0..layers).map(|block| Key::of_block("block", block)).collect()
    }

    /// Returns the SHA-256 hash of the concatenated parts.
    fn hash(parts: &[&[u8]]) -> Key {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        let bytes: [u8; 32] = hasher.finalize().into();
        let (words, _) = bytes.as_chunks::<8>();
        Key([0, 1, 2, 3].map(|word| u64::from_be_bytes(words[word])))
    }

    /// Returns the XOR of the two keys.
    #[inline]
    pub fn distance(self, other: Key) -> Distance {
        Key([0, 1, 2, 3].map(|word| self.0[word] ^ other.0[word]))
    }

    /// Returns the number of leading bits that the two keys have in common, which is the index of the k-bucket; 256 for
    /// equal keys.
    #[inline]
    pub fn common_bits(self, other: Key) -> u32 {
        let distance = self.distance(other).0;
        let word = distance.iter().position(|word| *word != 0);
        word.map_or(Key::BITS, |word| 64 * word as u32 + distance[word].leading_zeros())
    }

    /// Returns a key of bucket `bits`: the first `bits` bits of this key, then the next bit inverted, and the rest from
    /// `chance`.
    ///
    /// # Panics
    ///
    /// If `bits` is 256 or more.
    pub fn neighbour(self, bits: u32, chance: [u64; 4]) -> Key {
        let mut key = chance;
        for (word, chosen) in key.iter_mut().enumerate() {
            let kept = (bits + 1).saturating_sub(64 * word as u32).min(64);
            let mask = if kept == 0 { 0 } else { u64::MAX << (64 - kept) };
            *chosen = (self.0[word] & mask) | (*chosen & !mask);
        }
        key[(bits / 64) as usize] ^= 1 << (63 - bits % 64);
        Key(key)
    }
}

impl Ord for Key {
    /// Compares the keys as numbers. The first word nearly always decides, so it is compared first: lookups and tables
    /// compare distances all the time.
    #[inline]
    fn cmp(&self, other: &Key) -> Ordering {
        self.0[0].cmp(&other.0[0]).then_with(|| self.0[1..].cmp(&other.0[1..]))
    }
}

impl PartialOrd for Key {
    #[inline]
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}..", self.0[0])
    }
}

#[cfg(test)]
mod tests {
    use super::Key;
    use crate::id::NodeId;
    use crate::seed::Seed;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn a_block_key_is_the_hash_of_its_name() {
        // printf 'opt.7' | sha256sum
        let words = Key::of_block("opt", 7).0;
        let text: String = words.iter().map(|word| format!("{word:016x}")).collect();
        assert_eq!(text, "dc84e96d45c915ca3795e3806bf3c74382d9c60815dfcc381a1d21a760fa91ec");
        assert_ne!(Key::of_node(Seed(1), NodeId(7)), Key::of_node(Seed(2), NodeId(7)));
    }

    proptest! {
        #[test]
        fn the_metric_is_one(a in any::<[u64; 4]>(), b in any::<[u64; 4]>(), c in any::<[u64; 4]>()) {
            let (a, b, c) = (Key(a), Key(b), Key(c));
            prop_assert_eq!(a.distance(b), b.distance(a));
            prop_assert_eq!(a.distance(a), Key::default());
            // The triangle inequality, on the words that decide: a xor c = (a xor b) xor (b xor c) <= their sum.
            let sum = u128::from(a.distance(b).0[0]) + u128::from(b.distance(c).0[0]);
            prop_assert!(u128::from(a.distance(c).0[0]) <= sum);
        }

        #[test]
        fn the_order_is_that_of_the_number(a in any::<[u64; 4]>(), b in any::<[u64; 4]>(), same in 0..5usize) {
            let mut b = b;
            b[..same].copy_from_slice(&a[..same]);
            prop_assert_eq!(Key(a).cmp(&Key(b)), a.cmp(&b));
            prop_assert_eq!(Key(a) < Key(b), a < b);
        }

        #[test]
        fn a_neighbour_falls_into_its_bucket(a in any::<[u64; 4]>(), chance in any::<[u64; 4]>(), bits in 0..256u32) {
            prop_assert_eq!(Key(a).common_bits(Key(a).neighbour(bits, chance)), bits);
        }
    }
}

//! The keys of the DHT: the ids of nodes and the keys of blocks in one space, under the XOR metric.
//!
//! A key is the first 64 bits of a hash. Real nodes have ids of 160 or 256 bits, and the wire size of a message assumes
//! 256 bits for each key. The first 64 bits decide every comparison: among 262,144 nodes, the maximum of a plan, the
//! probability that any two ids agree in all 64 bits is 2 in a billion. Tables, lookups and messages hold many keys, so
//! short keys save most of their memory.
use crate::id::NodeId;
use crate::seed::Seed;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// A point of the key space: the id of a node, the key of a block, or the distance between two keys.
///
/// Keys are ordered as numbers. Among distances, the smaller one is nearer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(pub u64);

/// The XOR of two keys (Maymounkov and Mazieres 2002, section 2.1), ordered as a number.
pub type Distance = Key;

impl Key {
    /// The number of bits of a key.
    pub const BITS: u32 = u64::BITS;

    /// Returns the id of a node. A real node chooses its id at random; here the id is derived from the run's seed.
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

    /// Returns the first 64 bits of the SHA-256 hash of the concatenated parts.
    fn hash(parts: &[&[u8]]) -> Key {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        let bytes: [u8; 32] = hasher.finalize().into();
        let (words, _) = bytes.as_chunks::<8>();
        Key(u64::from_be_bytes(words[0]))
    }

    /// Returns the XOR of the two keys.
    #[inline]
    pub fn distance(self, other: Key) -> Distance {
        Key(self.0 ^ other.0)
    }

    /// Returns the number of leading bits that the two keys have in common, which is the index of the k-bucket; 64 for
    /// equal keys.
    #[inline]
    pub fn common_bits(self, other: Key) -> u32 {
        self.distance(other).0.leading_zeros()
    }

    /// Returns a key that belongs to bucket `bits` of the node with this key: it has the first `bits` bits of this key,
    /// the next bit inverted, and the remaining bits of `chance`.
    ///
    /// # Panics
    ///
    /// If `bits` is 64 or more.
    pub fn neighbour(self, bits: u32, chance: u64) -> Key {
        assert!(bits < Key::BITS, "the index of a bucket must be less than 64");
        let rest = u64::MAX.checked_shr(bits + 1).unwrap_or(0);
        Key((self.0 & !rest | chance & rest) ^ 1 << (Key::BITS - 1 - bits))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}..", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Key;
    use crate::id::NodeId;
    use crate::seed::Seed;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    #[test]
    fn a_block_key_is_the_hash_of_its_name() {
        // printf 'opt.7' | sha256sum
        assert_eq!(format!("{:016x}", Key::of_block("opt", 7).0), "dc84e96d45c915ca");
        assert_ne!(Key::of_node(Seed(1), NodeId(7)), Key::of_node(Seed(2), NodeId(7)));
    }

    proptest! {
        #[test]
        fn the_metric_is_one(a: u64, b: u64, c: u64) {
            let (a, b, c) = (Key(a), Key(b), Key(c));
            prop_assert_eq!(a.distance(b), b.distance(a));
            prop_assert_eq!(a.distance(a), Key::default());
            // The triangle inequality: a xor c = (a xor b) xor (b xor c) <= their sum.
            prop_assert!(u128::from(a.distance(c).0) <= u128::from(a.distance(b).0) + u128::from(b.distance(c).0));
        }

        #[test]
        fn a_neighbour_falls_into_its_bucket(a: u64, chance: u64, bits in 0..64u32) {
            prop_assert_eq!(Key(a).common_bits(Key(a).neighbour(bits, chance)), bits);
        }
    }
}

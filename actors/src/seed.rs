//! The one seed of a run, and the random streams named after what they are for.
//!
//! A stream depends on the seed and its name alone, so adding a peer or a draw elsewhere never shifts it.
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

/// The generator of a stream: portable, and the same on every machine.
pub type Stream = ChaCha8Rng;

/// The generator of streams of which there are many, such as one for every link: as portable, in a tenth of the memory.
pub type SmallStream = Xoshiro256PlusPlus;

/// The seed of a run; everything random in it comes from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed(pub u64);

impl Seed {
    /// The stream called `name` of the things `a` and `b` (two nodes of a link, say; 0 where there is none).
    pub fn stream(self, name: &str, a: u64, b: u64) -> Stream {
        ChaCha8Rng::seed_from_u64(self.derive(name, a, b).0)
    }

    /// Likewise, in little memory.
    pub fn small_stream(self, name: &str, a: u64, b: u64) -> SmallStream {
        SmallStream::seed_from_u64(self.derive(name, a, b).0)
    }

    /// Another seed, for a part of the run that draws streams of its own (a repetition, a cell).
    pub fn derive(self, name: &str, a: u64, b: u64) -> Seed {
        let named = name.bytes().fold(mix(self.0), |hash, byte| mix(hash ^ u64::from(byte)));
        Seed(mix(mix(named ^ a).wrapping_add(b)))
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every input bit reaches every output bit.
#[inline]
pub fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

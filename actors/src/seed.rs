//! The seed of a run, and the named random streams that are derived from it.
//!
//! A stream depends only on the seed, its name and its two numbers. An additional peer, or an additional random number
//! from another stream, never changes it.
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

/// The generator of a stream. It is portable: it gives the same values on every machine.
pub type Stream = ChaCha8Rng;

/// The generator of streams that exist in large numbers, such as one for each link. It is portable too, and takes a
/// tenth of the memory of [`Stream`].
pub type SmallStream = Xoshiro256PlusPlus;

/// The seed of a run. Everything random in the run is derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed(pub u64);

impl Seed {
    /// Returns the stream `name` for the numbers `a` and `b`, such as the two nodes of a link; an unused number is 0.
    pub fn stream(self, name: &str, a: u64, b: u64) -> Stream {
        ChaCha8Rng::seed_from_u64(self.derive(name, a, b).0)
    }

    /// Returns the small stream `name` for the numbers `a` and `b`, as [`Seed::stream`] does, in less memory.
    pub fn small_stream(self, name: &str, a: u64, b: u64) -> SmallStream {
        self.named(name).small_stream(a, b)
    }

    /// Returns the seed of a part of the run that has random streams of its own, such as a cell or a repetition.
    pub fn derive(self, name: &str, a: u64, b: u64) -> Seed {
        self.named(name).derive(a, b)
    }

    /// Returns the seed of all streams with this name. Many streams are made faster from it than with
    /// [`Seed::small_stream`].
    pub fn named(self, name: &str) -> NamedSeed {
        NamedSeed(name.bytes().fold(mix(self.0), |hash, byte| mix(hash ^ u64::from(byte))))
    }

    /// Returns the stream that this seed itself starts. It is meant for a seed that was derived for a single stream.
    pub fn into_small_stream(self) -> SmallStream {
        SmallStream::seed_from_u64(self.0)
    }
}

/// A seed combined with the name of the streams that are derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedSeed(u64);

impl NamedSeed {
    /// Returns the same seed as [`Seed::derive`] with this name.
    #[inline]
    pub fn derive(self, a: u64, b: u64) -> Seed {
        Seed(mix(mix(self.0 ^ a).wrapping_add(b)))
    }

    /// Returns the same stream as [`Seed::small_stream`] with this name.
    pub fn small_stream(self, a: u64, b: u64) -> SmallStream {
        self.derive(a, b).into_small_stream()
    }
}

/// Returns the output of SplitMix64's finaliser (Steele, Lea and Flood 2014): every input bit affects every output bit.
#[inline]
pub fn mix(value: u64) -> u64 {
    let z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

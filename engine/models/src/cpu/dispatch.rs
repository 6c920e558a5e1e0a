//! Runs a kernel as compiled for the best instruction set that this processor has.
use super::simd::{Portable, Simd};
use std::sync::LazyLock;

/// Work whose inner loops are worth compiling for each instruction set.
pub trait Kernel {
    /// Implementations are `#[inline(always)]`, and so is all that they call in a loop: what is not inlined is compiled
    /// for the baseline. Closures cannot be marked so.
    fn run<S: Simd<LANES>, const LANES: usize>(self, simd: S);
}

/// In order: a processor has all that are lower than its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

static LEVEL: LazyLock<Level> = LazyLock::new(|| {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
        return if is_x86_feature_detected!("avx512f") { Level::Avx512 } else { Level::Avx2 };
    }
    Level::Portable
});

pub fn run(kernel: impl Kernel) {
    run_at(*LEVEL, kernel);
}

/// As compiled for `level`, or for the processor's own level where that is lower.
#[allow(unsafe_code)]
pub fn run_at(level: Level, kernel: impl Kernel) {
    match level.min(*LEVEL) {
        Level::Portable => kernel.run(Portable),
        // SAFETY: LEVEL is this only where the processor has every feature that the function is compiled for.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(kernel) },
    }
}

#[allow(unsafe_code)]
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2(kernel: impl Kernel) {
    // SAFETY: who calls this function has made sure of its features.
    kernel.run(unsafe { super::simd::x86::Avx2::new() });
}

#[allow(unsafe_code)]
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
fn avx512(kernel: impl Kernel) {
    // SAFETY: who calls this function has made sure of its features.
    kernel.run(unsafe { super::simd::x86::Avx512::new() });
}

/// Every level that this processor has.
#[cfg(test)]
pub fn levels() -> Vec<Level> {
    #[cfg(target_arch = "x86_64")]
    let all = vec![Level::Portable, Level::Avx2, Level::Avx512];
    #[cfg(not(target_arch = "x86_64"))]
    let all = vec![Level::Portable];
    all.into_iter().filter(|level| level <= &LEVEL).collect()
}

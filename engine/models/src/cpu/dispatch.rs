//! Runs a kernel in the version compiled for the best instruction set of this processor.
use super::simd::{Portable, Simd};
use std::sync::LazyLock;

/// A computation that is compiled for each instruction set.
pub trait Kernel {
    /// Runs the kernel. Implementations must be `#[inline(always)]`, and so must all functions that they call in a
    /// loop: a function that is not inlined is compiled for the target's baseline instructions only. Closures cannot
    /// have that attribute.
    fn run<S: Simd<LANES>, const LANES: usize>(self, simd: S);
}

/// Instruction sets in ascending order: a processor that has one level has all lower levels too.
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

/// Runs the kernel as compiled for the highest level of this processor.
pub fn run(kernel: impl Kernel) {
    run_at(*LEVEL, kernel);
}

/// Runs the kernel as compiled for `level`, or for the highest level of this processor if that is lower.
#[allow(unsafe_code)]
pub fn run_at(level: Level, kernel: impl Kernel) {
    match level.min(*LEVEL) {
        Level::Portable => kernel.run(Portable),
        // SAFETY: LEVEL is Avx2 or higher only if the processor has every feature for which the function is compiled.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(kernel) },
        // SAFETY: LEVEL is Avx512 only if the processor has every feature for which the function is compiled.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(kernel) },
    }
}

#[allow(unsafe_code)]
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2(kernel: impl Kernel) {
    // SAFETY: the caller has checked that the processor has the features.
    kernel.run(unsafe { super::simd::x86::Avx2::new() });
}

#[allow(unsafe_code)]
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma,f16c")]
fn avx512(kernel: impl Kernel) {
    // SAFETY: the caller has checked that the processor has the features.
    kernel.run(unsafe { super::simd::x86::Avx512::new() });
}

/// Returns every level that this processor has.
#[cfg(test)]
pub fn levels() -> Vec<Level> {
    #[cfg(target_arch = "x86_64")]
    let all = vec![Level::Portable, Level::Avx2, Level::Avx512];
    #[cfg(not(target_arch = "x86_64"))]
    let all = vec![Level::Portable];
    all.into_iter().filter(|level| level <= &LEVEL).collect()
}

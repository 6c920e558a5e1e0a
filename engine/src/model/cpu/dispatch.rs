//! Runs a kernel as compiled for the best instruction set that this processor has.
use std::sync::LazyLock;

/// Work whose inner loops are worth compiling for each instruction set.
pub trait Kernel {
    /// `LANES` values are worked on side by side; `FUSED`: a multiply-add is one instruction.
    ///
    /// Implementations are `#[inline(always)]`, and so is all that they call in a loop: what is not inlined is compiled
    /// for the baseline. Closures cannot be marked so.
    fn run<const LANES: usize, const FUSED: bool>(self);
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
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let wide = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if avx2 && wide {
            return Level::Avx512;
        }
        if avx2 {
            return Level::Avx2;
        }
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
        // SAFETY: LEVEL is this only where the processor has every feature that the function is compiled for.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(kernel) },
        // Every 64-bit ARM has fused multiply-adds.
        Level::Portable => kernel.run::<8, { cfg!(target_arch = "aarch64") }>(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn avx512(kernel: impl Kernel) {
    kernel.run::<16, true>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(kernel: impl Kernel) {
    kernel.run::<8, true>();
}

/// Every level that this processor has.
#[cfg(test)]
pub fn levels() -> Vec<Level> {
    #[cfg(target_arch = "x86_64")]
    return match *LEVEL {
        Level::Avx512 => vec![Level::Portable, Level::Avx2, Level::Avx512],
        Level::Avx2 => vec![Level::Portable, Level::Avx2],
        Level::Portable => vec![Level::Portable],
    };
    #[cfg(not(target_arch = "x86_64"))]
    vec![Level::Portable]
}

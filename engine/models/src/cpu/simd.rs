//! Vector registers of one instruction set, behind a safe interface.
//!
//! A value of a type that implements [`Simd`] proves that the processor has the instructions, because only
//! [`super::dispatch`] creates such a value, after a check. Every method is inlined into the function that dispatch
//! compiles for the instruction set; otherwise each register operation would be a call.
#![allow(unsafe_code)]

/// The operations of an instruction set on registers of `LANES` f32 values.
pub trait Simd<const LANES: usize>: Copy {
    /// A register of `LANES` f32 values.
    type F: Copy;
    /// Whether a multiply-add of single f32 values, as for values that do not fill a register, is one instruction.
    const FUSED: bool;
    /// The number of rows of a tile that is two registers wide: the largest number for which the tile and its inputs
    /// fit the processor's registers.
    const TILE: usize;

    fn splat(self, value: f32) -> Self::F;
    fn load(self, from: &[f32; LANES]) -> Self::F;
    fn load_f16(self, from: &[half::f16; LANES]) -> Self::F;
    fn load_bf16(self, from: &[half::bf16; LANES]) -> Self::F;
    /// Loads bytes as signed numbers.
    fn load_i8(self, from: &[u8; LANES]) -> Self::F;
    /// Loads the lower and the upper four bits of bytes.
    fn load_nibbles(self, from: &[u8; LANES]) -> [Self::F; 2];
    fn splat_f16(self, value: half::f16) -> Self::F;
    fn store(self, value: Self::F, to: &mut [f32; LANES]);
    fn multiply(self, a: Self::F, b: Self::F) -> Self::F;
    /// Returns `a * b + c`.
    fn multiply_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    fn sum(self, value: Self::F) -> f32;
}

/// Plain Rust for every processor; LLVM compiles it to the instructions of the target's baseline.
#[derive(Clone, Copy)]
pub struct Portable;

impl Simd<8> for Portable {
    type F = [f32; 8];
    // Every 64-bit ARM processor has fused multiply-add. On other targets `mul_add` may be a slow call.
    const FUSED: bool = cfg!(target_arch = "aarch64");
    const TILE: usize = if cfg!(target_arch = "aarch64") { 6 } else { 2 };

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(always)]
    fn load(self, from: &[f32; 8]) -> [f32; 8] {
        *from
    }

    #[inline(always)]
    fn load_f16(self, from: &[half::f16; 8]) -> [f32; 8] {
        from.map(half::f16::to_f32)
    }

    #[inline(always)]
    fn load_bf16(self, from: &[half::bf16; 8]) -> [f32; 8] {
        from.map(half::bf16::to_f32)
    }

    #[inline(always)]
    fn load_i8(self, from: &[u8; 8]) -> [f32; 8] {
        from.map(|byte| f32::from(byte as i8))
    }

    #[inline(always)]
    fn load_nibbles(self, from: &[u8; 8]) -> [[f32; 8]; 2] {
        [from.map(|byte| f32::from(byte & 15)), from.map(|byte| f32::from(byte >> 4))]
    }

    #[inline(always)]
    fn splat_f16(self, value: half::f16) -> [f32; 8] {
        [value.to_f32(); 8]
    }

    #[inline(always)]
    fn store(self, value: [f32; 8], to: &mut [f32; 8]) {
        *to = value;
    }

    #[inline(always)]
    fn multiply(self, mut a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        for l in 0..8 {
            a[l] *= b[l];
        }
        a
    }

    #[inline(always)]
    fn multiply_add(self, a: [f32; 8], b: [f32; 8], mut c: [f32; 8]) -> [f32; 8] {
        for l in 0..8 {
            c[l] = if Self::FUSED { a[l].mul_add(b[l], c[l]) } else { a[l] * b[l] + c[l] };
        }
        c
    }

    #[inline(always)]
    fn sum(self, v: [f32; 8]) -> f32 {
        ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7]))
    }
}

#[cfg(target_arch = "x86_64")]
pub mod x86 {
    use super::Simd;
    use std::arch::x86_64 as arch;

    /// Proof that the processor has AVX2, FMA and F16C.
    #[derive(Clone, Copy)]
    pub struct Avx2(());

    /// Proof that the processor has AVX-512 F.
    #[derive(Clone, Copy)]
    pub struct Avx512(());

    impl Avx2 {
        /// # Safety
        /// The processor must have AVX2, FMA and F16C.
        pub unsafe fn new() -> Avx2 {
            Avx2(())
        }
    }

    impl Avx512 {
        /// # Safety
        /// The processor must have AVX-512 F.
        pub unsafe fn new() -> Avx512 {
            Avx512(())
        }
    }

    // SAFETY, for every block below: `self` proves that the processor has the instructions. Each pointer points to an
    // array as long as the register, and the loads and stores need no alignment.
    impl Simd<8> for Avx2 {
        type F = arch::__m256;
        const FUSED: bool = true;
        const TILE: usize = 6;

        #[inline(always)]
        fn splat(self, value: f32) -> arch::__m256 {
            unsafe { arch::_mm256_set1_ps(value) }
        }

        #[inline(always)]
        fn load(self, from: &[f32; 8]) -> arch::__m256 {
            unsafe { arch::_mm256_loadu_ps(from.as_ptr()) }
        }

        #[inline(always)]
        fn load_f16(self, from: &[half::f16; 8]) -> arch::__m256 {
            unsafe { arch::_mm256_cvtph_ps(arch::_mm_loadu_si128(from.as_ptr().cast())) }
        }

        #[inline(always)]
        fn load_bf16(self, from: &[half::bf16; 8]) -> arch::__m256 {
            unsafe {
                let wide = arch::_mm256_cvtepu16_epi32(arch::_mm_loadu_si128(from.as_ptr().cast()));
                arch::_mm256_castsi256_ps(arch::_mm256_slli_epi32::<16>(wide))
            }
        }

        #[inline(always)]
        fn load_i8(self, from: &[u8; 8]) -> arch::__m256 {
            unsafe {
                let bytes = arch::_mm_loadl_epi64(from.as_ptr().cast());
                arch::_mm256_cvtepi32_ps(arch::_mm256_cvtepi8_epi32(bytes))
            }
        }

        #[inline(always)]
        fn load_nibbles(self, from: &[u8; 8]) -> [arch::__m256; 2] {
            unsafe {
                let wide = arch::_mm256_cvtepu8_epi32(arch::_mm_loadl_epi64(from.as_ptr().cast()));
                let low = arch::_mm256_and_si256(wide, arch::_mm256_set1_epi32(15));
                [arch::_mm256_cvtepi32_ps(low), arch::_mm256_cvtepi32_ps(arch::_mm256_srli_epi32::<4>(wide))]
            }
        }

        #[inline(always)]
        fn splat_f16(self, value: half::f16) -> arch::__m256 {
            unsafe { arch::_mm256_cvtph_ps(arch::_mm_set1_epi16(value.to_bits() as i16)) }
        }

        #[inline(always)]
        fn store(self, value: arch::__m256, to: &mut [f32; 8]) {
            unsafe { arch::_mm256_storeu_ps(to.as_mut_ptr(), value) }
        }

        #[inline(always)]
        fn multiply(self, a: arch::__m256, b: arch::__m256) -> arch::__m256 {
            unsafe { arch::_mm256_mul_ps(a, b) }
        }

        #[inline(always)]
        fn multiply_add(self, a: arch::__m256, b: arch::__m256, c: arch::__m256) -> arch::__m256 {
            unsafe { arch::_mm256_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn sum(self, value: arch::__m256) -> f32 {
            unsafe {
                let half =
                    arch::_mm_add_ps(arch::_mm256_castps256_ps128(value), arch::_mm256_extractf128_ps::<1>(value));
                let quarter = arch::_mm_add_ps(half, arch::_mm_movehl_ps(half, half));
                arch::_mm_cvtss_f32(arch::_mm_add_ss(quarter, arch::_mm_movehdup_ps(quarter)))
            }
        }
    }

    impl Simd<16> for Avx512 {
        type F = arch::__m512;
        const FUSED: bool = true;
        const TILE: usize = 12;

        #[inline(always)]
        fn splat(self, value: f32) -> arch::__m512 {
            unsafe { arch::_mm512_set1_ps(value) }
        }

        #[inline(always)]
        fn load(self, from: &[f32; 16]) -> arch::__m512 {
            unsafe { arch::_mm512_loadu_ps(from.as_ptr()) }
        }

        #[inline(always)]
        fn load_f16(self, from: &[half::f16; 16]) -> arch::__m512 {
            unsafe { arch::_mm512_cvtph_ps(arch::_mm256_loadu_si256(from.as_ptr().cast())) }
        }

        #[inline(always)]
        fn load_bf16(self, from: &[half::bf16; 16]) -> arch::__m512 {
            unsafe {
                let wide = arch::_mm512_cvtepu16_epi32(arch::_mm256_loadu_si256(from.as_ptr().cast()));
                arch::_mm512_castsi512_ps(arch::_mm512_slli_epi32::<16>(wide))
            }
        }

        #[inline(always)]
        fn load_i8(self, from: &[u8; 16]) -> arch::__m512 {
            unsafe {
                let bytes = arch::_mm_loadu_si128(from.as_ptr().cast());
                arch::_mm512_cvtepi32_ps(arch::_mm512_cvtepi8_epi32(bytes))
            }
        }

        #[inline(always)]
        fn load_nibbles(self, from: &[u8; 16]) -> [arch::__m512; 2] {
            unsafe {
                let wide = arch::_mm512_cvtepu8_epi32(arch::_mm_loadu_si128(from.as_ptr().cast()));
                let low = arch::_mm512_and_si512(wide, arch::_mm512_set1_epi32(15));
                [arch::_mm512_cvtepi32_ps(low), arch::_mm512_cvtepi32_ps(arch::_mm512_srli_epi32::<4>(wide))]
            }
        }

        #[inline(always)]
        fn splat_f16(self, value: half::f16) -> arch::__m512 {
            unsafe { arch::_mm512_cvtph_ps(arch::_mm256_set1_epi16(value.to_bits() as i16)) }
        }

        #[inline(always)]
        fn store(self, value: arch::__m512, to: &mut [f32; 16]) {
            unsafe { arch::_mm512_storeu_ps(to.as_mut_ptr(), value) }
        }

        #[inline(always)]
        fn multiply(self, a: arch::__m512, b: arch::__m512) -> arch::__m512 {
            unsafe { arch::_mm512_mul_ps(a, b) }
        }

        #[inline(always)]
        fn multiply_add(self, a: arch::__m512, b: arch::__m512, c: arch::__m512) -> arch::__m512 {
            unsafe { arch::_mm512_fmadd_ps(a, b, c) }
        }

        #[inline(always)]
        fn sum(self, value: arch::__m512) -> f32 {
            unsafe { arch::_mm512_reduce_add_ps(value) }
        }
    }
}

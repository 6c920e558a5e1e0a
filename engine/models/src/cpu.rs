//! Kernels for the two operations that take most of a CPU's time: linear layers and attention. Each operation has one
//! kernel for few rows or queries, and one for many.
//!
//! With few rows, a kernel reads memory once and computes little, so the memory bandwidth should be its limit. With
//! many rows, the speed of the multipliers should be its limit. candle's one-row matmul uses one thread, its matmul
//! widens f16 and bf16 weights in memory on every call, and its Int8 product quantises x too. These kernels widen in
//! registers and use all threads. candle's own operations remain for all other cases, and tests compare both.
//!
//! A kernel is written once over [`simd::Simd`] and compiled for each instruction set of [`dispatch`], which picks one
//! at run time. Only those two files contain unsafe code: the intrinsics, and the call of functions compiled for
//! instructions that the processor was found to have.
mod attention;
mod dispatch;
mod dot;
mod exp;
mod linear;
mod panel;
mod quantised;
mod simd;
mod unit;

use std::ops::Range;

pub use attention::Attend;
pub use linear::{Finish, PlainLinear, QuantisedLinear};

/// The number of values that one thread reads in less time than waking another thread takes.
const VALUES_ALONE: usize = 1 << 16;

/// Calls `work` with ranges that together are `0..items`: on all threads if more than [`VALUES_ALONE`] values are read
/// in total, otherwise on this thread only. The threads of the pool, which is candle's, spin: on a busy machine every
/// use of the pool can cost a time slice.
fn share(items: usize, values: usize, work: impl Fn(Range<usize>) + Sync) {
    if values <= VALUES_ALONE {
        work(0..items);
    } else {
        candle_core::utils::barrier_pool().execute_chunked(items, work);
    }
}

//! Kernels for what a CPU spends its time on: linear layers and attention, of few rows and queries and of many.
//!
//! Of few, they read memory once and do little with it, so they should run at memory bandwidth; of many, at the rate of the
//! multipliers. candle's one-row matmul uses one thread, its matmul widens f16 and bf16 weights in memory on every call, and
//! its product of Int8 quantises x too; these widen in registers and use all threads. The plain candle path remains for
//! everything else, and tests hold the two against each other.
//!
//! A kernel is written once over [`simd::Simd`] and compiled for each instruction set of [`dispatch`], which picks one at
//! run time. Unsafe code is in those two files alone: the intrinsics, and the call of what was compiled for instructions
//! that were found to be there.
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

/// Values that one thread reads sooner than another wakes.
const VALUES_ALONE: usize = 1 << 16;

/// Calls `work` with ranges that together are `0..items`, on all threads where `values` in all are to be read and that is
/// worth it. The pool is candle's, whose threads spin: on a busy machine every round of it can cost a time slice.
fn share(items: usize, values: usize, work: impl Fn(Range<usize>) + Sync) {
    if values <= VALUES_ALONE {
        work(0..items);
    } else {
        candle_core::utils::barrier_pool().execute_chunked(items, work);
    }
}

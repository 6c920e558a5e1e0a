//! The clock of live runs: CLOCK_MONOTONIC, which all host processes of one machine share.
use actors::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Returns the nanoseconds since the machine booted. All processes of the machine read the same clock.
pub fn now() -> Timestamp {
    let time = clock_gettime(ClockId::Monotonic);
    Timestamp(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_never_runs_backwards() {
        let stamps: Vec<_> = (0..1_000).map(|_| super::now()).collect();
        assert!(stamps.is_sorted());
        assert!(stamps[0].0 > 0);
    }
}

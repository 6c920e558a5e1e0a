//! Keeps this machine's cores awake while a live run is measured.
//!
//! An idle core sleeps, and waking it delays the next frame by tens of microseconds, which is more than the frame
//! itself takes. On an idle two-core virtual machine the median of `cargo bench --bench hop` was 143-152 us with
//! sleeping cores and 52-95 us with cores kept awake. A run therefore requests a CPU wake-up latency of 0 from the
//! kernel, as the tool cyclictest does (Linux, `Documentation/power/pm_qos_interface.rst`). The request lasts as long
//! as the file is open, so it ends with this process, even if the process crashes. For users without permission to make
//! the request (usually everyone but root), measured times include the wake-ups.
use std::fs::{File, OpenOptions};
use std::io::Write;

/// Requests a wake-up latency of 0, and returns the open file that holds the request until it is dropped. Returns
/// `None` if the kernel refuses the request.
pub fn keep() -> Option<File> {
    let request = || -> std::io::Result<File> {
        let mut latency = OpenOptions::new().write(true).open("/dev/cpu_dma_latency")?;
        // The latency is written in microseconds, in native byte order.
        latency.write_all(&0i32.to_ne_bytes())?;
        Ok(latency)
    };
    request()
        .inspect_err(|why| {
            tracing::info!(
                "CPU cores may enter sleep states between messages, which adds latency, because /dev/cpu_dma_latency \
                 cannot be written: {why}"
            )
        })
        .ok()
}

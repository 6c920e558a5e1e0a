//! Keeps this machine's cores awake while a live run is measured.
//!
//! A core that has nothing to do sleeps, and waking it costs the next frame tens of microseconds, more than the frame
//! itself: on an idle two-core virtual machine the median of `cargo bench --bench hop` was 143-152 us, and 52-95 us awake.
//! So a run asks the kernel for a wake-up latency of 0, as cyclictest does (Linux,
//! `Documentation/power/pm_qos_interface.rst`). The request holds for as long as the file is open, so it ends with this
//! process however that ends. Who may not ask, which is most people but root, measures the wake-ups as well.
use std::fs::{File, OpenOptions};
use std::io::Write;

/// The request; it holds until this is dropped. Nothing, where it was not granted.
pub fn keep() -> Option<File> {
    let request = || -> std::io::Result<File> {
        let mut latency = OpenOptions::new().write(true).open("/dev/cpu_dma_latency")?;
        // Microseconds, in the machine's own byte order.
        latency.write_all(&0i32.to_ne_bytes())?;
        Ok(latency)
    };
    request().inspect_err(|why| tracing::info!("cores may sleep between frames: /dev/cpu_dma_latency: {why}")).ok()
}

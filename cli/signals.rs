//! Signals that ask the program to end: ^C (INT), TERM and HUP. All three have the same effect.
//!
//! If a command has results to save or files to remove, the first signal makes the command abandon the current run,
//! save the completed runs and report which they are. A second signal ends the program at once. If there is nothing to
//! save or to remove, the first signal already does.
use crate::exit::INTERRUPT;
use crate::print::errln;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Signals within this time after a signal count as the same request: `timeout -s INT` sends one signal to the program
/// and one to its process group; a closed terminal sends HUP and TERM.
const SAME: Duration = Duration::from_millis(200);

/// The exit code of a program that was interrupted.
pub const INTERRUPTED: u8 = 130;

/// The number of existing [`Heeding`] values. If it is above 0, the first signal does not end the program.
static HEEDING: AtomicUsize = AtomicUsize::new(0);

/// While a value of this type exists, the first signal only sets [`INTERRUPT`]. The command checks it and ends itself.
pub struct Heeding(());

impl Heeding {
    pub fn new() -> Heeding {
        HEEDING.fetch_add(1, Ordering::SeqCst);
        Heeding(())
    }
}

impl Drop for Heeding {
    fn drop(&mut self) {
        HEEDING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether a signal has asked the program to end.
pub fn interrupted() -> bool {
    INTERRUPT.load(Ordering::SeqCst)
}

/// Starts a thread that listens for signals.
///
/// # Errors
/// If the system cannot install the handlers or start the thread.
pub fn listen() -> io::Result<()> {
    let ignored = ignored();
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !ignored(*signal)))?;
    let listening = thread::Builder::new().name("signals".to_owned());
    listening.spawn(move || {
        let mut counted: Option<Instant> = None;
        for _ in signals.forever() {
            let now = Instant::now();
            if counted.is_some_and(|last| now.duration_since(last) < SAME) {
                continue;
            }
            counted = Some(now);
            if HEEDING.load(Ordering::SeqCst) > 0 && !INTERRUPT.swap(true, Ordering::SeqCst) {
                errln!(
                    "interrupted: the current run is abandoned and completed runs are saved; a second signal ends the \
                     program at once"
                );
            } else {
                errln!("interrupted");
                std::process::exit(i32::from(INTERRUPTED));
            }
        }
    })?;
    Ok(())
}

/// The signals that the parent process has set to be ignored, as `nohup` does with HUP. They stay ignored.
fn ignored() -> impl Fn(i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    let mask = mask.unwrap_or(0);
    move |signal| mask >> (signal - 1) & 1 == 1
}

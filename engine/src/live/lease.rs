//! Core leases: all executors of a machine, in whatever process, take turns at its cores, first come first served.
//!
//! A turnstile of file locks: lock the queue, lock a core, unlock the queue. Whoever holds the queue is next, and the
//! kernel wakes those who wait for it in their order. A lock dies with the process that holds it, so no crash can keep a
//! core. Without it four executors on two cores stretch each other's jobs, and no compute stamp means anything.
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::Duration;

/// One executor's way to the cores of its machine. Each executor opens its own: a file lock belongs to an open file.
pub struct Turnstile {
    queue: File,
    cores: Vec<File>,
}

/// A core is the holder's until this is dropped.
pub struct Lease<'a> {
    core: &'a File,
}

/// How often the first of the queue looks for a free core where there are several: no lock can wait for any of many.
const LOOK: Duration = Duration::from_micros(20);

impl Turnstile {
    /// The turnstile of `cores` cores whose lock files are in `dir`, which all executors of the machine name alike.
    pub fn open(dir: &Path, cores: u32) -> io::Result<Turnstile> {
        let open =
            |name: String| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(name));
        let cores = (0..cores.max(1)).map(|core| open(format!("core-{core}"))).collect::<io::Result<_>>()?;
        Ok(Turnstile { queue: open("queue".to_owned())?, cores })
    }

    /// Waits its turn, then for a core.
    pub fn take(&self) -> io::Result<Lease<'_>> {
        lock(&self.queue)?;
        let core = self.first_free();
        unlock(&self.queue);
        Ok(Lease { core: core? })
    }

    fn first_free(&self) -> io::Result<&File> {
        if let [core] = &self.cores[..] {
            return lock(core).map(|()| core);
        }
        loop {
            for core in &self.cores {
                match flock(core, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) => return Ok(core),
                    Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                    Err(why) => return Err(why.into()),
                }
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        unlock(self.core);
    }
}

fn lock(file: &File) -> io::Result<()> {
    loop {
        match flock(file, FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            done => return done.map_err(io::Error::from),
        }
    }
}

fn unlock(file: &File) {
    if let Err(why) = flock(file, FlockOperation::Unlock) {
        tracing::error!("a core lease cannot be given back: {why}");
    }
}

#[cfg(test)]
mod tests {
    use super::Turnstile;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::Duration;

    #[test]
    fn no_more_than_the_leases_are_held_at_once() {
        for cores in [1, 2, 3] {
            let dir = tempfile::tempdir().unwrap();
            let (held, most) = (AtomicU32::new(0), AtomicU32::new(0));
            thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| {
                        let turnstile = Turnstile::open(dir.path(), cores).unwrap();
                        for _ in 0..20 {
                            let lease = turnstile.take().unwrap();
                            most.fetch_max(held.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            thread::sleep(Duration::from_micros(200));
                            held.fetch_sub(1, Ordering::SeqCst);
                            drop(lease);
                        }
                    });
                }
            });
            assert_eq!(most.into_inner(), cores, "all of {cores} cores are used, and no more");
        }
    }

    #[test]
    fn who_came_first_is_served_first() {
        let dir = tempfile::tempdir().unwrap();
        let holder = Turnstile::open(dir.path(), 1).unwrap();
        let served = Mutex::new(Vec::new());
        thread::scope(|scope| {
            let lease = holder.take().unwrap();
            for comer in 0..6 {
                let (dir, served) = (dir.path(), &served);
                scope.spawn(move || {
                    let turnstile = Turnstile::open(dir, 1).unwrap();
                    let lease = turnstile.take().unwrap();
                    served.lock().unwrap().push(comer);
                    thread::sleep(Duration::from_millis(2));
                    drop(lease);
                });
                thread::sleep(Duration::from_millis(30));
            }
            drop(lease);
        });
        assert_eq!(served.into_inner().unwrap(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_greedy_executor_does_not_starve_another() {
        let dir = tempfile::tempdir().unwrap();
        let counts = [AtomicU32::new(0), AtomicU32::new(0)];
        thread::scope(|scope| {
            for count in &counts {
                scope.spawn(|| {
                    let turnstile = Turnstile::open(dir.path(), 1).unwrap();
                    let end = std::time::Instant::now() + Duration::from_millis(400);
                    while std::time::Instant::now() < end {
                        let _lease = turnstile.take().unwrap();
                        thread::sleep(Duration::from_millis(1));
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let [one, other] = counts.map(AtomicU32::into_inner);
        assert!(one.abs_diff(other) * 4 <= one.max(other), "{one} turns against {other}");
    }
}

//! Core leases: all executors of a machine, in any process, share its cores in first-come, first-served order.
//!
//! The queue is a ticket lock made of file locks. An executor takes the next number and locks that number's file. It
//! then waits for the lock on the previous number's file, then for a core; once it has the core, it unlocks its own
//! file and so admits the next executor. At most one executor therefore waits for each file. That matters because the
//! kernel wakes all waiters of a lock, and first runs the waiter that has used the least CPU time, not the one that has
//! waited longest (measured: clients overtook peers, and waited half as long as in a fair queue). A lock is released
//! when its process dies, so a crash cannot block a core. If a process dies in the queue, executors behind it may
//! overtake executors ahead of it, but the lock of each core still admits only one executor at a time. Without leases,
//! four executors on two cores slow each other down, and the durations of their jobs are meaningless.
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// One executor's access to the core queue of its machine. Each executor opens the lock files for itself, since a file
/// lock belongs to an open file.
pub struct TicketLock {
    /// The file that holds the next free number; an executor locks it while it takes a number.
    next: File,
    /// The lock files of the numbers: number `n` uses the file at index `n` modulo the number of files. There is one
    /// more file than executors, and each executor has at most one number. So an executor waits only for the executor
    /// with the number before its own.
    turns: Vec<File>,
    cores: Vec<File>,
}

/// A place in the queue of the [`TicketLock`] that issued it.
#[must_use = "the executors behind this place wait until it is taken or given up"]
pub struct Turn(u64);

/// A lease of one core, which the holder keeps until the lease is dropped.
pub struct Lease<'a> {
    core: &'a File,
}

/// The interval at which the first executor in the queue looks for a free core if the machine has several cores. The
/// kernel has no call that waits for the first of several file locks to be released.
const LOOK: Duration = Duration::from_micros(20);

/// The prefix of the names of the directories that hold lock files.
const PREFIX: &str = "swarmbench-";

/// The name of the file that marks a directory as used: the orchestrator's process keeps it locked as long as the
/// process lives.
const IN_USE: &str = "in-use";

/// The directory with the lock files of a run.
pub struct Leases {
    dir: TempDir,
    _in_use: File,
}

impl Leases {
    /// Creates a directory that only this user can enter, and removes directories that killed processes have left. If
    /// other users could lock a file in the directory, they could delay a run that is then reported as valid.
    ///
    /// # Errors
    /// If the directory cannot be created.
    pub fn new() -> io::Result<Leases> {
        remove_stale(&std::env::temp_dir());
        let dir = tempfile::Builder::new().prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir()?;
        // The lock file gets its final name only once it is locked, so an unlocked file with that name belongs to a
        // process that has died.
        let unlocked = dir.path().join("unlocked");
        let in_use = File::create(&unlocked)?;
        lock(&in_use)?;
        fs::rename(&unlocked, dir.path().join(IN_USE))?;
        Ok(Leases { dir, _in_use: in_use })
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes the directories of this user's dead processes. A directory that cannot be removed is left.
fn remove_stale(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let dir = entry.path();
        if let Ok(in_use) = File::open(dir.join(IN_USE))
            && flock(&in_use, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = fs::remove_dir_all(&dir);
        }
    }
}

impl TicketLock {
    /// Opens the queue for `cores` cores (at least 1). Its lock files are in `dir`. `executors` is the number of
    /// executors of the machine. All executors must pass the same `cores` and `executors`.
    ///
    /// # Errors
    /// If a lock file cannot be created or opened.
    pub fn open(dir: &Path, cores: u32, executors: usize) -> io::Result<TicketLock> {
        let open = |name: String| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.join(name))
        };
        let cores = (0..cores.max(1)).map(|core| open(format!("core-{core}"))).collect::<io::Result<_>>()?;
        let turns = (0..=executors).map(|turn| open(format!("turn-{turn}"))).collect::<io::Result<_>>()?;
        Ok(TicketLock { next: open("next".to_owned())?, turns, cores })
    }

    /// Waits until `turn` is the first in the queue, and then until a core is free.
    ///
    /// # Errors
    /// If a file cannot be locked.
    pub fn take(&self, turn: Turn) -> io::Result<Lease<'_>> {
        // The number of files is added so that the subtraction cannot underflow for number 0. The index of the file,
        // which is modulo this number, stays the same.
        let before = self.turn(turn.0 + self.turns.len() as u64 - 1);
        let core = lock(before).and_then(|()| {
            unlock(before);
            self.first_free()
        });
        unlock(self.turn(turn.0));
        Ok(Lease { core: core? })
    }

    /// Gives up a place in the queue, for a job that will not run. Executors behind the place may then overtake
    /// executors ahead of it.
    pub fn give_up(&self, turn: Turn) {
        unlock(self.turn(turn.0));
    }

    fn turn(&self, number: u64) -> &File {
        &self.turns[(number % self.turns.len() as u64) as usize]
    }

    /// Takes the last place in the queue. Executors behind it wait until [`TicketLock::take`] uses the place or
    /// [`TicketLock::give_up`] gives it up.
    ///
    /// # Errors
    /// If the file of the next number cannot be locked, read or written.
    pub fn line_up(&self) -> io::Result<Turn> {
        lock(&self.next)?;
        // All of this happens under the lock on `next`: no two executors take the same number, and an executor finds
        // the file of the number before its own locked.
        let taken = || {
            let mut bytes = [0; 8];
            // The file of the next number is empty until the first executor takes a number.
            let number = match self.next.read_at(&mut bytes, 0)? {
                8 => u64::from_ne_bytes(bytes),
                _ => 0,
            };
            self.next.write_all_at(&(number + 1).to_ne_bytes(), 0)?;
            lock(self.turn(number)).map(|()| Turn(number))
        };
        let turn = taken();
        unlock(&self.next);
        turn
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
        tracing::error!("a core lease cannot be released: {why}");
    }
}

#[cfg(test)]
mod tests {
    use super::{Leases, TicketLock, remove_stale};
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::Duration;

    #[test]
    fn no_other_user_can_take_a_lease() {
        let dir = Leases::new().unwrap();
        let _turnstile = TicketLock::open(dir.path(), 2, 3).unwrap();
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o700);
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 2 + 4 + 1 + 1);
        let locks = files.iter().filter(|file| !file.ends_with(super::IN_USE));
        assert!(locks.into_iter().all(|file| mode(file) == 0o600), "{files:?}");
    }

    #[test]
    fn a_directory_that_a_killed_process_has_left_is_removed_and_one_in_use_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str, locked: bool| {
            let dir = parent.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            let file = std::fs::File::create(dir.join(super::IN_USE)).unwrap();
            locked.then(|| super::lock(&file).map(|()| file).unwrap())
        };
        let _used = make("swarmbench-used", true);
        make("swarmbench-left", false);
        make("other-left", false);
        // A directory that another process is just creating must stay.
        std::fs::create_dir(parent.path().join("swarmbench-new")).unwrap();
        remove_stale(parent.path());
        let there = |name: &str| parent.path().join(name).exists();
        assert!(!there("swarmbench-left"));
        assert!(there("swarmbench-used") && there("swarmbench-new") && there("other-left"));
    }

    #[test]
    fn no_more_than_the_leases_are_held_at_once() {
        for cores in [1, 2, 3] {
            let dir = tempfile::tempdir().unwrap();
            let (held, most) = (AtomicU32::new(0), AtomicU32::new(0));
            thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| {
                        let ticket_lock = TicketLock::open(dir.path(), cores, 6).unwrap();
                        for _ in 0..20 {
                            let lease = ticket_lock.take(ticket_lock.line_up().unwrap()).unwrap();
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
        let holder = TicketLock::open(dir.path(), 1, 7).unwrap();
        let served = Mutex::new(Vec::new());
        thread::scope(|scope| {
            let lease = holder.take(holder.line_up().unwrap()).unwrap();
            for comer in 0..6 {
                let (dir, served) = (dir.path(), &served);
                scope.spawn(move || {
                    let ticket_lock = TicketLock::open(dir, 1, 7).unwrap();
                    let lease = ticket_lock.take(ticket_lock.line_up().unwrap()).unwrap();
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
    fn the_order_holds_among_many_that_come_again_and_again() {
        // Three executors hold the lease for longer than the other three. After a release, an executor goes to the end
        // of the queue.
        let dir = tempfile::tempdir().unwrap();
        let served = Mutex::new(Vec::new());
        let all_here = std::sync::Barrier::new(6);
        thread::scope(|scope| {
            for who in 0..6u64 {
                let (dir, served, all_here) = (dir.path(), &served, &all_here);
                scope.spawn(move || {
                    let ticket_lock = TicketLock::open(dir, 1, 6).unwrap();
                    all_here.wait();
                    for _ in 0..40 {
                        let lease = ticket_lock.take(ticket_lock.line_up().unwrap()).unwrap();
                        served.lock().unwrap().push(who);
                        thread::sleep(Duration::from_micros(300 + 500 * (who % 2)));
                        drop(lease);
                    }
                });
            }
        });
        let served = served.into_inner().unwrap();
        // At the beginning and at the end not all six executors compete, so only the middle is checked.
        let rounds = served[12..180].windows(6);
        let (all, count) =
            (rounds.clone().filter(|round| (0..6).all(|who| round.contains(&who))).count(), rounds.count());
        assert!(all * 10 >= count * 9, "in {all} of {count} windows of six each had its turn: {served:?}");
    }

    #[test]
    fn who_lines_up_while_it_holds_the_lease_is_behind_those_who_wait_and_before_those_who_come() {
        let dir = tempfile::tempdir().unwrap();
        let [holder, waiting, later] = [(); 3].map(|()| TicketLock::open(dir.path(), 1, 3).unwrap());
        let served = Mutex::new(Vec::new());
        let serve = |ticket_lock: &TicketLock, turn, name| {
            let lease = ticket_lock.take(turn).unwrap();
            served.lock().unwrap().push(name);
            drop(lease);
        };
        thread::scope(|scope| {
            let lease = holder.take(holder.line_up().unwrap()).unwrap();
            let turn = waiting.line_up().unwrap();
            scope.spawn(|| serve(&waiting, turn, "waiting"));
            let again = holder.line_up().unwrap();
            let turn = later.line_up().unwrap();
            scope.spawn(|| serve(&later, turn, "later"));
            drop(lease);
            thread::sleep(Duration::from_millis(5));
            serve(&holder, again, "holder");
        });
        assert_eq!(served.into_inner().unwrap(), ["waiting", "holder", "later"]);
    }

    #[test]
    fn the_first_of_all_waits_for_nobody() {
        for executors in 2..9 {
            let dir = tempfile::tempdir().unwrap();
            let turnstiles: Vec<_> =
                (0..executors).map(|_| TicketLock::open(dir.path(), 1, executors).unwrap()).collect();
            // All executors are in the queue before the first one waits for its core.
            let turns: Vec<_> = turnstiles.iter().map(|ticket_lock| ticket_lock.line_up().unwrap()).collect();
            let (sender, served) = std::sync::mpsc::channel();
            for (who, (ticket_lock, turn)) in turnstiles.into_iter().zip(turns).enumerate() {
                let sender = sender.clone();
                // The threads are not scoped: a scope would wait for a thread that never gets the lease, and the test
                // would hang.
                thread::spawn(move || {
                    let lease = ticket_lock.take(turn).unwrap();
                    sender.send(who).unwrap();
                    drop(lease);
                });
            }
            let order: Vec<usize> =
                (0..executors).map_while(|_| served.recv_timeout(Duration::from_secs(5)).ok()).collect();
            assert_eq!(order, (0..executors).collect::<Vec<_>>(), "of {executors}");
        }
    }

    #[test]
    fn one_that_dies_in_the_queue_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let [first, dead, last] = [(); 3].map(|()| TicketLock::open(dir.path(), 1, 3).unwrap());
        let lease = first.take(first.line_up().unwrap()).unwrap();
        // The second executor takes a number and then closes all its files, as a process that dies does.
        let _turn = dead.line_up().unwrap();
        drop(dead);
        thread::scope(|scope| {
            let waits = scope.spawn(|| drop(last.take(last.line_up().unwrap()).unwrap()));
            thread::sleep(Duration::from_millis(20));
            assert!(!waits.is_finished(), "the core is still held");
            drop(lease);
        });
    }

    #[test]
    fn a_greedy_executor_does_not_starve_another() {
        let dir = tempfile::tempdir().unwrap();
        let counts = [AtomicU32::new(0), AtomicU32::new(0)];
        thread::scope(|scope| {
            for count in &counts {
                scope.spawn(|| {
                    let ticket_lock = TicketLock::open(dir.path(), 1, 2).unwrap();
                    let end = std::time::Instant::now() + Duration::from_millis(400);
                    while std::time::Instant::now() < end {
                        let _lease = ticket_lock.take(ticket_lock.line_up().unwrap()).unwrap();
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

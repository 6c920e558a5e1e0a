//! Result directories with unique numbers: two programs that claim a directory at the same instant get different
//! numbers.
use crate::error::{Error, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The prefix of the names of incomplete directories.
pub const PARTIAL: &str = ".partial-";

/// Returns a directory's name: `stem` and the number, with `_` for characters that some shells or file systems reject.
fn numbered(stem: &str, n: u32) -> String {
    let safe = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    format!("{}-{n:03}", stem.chars().map(safe).collect::<String>())
}

/// Creates the directory. Returns false if the name exists already.
fn made(dir: &Path) -> Result<bool> {
    match fs::create_dir(dir) {
        Ok(()) => Ok(true),
        Err(why) if why.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(why) => Err(Error::Io { path: dir.to_owned(), why }),
    }
}

/// Creates `<stem>-<n>` under `parent`, with the smallest free `n`.
///
/// # Errors
/// A directory cannot be created.
pub fn directory(parent: &Path, stem: &str) -> Result<PathBuf> {
    fs::create_dir_all(parent).map_err(Error::io(parent))?;
    for n in 1..u32::MAX {
        let dir = parent.join(numbered(stem, n));
        if made(&dir)? {
            return Ok(dir);
        }
    }
    Err(Error::NoNumber { parent: parent.to_owned(), stem: stem.to_owned() })
}

/// A claimed number, held by a directory whose name marks it as partial.
#[derive(Debug)]
pub struct Claim {
    parent: PathBuf,
    stem: String,
    n: u32,
}

impl Claim {
    /// Creates `.partial-<stem>-<n>` under `parent`, with the smallest `n` that neither a complete nor a partial
    /// directory has.
    ///
    /// # Errors
    /// A directory cannot be created.
    pub fn new(parent: &Path, stem: &str) -> Result<Claim> {
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
        let mut claim = Claim { parent: parent.to_owned(), stem: stem.to_owned(), n: 0 };
        while !claim.next()? {}
        Ok(claim)
    }

    /// Tries the next number. Another program may just have renamed its partial directory of this number to the
    /// complete name, which frees the partial name. The complete name is therefore checked after the partial directory
    /// was created: from then on no other program takes it.
    fn next(&mut self) -> Result<bool> {
        self.n = self
            .n
            .checked_add(1)
            .ok_or_else(|| Error::NoNumber { parent: self.parent.clone(), stem: self.stem.clone() })?;
        if self.whole().exists() || !made(&self.partial())? {
            return Ok(false);
        }
        let taken = self.whole().exists();
        if taken {
            fs::remove_dir(self.partial()).map_err(Error::io(&self.partial()))?;
        }
        Ok(!taken)
    }

    pub fn partial(&self) -> PathBuf {
        self.parent.join(format!("{PARTIAL}{}", numbered(&self.stem, self.n)))
    }

    fn whole(&self) -> PathBuf {
        self.parent.join(numbered(&self.stem, self.n))
    }

    /// Renames the directory to its complete name, or to the next free number if that name was taken meanwhile.
    ///
    /// # Errors
    /// The directory cannot be renamed.
    pub fn settle(mut self) -> Result<PathBuf> {
        let dir = self.partial();
        while self.whole().exists() {
            while !self.next()? {}
            fs::remove_dir(self.partial()).map_err(Error::io(&self.partial()))?;
        }
        let path = self.whole();
        fs::rename(&dir, &path).map_err(Error::io(&path))?;
        for dir in [&path, &self.parent] {
            fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io(dir))?;
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::{Claim, directory};
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::PathBuf;
    use std::sync::Barrier;

    /// Calls `claim` several times from many threads at once, and returns all results.
    fn together(claim: impl Fn() -> PathBuf + Sync) -> BTreeSet<PathBuf> {
        const THREADS: usize = 8;
        const TIMES: usize = 50;
        let barrier = Barrier::new(THREADS);
        let all: Vec<PathBuf> = std::thread::scope(|scope| {
            let claims = |_| {
                scope.spawn(|| {
                    let one = |_| {
                        barrier.wait();
                        claim()
                    };
                    (0..TIMES).map(one).collect::<Vec<_>>()
                })
            };
            let threads: Vec<_> = (0..THREADS).map(claims).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no claim fails")).collect()
        });
        let distinct: BTreeSet<PathBuf> = all.iter().cloned().collect();
        assert_eq!(distinct.len(), THREADS * TIMES, "each has a directory of its own");
        distinct
    }

    #[test]
    fn claims_at_the_same_instant_get_numbers_of_their_own() {
        let parent = tempfile::tempdir().expect("a directory");
        let claimed = together(|| {
            let claim = Claim::new(parent.path(), "one-sim").expect("claimed");
            fs::write(claim.partial().join("cells.csv"), "cell\n").expect("written");
            claim.settle().expect("settled")
        });
        assert!(claimed.iter().all(|dir| dir.join("cells.csv").exists()));
        together(|| directory(parent.path(), "one-twin").expect("made"));
    }

    #[test]
    fn a_name_that_something_else_has_got_meanwhile_is_left_alone() {
        let parent = tempfile::tempdir().expect("a directory");
        let claim = Claim::new(parent.path(), "one-sim").expect("claimed");
        fs::write(claim.partial().join("cells.csv"), "cell\n").expect("written");
        fs::write(parent.path().join("one-sim-001"), "a file").expect("written");
        let path = claim.settle().expect("settled");
        assert!(path.ends_with("one-sim-002") && path.join("cells.csv").exists());
        assert_eq!(fs::read_dir(parent.path()).expect("there").count(), 2, "no partial directory is left");
    }
}

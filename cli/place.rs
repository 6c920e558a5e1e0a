//! Checks of output locations before anything is measured.
use crate::exit::Exit;
use miette::miette;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

fn refuse(option: &str, why: impl std::fmt::Display) -> Exit {
    Exit { code: 1, report: miette!("{option} cannot be written: {why}") }
}

fn failed(option: &str, path: &Path, why: &io::Error) -> Exit {
    refuse(option, format!("{}: {why}", path.display()))
}

/// The number of bytes that must fit on the file system before a command produces results.
const ROOM: usize = 64 << 10;

/// Checks that a file can be created in the directory and that `ROOM` bytes fit in it. The file is temporary and has no
/// name, so nothing is left behind.
fn try_file(dir: &Path) -> io::Result<()> {
    tempfile::tempfile_in(dir).and_then(|mut file| file.write_all(&vec![0; ROOM]))
}

/// Returns an error if no file can be created in the directory.
fn writable(option: &str, dir: &Path) -> Result<(), Exit> {
    try_file(dir).map_err(|why| refuse(option, format!("no file can be created in {}: {why}", dir.display())))
}

/// Returns an error if nothing can be created in the directory for temporary files, which live runs need.
pub fn temporary() -> Result<(), Exit> {
    let dir = std::env::temp_dir();
    try_file(&dir).map_err(|why| {
        let set = std::env::var_os("TMPDIR").is_some();
        let which =
            if set { "the directory that TMPDIR names" } else { "the default directory when TMPDIR is not set" };
        let help = "set TMPDIR to a directory that is writable and has free space";
        let dir = dir.display();
        Exit { code: 1, report: miette!(help = help, "no file can be created in {dir}, {which}: {why}") }
    })
}

/// Whether a path names the standard output.
pub fn is_stdout(path: &Path) -> bool {
    ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].iter().any(|stdout| path == Path::new(stdout))
}

/// The parent of a path. For a relative path of one name, the parent is the working directory.
fn parent(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

/// Returns an error if nothing can be created in the directory `out`, or in its nearest existing ancestor.
pub fn directory(out: &Path) -> Result<(), Exit> {
    let option = format!("--out {}", out.display());
    let mut nearest = out.to_owned();
    while std::fs::symlink_metadata(&nearest).is_err_and(|why| why.kind() == io::ErrorKind::NotFound) {
        nearest = parent(&nearest).ok_or_else(|| refuse(&option, "none of its parent directories exists"))?;
    }
    let found = std::fs::metadata(&nearest).map_err(|why| failed(&option, &nearest, &why))?;
    if !found.is_dir() {
        return Err(refuse(&option, format!("{} is not a directory", nearest.display())));
    }
    writable(&option, &nearest)
}

/// Returns an error if the file `out` can be neither created nor replaced. The standard output is accepted.
pub fn file(out: &Path) -> Result<(), Exit> {
    let option = format!("--out {}", out.display());
    if is_stdout(out) {
        return Ok(());
    }
    let link = std::fs::symlink_metadata(out).is_ok_and(|found| found.is_symlink());
    match std::fs::metadata(out) {
        Ok(found) if found.is_dir() => return Err(refuse(&option, "the path is a directory; name a file in it")),
        Ok(found) if !found.is_file() => {
            return Err(refuse(&option, "the path is not a regular file; name a file, or /dev/stdout"));
        }
        Ok(_) => drop(File::options().write(true).open(out).map_err(|why| failed(&option, out, &why))?),
        Err(why) if why.kind() == io::ErrorKind::NotFound && link => {
            return Err(refuse(&option, "the path is a symbolic link whose target does not exist"));
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        Err(why) => return Err(failed(&option, out, &why)),
    }
    if out.as_os_str().as_bytes().ends_with(b"/") {
        return Err(refuse(&option, "a path that ends in / names a directory; name a file in it"));
    }
    // A symbolic link is followed, because the file that it points to is the one that is replaced.
    let out = &target(out);
    let parent = parent(out).ok_or_else(|| refuse(&option, "the path names no file"))?;
    if !parent.exists() {
        return Err(refuse(&option, format!("the directory {} does not exist; create it first", parent.display())));
    }
    writable(&option, &parent)
}

/// Returns the path with symbolic links resolved, or the path itself if it does not exist.
pub fn target(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{directory, file};
    use std::fs;

    #[test]
    fn a_place_is_looked_at_without_making_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |path: &str| dir.path().join(path);
        fs::write(at("taken"), "here already").expect("written");
        let why = |done: Result<(), crate::exit::Exit>| done.map_err(|stop| stop.report.to_string()).err();
        assert_eq!(why(directory(&at("a/b/c"))), None);
        assert_eq!(why(file(&at("new.ron"))), None);
        assert_eq!(why(file(&at("taken"))), None);
        assert_eq!(why(file("/dev/stdout".as_ref())), None);
        assert!(why(file("/dev/full".as_ref())).expect("a device").contains("not a regular file"));
        assert!(why(file(&at("new/"))).expect("a directory is meant").contains("ends in /"));
        std::os::unix::fs::symlink(at("nowhere"), at("dangling")).expect("a link");
        assert!(why(file(&at("dangling"))).expect("it leads nowhere").contains("symbolic link"));
        fs::remove_file(at("dangling")).expect("removed");
        assert!(why(directory(&at("taken/b"))).expect("a file is in the way").contains("taken"));
        assert!(why(directory(&at("taken"))).expect("a file is in the way").contains("is not a directory"));
        assert!(why(file(&at("a/new.ron"))).expect("no parent").contains("create it first"));
        assert!(why(file(dir.path())).expect("a directory").contains("name a file in it"));
        assert!(why(directory("/proc/1/runs".as_ref())).is_some() && why(file("/proc/none.ron".as_ref())).is_some());
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 1, "nothing was made");
        assert_eq!(fs::read_to_string(at("taken")).expect("there"), "here already");
    }
}

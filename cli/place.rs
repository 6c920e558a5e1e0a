//! Checks of output locations before anything is measured.
use crate::exit::Exit;
use miette::miette;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

fn refuse(option: &str, why: impl std::fmt::Display) -> Exit {
    Exit { code: 1, report: miette!("{option} cannot be written: {why}") }
}

fn failed(option: &str, path: &Path, why: &io::Error) -> Exit {
    refuse(option, format!("{}: {why}", path.display()))
}

/// Returns an error if no file can be created in the directory. The check creates an unnamed temporary file, which
/// leaves nothing behind.
fn writable(option: &str, dir: &Path) -> Result<(), Exit> {
    tempfile::tempfile_in(dir).map(drop).map_err(|why| failed(option, dir, &why))
}

/// The parent of a path. A relative path of one name lies in the working directory.
fn parent(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

/// Returns an error if nothing can be created in the directory `out`, or in its nearest existing ancestor.
pub fn directory(out: &Path) -> Result<(), Exit> {
    let option = format!("--out {}", out.display());
    let mut nearest = out.to_owned();
    while std::fs::symlink_metadata(&nearest).is_err_and(|why| why.kind() == io::ErrorKind::NotFound) {
        nearest = parent(&nearest).ok_or_else(|| refuse(&option, "no directory above it exists"))?;
    }
    let found = std::fs::metadata(&nearest).map_err(|why| failed(&option, &nearest, &why))?;
    if !found.is_dir() {
        return Err(refuse(&option, format!("{} is no directory", nearest.display())));
    }
    writable(&option, &nearest)
}

/// Returns an error if the file `out` can be neither created nor replaced.
pub fn file(out: &Path) -> Result<(), Exit> {
    let option = format!("--out {}", out.display());
    match std::fs::metadata(out) {
        Ok(found) if found.is_dir() => return Err(refuse(&option, "it is a directory; name a file in it")),
        // Opening a pipe would wait for its other end.
        Ok(found) if !found.is_file() => return Ok(()),
        Ok(_) => drop(File::options().write(true).open(out).map_err(|why| failed(&option, out, &why))?),
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        Err(why) => return Err(failed(&option, out, &why)),
    }
    let parent = parent(out).ok_or_else(|| refuse(&option, "it names no file"))?;
    if !parent.exists() {
        return Err(refuse(&option, format!("the directory {} does not exist; make it first", parent.display())));
    }
    writable(&option, &parent)
}

/// Whether the path exists and is not a regular file: `/dev/stdout`, a pipe.
pub fn is_device(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
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
        assert!(why(directory(&at("taken/b"))).expect("a file is in the way").contains("taken"));
        assert!(why(directory(&at("taken"))).expect("a file is in the way").contains("is no directory"));
        assert!(why(file(&at("a/new.ron"))).expect("no parent").contains("make it first"));
        assert!(why(file(dir.path())).expect("a directory").contains("name a file in it"));
        assert!(why(directory("/proc/1/runs".as_ref())).is_some() && why(file("/proc/none.ron".as_ref())).is_some());
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 1, "nothing was made");
        assert_eq!(fs::read_to_string(at("taken")).expect("there"), "here already");
    }
}

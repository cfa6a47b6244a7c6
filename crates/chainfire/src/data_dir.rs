//! The data directory: one process at a time, one format.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};

/// The layout this build reads and writes.
const FORMAT: &str = "chainfire 1";

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("{} is in use by another process: stop it, or give this one another data_dir", .0.display())]
    InUse(PathBuf),
    /// Written by something else.
    #[error(
        "{} says {found:?} and this build reads {FORMAT:?}: start the build that wrote it, or restore a snapshot into an empty directory",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// There are files, but not ours.
    #[error("{} is not empty and has no FORMAT file, so it is not ChainFire's: give another data_dir", .0.display())]
    Foreign(PathBuf),
    /// The disk refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    _lock: Flock<File>,
}

impl DataDir {
    /// Makes the directory if it is missing, locks it, and checks or writes its format.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(io(path))?;
        let lock_path = path.join("LOCK");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(io(&lock_path))?;
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                return Err(DataDirError::InUse(path.to_owned()));
            }
            Err((_, error)) => return Err(io(&lock_path)(error.into())),
        };
        check_format(path)?;
        // Checkpoints for clients that a crash left behind.
        let leftovers = path.join("outgoing");
        if leftovers.exists() {
            fs::remove_dir_all(&leftovers).map_err(io(&leftovers))?;
        }
        Ok(Self { _lock: lock })
    }
}

fn check_format(dir: &Path) -> Result<(), DataDirError> {
    let path = dir.join("FORMAT");
    let failed = |source| DataDirError::Io {
        path: path.clone(),
        source,
    };
    match fs::read_to_string(&path) {
        Ok(found) if found.trim_end() == FORMAT => Ok(()),
        Ok(found) => Err(DataDirError::Format {
            path: path.clone(),
            found: found.trim_end().to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut names = fs::read_dir(dir).map_err(failed)?;
            if names.any(|entry| {
                entry.is_ok_and(|entry| !entry.file_name().to_string_lossy().starts_with("LOCK"))
            }) {
                return Err(DataDirError::Foreign(dir.to_owned()));
            }
            write_format(dir, &path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Whole and durable, or not there: a crash must not leave a file that says half of it.
fn write_format(dir: &Path, path: &Path) -> io::Result<()> {
    let new = dir.join("LOCK.FORMAT");
    let mut file = File::create(&new)?;
    writeln!(file, "{FORMAT}")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn belongs_to_one_process_until_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let held = DataDir::open(&path).unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::InUse(_))));
        drop(held);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn another_format_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("FORMAT"), "chainfire 99\n").unwrap();
        let error = DataDir::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("chainfire 99"), "{error}");
        assert_eq!(
            fs::read_to_string(dir.path().join("FORMAT")).unwrap(),
            "chainfire 99\n"
        );
    }

    #[test]
    fn somebody_elses_directory_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "mine").unwrap();
        assert!(matches!(
            DataDir::open(dir.path()),
            Err(DataDirError::Foreign(_))
        ));
    }

    #[test]
    fn leftovers_of_a_crash_go() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path()).unwrap());
        fs::create_dir_all(dir.path().join("outgoing/x")).unwrap();
        // A crash between creating and renaming FORMAT.
        fs::write(dir.path().join("LOCK.FORMAT"), "ch").unwrap();
        drop(DataDir::open(dir.path()).unwrap());
        assert!(!dir.path().join("outgoing").exists());
    }
}

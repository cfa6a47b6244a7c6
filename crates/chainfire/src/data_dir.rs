//! The data directory: one process at a time, one format, one owner.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, lchown},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{Flock, FlockArg},
    unistd::geteuid,
};

/// The layout this build reads and writes.
pub(crate) const FORMAT: &str = "chainfire 1";

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
    /// A restore or a recovery did not come to its end.
    #[error("{}: {advice}", path.display())]
    Unfinished {
        /// The directory.
        path: PathBuf,
        /// What it was, and what to do.
        advice: String,
    },
    /// A node has not been here.
    #[error("{} is no data directory of a node: it has no FORMAT file", .0.display())]
    NotOurs(PathBuf),
    /// Something is in the way.
    #[error("{} is not empty: a restore makes a new data directory and never touches one", .0.display())]
    NotEmpty(PathBuf),
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
    path: PathBuf,
    /// What an interrupted restore or recovery left to do.
    unfinished: Option<String>,
    _lock: Flock<File>,
}

/// While it is there the node does not start; it says why. Its name begins like the lock's, because it may be there
/// before anything else.
const UNFINISHED: &str = "LOCK.UNFINISHED";

impl DataDir {
    /// Makes the directory if it is missing, locks it, and checks or writes its format.
    ///
    /// # Errors
    /// In use, of another format, not ours, or unfinished; the text says what to do.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        create(path)?;
        // Before anything of ours is put into it. What is unfinished has no FORMAT and says better what is wrong.
        if !path.join(UNFINISHED).exists() {
            check_format(path)?;
        }
        let opened = Self::lock(path)?;
        if let Some(advice) = opened.unfinished {
            return Err(DataDirError::Unfinished {
                path: path.to_owned(),
                advice,
            });
        }
        if check_format(path)? == Found::Nothing {
            let format = path.join("FORMAT");
            write_whole(path, &format, FORMAT).map_err(io_at(&format))?;
        }
        // Checkpoints for clients that a crash left behind.
        let leftovers = path.join("outgoing");
        if leftovers.exists() {
            fs::remove_dir_all(&leftovers).map_err(io_at(&leftovers))?;
        }
        Ok(opened)
    }

    /// Locks a node's directory without changing anything in it, also one that is unfinished.
    ///
    /// # Errors
    /// In use, of another format, or not a node's.
    pub fn existing(path: &Path) -> Result<Self, DataDirError> {
        // A restore that was interrupted has no FORMAT yet and says better what is wrong.
        let is_ours = path.join("FORMAT").exists() || path.join(UNFINISHED).exists();
        if !is_ours {
            return Err(DataDirError::NotOurs(path.to_owned()));
        }
        if path.join("FORMAT").exists() {
            check_format(path)?;
        }
        Self::lock(path)
    }

    /// Takes an empty or missing directory for a new node. Until [`DataDir::finish`] a node does not start in it.
    ///
    /// # Errors
    /// Something is in it, or the disk refuses.
    pub fn begin_empty(path: &Path, advice: &str) -> Result<Self, DataDirError> {
        create(path)?;
        let entries = fs::read_dir(path).map_err(io_at(path))?;
        for entry in entries {
            let entry = entry.map_err(io_at(path))?;
            if entry.file_name() != "LOCK" {
                return Err(DataDirError::NotEmpty(path.to_owned()));
            }
        }
        let opened = Self::lock(path)?;
        opened.begin(advice)?;
        Ok(opened)
    }

    fn lock(path: &Path) -> Result<Self, DataDirError> {
        let lock_path = path.join("LOCK");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(io_at(&lock_path))?;
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                return Err(DataDirError::InUse(path.to_owned()));
            }
            Err((_, error)) => return Err(io_at(&lock_path)(error.into())),
        };
        let marker = path.join(UNFINISHED);
        let unfinished = match fs::read(&marker) {
            Ok(text) => Some(String::from_utf8_lossy(&text).trim_end().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_at(&marker)(error)),
        };
        Ok(Self {
            path: path.to_owned(),
            unfinished,
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an interrupted restore or recovery left to do, as it was when this was opened.
    pub fn unfinished(&self) -> Option<&str> {
        self.unfinished.as_deref()
    }

    /// From now on, also over a crash, a node does not start here, and says `advice`.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn begin(&self, advice: &str) -> Result<(), DataDirError> {
        let marker = self.path.join(UNFINISHED);
        write_whole(&self.path, &marker, advice).map_err(io_at(&marker))?;
        self.keep_owner()
    }

    /// Gives everything in here to whom the directory belongs. What root makes in a service's directory the service
    /// could not open. Does nothing for other users, who cannot give files away and make none but their own.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep_owner(&self) -> Result<(), DataDirError> {
        if !geteuid().is_root() {
            return Ok(());
        }
        let owner = fs::metadata(&self.path).map_err(io_at(&self.path))?;
        give_to(&self.path, owner.uid(), owner.gid())
    }

    /// What was begun is done: a node may start here.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn finish(&self) -> Result<(), DataDirError> {
        let format = self.path.join("FORMAT");
        if !format.exists() {
            write_whole(&self.path, &format, FORMAT).map_err(io_at(&format))?;
        }
        self.keep_owner()?;
        let marker = self.path.join(UNFINISHED);
        fs::remove_file(&marker)
            .and_then(|()| File::open(&self.path)?.sync_all())
            .map_err(io_at(&marker))
    }
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { path, source }
}

/// All that is below `dir`, links themselves and not what they lead to.
fn give_to(dir: &Path, uid: u32, gid: u32) -> Result<(), DataDirError> {
    for entry in fs::read_dir(dir).map_err(io_at(dir))? {
        let path = entry.map_err(io_at(dir))?.path();
        let metadata = fs::symlink_metadata(&path).map_err(io_at(&path))?;
        if (metadata.uid(), metadata.gid()) != (uid, gid) {
            lchown(&path, Some(uid), Some(gid)).map_err(io_at(&path))?;
        }
        if metadata.is_dir() {
            give_to(&path, uid, gid)?;
        }
    }
    Ok(())
}

fn create(path: &Path) -> Result<(), DataDirError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(io_at(path))
}

/// What a directory says about itself.
#[derive(PartialEq, Eq)]
enum Found {
    /// It is a node's, of the format of this build.
    Ours,
    /// It is empty but for our own locks.
    Nothing,
}

/// Refuses what another build or somebody else wrote; changes nothing.
fn check_format(dir: &Path) -> Result<Found, DataDirError> {
    let path = dir.join("FORMAT");
    let failed = |source| DataDirError::Io {
        path: path.clone(),
        source,
    };
    match fs::read_to_string(&path) {
        Ok(found) if found.trim_end() == FORMAT => Ok(Found::Ours),
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
            Ok(Found::Nothing)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Whole and durable, or not there: a crash must not leave a file that says half of it.
fn write_whole(dir: &Path, path: &Path, text: &str) -> io::Result<()> {
    let new = dir.join("LOCK.new");
    let mut file = File::create(&new)?;
    writeln!(file, "{text}")?;
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
        assert!(DataDir::existing(dir.path()).is_err());
        assert_eq!(names(dir.path()), ["FORMAT"]);
    }

    fn names(dir: &Path) -> Vec<std::ffi::OsString> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn somebody_elses_directory_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "mine").unwrap();
        assert!(matches!(
            DataDir::open(dir.path()),
            Err(DataDirError::Foreign(_))
        ));
        assert_eq!(names(dir.path()), ["thesis.txt"]);
    }

    #[test]
    fn leftovers_of_a_crash_go() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path()).unwrap());
        fs::create_dir_all(dir.path().join("outgoing/x")).unwrap();
        // A crash between creating and renaming FORMAT.
        fs::write(dir.path().join("LOCK.new"), "ch").unwrap();
        drop(DataDir::open(dir.path()).unwrap());
        assert!(!dir.path().join("outgoing").exists());
    }

    #[test]
    fn what_is_unfinished_does_not_start_and_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        let begun = DataDir::begin_empty(&path, "try again").unwrap();
        fs::create_dir(path.join("state")).unwrap();
        drop(begun);
        let error = DataDir::open(&path).unwrap_err();
        assert!(error.to_string().contains("try again"), "{error}");
        assert!(matches!(
            DataDir::begin_empty(&path, "again"),
            Err(DataDirError::NotEmpty(_))
        ));
        let existing = DataDir::existing(&path).unwrap();
        assert_eq!(existing.unfinished(), Some("try again"));
        existing.finish().unwrap();
        drop(existing);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_directory_without_a_node_is_not_looked_into() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            DataDir::existing(dir.path()),
            Err(DataDirError::NotOurs(_))
        ));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

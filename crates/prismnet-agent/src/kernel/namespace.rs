//! Network namespaces with names, as `ip netns` keeps them: files that a namespace is mounted on.
//!
//! A namespace is entered only by threads that were made for it: `setns` counts for a thread, and an async worker would take it
//! along to other tasks.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns, unshare},
};

use super::Error;

/// The namespace of the thread that looks.
const OWN: &str = "/proc/thread-self/ns/net";

/// Where they are kept.
#[derive(Clone, Debug)]
pub struct Namespaces {
    directory: PathBuf,
}

/// Which namespace it is, however it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    /// That of the calling thread.
    ///
    /// # Errors
    /// Without `/proc`.
    pub fn own() -> Result<Self, Error> {
        Self::of(Path::new(OWN)).map_err(|error| Error::system(OWN, error))
    }
}

impl Namespaces {
    /// Those below a directory, usually `/run/netns`.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The file of a name.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Names that there are.
    ///
    /// # Errors
    /// A directory that cannot be read. One that is not there has none.
    pub fn list(&self) -> Result<Vec<String>, Error> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::system(self.directory.display().to_string(), error)),
        };
        let names = entries.flatten().map(|entry| entry.file_name());
        Ok(names.filter_map(|name| name.into_string().ok()).collect())
    }

    /// Which one the name stands for; `None` if for none: an empty file that was left over is none.
    #[must_use]
    pub fn identity(&self, name: &str) -> Option<Identity> {
        let path = self.path(name);
        let identity = Identity::of(&path).ok()?;
        // A file of the directory's own file system is no mounted namespace.
        let parent = Identity::of(&self.directory).ok()?;
        (identity.device != parent.device).then_some(identity)
    }

    /// The namespace of the name, open.
    ///
    /// # Errors
    /// If there is none.
    pub fn open(&self, name: &str) -> Result<File, Error> {
        let path = self.path(name);
        File::open(&path).map_err(|error| Error::system(path.display().to_string(), error))
    }

    /// The calling thread goes into the namespace, for good.
    ///
    /// # Errors
    /// If there is none, or no right to.
    pub fn enter(&self, name: &str) -> Result<(), Error> {
        let file = self.open(name)?;
        setns(file.as_fd(), CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::system(format!("setns {name}"), errno))
    }

    /// The calling thread goes into a new namespace of that name, for good.
    ///
    /// # Errors
    /// No right to, or a name that is taken.
    pub fn make(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        let what = |what: &str| format!("{what} {}", path.display());
        // Another one may have died between this and the mount.
        File::create(&path).map_err(|error| Error::system(what("create"), error))?;
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| Error::system("unshare", errno))?;
        mount(
            Some(OWN),
            &path,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .map_err(|errno| Error::system(what("mount"), errno))
    }

    /// The name is gone; the namespace goes with the last that is in it. What is not there is not missed.
    ///
    /// # Errors
    /// No right to.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        if self.identity(name).is_some() {
            umount2(&path, MntFlags::MNT_DETACH)
                .map_err(|errno| Error::system(format!("umount {}", path.display()), errno))?;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::system(format!("remove {}", path.display()), error))
            }
            _ => Ok(()),
        }
    }

    /// The directory becomes a mount point of its own that shares its mounts, as `ip netns add` makes it: else a name that is
    /// removed would live on in the mount namespaces of others. Once, before any is made.
    ///
    /// # Errors
    /// No right to.
    pub fn prepare(&self) -> Result<(), Error> {
        let directory = &self.directory;
        let failed = |error: io::Error| Error::system(directory.display().to_string(), error);
        fs::create_dir_all(directory).map_err(failed)?;
        let shared = MsFlags::MS_SHARED | MsFlags::MS_REC;
        let share = || mount(None::<&str>, directory, None::<&str>, shared, None::<&str>);
        if share().is_ok() {
            return Ok(());
        }
        let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(directory), directory, None::<&str>, bind, None::<&str>)
            .and_then(|()| share())
            .map_err(|errno| failed(errno.into()))
    }
}

/// Runs something on a thread of its own in a namespace, with a runtime there.
///
/// # Errors
/// What it answers; that the namespace cannot be entered.
pub fn run_in<T, F, Fut>(namespaces: &Namespaces, name: &str, task: F) -> Result<T, Error>
where
    T: Send,
    F: FnOnce() -> Fut + Send,
    Fut: Future<Output = Result<T, Error>>,
{
    on_thread(move || {
        namespaces.enter(name)?;
        runtime()?.block_on(task())
    })
}

/// Runs something on a thread of its own.
pub(crate) fn on_thread<T: Send>(
    task: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    std::thread::scope(|scope| {
        let handle = std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, task)
            .map_err(|error| Error::system("a thread", error))?;
        handle
            .join()
            .unwrap_or_else(|_| Err(Error::system("a thread", io::Error::other("it panicked"))))
    })
}

/// A runtime for a thread in a namespace.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::system("a runtime", error))
}

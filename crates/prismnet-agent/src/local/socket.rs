//! The socket's file: who may open it, and one left over by an agent that died.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::{Flock, FlockArg};
use tokio::net::UnixListener;

/// Bound, as long as it lives; the file stays when it ends, and the next agent replaces it.
#[derive(Debug)]
pub struct Socket {
    /// For whoever serves it.
    pub listener: UnixListener,
    pub(super) _alone: Flock<File>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum NoSocket {
    /// An agent that lives has it.
    #[error("another agent serves {0}")]
    Taken(PathBuf),
    /// What stands there is no socket.
    #[error("{0} is there, and is no socket: it is left alone")]
    Occupied(PathBuf),
    /// The machine refused.
    #[error("{0}: {1}")]
    System(PathBuf, #[source] io::Error),
}

impl Socket {
    /// Binds it. With `everybody` any user may connect, and has to be told from others by its credentials; else only root.
    ///
    /// # Errors
    /// If an agent that lives has it, or the machine refuses.
    pub fn bind(path: &Path, everybody: bool) -> Result<Self, NoSocket> {
        let failed = |error| NoSocket::System(path.to_owned(), error);
        if let Some(directory) = path.parent()
            && !directory.exists()
        {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o755);
            builder.create(directory).map_err(failed)?;
            // Whatever the process's mask says: others go through here to sockets of their own.
            fs::set_permissions(directory, Permissions::from_mode(0o755)).map_err(failed)?;
        }
        let alone = lock(path)?;
        match fs::symlink_metadata(path) {
            // Who has the lock is alone: nobody serves this one.
            Ok(found) if found.file_type().is_socket() => fs::remove_file(path).map_err(failed)?,
            Ok(_) => return Err(NoSocket::Occupied(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        // Under another name until nobody can open it who may not.
        let beside = path.with_extension("new");
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&beside).map_err(failed)?;
        let mode = if everybody { 0o666 } else { 0o600 };
        fs::set_permissions(&beside, Permissions::from_mode(mode)).map_err(failed)?;
        fs::rename(&beside, path).map_err(failed)?;
        Ok(Self {
            listener,
            _alone: alone,
        })
    }
}

/// Held as long as the agent lives, however it ends.
fn lock(path: &Path) -> Result<Flock<File>, NoSocket> {
    let failed = |error| NoSocket::System(path.to_owned(), error);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.with_extension("lock"))
        .map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::Error::EWOULDBLOCK => NoSocket::Taken(path.to_owned()),
        errno => failed(errno.into()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn a_dead_one_is_replaced_and_a_live_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("photon/agent.sock");
        let first = Socket::bind(&path, false).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o755);
        let other = Socket::bind(&path, false).unwrap_err();
        assert!(matches!(other, NoSocket::Taken(_)), "{other}");
        tokio::net::UnixStream::connect(&path).await.unwrap();
        drop(first);
        tokio::net::UnixStream::connect(&path).await.unwrap_err();
        let second = Socket::bind(&path, true).unwrap();
        assert_eq!(mode(&path), 0o666);
        tokio::net::UnixStream::connect(&path).await.unwrap();
        drop(second);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        let mine = Socket::bind(&path, false).unwrap_err();
        assert!(matches!(mine, NoSocket::Occupied(_)), "{mine}");
    }
}

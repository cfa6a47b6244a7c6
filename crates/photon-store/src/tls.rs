//! Certificates towards the store that are read again when their files change: a leaf lives shorter than a process may.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::store::{Store, Tls};

/// How often the files are looked at; a look is a few `stat` calls.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The files of a [`Tls`], PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority that issued the servers' certificates.
    pub authority: PathBuf,
    /// Our certificate chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The name to expect in the servers' certificates if it is not the host in the URL.
    pub server_name: Option<String>,
}

/// What tells one version of the files from the next.
type Stamp = Vec<Option<(SystemTime, u64, u64)>>;

impl TlsFiles {
    /// Reads them.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn read(&self) -> io::Result<Tls> {
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })
        };
        Ok(Tls {
            authority: read(&self.authority)?,
            identity: Some((read(&self.certificate)?, read(&self.key)?)),
            server_name: self.server_name.clone(),
        })
    }

    fn stamp(&self) -> Stamp {
        [&self.authority, &self.certificate, &self.key]
            .into_iter()
            .map(|path| {
                let meta = fs::metadata(path).ok()?;
                Some((meta.modified().ok()?, meta.len(), meta.ino()))
            })
            .collect()
    }
}

impl Store {
    /// Follows the files of the certificates this store was connected with, until asked to stop: when they change, they
    /// are read again and the store goes on with them. What cannot be used leaves the old ones in force and a warning, and is
    /// tried again: certificate and key may be between two writes.
    pub async fn follow_tls(self, files: TlsFiles, stop: CancellationToken) {
        let mut used = files.stamp();
        while stop
            .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
            .await
            .is_some()
        {
            let now = files.stamp();
            if now == used {
                continue;
            }
            match self.read_again(&files).await {
                Ok(()) => {
                    tracing::info!(certificate = %files.certificate.display(), "certificates towards the store read again");
                    used = now;
                }
                Err(error) => {
                    tracing::warn!(%error, "changed certificates towards the store cannot be used; the old ones stay");
                }
            }
        }
    }

    async fn read_again(&self, files: &TlsFiles) -> crate::Result<()> {
        let tls = files
            .read()
            .map_err(|error| crate::Error::Protocol(error.to_string()))?;
        self.replace_tls(&tls).await
    }
}

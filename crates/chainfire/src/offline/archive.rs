//! Reading what [`App::snapshot`](crate::app::App::snapshot) wrote: a `ustar` archive of a manifest and the files it
//! names, and behind it, if it came through etcd's `Snapshot`, the SHA-256 of all of it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

const BLOCK: usize = 512;

/// Length of the checksum behind the archive.
const CHECKSUM: u64 = 32;

/// No manifest is larger; a damaged length must not fill the memory.
const MAX_MANIFEST: u64 = 64 << 20;

/// The layout this build reads.
const FORMAT: u32 = 1;

/// Why a file is not a good snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// It is not what was written.
    #[error("{} is damaged or not a ChainFire snapshot: {reason}. Do not restore it; take another copy", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A later layout.
    #[error("{} has snapshot format {found} and this build reads {FORMAT}: use the build that wrote it, or a later one", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
    },
    /// The disk refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the archive says about itself.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    /// The version that wrote it.
    pub(crate) version: String,
    pub(crate) cluster_id: u64,
    pub(crate) incarnation: String,
    /// The state has at least this revision.
    pub(crate) revision: i64,
    pub(crate) files: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    name: String,
    bytes: u64,
    sha256: String,
}

/// A snapshot that was read to its end; every checksum in it is right.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) manifest: Manifest,
    pub(crate) bytes: u64,
    /// Whether the whole file's checksum stood behind it. Without it the files' own checksums are what was checked.
    pub(crate) has_checksum: bool,
}

/// Reads all of `file`, and writes the state in it into `into`, which must exist.
pub(crate) fn read(file: &Path, into: Option<&Path>) -> Result<Contents, ArchiveError> {
    let at_file = |source| ArchiveError::Io {
        path: file.to_owned(),
        source,
    };
    let opened = File::open(file).map_err(at_file)?;
    let bytes = opened.metadata().map_err(at_file)?.len();
    let has_checksum = bytes % BLOCK as u64 == CHECKSUM;
    let archive = if has_checksum {
        bytes - CHECKSUM
    } else {
        bytes
    };
    let mut all = BufReader::with_capacity(1 << 20, opened);
    let mut reader = Reading {
        path: file,
        from: Digesting {
            from: (&mut all).take(archive),
            digest: Sha256::new(),
        },
    };
    let manifest = reader.manifest()?;
    reader.files(&manifest, into)?;
    reader.end()?;
    let digest = reader.from.digest.finalize();
    if has_checksum {
        let mut expected = [0; CHECKSUM as usize];
        all.read_exact(&mut expected).map_err(at_file)?;
        if digest.as_slice() != expected {
            return Err(ArchiveError::Damaged {
                path: file.to_owned(),
                reason: "its SHA-256 is not the one at its end".to_owned(),
            });
        }
    }
    Ok(Contents {
        manifest,
        bytes,
        has_checksum,
    })
}

/// Hashes what passes.
struct Digesting<R> {
    from: R,
    digest: Sha256,
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.digest.update(&buffer[..read]);
        Ok(read)
    }
}

struct Reading<'a, R> {
    path: &'a Path,
    from: R,
}

impl<R: Read> Reading<'_, R> {
    fn damaged(&self, reason: impl Into<String>) -> ArchiveError {
        ArchiveError::Damaged {
            path: self.path.to_owned(),
            reason: reason.into(),
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        let path = self.path;
        self.from.read_exact(buffer).map_err(|source| {
            if source.kind() == io::ErrorKind::UnexpectedEof {
                self.damaged("it ends too early")
            } else {
                let path = path.to_owned();
                ArchiveError::Io { path, source }
            }
        })
    }

    /// The next header; `None`: the end of the archive has begun.
    fn header(&mut self) -> Result<Option<(String, u64)>, ArchiveError> {
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        if block == [0; BLOCK] {
            return Ok(None);
        }
        parse_header(&block)
            .map(Some)
            .ok_or_else(|| self.damaged("a header in it cannot be read"))
    }

    fn manifest(&mut self) -> Result<Manifest, ArchiveError> {
        let bytes = match self.header()? {
            Some((name, bytes)) if name == "manifest.json" && bytes <= MAX_MANIFEST => bytes,
            _ => return Err(self.damaged("it does not begin with manifest.json")),
        };
        let mut json = Vec::new();
        self.content(bytes, &mut json)?;
        let manifest: Manifest = serde_json::from_slice(&json)
            .map_err(|error| self.damaged(format!("manifest.json: {error}")))?;
        if manifest.format != FORMAT {
            return Err(ArchiveError::Format {
                path: self.path.to_owned(),
                found: manifest.format,
            });
        }
        Ok(manifest)
    }

    fn files(&mut self, manifest: &Manifest, into: Option<&Path>) -> Result<(), ArchiveError> {
        let mut expected: BTreeMap<&str, &Entry> = manifest
            .files
            .iter()
            .map(|entry| (entry.name.as_str(), entry))
            .collect();
        while let Some((name, bytes)) = self.header()? {
            let Some(entry) = expected.remove(name.as_str()) else {
                return Err(self.damaged(format!("{name} is not in its manifest")));
            };
            if entry.bytes != bytes {
                return Err(
                    self.damaged(format!("{name} has another length than its manifest says"))
                );
            }
            let file = name.strip_prefix("state/").filter(|file| is_plain(file));
            let Some(file) = file else {
                return Err(self.damaged(format!("{name} is no name of a file of the state")));
            };
            let sha256 = match into {
                Some(dir) => self.unpack(bytes, &dir.join(file))?,
                None => self.content(bytes, &mut io::sink())?,
            };
            if sha256 != entry.sha256 {
                return Err(self.damaged(format!("{name} does not have its checksum")));
            }
        }
        match expected.keys().next() {
            Some(missing) => Err(self.damaged(format!("{missing} is missing"))),
            None => Ok(()),
        }
    }

    fn unpack(&mut self, bytes: u64, to: &Path) -> Result<String, ArchiveError> {
        let at = |source| ArchiveError::Io {
            path: to.to_owned(),
            source,
        };
        let mut file = File::create_new(to).map_err(at)?;
        let sha256 = self.content(bytes, &mut file)?;
        file.sync_all().map_err(at)?;
        Ok(sha256)
    }

    /// Copies the content of an entry and reads over its padding; its SHA-256.
    fn content(&mut self, bytes: u64, to: &mut impl Write) -> Result<String, ArchiveError> {
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        let mut left = bytes;
        while left > 0 {
            let piece = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            self.fill(&mut buffer[..piece])?;
            digest.update(&buffer[..piece]);
            to.write_all(&buffer[..piece])
                .map_err(|source| ArchiveError::Io {
                    path: self.path.to_owned(),
                    source,
                })?;
            left -= piece as u64;
        }
        let padding = bytes.next_multiple_of(BLOCK as u64) - bytes;
        // Less than a block.
        let padding = usize::try_from(padding).unwrap_or(0);
        self.fill(&mut buffer[..padding])?;
        if buffer[..padding].iter().any(|byte| *byte != 0) {
            return Err(self.damaged("there is something between its files"));
        }
        Ok(hex(&digest.finalize()))
    }

    /// The second empty block, and nothing behind it.
    fn end(&mut self) -> Result<(), ArchiveError> {
        if self.header()?.is_some() {
            return Err(self.damaged("it goes on behind its end"));
        }
        let mut more = [0];
        match self.from.read(&mut more) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged("it goes on behind its end")),
            Err(source) => Err(ArchiveError::Io {
                path: self.path.to_owned(),
                source,
            }),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A single name, nothing that leads elsewhere.
fn is_plain(name: &str) -> bool {
    let mut components = Path::new(name).components();
    matches!(
        (components.next(), components.next()),
        (Some(std::path::Component::Normal(only)), None) if only == name
    )
}

/// Name and length of a plain file (POSIX.1-1988 `ustar`).
fn parse_header(block: &[u8; BLOCK]) -> Option<(String, u64)> {
    let octal = |field: &[u8]| {
        let text = std::str::from_utf8(field).ok()?;
        u64::from_str_radix(text.trim_end_matches(['\0', ' ']), 8).ok()
    };
    let mut summed = *block;
    summed[148..156].copy_from_slice(b"        ");
    let sum: u64 = summed.iter().map(|byte| u64::from(*byte)).sum();
    if octal(&block[148..156])? != sum || block[156] != b'0' || &block[257..262] != b"ustar" {
        return None;
    }
    let name = block[..100].split(|byte| *byte == 0).next()?;
    Some((
        String::from_utf8(name.to_vec()).ok()?,
        octal(&block[124..136])?,
    ))
}

/// A directory for as long as this lives.
#[derive(Debug)]
pub(crate) struct ScratchDir(PathBuf);

impl ScratchDir {
    pub(crate) fn below(dir: &Path) -> Result<Self, ArchiveError> {
        let path = dir.join(format!(".chainfire-{}", uuid::Uuid::now_v7()));
        match fs::create_dir(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(ArchiveError::Io { path, source }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %self.0.display(), %error, "could not delete a scratch directory");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        assert!(is_plain("000012.sst") && is_plain("CURRENT"));
        for name in ["", ".", "..", "a/b", "/a", "../a", "a/"] {
            assert!(!is_plain(name), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("x");
            fs::write(&file, bytes).unwrap();
            prop_assert!(read(&file, None).is_err());
        }
    }
}

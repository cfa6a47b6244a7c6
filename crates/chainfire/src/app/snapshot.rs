//! A consistent copy of the whole store as one stream of bytes.
//!
//! The stream is a POSIX `ustar` archive, so that `tar tf` shows what is in it:
//!
//! ```text
//!   manifest.json            format, cluster id, incarnation, revision, and size and SHA-256 of every file
//!   state/<file>...          a checkpoint of the engine
//! ```
//!
//! and behind the archive its SHA-256, as etcd's. The archive's size is a multiple of 512 (tar's block), which etcdctl
//! demands of a snapshot. The checkpoint is hard links and is gone when the stream has been read or dropped.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use chainfire_engine::{Engine, EtcdError};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::{App, Caller, blocking};

/// Bytes of a piece of the stream, as etcd's.
const CHUNK: usize = 32 << 10;

/// Pieces that wait for a reader.
const CHUNKS_AHEAD: usize = 8;

/// tar's block.
const BLOCK: u64 = 512;

/// The version of the archive's layout.
const FORMAT: u32 = 1;

/// A snapshot on its way out.
#[derive(Debug)]
pub struct Snapshot {
    /// Bytes in all: a multiple of 512, and the checksum.
    pub size: u64,
    /// The store's revision in it.
    pub revision: i64,
    /// The bytes in order, in pieces of at most 32 KiB of which the last is the checksum; ends after `size` bytes or
    /// with an error.
    pub chunks: mpsc::Receiver<io::Result<Bytes>>,
}

impl Snapshot {
    /// Bytes of the checksum behind the archive.
    pub const CHECKSUM: u64 = 32;
}

impl App {
    /// A consistent copy of this node's store. Needs the root role.
    ///
    /// # Errors
    /// `permission denied`; no leader on a node that has not recovered; an internal error when the disk refuses.
    pub async fn snapshot(&self, caller: &Caller) -> Result<Snapshot, EtcdError> {
        self.recovered().await?;
        self.require_root(caller)?;
        let engine = self.engine.clone();
        let dir = self.config.snapshot_dir();
        let archive =
            blocking(move || Archive::of(&engine, &dir).map_err(|error| super::internal(&error)))
                .await?;
        let (size, revision) = (archive.size() + Snapshot::CHECKSUM, archive.revision);
        let (pieces, chunks) = mpsc::channel(CHUNKS_AHEAD);
        tokio::task::spawn_blocking(move || {
            let mut sink = Sink {
                pieces,
                piece: Vec::with_capacity(CHUNK),
                digest: Sha256::new(),
            };
            let written = archive.write(&mut sink).and_then(|()| sink.seal());
            // Before the reader is told that this was all.
            drop(archive);
            if let Err(error) = written {
                // Nobody hears it when it is the reader who went away.
                let _heard = sink.pieces.blocking_send(Err(error));
            }
        });
        Ok(Snapshot {
            size,
            revision,
            chunks,
        })
    }
}

/// What the archive says about itself.
#[derive(Serialize)]
struct Manifest {
    format: u32,
    version: &'static str,
    cluster_id: u64,
    incarnation: String,
    revision: i64,
    compacted: i64,
    files: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    bytes: u64,
    sha256: String,
}

/// A checkpoint with its manifest, ready to be written; the directory goes with it.
struct Archive {
    dir: PathBuf,
    manifest: Vec<u8>,
    files: Vec<(String, PathBuf, u64)>,
    revision: i64,
}

impl Drop for Archive {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(dir = %self.dir.display(), %error, "could not delete a checkpoint");
        }
    }
}

impl Archive {
    fn of(engine: &Engine, parent: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        let dir = parent.join(uuid::Uuid::now_v7().to_string());
        // What the checkpoint holds is at least this revision.
        let revision = engine.revision();
        engine.checkpoint(&dir)?;
        let mut archive = Self {
            dir,
            manifest: Vec::new(),
            files: Vec::new(),
            revision,
        };
        let mut entries = Vec::new();
        let mut paths = files_below(&archive.dir)?;
        paths.sort();
        for path in paths {
            let relative = path
                .strip_prefix(&archive.dir)
                .map_err(io::Error::other)?
                .to_str()
                .ok_or_else(|| io::Error::other("a file name is not UTF-8"))?;
            let name = format!("state/{relative}");
            let (bytes, sha256) = digest(&path)?;
            archive.files.push((name.clone(), path, bytes));
            entries.push(Entry {
                name,
                bytes,
                sha256,
            });
        }
        let identity = engine.identity();
        archive.manifest = serde_json::to_vec_pretty(&Manifest {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION"),
            cluster_id: identity.cluster_id,
            incarnation: identity.incarnation.clone(),
            revision,
            compacted: engine.compacted(),
            files: entries,
        })?;
        Ok(archive)
    }

    fn size(&self) -> u64 {
        let files = self.files.iter().map(|(_, _, bytes)| *bytes);
        let entries: u64 = files
            .chain([self.manifest.len() as u64])
            .map(|bytes| BLOCK + bytes.next_multiple_of(BLOCK))
            .sum();
        entries + 2 * BLOCK
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        append(
            out,
            "manifest.json",
            self.manifest.len() as u64,
            &*self.manifest,
        )?;
        for (name, path, bytes) in &self.files {
            append(out, name, *bytes, File::open(path)?)?;
        }
        out.write_all(&[0; 2 * BLOCK as usize])
    }
}

fn files_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files_below(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut digest = Sha256::new();
    let bytes = io::copy(&mut File::open(path)?, &mut digest)?;
    let hex = digest
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((bytes, hex))
}

/// One entry: header, exactly `bytes` bytes of content, padding.
fn append(out: &mut impl Write, name: &str, bytes: u64, content: impl Read) -> io::Result<()> {
    out.write_all(&header(name, bytes)?)?;
    let copied = io::copy(&mut content.take(bytes), out)?;
    if copied != bytes {
        return Err(io::Error::other(format!("{name} became shorter")));
    }
    let padding = bytes.next_multiple_of(BLOCK) - bytes;
    io::copy(&mut io::repeat(0).take(padding), out)?;
    Ok(())
}

/// A `ustar` header (POSIX.1-1988): octal text fields at fixed places, the checksum taken with spaces in
/// its own field.
fn header(name: &str, bytes: u64) -> io::Result<[u8; BLOCK as usize]> {
    if name.len() > 100 || bytes >= 1 << 33 {
        return Err(io::Error::other(format!(
            "{name} does not fit into a tar archive"
        )));
    }
    let mut header = [0; BLOCK as usize];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000600\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{bytes:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}

/// Cuts what is written into pieces and waits for the reader; fails when the reader went away.
struct Sink {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
    digest: Sha256,
}

impl Sink {
    /// The checksum of everything that was written, as the last piece.
    fn seal(&mut self) -> io::Result<()> {
        self.flush()?;
        let checksum = self.digest.finalize_reset();
        self.send(Bytes::copy_from_slice(&checksum))
    }

    fn send(&self, piece: Bytes) -> io::Result<()> {
        self.pieces
            .blocking_send(Ok(piece))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == CHUNK {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(CHUNK));
        self.digest.update(&piece);
        self.send(piece.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::process::Command;

    use super::*;

    #[test]
    fn tar_reads_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        append(&mut bytes, "manifest.json", 2, &b"{}"[..]).unwrap();
        append(&mut bytes, "state/a", 600, &[7; 600][..]).unwrap();
        bytes.extend([0; 1024]);
        assert_eq!(bytes.len() % 512, 0);
        let path = dir.path().join("archive");
        fs::write(&path, bytes).unwrap();
        let status = Command::new("tar")
            .arg("-xf")
            .arg(&path)
            .current_dir(dir.path())
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(fs::read(dir.path().join("manifest.json")).unwrap(), b"{}");
        assert_eq!(fs::read(dir.path().join("state/a")).unwrap(), [7; 600]);
    }

    #[test]
    fn content_that_shrank_is_an_error() {
        assert!(append(&mut Vec::new(), "a", 3, &b"ab"[..]).is_err());
    }
}

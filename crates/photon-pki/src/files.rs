//! Files that are there completely or not at all, with their modes from the first moment.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::PkiError;

/// Only the owner reads it.
pub const PRIVATE: u32 = 0o600;
/// Everybody reads it.
pub const PUBLIC: u32 = 0o644;

/// Reads a text file.
pub fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(at(path))
}

/// Makes a directory for keys (0700), with what is above it.
pub fn make_directory(path: &Path) -> Result<(), PkiError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(at(path))
}

/// Writes a file, replacing an older one in one step.
pub fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let temporary = prepare(path, text, mode)?;
    fs::rename(&temporary, path)
        .and_then(|()| sync_parent(path))
        .map_err(|error| {
            let _ = fs::remove_file(&temporary);
            at(path)(error)
        })
}

/// Writes a file that must not be there yet.
pub fn create(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let temporary = prepare(path, text, mode)?;
    // Unlike a rename, a link fails where there is something.
    let linked = fs::hard_link(&temporary, path).and_then(|()| sync_parent(path));
    let _ = fs::remove_file(&temporary);
    linked.map_err(at(path))
}

fn prepare(path: &Path, text: &str, mode: u32) -> Result<PathBuf, PkiError> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("file");
    let temporary = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    // What a crashed process of the same number left behind is in the way.
    let _ = fs::remove_file(&temporary);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    match written {
        Ok(()) => Ok(temporary),
        Err(error) => {
            let _ = fs::remove_file(&temporary);
            Err(at(path)(error))
        }
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::File { path, source }
}

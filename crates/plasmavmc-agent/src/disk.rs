//! Disks: files in qcow2, made by qemu-img: empty, or over the content of an image, which is only read.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Stdio, time::Duration};

use plasmavmc_model::DiskFormat;
use tokio::process::Command;

use crate::{driver::Error, files};

const LIMIT: Duration = Duration::from_secs(60);

/// Snapshots count every piece of a disk that they have: of many TiB that takes minutes.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(600);

/// What is done with a snapshot within a disk that nothing has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotAct {
    /// It is taken.
    Take,
    /// The disk becomes as it was.
    Apply,
    /// It is removed.
    Remove,
}

/// Does something with a snapshot within a disk.
///
/// # Errors
/// [`Error::Refused`] with what qemu-img says; [`Error::Late`], and then it was ended.
pub async fn snapshot(path: &Path, act: SnapshotAct, name: &str) -> Result<(), Error> {
    let act = match act {
        SnapshotAct::Take => "-c",
        SnapshotAct::Apply => "-a",
        SnapshotAct::Remove => "-d",
    };
    let ran = Command::new("qemu-img")
        .args(["snapshot", "-q", act, name])
        .arg(path)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(SNAPSHOT_LIMIT, ran).await;
    let ran = ran.map_err(|_| Error::Late(format!("qemu-img snapshot {act}")))?;
    let refused = |why: &str| Error::Refused(format!("qemu-img: {}", why.trim()));
    let ran = ran.map_err(|error| refused(&error.to_string()))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(refused(&String::from_utf8_lossy(&ran.stderr)))
}

/// How long making a disk larger may take.
const GROW_LIMIT: Duration = Duration::from_secs(600);

/// Makes a disk larger that nothing has open. What is in it stays as it is; it never shrinks.
///
/// # Errors
/// What qemu-img says; also that somebody has it open.
pub async fn grow(path: &Path, size_gib: u32) -> Result<(), String> {
    let ran = Command::new("qemu-img")
        .args(["resize", "-q", "-f", "qcow2"])
        .arg(path)
        .arg(format!("{size_gib}G"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(GROW_LIMIT, ran).await;
    let ran = ran.map_err(|_| "qemu-img resize has not ended in time".to_owned())?;
    let ran = ran.map_err(|error| format!("qemu-img: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    Err(format!("qemu-img: {}", said.trim()))
}

/// What a disk begins with.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// The file.
    pub path: &'a Path,
    /// What it is.
    pub format: DiskFormat,
}

/// Makes a disk, over a base if there is one; a disk that is there is left alone.
///
/// # Errors
/// What qemu-img says.
pub async fn make(path: &Path, size_gib: u32, base: Option<Base<'_>>) -> Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    let directory = path.parent().ok_or("no directory")?;
    for made in directory.parent().into_iter().chain([directory]) {
        if !made.exists() {
            files::passable(made).map_err(|error| error.to_string())?;
        }
    }
    // One that was cut off has another name: a disk is there as a whole or not at all.
    let beside = path.with_extension("new");
    let mut command = Command::new("qemu-img");
    command.args(["create", "-q", "-f", "qcow2"]);
    if let Some(base) = base {
        command.arg("-b").arg(base.path);
        // Named, so that nobody ever guesses it from what is in the file.
        command.args(["-F", base.format.as_str()]);
    }
    let made = command
        .arg(&beside)
        .arg(format!("{size_gib}G"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let made = tokio::time::timeout(LIMIT, made).await;
    let made = made.map_err(|_| format!("qemu-img has not ended within {} s", LIMIT.as_secs()))?;
    let made = made.map_err(|error| format!("qemu-img: {error}"))?;
    if !made.status.success() {
        let said = String::from_utf8_lossy(&made.stderr);
        // It takes no room that somebody else needs.
        let _ = fs::remove_file(&beside);
        return Err(format!("qemu-img: {}", said.trim()));
    }
    let rename = || {
        // A guest's data is nobody's here but its own process's: libvirt gives it the file where that runs as another user.
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(&beside, path)?;
        fs::File::open(directory)?.sync_all()
    };
    rename().map_err(|error: std::io::Error| error.to_string())
}

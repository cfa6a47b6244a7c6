//! Disks: files in qcow2, made by qemu-img: empty, or over the content of an image, which is only read.

use std::{fs, path::Path, process::Stdio, time::Duration};

use plasmavmc_model::DiskFormat;
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(60);

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
    fs::create_dir_all(directory).map_err(|error| error.to_string())?;
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
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(&beside, path)?;
        fs::File::open(directory)?.sync_all()
    };
    rename().map_err(|error: std::io::Error| error.to_string())
}

//! Disks: files in qcow2, made by qemu-img.

use std::{fs, path::Path, process::Stdio, time::Duration};

use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(60);

/// Makes an empty disk; one that is there is left alone.
///
/// # Errors
/// What qemu-img says.
pub async fn make(path: &Path, size_gib: u32) -> Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    let directory = path.parent().ok_or("no directory")?;
    fs::create_dir_all(directory).map_err(|error| error.to_string())?;
    // One that was cut off has another name: a disk is there as a whole or not at all.
    let beside = path.with_extension("new");
    let made = Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2"])
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
        return Err(format!("qemu-img: {}", said.trim()));
    }
    let rename = || {
        fs::File::open(&beside)?.sync_all()?;
        fs::rename(&beside, path)?;
        fs::File::open(directory)?.sync_all()
    };
    rename().map_err(|error: std::io::Error| error.to_string())
}

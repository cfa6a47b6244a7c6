//! What runs guests here: KVM counts if it has booted a real guest. A machine may have /dev/kvm, and a CPU that says it can, and yet
//! not one guest comes up.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use jiff::Timestamp;
use photon_agent::memory::replace;
use plasmavmc_model::{HeldImage, Probe};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::{config::HypervisorConfig, driver::About, images::Images};

const DEVICE: &str = "/dev/kvm";
/// What a Linux kernel says when it hands over to the first program of its initramfs: long mode, paging, timers and interrupts work.
const PROOF: &str = "Run /init as init process";
/// The most bytes of a console that are read for it.
const MOST_OUTPUT: u64 = 1 << 20;
/// How long a failure counts: it may have been the machine's load.
const FAILURE_COUNTS: Duration = Duration::from_secs(24 * 3600);

/// What came of trying, with what it was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tried {
    v: u32,
    /// Kernel of the host, CPU, qemu and image.
    with: String,
    works: bool,
    reason: String,
    at: Timestamp,
}

/// Finds out. Boots a guest with the first image that is here, unless that was done before with the same host, qemu and image.
pub async fn probe(
    config: &HypervisorConfig,
    state: &Path,
    about: &About,
    images: &[HeldImage],
    files: &Images,
) -> Probe {
    let emulation = config.emulation;
    let of = |kvm, reason: String| Probe {
        kvm,
        emulation,
        reason,
    };
    if !config.kvm {
        return of(false, "kvm is switched off in the configuration".to_owned());
    }
    if let Err(error) = fs::OpenOptions::new().read(true).write(true).open(DEVICE) {
        return of(false, format!("no kvm: {DEVICE}: {error}"));
    }
    let Some(image) = images.first() else {
        let reason = "whether kvm works is not known: there is no image here to try it with";
        return of(false, reason.to_owned());
    };
    let with = with(about, image);
    let path = state.join("probe.json");
    if let Some(tried) = kept(&path).filter(|tried| tried.with == with && still_counts(tried)) {
        return of(tried.works, tried.reason);
    }
    let paths = files
        .file(image.kernel)
        .and_then(|kernel| Ok((kernel, files.file(image.initramfs)?)));
    let limit = Duration::from_secs(config.probe_seconds);
    let result = match paths {
        Ok((kernel, initramfs)) => boot(about, &kernel, &initramfs, &image.cmdline, limit).await,
        Err(problem) => Err(problem),
    };
    let tried = Tried {
        v: 1,
        with,
        works: result.is_ok(),
        reason: match result {
            Ok(()) => format!("kvm has booted {}", image.name),
            Err(problem) => format!("kvm is there and does not work: {problem}"),
        },
        at: Timestamp::now(),
    };
    tracing::info!(works = tried.works, reason = tried.reason, "kvm was tried");
    if let Err(error) = keep(&path, &tried) {
        tracing::warn!(%error, "what came of trying kvm is not kept: it is tried again at the next start");
    }
    of(tried.works, tried.reason)
}

fn with(about: &About, image: &HeldImage) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find(|line| line.starts_with("model name"));
    format!(
        "{} | {} | {} | {}",
        read("/proc/sys/kernel/osrelease").trim(),
        cpu.unwrap_or_default(),
        about.versions,
        image.digest()
    )
}

fn kept(path: &Path) -> Option<Tried> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn keep(path: &Path, tried: &Tried) -> io::Result<()> {
    replace(path, &serde_json::to_vec(tried)?)
}

fn still_counts(tried: &Tried) -> bool {
    let age = Duration::try_from(Timestamp::now().duration_since(tried.at)).unwrap_or_default();
    tried.works || age < FAILURE_COUNTS
}

/// Boots a guest by KVM, without libvirt, until it says that its first program runs.
async fn boot(
    about: &About,
    kernel: &PathBuf,
    initramfs: &PathBuf,
    cmdline: &str,
    limit: Duration,
) -> Result<(), String> {
    // `quiet` would hide the proof.
    let words = cmdline.split(' ').filter(|word| *word != "quiet");
    let cmdline = words.collect::<Vec<_>>().join(" ");
    let machine = format!("{},accel=kvm", about.machine);
    let child = Command::new(&about.emulator)
        .args(["-machine", &machine, "-cpu", "host", "-m", "192"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-display", "none", "-monitor", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", &cmdline])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| format!("{}: {error}", about.emulator))?;
    let found = tokio::time::timeout(limit, wait_for_proof(&mut child)).await;
    // Whatever it does now does not matter any more.
    let _ = child.kill().await;
    found.unwrap_or_else(|_| {
        Err(format!(
            "a guest did not come up within {} s",
            limit.as_secs()
        ))
    })
}

async fn wait_for_proof(child: &mut Child) -> Result<(), String> {
    let output = child.stdout.take().ok_or("no console")?;
    let mut lines = BufReader::new(output.take(MOST_OUTPUT)).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        if String::from_utf8_lossy(&line).contains(PROOF) {
            return Ok(());
        }
    }
    let mut said = String::new();
    if let Some(errors) = child.stderr.take() {
        let _ = errors.take(2_000).read_to_string(&mut said).await;
    }
    let last = said.lines().last().unwrap_or("without a word");
    Err(format!("the guest ended: {last}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    async fn tried(script: &str) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let emulator = directory.path().join("emulator");
        fs::write(&emulator, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&emulator, fs::Permissions::from_mode(0o755)).unwrap();
        let about = About {
            versions: String::new(),
            emulator: emulator.display().to_string(),
            machine: "pc-q35-7.2".to_owned(),
            cpus: 1,
            memory_mib: 1,
        };
        let (kernel, initramfs) = (PathBuf::from("/k"), PathBuf::from("/r"));
        let limit = Duration::from_secs(2);
        boot(&about, &kernel, &initramfs, "console=ttyS0 quiet", limit).await
    }

    #[tokio::test]
    async fn only_a_guest_that_comes_up_is_a_proof() {
        tried("echo '[ 1.0] Run /init as init process'; exec sleep 60")
            .await
            .unwrap();
        let hangs = tried("echo booting; exec sleep 60").await.unwrap_err();
        assert!(hangs.contains("did not come up"), "{hangs}");
        let ends = tried("echo 'no kvm for you' >&2; exit 1")
            .await
            .unwrap_err();
        assert!(ends.contains("no kvm for you"), "{ends}");
        let quiet =
            tried("case \"$*\" in *quiet*) exit 1;; *) echo Run /init as init process;; esac");
        quiet.await.unwrap();
    }

    #[test]
    fn a_failure_is_forgotten_after_a_day() {
        let tried = |works, hours: i64| Tried {
            v: 1,
            with: String::new(),
            works,
            reason: String::new(),
            at: Timestamp::now() - jiff::SignedDuration::from_hours(hours),
        };
        assert!(still_counts(&tried(true, 1_000)));
        assert!(still_counts(&tried(false, 23)));
        assert!(!still_counts(&tried(false, 25)));
    }
}

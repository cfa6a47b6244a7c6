//! Processes of machines: who started them does not end with them, so they are found by the files that they have.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long one may take to end that was killed.
const END: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Kills all whose files are below the directory, and waits for their end. Blocks.
pub(super) fn kill_below(directory: &Path) {
    let end = Instant::now() + END;
    loop {
        let left = below(directory);
        if left.is_empty() {
            return;
        }
        if Instant::now() >= end {
            eprintln!(
                "{} machines of {} do not end",
                left.len(),
                directory.display()
            );
            return;
        }
        for pid in left {
            // Fails only when it has ended already.
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn below(directory: &Path) -> Vec<Pid> {
    let root = format!("{}/", directory.display());
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let machine = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let words = fs::read(entry.path().join("cmdline")).ok()?;
        is_machine(&String::from_utf8_lossy(&words), &root).then(|| Pid::from_raw(pid))
    };
    entries.filter_map(machine).collect()
}

/// Of what a process was started with: words that end with a null each.
fn is_machine(words: &str, root: &str) -> bool {
    let mut words = words.split('\0');
    words
        .next()
        .is_some_and(|program| program.contains("qemu-system"))
        && words.any(|word| word.contains(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_machines_below_the_directory_are_ours() {
        let words =
            "/usr/bin/qemu-system-x86_64\0-name\0guest=vm-1\0-drive\0file=/a/b/root.qcow2\0";
        assert!(is_machine(words, "/a/b/"));
        assert!(!is_machine(words, "/a/bc/"));
        assert!(!is_machine("cat\0/a/b/root.qcow2\0", "/a/b/"));
        assert!(!is_machine("", "/a/b/"));
    }
}

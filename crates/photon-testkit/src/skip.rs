//! Tests that lack a device or a right say so by name instead of passing silently.

use std::io::Write;

/// Environment variable with the path of a file that collects one line per skipped test.
pub const SKIPPED_FILE: &str = "PHOTON_SKIPPED_FILE";

/// Reports a test as skipped: on standard error and, where `PHOTON_SKIPPED_FILE` names a file, as a line in it
/// (nextest hides the output of tests that pass, so the test runner prints that file at the end).
pub fn report(test: &str, reason: &str) {
    eprintln!("SKIPPED {test}: {reason}");
    if let Some(path) = std::env::var_os(SKIPPED_FILE) {
        let line = format!("{test}: {reason}\n");
        let written = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(line.as_bytes()));
        if let Err(error) = written {
            eprintln!("cannot write {}: {error}", path.display());
        }
    }
}

/// Whether this process may create network namespaces.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

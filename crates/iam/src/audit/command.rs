//! `iam verify-audit DIR`: whether exported files are what was written. Needs neither a store nor a configuration.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;

use super::export::verify_files;

/// Checks the files of every trail below a directory, or of one trail, and says where each ends. Fails at the first that is
/// broken.
#[must_use]
pub fn verify(directory: &Path) -> ExitCode {
    match tell(directory, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("error: {error:#}\n");
            // There is nobody else to tell.
            let _ = io::stderr().write_all(text.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn tell(directory: &Path, out: &mut impl io::Write) -> anyhow::Result<()> {
    for trail in trails(directory)? {
        let name = trail.file_name().unwrap_or(trail.as_os_str()).display();
        match verify_files(&trail)? {
            Some(filed) => writeln!(
                out,
                "{name}: intact, {} records, {} to {}, hash {}",
                filed.records, filed.from, filed.through.seq, filed.through.hash
            )?,
            None => writeln!(out, "{name}: no records")?,
        }
    }
    Ok(())
}

/// The directory itself if it has files of records, else those in it.
fn trails(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", directory.display());
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .with_context(cannot)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()
        .with_context(cannot)?;
    let is_file = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "jsonl");
    if found.iter().any(is_file) {
        // With its own name also where it is given as `.`.
        return Ok(vec![directory.canonicalize().with_context(cannot)?]);
    }
    found.retain(|path| path.is_dir());
    found.sort();
    anyhow::ensure!(
        !found.is_empty(),
        "{} has no audit files",
        directory.display()
    );
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_broken_is_named_and_nothing_is_not_intact() {
        let dir = tempfile::tempdir().unwrap();
        let mut out = Vec::new();
        tell(dir.path(), &mut out).unwrap_err();
        tell(&dir.path().join("none"), &mut out).unwrap_err();
        let trail = dir.path().join("project-shop");
        fs::create_dir(&trail).unwrap();
        fs::write(trail.join("2026-11.jsonl"), "").unwrap();
        tell(dir.path(), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "project-shop: no records\n"
        );
        fs::write(trail.join("2026-11.jsonl"), "{\"seq\":1}\n").unwrap();
        let error = format!("{:#}", tell(&trail, &mut Vec::new()).unwrap_err());
        assert!(error.contains("2026-11.jsonl, line 1"), "{error}");
    }
}

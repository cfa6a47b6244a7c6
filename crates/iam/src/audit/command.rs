//! `iam verify-audit DIR`: whether exported files are what was written. Needs neither a store nor a configuration.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;

use super::export::verify_files;

/// Checks the files of every trail below a directory, or of one trail, and says of each where it begins and ends, or what is
/// wrong with it. Fails if one is broken, after all have been looked at.
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
    let trails = trails(directory)?;
    let mut broken = 0;
    for trail in &trails {
        let name = trail.file_name().unwrap_or(trail.as_os_str()).display();
        match verify_files(trail) {
            Ok(Some(filed)) => {
                writeln!(
                    out,
                    "{name}: intact, {} records, {} to {}, hash {}",
                    filed.records, filed.from, filed.through.seq, filed.through.hash
                )?;
                if filed.from > 1 {
                    writeln!(
                        out,
                        "{name}: begins at {}: what was before is not in these files",
                        filed.from
                    )?;
                }
            }
            Ok(None) => writeln!(out, "{name}: no records")?,
            Err(error) => {
                broken += 1;
                writeln!(out, "{name}: BROKEN: {error:#}")?;
            }
        }
    }
    anyhow::ensure!(broken == 0, "{broken} of {} trails broken", trails.len());
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
        fs::create_dir(dir.path().join("system")).unwrap();
        fs::write(dir.path().join("system/2026-11.jsonl"), "").unwrap();
        let mut out = Vec::new();
        let error = tell(dir.path(), &mut out).unwrap_err().to_string();
        assert_eq!(error, "1 of 2 trails broken");
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("2026-11.jsonl, line 1"), "{out}");
        // Those behind a broken one are looked at too.
        assert!(out.ends_with("system: no records\n"), "{out}");
    }
}

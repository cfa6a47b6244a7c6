//! Records past their retention go to files, and leave the store only when they are safe there.
//!
//! ```text
//!   store: e+1 … n   ──read──> <dir>/<trail>/<YYYY-MM>.jsonl, fsync ──> cut: records gone, head remembers the last one
//! ```
//! A crash between the two leaves records in both; the next round finds them at the end of the file and only cuts. One
//! process exports at a time (an election; every cut is fenced). A line is a record as it is listed: JSON, one line each,
//! in the order of the chain. Each process has its own directory; where several take turns, the trail's files are those of
//! all of them together, told apart by `seq`.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use photon_store::{
    Fence,
    audit::{AuditRecord, Checker, Fault, MOST_CUT, Mark, Trails},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// Who exports is elected below this key.
const ELECTION: &str = "/photon/iam/audit-export";
/// How long after a crash another process takes over.
const LEADERSHIP: Duration = Duration::from_secs(30);
/// How long one waits to be elected: there is another round later.
const PATIENCE: Duration = Duration::from_secs(5);
/// Names of trails read at once.
const NAMES: i64 = 1000;
/// The longest line that is believed to be a record.
const LONGEST_LINE: u64 = 4 << 20;

/// Exports every now and then until asked to stop. Does nothing without `audit.export_dir`.
pub async fn run(app: Arc<App>, stop: CancellationToken) {
    let config = &app.config.audit;
    let Some(directory) = config.export_dir.clone() else {
        return;
    };
    let every = Duration::from_secs(config.export_every_seconds);
    let kept = SignedDuration::from_hours(24 * i64::from(config.retention_days));
    while !stop.is_cancelled() {
        let before = Timestamp::now() - kept;
        let round = round(app.audit.trails(), &app.store, &directory, before);
        tokio::select! {
            () = stop.cancelled() => return,
            done = round => match done {
                Ok(0) => {}
                Ok(records) => tracing::info!(records, "audit records exported"),
                Err(error) => tracing::warn!(error = format!("{error:#}"), "audit records cannot be exported"),
            },
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// One round, if no other process does it.
async fn round(
    trails: &Trails,
    store: &photon_store::Store,
    directory: &Path,
    before: Timestamp,
) -> anyhow::Result<u64> {
    let leadership = match store.campaign(ELECTION, "iam", LEADERSHIP, PATIENCE).await {
        Ok(leadership) => leadership,
        Err(photon_store::Error::Unavailable { reason }) => {
            tracing::debug!(reason, "no audit export in this round");
            return Ok(0);
        }
        Err(error) => return Err(error.into()),
    };
    let done = export(trails, directory, before, Some(leadership.fence())).await;
    leadership.resign().await?;
    done
}

/// Moves every record before a time from the store to files below a directory, and says how many.
///
/// # Errors
/// A file that cannot be written or does not fit the trail; those of the store. What is not safe in a file stays in the
/// store.
pub async fn export(
    trails: &Trails,
    directory: &Path,
    before: Timestamp,
    fence: Option<&Fence>,
) -> anyhow::Result<u64> {
    let mut moved = 0;
    let mut after: Option<String> = None;
    loop {
        let names = trails.names(after.as_deref(), NAMES).await?;
        for name in &names {
            let exported = export_trail(trails, name, directory, before, fence).await;
            moved += exported.with_context(|| format!("trail {name}"))?;
        }
        match names.last() {
            Some(last) => after = Some(last.clone()),
            None => return Ok(moved),
        }
    }
}

async fn export_trail(
    trails: &Trails,
    trail: &str,
    directory: &Path,
    before: Timestamp,
    fence: Option<&Fence>,
) -> anyhow::Result<u64> {
    let mut moved = 0;
    loop {
        let Some(head) = trails.head(trail).await? else {
            return Ok(moved);
        };
        let old: Vec<AuditRecord> = trails
            .records(trail, head.first(), MOST_CUT)
            .await?
            .into_iter()
            // What cannot be read stays where somebody can look at it, and all after it.
            .map_while(Result::ok)
            .take_while(|record| record.at < before)
            .collect();
        if old.is_empty() {
            return Ok(moved);
        }
        check(&head, &old).map_err(told)?;
        let (place, lines) = (directory.join(trail), old.clone());
        tokio::task::spawn_blocking(move || append(&place, &lines)).await??;
        trails.cut(trail, &old, fence).await?;
        moved += old.len() as u64;
    }
}

/// What is broken stays in the store, too: nobody must be able to say that the files were broken by the export.
fn check(head: &photon_store::audit::Head, records: &[AuditRecord]) -> Result<(), Fault> {
    let mut checker = match &head.exported {
        Some(mark) => Checker::after(mark.clone()),
        None => Checker::from_the_start(),
    };
    records.iter().try_for_each(|record| checker.next(record))
}

fn told(fault: Fault) -> anyhow::Error {
    anyhow::anyhow!("record {}: {}", fault.seq, fault.what)
}

/// Writes records to the files of their months, without those that are there already.
fn append(directory: &Path, records: &[AuditRecord]) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let mut rest = records;
    while let Some(first) = rest.first() {
        let month = month_of(first.at);
        let same = rest
            .iter()
            .take_while(|record| month_of(record.at) == month);
        let (now, later) = rest.split_at(same.count());
        let path = directory.join(format!("{month}.jsonl"));
        append_to(&path, now).with_context(|| format!("cannot write {}", path.display()))?;
        rest = later;
    }
    // A new file's name must survive a power cut as well as its contents.
    File::open(directory)?.sync_all()?;
    Ok(())
}

fn append_to(path: &Path, records: &[AuditRecord]) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    let written = last_written(&mut file)?;
    let new: Vec<&AuditRecord> = records
        .iter()
        .filter(|record| record.seq > written)
        .collect();
    let mut text = Vec::new();
    for record in new {
        serde_json::to_writer(&mut text, &record.fields)?;
        text.push(b'\n');
    }
    file.write_all(&text)?;
    file.sync_all()?;
    Ok(())
}

/// The number of the last record in a file, 0 for none. Leaves the file at its end, without a line that a crash left
/// unfinished.
fn last_written(file: &mut File) -> anyhow::Result<u64> {
    let mut last = None;
    let mut good = 0;
    file.seek(SeekFrom::Start(0))?;
    let mut lines = BufReader::new(&mut *file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = lines
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)?;
        if length == 0 || line.last() != Some(&b'\n') {
            break;
        }
        good += length as u64;
        last = Some(std::mem::take(&mut line));
    }
    file.set_len(good)?;
    file.seek(SeekFrom::End(0))?;
    let Some(last) = last else {
        return Ok(0);
    };
    Ok(parse(&last)?.seq)
}

fn month_of(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string()
}

fn parse(line: &[u8]) -> anyhow::Result<AuditRecord> {
    match serde_json::from_slice(line)? {
        Value::Object(fields) => AuditRecord::from_fields(fields).map_err(anyhow::Error::msg),
        _ => bail!("not a JSON object"),
    }
}

/// What the files of one trail hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filed {
    /// The number of the first record.
    pub from: u64,
    /// The last record; what the store's trail goes on from.
    pub through: Mark,
    /// How many.
    pub records: u64,
}

/// Checks the exported files of one trail: every hash and every link. `None` if there are no records.
///
/// # Errors
/// The file, the line, and what is wrong with it.
pub fn verify_files(directory: &Path) -> anyhow::Result<Option<Filed>> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .with_context(|| format!("cannot read {}", directory.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "jsonl")
    });
    files.sort();
    let mut chain: Option<(u64, Checker)> = None;
    let mut records = 0;
    for path in &files {
        let lines = BufReader::new(File::open(path)?);
        for (number, line) in lines.split(b'\n').enumerate() {
            let place = || format!("{}, line {}", path.display(), number + 1);
            let record = parse(&line.with_context(place)?).with_context(place)?;
            let (_, checker) = chain.get_or_insert_with(|| {
                // Other processes may have exported what was before.
                let before = Mark {
                    seq: record.seq.saturating_sub(1),
                    hash: record.prev.clone(),
                };
                (record.seq, Checker::after(before))
            });
            checker.next(&record).map_err(told).with_context(place)?;
            records += 1;
        }
    }
    Ok(chain.map(|(from, checker)| Filed {
        from,
        through: checker.last().clone(),
        records,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use photon_store::audit::canonical;
    use serde_json::json;

    use super::*;
    use crate::hex;

    /// A chain as the store makes it.
    fn chain(times: &[&str]) -> Vec<AuditRecord> {
        let mut prev = photon_store::audit::NOTHING_BEFORE.to_owned();
        let records = times.iter().zip(1_u64..).map(|(at, seq)| {
            let mut said = json!({"seq": seq, "at": at, "prev": prev, "action": "x"});
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &canonical(&said));
            prev = hex::encode(digest.as_ref());
            said["hash"] = prev.clone().into();
            AuditRecord::from_fields(said.as_object().unwrap().clone()).unwrap()
        });
        records.collect()
    }

    #[test]
    fn files_continue_over_months_and_crashes() {
        let directory = tempfile::tempdir().unwrap();
        let trail = directory.path().join("project-shop");
        let records = chain(&[
            "2026-10-30T00:00:00Z",
            "2026-10-31T23:59:59Z",
            "2026-11-01T00:00:00Z",
            "2026-11-02T00:00:00Z",
        ]);
        append(&trail, &records[..1]).unwrap();
        // A crash in the middle of a line, and after a batch that was written but not cut.
        let october = trail.join("2026-10.jsonl");
        let mut torn = fs::read(&october).unwrap();
        torn.extend_from_slice(br#"{"seq":2,"at"#);
        fs::write(&october, torn).unwrap();
        append(&trail, &records[..3]).unwrap();
        append(&trail, &records).unwrap();
        let filed = verify_files(&trail).unwrap().unwrap();
        assert_eq!((filed.from, filed.through.seq, filed.records), (1, 4, 4));
        assert_eq!(filed.through.hash, records[3].hash);
        assert_eq!(fs::read_dir(&trail).unwrap().count(), 2);

        let text = fs::read_to_string(&october).unwrap();
        fs::write(&october, text.replacen("\"x\"", "\"y\"", 1)).unwrap();
        let broken = format!("{:#}", verify_files(&trail).unwrap_err());
        assert!(
            broken.contains("line 1") && broken.contains("hash"),
            "{broken}"
        );
        fs::remove_file(&october).unwrap();
        let later = verify_files(&trail).unwrap().unwrap();
        assert_eq!((later.from, later.records), (3, 2));
    }
}

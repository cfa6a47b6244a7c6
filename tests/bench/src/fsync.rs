//! What one durable write costs, by the kind of file it goes to: why the Raft log makes its files with their full length.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use hdrhistogram::Histogram;
use nix::fcntl::{FallocateFlags, fallocate};

/// About what a lone put is in the log.
const BYTES: usize = 400;
const WRITES: u64 = 1500;
/// Interleaved, so that whatever else the disk does hits all kinds alike.
const ROUNDS: u32 = 3;

/// The file before it is written to.
#[derive(Clone, Copy)]
enum Kind {
    /// Empty; every write makes it longer.
    Growing,
    /// As long as it will be, by `fallocate`; never written.
    Fallocated,
    /// As long as it will be, all of it written before.
    Overwritten,
}

const KINDS: [(Kind, &str); 3] = [
    (Kind::Growing, "growing"),
    (Kind::Fallocated, "fallocated"),
    (Kind::Overwritten, "overwritten"),
];

/// Writes and fdatasyncs to files of each kind in `directory`, and returns a table of microseconds.
///
/// # Errors
/// A failed write, or a file system without `fallocate`.
pub(crate) fn table(directory: &Path) -> anyhow::Result<String> {
    let scratch = tempfile::tempdir_in(directory)?;
    let mut measured = [(); KINDS.len()].map(|()| Histogram::<u64>::new(3));
    for round in 0..ROUNDS {
        for ((kind, name), measured) in KINDS.iter().zip(&mut measured) {
            let measured = measured.as_mut().map_err(|error| *error)?;
            let path = scratch.path().join(format!("{name}-{round}"));
            round_of(*kind, &path, measured).with_context(|| path.display().to_string())?;
        }
    }
    let mut table = format!(
        "write + fdatasync of {BYTES} B, {} each, microseconds\n{:<12} {:>7} {:>7} {:>7}\n",
        u64::from(ROUNDS) * WRITES,
        "file",
        "p50",
        "p99",
        "mean"
    );
    for ((_, name), measured) in KINDS.iter().zip(measured) {
        let measured = measured?;
        let micros = |nanoseconds: f64| nanoseconds / 1000.0;
        table += &format!(
            "{name:<12} {:>7.0} {:>7.0} {:>7.0}\n",
            micros(measured.value_at_quantile(0.5) as f64),
            micros(measured.value_at_quantile(0.99) as f64),
            micros(measured.mean())
        );
    }
    Ok(table)
}

fn round_of(kind: Kind, path: &Path, measured: &mut Histogram<u64>) -> anyhow::Result<()> {
    let file = OpenOptions::new().create_new(true).write(true).open(path)?;
    prepare(kind, &file)?;
    let record = [0x5a; BYTES];
    for n in 0..WRITES {
        let begin = Instant::now();
        file.write_all_at(&record, n * BYTES as u64)?;
        file.sync_data()?;
        measured.record(u64::try_from(begin.elapsed().as_nanos())?)?;
    }
    Ok(())
}

fn prepare(kind: Kind, file: &File) -> anyhow::Result<()> {
    let length = WRITES * BYTES as u64;
    match kind {
        Kind::Growing => {}
        Kind::Fallocated => {
            let length = i64::try_from(length)?;
            fallocate(file, FallocateFlags::empty(), 0, length).context("fallocate")?;
        }
        Kind::Overwritten => file.write_all_at(&vec![0; usize::try_from(length)?], 0)?,
    }
    file.sync_all()?;
    Ok(())
}

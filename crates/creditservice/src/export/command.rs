//! `creditservice verify-journal`: whether the journals are what was written. Needs the store and the exported files, not
//! the service; it may run.

use std::{io, path::PathBuf};

use anyhow::{Context as _, ensure};
use creditservice_ledger::Shard;
use photon_store::Store;

use super::verify::{Intact, Stop, verify};
use crate::{
    config::Config,
    shard::{
        layout,
        stored::{self, Spread},
    },
};

/// Reads every shard's journal from its first block to its head, from the files in `export.directory` and these directories
/// and from the store, replays it, and writes what it found: of each shard where its journal ends, or which block is wrong.
///
/// # Errors
/// A journal that is broken, after all have been looked at; a store or a file that cannot be read.
pub async fn verify_journal(
    config: &Config,
    directories: &[PathBuf],
    out: &mut impl io::Write,
) -> anyhow::Result<()> {
    for directory in directories {
        ensure!(
            directory.is_dir(),
            "{} is not a directory",
            directory.display()
        );
    }
    let mut directories = directories.to_vec();
    directories.extend(config.export.directory.clone());
    let directories = each_once(directories);
    let store = Store::connect(config.store.options()?)
        .await
        .with_context(|| format!("the store at {}", config.store.endpoints.join(", ")))?;
    let spread = store.get_raw(layout::SHARDS).await?;
    let spread =
        spread.context("this store has no ledger: the service was never started with it")?;
    let Spread { count } = stored::read(&spread)?;

    let (mut blocks, mut entries, mut broken) = (0, 0, 0);
    for number in 0..count {
        let shard = Shard::new(number)?;
        match verify(&store, &directories, shard).await {
            Ok(Intact { through: 0, .. }) => {}
            Ok(intact) => {
                blocks += intact.through;
                entries += intact.entries;
                let Intact {
                    through,
                    hash,
                    filed,
                    entries,
                } = intact;
                writeln!(
                    out,
                    "shard {number}: intact, {entries} entries in blocks 1 to {through} ({filed} from files), hash {hash}"
                )?;
            }
            Err(Stop::Fault(fault)) => {
                broken += 1;
                writeln!(out, "shard {number}: BROKEN: {fault}")?;
            }
            Err(Stop::Failed(error)) => return Err(error.context(format!("shard {number}"))),
        }
    }
    ensure!(broken == 0, "{broken} of {count} shards broken");
    writeln!(
        out,
        "all {count} shards intact: {entries} entries in {blocks} blocks; shards without any are not listed"
    )?;
    Ok(())
}

/// The same directory twice would be read twice.
fn each_once(directories: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut once: Vec<PathBuf> = directories
        .into_iter()
        .map(|directory| directory.canonicalize().unwrap_or(directory))
        .collect();
    once.sort();
    once.dedup();
    once
}

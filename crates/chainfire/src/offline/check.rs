//! Whether a data directory is whole.

use std::path::Path;

use anyhow::{Context as _, bail};
use photon_raft::offline;

use super::{line, size};
use crate::data_dir::{self, DataDir};

/// Reads everything in a data directory: format, every record of the log, every block and record of the state, and
/// whether the log goes on where the state ends. Changes nothing but the lock files, and as root gives everything to the
/// directory's owner. What is in it, for a person.
///
/// # Errors
/// A directory that is in use, unfinished or damaged; the text says what to do.
pub fn check(path: &Path) -> anyhow::Result<String> {
    let data_dir = DataDir::existing(path)?;
    if let Some(unfinished) = data_dir.unfinished() {
        bail!("{}: {unfinished}", path.display());
    }
    let state = chainfire_engine::examine(&path.join("state"))
        .with_context(|| format!("the state in {}", path.join("state").display()))?;
    let mark = state.as_ref().and_then(|state| state.mark.clone());
    let log = offline::examine(path, mark)?;
    // Also of the lock file, if this has made it.
    data_dir.keep_owner()?;

    let mut report = line(
        "directory",
        format_args!("{} ({})", path.display(), data_dir::FORMAT),
    );
    match log.node_id {
        Some(node_id) => report += &line("node", format_args!("{node_id}, term {}", log.term)),
        None => report += &line("node", "has never run"),
    }
    for member in &log.members {
        let votes = if member.learner { "learner" } else { "voter" };
        report += &line(
            "member",
            format_args!(
                "{} {} {} {votes}",
                member.node_id, member.name, member.peer_address
            ),
        );
    }
    if let Some(state) = state {
        report += &line(
            "cluster",
            format_args!(
                "{}, incarnation {}",
                state.identity.cluster_id, state.identity.incarnation
            ),
        );
        report += &line(
            "state",
            format_args!(
                "revision {}, compacted {}, {} keys, {} events, {} leases, {} alarms, {}, hash {}",
                state.revision,
                state.compacted,
                state.keys,
                state.events,
                state.leases,
                state.alarms,
                size(state.bytes.cast_unsigned()),
                state.hash.hash
            ),
        );
    }
    report += &line(
        "log",
        format_args!(
            "{} entries up to {}, purged {}, committed {}, in the state {}; {} files",
            log.entries, log.last_log, log.purged, log.committed, log.applied, log.files
        ),
    );
    if log.torn_bytes > 0 {
        report += &line(
            "torn",
            format_args!(
                "{} bytes at the log's end were never acknowledged; the next start cuts them off",
                log.torn_bytes
            ),
        );
    }
    report += "the data directory is good\n";
    Ok(report)
}

//! Whether a snapshot could be restored.

use std::path::Path;

use anyhow::{Context as _, ensure};
use chainfire_engine::{Examined, examine_database};

use super::{
    archive::{self, Contents, ScratchDir},
    line, size,
};

/// Reads all of `file`, unpacks it below `scratch` (default: beside the file), and reads all of the state in it. What
/// it holds, for a person.
///
/// # Errors
/// What is damaged.
pub fn verify(file: &Path, scratch: Option<&Path>) -> anyhow::Result<String> {
    let beside = file.parent().filter(|dir| !dir.as_os_str().is_empty());
    let below = scratch.or(beside).unwrap_or(Path::new("."));
    let scratch = ScratchDir::below(below)
        .context("cannot unpack the snapshot there; --scratch names another directory")?;
    let contents = archive::read(file, Some(scratch.path()))?;
    let state = examine_unpacked(file, &contents, scratch.path())?;
    let checked = if contents.has_checksum {
        "of the file and of everything in it are right"
    } else {
        "of everything in it are right (the file has none of its own)"
    };
    Ok([
        line("snapshot", file.display()),
        line("size", size(contents.bytes)),
        line(
            "written by",
            format!("chainfire {}", contents.manifest.version),
        ),
        line(
            "cluster",
            format!(
                "{} ({:x})",
                state.identity.cluster_id, state.identity.cluster_id
            ),
        ),
        line("incarnation", &state.identity.incarnation),
        line("revision", state.revision),
        line("compacted", state.compacted.max(0)),
        line("keys", state.keys),
        line("leases", state.leases),
        line("hash", state.hash.hash),
        line("checksums", checked),
    ]
    .concat())
}

/// Reads all of an unpacked state, and holds it against the manifest.
pub(super) fn examine_unpacked(
    file: &Path,
    contents: &Contents,
    state: &Path,
) -> anyhow::Result<Examined> {
    let examined = examine_database(state)
        .with_context(|| format!("the state in {} cannot be read", file.display()))?;
    let manifest = &contents.manifest;
    ensure!(
        examined.identity.cluster_id == manifest.cluster_id
            && examined.identity.incarnation == manifest.incarnation
            && examined.revision >= manifest.revision,
        "{} is not one snapshot: its manifest says cluster {} at revision {}, its state cluster {} at revision {}",
        file.display(),
        manifest.cluster_id,
        manifest.revision,
        examined.identity.cluster_id,
        examined.revision
    );
    Ok(examined)
}

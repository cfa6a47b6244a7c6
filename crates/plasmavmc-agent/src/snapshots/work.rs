//! Does to snapshots what is to be done. Each may be done twice, and cut off at any moment: what is begun is on disk before it is.

use std::path::PathBuf;

use jiff::Timestamp;
use plasmavmc_model::{Revert, SnapshotId, VmId};

use super::{Noted, Snapshots, Stage};
use crate::{
    calls::Calls,
    disk::{self, SnapshotAct},
    driver::Error,
    files::VmFiles,
    worker::blocking,
};

/// What it is done with.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    pub(crate) vm: VmId,
    pub(crate) calls: &'a Calls,
    pub(crate) files: &'a VmFiles,
    pub(crate) found: &'a Snapshots,
    /// Whether something has the disks open.
    pub(crate) runs: bool,
}

impl Work<'_> {
    /// Takes one. What the hypervisor refuses is noted, and not tried again; what did not end in time is nobody's fault.
    pub(crate) async fn take(&self, id: SnapshotId) -> Result<(), String> {
        self.note(id, Stage::Begun, Timestamp::now()).await?;
        let taken = match self.runs {
            true => self.calls.take_snapshot(self.vm, id).await,
            false => self.on_all(SnapshotAct::Take, id, self.paths()).await,
        };
        match taken {
            Ok(()) => {
                let memory_bytes = self.look().await?.memory_bytes(id);
                self.note(id, Stage::Done { memory_bytes }, Timestamp::now())
                    .await
            }
            Err(Error::Refused(reason)) => {
                tracing::warn!(vm = %self.vm, snapshot = %id, reason, "a snapshot cannot be taken");
                self.clear(id).await?;
                self.fail(id, &reason).await
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Notes that one cannot be taken.
    pub(crate) async fn fail(&self, id: SnapshotId, reason: &str) -> Result<(), String> {
        let reason = reason.to_owned();
        self.note(id, Stage::Failed { reason }, Timestamp::now())
            .await
    }

    /// Notes one that is there and was not noted.
    pub(crate) async fn adopt(&self, id: SnapshotId) -> Result<(), String> {
        let memory_bytes = self.found.memory_bytes(id);
        let at = self.found.taken_at(id).unwrap_or_else(Timestamp::now);
        self.note(id, Stage::Done { memory_bytes }, at).await
    }

    /// Removes one from all disks, and then what was noted of it.
    pub(crate) async fn remove(&self, id: SnapshotId) -> Result<(), String> {
        self.clear(id).await?;
        let mut notes = self.found.notes.clone();
        notes.snapshots.remove(&id);
        let files = self.files.clone();
        blocking(move || files.keep_snapshots(&notes)).await
    }

    /// Makes the disks that have it what they were.
    pub(crate) async fn apply(&self, revert: &Revert) -> Result<(), String> {
        let holders = self.found.holders(revert.snapshot);
        let holders = holders.map(|disk| disk.path.clone()).collect();
        let applied = self.on_all(SnapshotAct::Apply, revert.snapshot, holders);
        applied.await.map_err(|error| error.to_string())
    }

    async fn clear(&self, id: SnapshotId) -> Result<(), String> {
        let said = |error: Error| error.to_string();
        let mut found = self.look().await?;
        if self.runs && found.holders(id).next().is_some() {
            self.calls
                .remove_snapshot(self.vm, id)
                .await
                .map_err(said)?;
            // What runs may have others open than those that are wanted.
            found = self.look().await?;
        }
        let holders = found.holders(id).map(|disk| disk.path.clone()).collect();
        self.on_all(SnapshotAct::Remove, id, holders)
            .await
            .map_err(said)
    }

    async fn on_all(
        &self,
        act: SnapshotAct,
        id: SnapshotId,
        paths: Vec<PathBuf>,
    ) -> Result<(), Error> {
        for path in paths {
            disk::snapshot(&path, act, &id.to_string()).await?;
        }
        Ok(())
    }

    fn paths(&self) -> Vec<PathBuf> {
        let disks = self.found.disks.iter();
        disks.map(|disk| disk.path.clone()).collect()
    }

    /// What is within the disks now.
    async fn look(&self) -> Result<Snapshots, String> {
        let paths = self.paths();
        let found =
            blocking(move || Snapshots::read(super::Notes::default(), &paths, false)).await?;
        match found.are_readable() {
            true => Ok(found),
            false => Err("its disks cannot be read".to_owned()),
        }
    }

    async fn note(&self, id: SnapshotId, stage: Stage, at: Timestamp) -> Result<(), String> {
        let mut notes = self.found.notes.clone();
        notes.snapshots.insert(id, Noted { stage, at });
        let files = self.files.clone();
        blocking(move || files.keep_snapshots(&notes)).await
    }
}

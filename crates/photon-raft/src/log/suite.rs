//! openraft's own checks of a log store and a state machine, over ours.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use futures::Stream;
use openraft::{
    OptionalSend, StorageError,
    storage::{EntryResponder, RaftStateMachine},
    testing::log::{StoreBuilder, Suite},
    type_config::alias::SnapshotOf,
};
use parking_lot::Mutex;

use super::LogStore;
use crate::{
    StateMachine,
    machine::{FlushedMark, Machine, Progress, SnapshotData},
    snapshot::Scratch,
    types::{LogId, SnapshotMeta, StoredMembership, TypeConfig},
};

/// Keeps only its mark.
#[derive(Default)]
struct Marks(Mutex<Option<Bytes>>);

impl StateMachine for Marks {
    type Reply = ();

    fn encode_reply(&self, (): &()) -> Bytes {
        Bytes::new()
    }

    fn decode_reply(&self, _bytes: Bytes) -> io::Result<()> {
        Ok(())
    }

    fn mark(&self) -> io::Result<Option<Bytes>> {
        Ok(self.0.lock().clone())
    }

    fn apply(&self, commands: &[Bytes], mark: Bytes) -> io::Result<Vec<()>> {
        *self.0.lock() = Some(mark);
        Ok(vec![(); commands.len()])
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn checkpoint(&self, dir: &Path) -> io::Result<Bytes> {
        let mark = self
            .mark()?
            .ok_or_else(|| io::Error::other("nothing applied"))?;
        std::fs::create_dir(dir)?;
        std::fs::write(dir.join("mark"), &mark)?;
        Ok(mark)
    }

    fn install(&self, dir: &Path) -> io::Result<()> {
        *self.0.lock() = Some(std::fs::read(dir.join("mark"))?.into());
        Ok(())
    }
}

/// Our machine, except that a snapshot is copied at once: the suite carries it from one machine to
/// another itself, where otherwise the transport does.
struct Copying {
    machine: Machine<Marks>,
    progress: Arc<Progress<Marks>>,
    scratch: Scratch,
}

impl RaftStateMachine<TypeConfig> for Copying {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = FlushedMark<Marks>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        self.machine.applied_state().await
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        self.machine.apply(entries).await
    }

    async fn get_snapshot_builder(&mut self) -> FlushedMark<Marks> {
        self.progress.serve();
        self.machine.get_snapshot_builder().await
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: SnapshotData,
    ) -> Result<(), io::Error> {
        self.progress.serve();
        self.machine.install_snapshot(meta, data).await
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<TypeConfig, SnapshotData>>, io::Error> {
        let Some(mut snapshot) = self.machine.get_current_snapshot().await? else {
            return Ok(None);
        };
        let dir = self.scratch.build();
        self.progress.state_machine.checkpoint(dir.path())?;
        snapshot.snapshot = SnapshotData::Received(dir);
        Ok(Some(snapshot))
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Copying, tempfile::TempDir> for Builder {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, LogStore, Copying), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let log = LogStore::open(&dir.path().join("raft"), 1, 1 << 20, 1 << 20).unwrap();
        let (machine, progress) = Machine::start(Arc::new(Marks::default()), u64::MAX).unwrap();
        let scratch = Scratch::open(dir.path().join("snapshot")).unwrap();
        Ok((
            dir,
            log,
            Copying {
                machine,
                progress,
                scratch,
            },
        ))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openrafts_suite_passes() {
    Suite::test_all(Builder).await.unwrap();
}

//! Drives a [`StateMachine`] for openraft: a thread of its own applies committed entries in ranges. Few commands that
//! the state machine calls quick are applied at once instead: two changes of threads would cost more than they do.
//!
//! ```text
//!  openraft's worker: entries that are ready -> one range -> [apply thread]: one apply(commands, mark)
//!     (collects the next range meanwhile)                         -> applied index -> replies
//! ```
//!
//! The state machine is durable itself, so a "snapshot" by policy is a flush and the mark it covers:
//! that is what lets the log be purged. A copy is made only when a follower needs one (see
//! [`crate::snapshot`]).

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
};

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot,
    storage::{ApplyResponder, EntryResponder, RaftStateMachine},
};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};

use crate::{
    StateMachine,
    codec::{Mark, invalid},
    log::{LogStore, command_bytes},
    snapshot::ScratchDir,
    types::{LogId, Reply, SnapshotMeta, StoredMembership, TypeConfig},
};

/// Bounds of one range, so that one batch of the state machine stays small.
const RANGE_ENTRIES: usize = 4096;
const RANGE_BYTES: usize = 4 << 20;
/// Ranges of at most so many commands may be applied without the apply thread.
const QUICK_COMMANDS: usize = 64;

/// What openraft calls a snapshot.
#[derive(Debug)]
pub(crate) enum SnapshotData {
    /// Ours: copied when it is sent, and then at least as new as its meta.
    OnDemand,
    /// Received and verified.
    Received(ScratchDir),
}

/// What others may see of the machine while it runs.
pub(crate) struct Progress<S> {
    pub(crate) state_machine: Arc<S>,
    /// Index of the last entry applied; the replies of everything up to it are on their way.
    pub(crate) applied: watch::Sender<Option<LogId>>,
    /// Bytes of commands applied since the last flush for the log's sake.
    bytes: AtomicU64,
    bytes_limit: u64,
    /// Rung when `bytes` passes the limit.
    pub(crate) many_bytes: Notify,
    /// Off while openraft reads its initial state, so that a start makes no copy.
    serving: AtomicBool,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl<S> Progress<S> {
    pub(crate) fn serve(&self) {
        self.serving.store(true, Ordering::Release);
    }

    /// Waits for the apply thread, which ends when openraft has dropped its [`Machine`]. Blocking.
    pub(crate) fn join(&self) {
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the apply thread panicked");
        }
    }
}

/// openraft's state machine.
pub(crate) struct Machine<S: StateMachine> {
    progress: Arc<Progress<S>>,
    jobs: mpsc::Sender<Job>,
    mark: Mark,
}

/// Entries that are applied together.
struct Range {
    commands: Vec<Bytes>,
    /// How many of the commands each entry carried, and who waits for it.
    entries: Vec<(usize, Option<ApplyResponder<TypeConfig>>)>,
    /// As it is after them.
    mark: Mark,
}

enum Job {
    Apply {
        range: Range,
        done: oneshot::Sender<io::Result<()>>,
    },
    Install {
        dir: PathBuf,
        done: oneshot::Sender<io::Result<Option<Bytes>>>,
    },
}

fn thread_gone() -> io::Error {
    io::Error::other("the apply thread has ended")
}

impl<S: StateMachine> Machine<S> {
    /// Reads the mark and starts the apply thread.
    pub(crate) fn start(
        state_machine: Arc<S>,
        bytes_limit: u64,
    ) -> io::Result<(Self, Arc<Progress<S>>)> {
        let mark = match state_machine.mark()? {
            Some(bytes) => Mark::decode(bytes)?,
            None => Mark::default(),
        };
        let progress = Arc::new(Progress {
            state_machine,
            applied: watch::Sender::new(mark.log_id),
            bytes: AtomicU64::new(0),
            bytes_limit,
            many_bytes: Notify::new(),
            serving: AtomicBool::new(false),
            thread: Mutex::new(None),
        });
        let (jobs, inbox) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("raft-apply".to_owned())
            .spawn({
                let progress = progress.clone();
                move || run(&progress, &inbox)
            })?;
        *progress.thread.lock() = Some(thread);
        Ok((
            Self {
                progress: progress.clone(),
                jobs,
                mark,
            },
            progress,
        ))
    }

    /// Applies what the log knows to be committed, before openraft starts: it would do so in small
    /// steps.
    pub(crate) async fn replay(&mut self, log: &LogStore) -> io::Result<()> {
        let Some(committed) = log.committed()? else {
            return Ok(());
        };
        let mut next = self.mark.log_id.map_or(0, |id| id.index + 1);
        while next <= committed.index {
            let slice = log.slice(next, committed.index + 1)?;
            match (slice.first(), slice.last()) {
                (Some(first), Some(last)) if first.log_id.index == next => {
                    next = last.log_id.index + 1
                }
                _ => {
                    return Err(invalid(format!(
                        "the log lacks entry {next}, which the state does not have either; restore this member from a \
                         snapshot, or remove it from the cluster and let it join again with an empty directory under a new id"
                    )));
                }
            }
            let stream = futures::stream::iter(slice.into_iter().map(|entry| Ok((entry, None))));
            self.apply(stream).await?;
        }
        Ok(())
    }

    /// How far the state is.
    pub(crate) fn mark(&self) -> &Mark {
        &self.mark
    }

    fn send(&self, job: Job) -> io::Result<()> {
        self.jobs.send(job).map_err(|_| thread_gone())
    }

    /// Makes a range of entries.
    fn range(&mut self, entries: Vec<EntryResponder<TypeConfig>>) -> Range {
        let mut commands = Vec::with_capacity(entries.len());
        let entries = entries
            .into_iter()
            .map(|(entry, responder)| {
                self.mark.log_id = Some(entry.log_id);
                let before = commands.len();
                match entry.payload {
                    EntryPayload::Blank => {}
                    EntryPayload::Normal(more) => commands.extend_from_slice(more.as_slice()),
                    EntryPayload::Membership(membership) => {
                        self.mark.membership =
                            StoredMembership::new(Some(entry.log_id), membership);
                    }
                }
                (commands.len() - before, responder)
            })
            .collect();
        Range {
            commands,
            entries,
            mark: self.mark.clone(),
        }
    }

    /// Hands one range to the apply thread.
    fn submit(&self, range: Range) -> io::Result<oneshot::Receiver<io::Result<()>>> {
        let (done, result) = oneshot::channel();
        self.send(Job::Apply { range, done })?;
        Ok(result)
    }

    /// Whether a range is done in less time than handing it to the apply thread and back would take.
    fn is_quick(&self, range: &Range) -> bool {
        range.commands.len() <= QUICK_COMMANDS
            && self.progress.state_machine.is_quick(&range.commands)
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.mark.log_id,
            last_membership: self.mark.membership.clone(),
        }
    }
}

/// The apply thread.
fn run<S: StateMachine>(progress: &Progress<S>, jobs: &mpsc::Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Apply { range, done } => {
                let result = apply(progress, range);
                // openraft has gone if nobody listens.
                drop(done.send(result));
            }
            Job::Install { dir, done } => {
                let sm = &progress.state_machine;
                drop(done.send(sm.install(&dir).and_then(|()| sm.mark())));
            }
        }
    }
}

fn apply<S: StateMachine>(progress: &Progress<S>, range: Range) -> io::Result<()> {
    let Range {
        commands,
        entries,
        mark,
    } = range;
    let replies = progress.state_machine.apply(&commands, mark.encode())?;
    if replies.len() != commands.len() {
        return Err(invalid(format!(
            "the state machine gave {} replies to {} commands",
            replies.len(),
            commands.len()
        )));
    }
    progress.applied.send_replace(mark.log_id);
    let mut replies = replies.into_iter();
    for (count, responder) in entries {
        let of_entry: Vec<S::Reply> = replies.by_ref().take(count).collect();
        if let Some(responder) = responder {
            responder.send(Reply::new(of_entry));
        }
    }
    let bytes: u64 = commands.iter().map(|command| command.len() as u64).sum();
    if progress.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes >= progress.bytes_limit {
        progress.many_bytes.notify_one();
    }
    Ok(())
}

async fn finished(result: oneshot::Receiver<io::Result<()>>) -> io::Result<()> {
    result.await.map_err(|_| thread_gone())?
}

impl<S: StateMachine> RaftStateMachine<TypeConfig> for Machine<S> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = FlushedMark<S>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.mark.log_id, self.mark.membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut entries = entries.fuse();
        let mut previous = None;
        while let Some(first) = entries.next().await {
            let mut range = vec![first?];
            let mut bytes = 0;
            while range.len() < RANGE_ENTRIES && bytes < RANGE_BYTES {
                let Some(Some(item)) = entries.next().now_or_never() else {
                    break;
                };
                let item = item?;
                bytes += usize::try_from(command_bytes(std::slice::from_ref(&item.0)))
                    .unwrap_or(RANGE_BYTES);
                range.push(item);
            }
            let range = self.range(range);
            if previous.is_none() && self.is_quick(&range) {
                apply(&self.progress, range)?;
                continue;
            }
            // One range is applied while the next is collected.
            if let Some(previous) = previous.replace(self.submit(range)?) {
                finished(previous).await?;
            }
        }
        match previous {
            Some(last) => finished(last).await,
            None => Ok(()),
        }
    }

    async fn get_snapshot_builder(&mut self) -> FlushedMark<S> {
        FlushedMark {
            progress: self.progress.clone(),
            meta: self.meta(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: SnapshotData,
    ) -> Result<(), io::Error> {
        let SnapshotData::Received(dir) = data else {
            return Err(invalid("only a received snapshot can be installed"));
        };
        let (done, result) = oneshot::channel();
        self.send(Job::Install {
            dir: dir.path().to_owned(),
            done,
        })?;
        let mark = result.await.map_err(|_| thread_gone())??;
        let mark = Mark::decode(mark.ok_or_else(|| invalid("the installed state has no mark"))?)?;
        if mark.log_id != meta.last_log_id {
            return Err(invalid(format!(
                "the installed state is at {:?}, its snapshot at {:?}",
                mark.log_id, meta.last_log_id
            )));
        }
        self.progress.applied.send_replace(mark.log_id);
        self.mark = mark;
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<
        Option<Snapshot<CommittedLeaderId, u64, crate::member::Node, SnapshotData>>,
        io::Error,
    > {
        if !self.progress.serving.load(Ordering::Acquire) || self.mark.log_id.is_none() {
            return Ok(None);
        }
        Ok(Some(Snapshot {
            meta: self.meta(),
            snapshot: SnapshotData::OnDemand,
        }))
    }
}

type CommittedLeaderId = openraft::type_config::alias::CommittedLeaderIdOf<TypeConfig>;

/// Makes a mark durable.
pub(crate) struct FlushedMark<S: StateMachine> {
    progress: Arc<Progress<S>>,
    meta: SnapshotMeta,
}

impl<S: StateMachine> RaftSnapshotBuilder<TypeConfig> for FlushedMark<S> {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(
        &mut self,
    ) -> Result<Snapshot<CommittedLeaderId, u64, crate::member::Node, SnapshotData>, io::Error>
    {
        let progress = self.progress.clone();
        progress.bytes.store(0, Ordering::Relaxed);
        tokio::task::spawn_blocking(move || progress.state_machine.flush())
            .await
            .map_err(io::Error::other)??;
        Ok(Snapshot {
            meta: self.meta.clone(),
            snapshot: SnapshotData::OnDemand,
        })
    }
}

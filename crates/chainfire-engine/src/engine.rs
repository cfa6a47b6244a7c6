//! The handle: everything the store's doors and its Raft group do with the state machine.

use std::{
    io,
    path::Path,
    sync::{Arc, Weak, atomic::Ordering, mpsc},
    thread,
    time::Instant,
};

use bytes::Bytes;
use photon_proto::{
    etcdserverpb::{
        AlarmMember, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
        RangeRequest, RangeResponse, TxnRequest, TxnResponse, request_op,
    },
    photon::chainfire::command::v1::{Caller, Reply},
};

pub use crate::loaded::Identity;
use crate::{
    access::{Request, Rights},
    apply,
    auth::AuthStore,
    budget::Budget,
    checks, compact,
    disk::Disk,
    error::{Answer, EtcdError, Fault},
    events::History,
    hash::{self, HashKv},
    lease::LeaseInfo,
    loaded::Store,
    options::Options,
    pending::{Finished, Pending},
    range,
    span::Span,
    txn::{self, Writer},
    view::{Published, Reader, Visit},
    watch::WatchHub,
};

/// Why an engine did not open.
#[derive(Debug, thiserror::Error)]
#[error("the state in {path} cannot be opened: {source}")]
pub struct OpenError {
    path: String,
    source: io::Error,
}

/// How large the store is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Files and memtables.
    pub total: i64,
    /// Of those, what is not garbage.
    pub in_use: i64,
    /// Keys, values and history before compression: what the quota is compared with. A present value is there twice,
    /// in the history and as what is there now.
    pub live: i64,
}

/// ChainFire's state machine. Clones are the same one.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    hub: WatchHub,
    /// Wakes physical compaction; its thread ends when the sender is dropped.
    collector: Option<(mpsc::Sender<()>, thread::JoinHandle<()>)>,
}

impl Drop for Inner {
    /// Waits for the step of compaction that is running, so that the database is closed when the engine is gone.
    fn drop(&mut self) {
        self.store.closing.store(true, Ordering::Relaxed);
        if let Some((sender, thread)) = self.collector.take() {
            drop(sender);
            if thread.join().is_err() {
                tracing::error!("the compaction thread panicked");
            }
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the state in a directory, or makes a new one; finishes a swap that was interrupted.
    ///
    /// # Errors
    /// The directory or the database cannot be read, is damaged, or was written by a later version.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let open = || -> io::Result<Self> {
            let watch = options.watch.clone();
            let store = Arc::new(Store::open(dir, options)?);
            let history: Weak<Store> = Arc::downgrade(&store);
            let hub = WatchHub::new(history, watch);
            let (sender, wake) = mpsc::channel();
            let weak = Arc::downgrade(&store);
            let thread = thread::Builder::new()
                .name("compaction".to_owned())
                .spawn(move || compact::run(&weak, &wake))?;
            let engine = Self(Arc::new(Inner {
                store,
                hub,
                collector: Some((sender, thread)),
            }));
            engine.wake_collector();
            Ok(engine)
        };
        open().map_err(|source| OpenError {
            path: dir.display().to_string(),
            source,
        })
    }

    fn store(&self) -> &Store {
        &self.0.store
    }

    fn wake_collector(&self) {
        if let Some((sender, _)) = &self.0.collector {
            // The thread ends only with the engine.
            let _ = sender.send(());
        }
    }

    // --- the log's side ---------------------------------------------------------------------------------

    /// The mark of the last range applied, flushed or not.
    #[must_use]
    pub fn mark(&self) -> Option<Bytes> {
        self.store().mark()
    }

    /// Applies commands in order in one atomic batch that carries `mark`. Called from one thread at a time,
    /// blocking. The replies are the same on every member.
    ///
    /// # Errors
    /// The disk failed. The state in RAM may then be ahead of it: every further call fails, the process should end.
    pub fn apply(&self, commands: &[Bytes], mark: &[u8]) -> io::Result<Vec<Reply>> {
        let store = self.store();
        let mut writing = store.writing.lock();
        if writing.broken {
            return Err(io::Error::other(
                "an earlier write failed; restart this member",
            ));
        }
        // Cleared only when all of it went well.
        writing.broken = true;
        let before = store.view();
        let mut pending = Pending::new(store, self.0.hub.wants_previous());
        let mut replies = Vec::with_capacity(commands.len());
        for command in commands {
            replies.push(apply::command(&mut pending, command)?);
        }
        let Finished {
            batch,
            revision,
            compacted,
            events,
            live,
            bytes,
        } = pending.finish(mark);
        before.moment.disk().write(batch)?;
        store.set_mark(mark);
        store.set_written_bytes(bytes);
        if (revision, compacted) != (before.revision, before.compacted) {
            store.publish(revision, compacted, &live);
        }
        writing.broken = false;
        drop(writing);
        if revision != before.revision {
            self.0.hub.publish(revision, events);
        }
        if compacted != before.compacted {
            self.0.hub.compacted(compacted);
            self.wake_collector();
        }
        Ok(replies)
    }

    /// Whether applying these commands now only touches memory and the keys they name, while RocksDB does not hold
    /// writers back.
    #[must_use]
    pub fn is_quick(&self, commands: &[Bytes]) -> bool {
        commands.iter().all(apply::touches_only_points)
            && !self.store().view().moment.disk().is_stalling()
    }

    /// Everything applied so far is durable when this returns.
    ///
    /// # Errors
    /// The disk failed.
    pub fn flush(&self) -> io::Result<()> {
        self.store().view().moment.disk().flush()
    }

    /// Writes a consistent and complete copy into `dir`, which must not exist, and returns the mark inside it.
    /// Applying goes on meanwhile.
    ///
    /// # Errors
    /// The disk failed.
    pub fn checkpoint(&self, dir: &Path) -> io::Result<Bytes> {
        let view = self.store().view();
        let disk = view.moment.disk();
        disk.flush()?;
        disk.checkpoint(dir)?;
        Ok(Disk::mark_of(dir)?.into())
    }

    /// Replaces the whole state by a checkpoint, which is moved away from `dir`. After a crash the state is the
    /// old one or the new one. Readers that have begun finish on the old one.
    ///
    /// # Errors
    /// The disk failed, or `dir` does not hold a checkpoint; then the old state stays.
    pub fn install(&self, dir: &Path) -> io::Result<()> {
        let store = self.store();
        let mut writing = store.writing.lock();
        // Opened in its final place, named live only after it has opened.
        Disk::mark_of(dir)?;
        let adopted = store.place.adopt(dir)?;
        let disk = Disk::open(&adopted, &store.options, false).inspect_err(|_| {
            // Otherwise the next start removes it.
            let _ = std::fs::remove_dir_all(&adopted);
        })?;
        writing.broken = true;
        store.place.name_live(&adopted)?;
        store.replace(&disk)?;
        writing.broken = false;
        drop(writing);
        self.0.hub.reset();
        self.wake_collector();
        Ok(())
    }

    // --- reading ----------------------------------------------------------------------------------------

    /// The newest revision readers see; 1 in an empty store.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.store().revision()
    }

    /// The compacted revision; -1 before the first compaction, as in etcd.
    #[must_use]
    pub fn compacted(&self) -> i64 {
        self.store().compacted()
    }

    /// Which cluster this is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.store().identity.read().clone()
    }

    /// Answers a range request from the published state. Blocking; long for long ranges.
    ///
    /// # Errors
    /// As etcd: future or compacted revision.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, EtcdError> {
        self.range_within(request, Budget::unlimited())
    }

    /// The same, of as many rows as the budget holds: `more` says that there are others.
    ///
    /// # Errors
    /// As [`Engine::range`]; `ANSWER_TOO_LARGE` where rows in another order than the keys' would have to be left out.
    pub fn range_within(
        &self,
        request: &RangeRequest,
        mut budget: Budget,
    ) -> Result<RangeResponse, EtcdError> {
        let span = Span::new(&request.key, &request.range_end);
        let counted = matches!(span, Span::Range { .. }).then_some(span);
        let (view, counts) = self.store().view_with_counts(counted);
        let reader = Published {
            view: &view,
            counts,
        };
        range::execute(&reader, request, &mut budget).map_err(Fault::into_etcd)
    }

    /// Runs a transaction that only reads, at one revision.
    ///
    /// # Errors
    /// As etcd: future or compacted revisions; a transaction that writes.
    pub fn read_txn(&self, request: &TxnRequest) -> Result<TxnResponse, EtcdError> {
        self.read_txn_within(request, Budget::unlimited())
    }

    /// The same, if what its ranges hold together is within the budget. It is refused as soon as it is not.
    ///
    /// # Errors
    /// As [`Engine::read_txn`]; `ANSWER_TOO_LARGE`.
    pub fn read_txn_within(
        &self,
        request: &TxnRequest,
        mut budget: Budget,
    ) -> Result<TxnResponse, EtcdError> {
        let mut spans = Vec::new();
        ranges_of(request, &mut spans);
        let (view, counts) = self.store().view_with_counts(spans);
        let mut reader = ReadOnly(Published {
            view: &view,
            counts,
        });
        let mut response =
            txn::execute(&mut reader, request, &mut budget).map_err(Fault::into_etcd)?;
        response.header = range::header(view.revision);
        Ok(response)
    }

    /// Whether a transaction can be answered by [`Engine::read_txn`].
    #[must_use]
    pub fn is_read_only(request: &TxnRequest) -> bool {
        checks::is_read_only(request)
    }

    /// The check etcd's door makes.
    ///
    /// # Errors
    /// In etcd's words.
    pub fn check_range(&self, request: &RangeRequest) -> Result<(), EtcdError> {
        checks::range(request)
    }

    /// The check etcd's door makes.
    ///
    /// # Errors
    /// In etcd's words.
    pub fn check_put(&self, request: &PutRequest) -> Result<(), EtcdError> {
        checks::put(request)
    }

    /// The check etcd's door makes.
    ///
    /// # Errors
    /// In etcd's words.
    pub fn check_delete(&self, request: &DeleteRangeRequest) -> Result<(), EtcdError> {
        checks::delete(request)
    }

    /// The checks etcd's door makes: counts, keys, overlapping writes.
    ///
    /// # Errors
    /// In etcd's words.
    pub fn check_txn(&self, request: &TxnRequest) -> Result<(), EtcdError> {
        checks::txn(request, self.store().options.max_txn_ops)
    }

    /// Comparisons, and operations of one branch, that a transaction may have.
    #[must_use]
    pub fn max_txn_ops(&self) -> usize {
        self.store().options.max_txn_ops
    }

    /// Whether a caller may do something. Nobody (`None`) is ChainFire itself or a store without authentication.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`, or the caller's identity is older than the users' last change.
    pub fn authorize(
        &self,
        caller: Option<&Caller>,
        request: Request<'_>,
    ) -> Result<(), EtcdError> {
        let store = self.store();
        let rights = Rights {
            auth: &store.auth,
            leases: &store.leases,
            caller,
        };
        rights.check(request)
    }

    /// The hash of the history up to a revision (0: the newest). Reads everything; blocking.
    ///
    /// # Errors
    /// As etcd: future or compacted revision.
    pub fn hash_kv(&self, revision: i64) -> Result<HashKv, EtcdError> {
        let view = self.store().view();
        let at = match revision {
            wanted if wanted > view.revision => return Err(EtcdError::FUTURE_REV),
            wanted if wanted <= 0 => view.revision,
            wanted if wanted < view.compacted => return Err(EtcdError::COMPACTED),
            wanted => wanted,
        };
        hash::hash(&view, at).map_err(|error| EtcdError::storage(&error))
    }

    /// How large the store is.
    #[must_use]
    pub fn size(&self) -> Size {
        let store = self.store();
        let (total, live) = (store.view().moment.disk().total_bytes(), store.live_bytes());
        Size {
            total,
            in_use: live.min(total),
            live,
        }
    }

    /// Whether live data has passed the quota: time to raise the NOSPACE alarm.
    #[must_use]
    pub fn over_quota(&self) -> bool {
        let store = self.store();
        store.options.quota_bytes > 0 && store.live_bytes() > store.options.quota_bytes
    }

    /// The quota in bytes; 0 or less: none.
    #[must_use]
    pub fn quota_bytes(&self) -> i64 {
        self.store().options.quota_bytes
    }

    /// Gives space back: rewrites all files while reads and writes go on. Blocking, for as long as it takes.
    ///
    /// # Errors
    /// The disk failed.
    pub fn defragment(&self) -> io::Result<()> {
        let view = self.store().view();
        let disk = view.moment.disk();
        disk.flush()?;
        disk.compact_all();
        Ok(())
    }

    /// Waits until physical compaction has reached a revision; false if the deadline came first.
    #[must_use]
    pub fn wait_compacted(&self, revision: i64, deadline: Instant) -> bool {
        let store = self.store();
        let mut collected = store.collected.lock();
        while *collected < revision {
            if store
                .collected_changed
                .wait_until(&mut collected, deadline)
                .timed_out()
            {
                return *collected >= revision;
            }
        }
        true
    }

    /// All leases by id.
    #[must_use]
    pub fn leases(&self) -> Vec<LeaseInfo> {
        self.store().leases.list()
    }

    /// One lease.
    #[must_use]
    pub fn lease(&self, id: i64) -> Option<LeaseInfo> {
        self.store().leases.get(id)
    }

    /// The keys on a lease, in order; `None`: no such lease.
    #[must_use]
    pub fn lease_keys(&self, id: i64) -> Option<Vec<Bytes>> {
        self.store().leases.keys(id)
    }

    /// The alarms that are raised.
    #[must_use]
    pub fn alarms(&self) -> Vec<AlarmMember> {
        let alarms = self.store().alarms.read();
        alarms
            .iter()
            .map(|&(alarm, member_id)| AlarmMember { member_id, alarm })
            .collect()
    }

    /// The events of the past, as the watch hub reads them.
    #[must_use]
    pub fn history(&self) -> &dyn History {
        self.store()
    }

    /// The watch hub.
    #[must_use]
    pub fn watches(&self) -> &WatchHub {
        &self.0.hub
    }

    /// Users and roles.
    #[must_use]
    pub fn auth(&self) -> &AuthStore {
        &self.store().auth
    }
}

/// The ranges a transaction may count, in either branch.
fn ranges_of<'a>(request: &'a TxnRequest, spans: &mut Vec<Span<'a>>) {
    for op in request.success.iter().chain(&request.failure) {
        match &op.request {
            Some(request_op::Request::RequestRange(range)) => {
                let span = Span::new(&range.key, &range.range_end);
                if matches!(span, Span::Range { .. }) {
                    spans.push(span);
                }
            }
            Some(request_op::Request::RequestTxn(nested)) => ranges_of(nested, spans),
            _ => {}
        }
    }
}

/// A published view in which a transaction runs.
struct ReadOnly<'a>(Published<'a>);

impl ReadOnly<'_> {
    fn refused<T>() -> Answer<T> {
        let message = "etcdserver: a transaction that writes was read";
        Err(EtcdError::new(EtcdError::EMPTY_KEY.code, message).into())
    }
}

impl Reader for ReadOnly<'_> {
    fn revision(&self) -> i64 {
        self.0.revision()
    }

    fn compacted(&self) -> i64 {
        self.0.compacted()
    }

    fn get(&self, key: &[u8], at: i64) -> io::Result<Option<(crate::codec::Meta, Bytes)>> {
        self.0.get(key, at)
    }

    fn scan(&self, span: &Span<'_>, at: i64, visit: &mut Visit<'_>) -> io::Result<()> {
        self.0.scan(span, at, visit)
    }

    fn count(&self, span: &Span<'_>, at: i64) -> io::Result<usize> {
        self.0.count(span, at)
    }
}

impl Writer for ReadOnly<'_> {
    fn lease_exists(&self, _: i64) -> bool {
        false
    }

    fn put(&mut self, _: &PutRequest) -> Answer<PutResponse> {
        Self::refused()
    }

    fn delete_range(&mut self, _: &DeleteRangeRequest) -> Answer<DeleteRangeResponse> {
        Self::refused()
    }

    fn reader(&self) -> &dyn Reader {
        self
    }
}

//! The state machine's state: what is on the disk, what of it is kept in RAM, and what readers see.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};
use photon_proto::mvccpb::KeyValue;

use crate::{
    auth::AuthStore,
    codec::{self, Rev},
    disk::{self, Disk, Family, Moment, name},
    events::{History, RevisionEvents},
    lease::{LeaseInfo, Leases},
    live::LiveKeys,
    options::Options,
    place::Place,
    span::Span,
    view::View,
};

/// The version of the bytes on disk.
const FORMAT: i64 = 1;

/// Which cluster this is, and which life of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id; 0 before one was set.
    pub cluster_id: u64,
    /// Changes whenever history may have been lost: restore, forced new cluster. A UUID; empty before one was set.
    pub incarnation: String,
}

/// What readers see; replaced as a whole.
#[derive(Debug)]
struct Published {
    view: Arc<View>,
    live: LiveKeys,
}

/// The writing side's own state.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    /// A write failed half way: RAM and disk may differ, nothing more is applied.
    pub(crate) broken: bool,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) options: Options,
    pub(crate) place: Place,
    published: RwLock<Published>,
    /// Held over writing and publishing, so that no snapshot falls between the two.
    pub(crate) writing: Mutex<Writing>,
    mark: Mutex<Option<Bytes>>,
    pub(crate) leases: Leases,
    pub(crate) alarms: RwLock<BTreeSet<(i32, u64)>>,
    pub(crate) identity: RwLock<Identity>,
    pub(crate) auth: AuthStore,
    written: AtomicI64,
    pub(crate) collected_bytes: AtomicI64,
    pub(crate) collected: Mutex<i64>,
    pub(crate) collected_changed: Condvar,
    /// The engine is being dropped: background work ends at the next step.
    pub(crate) closing: AtomicBool,
}

/// What opening a database finds in it.
struct Loaded {
    published: Published,
    leases: Leases,
    alarms: BTreeSet<(i32, u64)>,
    identity: Identity,
    mark: Option<Bytes>,
    written: i64,
    collected_bytes: i64,
}

impl Store {
    pub(crate) fn open(dir: &Path, options: Options) -> io::Result<Self> {
        let found = Place::open(dir)?;
        let disk = Disk::open(&found.live, &options, found.new)?;
        if found.new {
            let mut batch = rocksdb::WriteBatch::default();
            batch.put_cf(
                disk.family(Family::Meta),
                name::FORMAT,
                codec::number(FORMAT),
            );
            disk.write(batch)?;
            disk.flush()?;
            found.place.name_live(&found.live)?;
        }
        let auth = AuthStore::with_token_ttl(options.token_ttl);
        let loaded = Loaded::from(&disk, &auth, options.walk_changes)?;
        let collected = loaded.published.view.collected;
        Ok(Self {
            options,
            place: found.place,
            published: RwLock::new(loaded.published),
            writing: Mutex::default(),
            mark: Mutex::new(loaded.mark),
            leases: loaded.leases,
            alarms: RwLock::new(loaded.alarms),
            identity: RwLock::new(loaded.identity),
            auth,
            written: AtomicI64::new(loaded.written),
            collected_bytes: AtomicI64::new(loaded.collected_bytes),
            collected: Mutex::new(collected),
            collected_changed: Condvar::new(),
            closing: AtomicBool::new(false),
        })
    }

    /// Takes over another database. The caller holds `writing`.
    pub(crate) fn replace(&self, disk: &Arc<Disk>) -> io::Result<()> {
        let loaded = Loaded::from(disk, &self.auth, self.options.walk_changes)?;
        let collected = loaded.published.view.collected;
        self.leases.replace(loaded.leases);
        *self.alarms.write() = loaded.alarms;
        *self.identity.write() = loaded.identity;
        *self.mark.lock() = loaded.mark;
        self.written.store(loaded.written, Ordering::Relaxed);
        self.collected_bytes
            .store(loaded.collected_bytes, Ordering::Relaxed);
        let old = std::mem::replace(&mut *self.published.write(), loaded.published);
        *self.collected.lock() = collected;
        self.collected_changed.notify_all();
        old.view.moment.disk().retire();
        Ok(())
    }

    /// What readers see now.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.published.read().view)
    }

    /// What readers see now, with the counts of some ranges at that revision.
    pub(crate) fn view_with_counts<'a>(
        &self,
        spans: impl IntoIterator<Item = Span<'a>>,
    ) -> (Arc<View>, Vec<(Span<'a>, usize)>) {
        let published = self.published.read();
        let counts = spans
            .into_iter()
            .map(|span| (span, published.live.count(&span)))
            .collect();
        (Arc::clone(&published.view), counts)
    }

    /// Counts live keys at the newest published revision.
    pub(crate) fn count_live(&self, span: &Span<'_>) -> usize {
        self.published.read().live.count(span)
    }

    /// Makes what was just written visible. The caller holds `writing`.
    pub(crate) fn publish(&self, revision: i64, compacted: i64, live: &[(Bytes, bool)]) {
        let current = self.view();
        let view = Arc::new(View {
            moment: Moment::now(Arc::clone(current.moment.disk())),
            revision,
            compacted,
            collected: current.collected,
            walk_changes: self.options.walk_changes,
        });
        let mut published = self.published.write();
        for (key, is_live) in live {
            if *is_live {
                published.live.insert(key);
            } else {
                published.live.remove(key);
            }
        }
        let old = std::mem::replace(&mut published.view, view);
        drop(published);
        // The last reader's snapshot is released outside the lock.
        drop((old, current));
    }

    /// Makes what physical compaction has deleted invisible, at the same revision. The caller holds `writing`.
    pub(crate) fn republish(&self, collected: i64) {
        let current = self.view();
        let view = Arc::new(View {
            moment: Moment::now(Arc::clone(current.moment.disk())),
            revision: current.revision,
            compacted: current.compacted,
            collected,
            walk_changes: self.options.walk_changes,
        });
        self.published.write().view = view;
        *self.collected.lock() = collected;
        self.collected_changed.notify_all();
    }

    pub(crate) fn mark(&self) -> Option<Bytes> {
        self.mark.lock().clone()
    }

    pub(crate) fn set_mark(&self, mark: &[u8]) {
        *self.mark.lock() = Some(Bytes::copy_from_slice(mark));
    }

    pub(crate) fn written_bytes(&self) -> i64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(crate) fn set_written_bytes(&self, bytes: i64) {
        self.written.store(bytes, Ordering::Relaxed);
    }

    /// Bytes of keys, values and history that are not yet collected, before compression.
    pub(crate) fn live_bytes(&self) -> i64 {
        self.written_bytes() - self.collected_bytes.load(Ordering::Relaxed)
    }
}

impl Loaded {
    fn from(disk: &Arc<Disk>, auth: &AuthStore, walk_changes: usize) -> io::Result<Self> {
        match disk.meta_number(name::FORMAT)? {
            Some(FORMAT) => {}
            Some(other) => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!(
                        "the state has format {other}, this version reads {FORMAT}; run the version that wrote it, or a later one"
                    ),
                ));
            }
            None => return Err(codec::corrupt("it has no format version")),
        }
        let moment = Moment::now(Arc::clone(disk));
        let live = live_keys(&moment)?;
        let leases = leases(&moment)?;
        let alarms = alarms(&moment)?;
        auth.load(records(&moment, Family::Auth)?.into_iter())?;
        let cluster_id = disk.meta_number(name::CLUSTER_ID)?.unwrap_or(0);
        let incarnation = disk.meta(name::INCARNATION)?.unwrap_or_default();
        let view = View {
            moment,
            revision: disk.meta_number(name::REVISION)?.unwrap_or(1),
            compacted: disk.meta_number(name::COMPACTED)?.unwrap_or(-1),
            collected: disk.meta_number(name::COLLECTED)?.unwrap_or(-1),
            walk_changes,
        };
        Ok(Self {
            published: Published {
                view: Arc::new(view),
                live,
            },
            leases,
            alarms,
            identity: Identity {
                cluster_id: u64::from_be_bytes(cluster_id.to_be_bytes()),
                incarnation: String::from_utf8(incarnation)
                    .map_err(|_| codec::corrupt("the incarnation is not text"))?,
            },
            mark: disk.meta(name::MARK)?.map(Bytes::from),
            written: disk.meta_number(name::BYTES)?.unwrap_or(0),
            collected_bytes: disk.meta_number(name::BYTES_COLLECTED)?.unwrap_or(0),
        })
    }
}

/// What a database says of itself, for whoever only looks at it.
pub(crate) struct Outline {
    pub(crate) view: Arc<View>,
    pub(crate) identity: Identity,
    pub(crate) mark: Option<Bytes>,
    pub(crate) leases: usize,
    pub(crate) alarms: usize,
}

/// Loads everything an engine would load.
pub(crate) fn outline(disk: &Arc<Disk>) -> io::Result<Outline> {
    let options = Options::default();
    let loaded = Loaded::from(disk, &AuthStore::new(), options.walk_changes)?;
    Ok(Outline {
        view: loaded.published.view,
        identity: loaded.identity,
        mark: loaded.mark,
        leases: loaded.leases.list().len(),
        alarms: loaded.alarms.len(),
    })
}

fn live_keys(moment: &Moment) -> io::Result<LiveKeys> {
    let mut live = LiveKeys::default();
    let mut iterator = moment.iterator(Family::Cur, None);
    iterator.seek_to_first();
    while let Some(key) = iterator.key() {
        live.insert(key);
        iterator.next();
    }
    disk::finished(&iterator)?;
    Ok(live)
}

fn leases(moment: &Moment) -> io::Result<Leases> {
    let leases = Leases::default();
    let mut iterator = moment.iterator(Family::Lease, None);
    iterator.seek_to_first();
    // A lease sorts before the keys on it.
    while let Some((stored, value)) = iterator.item() {
        let (id, key) = codec::split_lease_key(stored)?;
        if key.is_empty() {
            let (ttl, remaining) = codec::parse_lease_value(value)?;
            leases.grant(LeaseInfo { id, ttl, remaining });
        } else {
            leases.attach(id, key);
        }
        iterator.next();
    }
    disk::finished(&iterator)?;
    Ok(leases)
}

fn alarms(moment: &Moment) -> io::Result<BTreeSet<(i32, u64)>> {
    let mut alarms = BTreeSet::new();
    let mut iterator = moment.iterator(Family::Meta, None);
    iterator.seek(name::ALARM);
    while let Some(stored) = iterator.key().and_then(|key| key.strip_prefix(name::ALARM)) {
        let parts = stored.split_first_chunk::<4>();
        let parsed = parts.and_then(|(kind, member)| {
            Some((
                i32::from_be_bytes(*kind),
                u64::from_be_bytes(member.try_into().ok()?),
            ))
        });
        alarms.insert(parsed.ok_or_else(|| codec::corrupt("an alarm cannot be read"))?);
        iterator.next();
    }
    disk::finished(&iterator)?;
    Ok(alarms)
}

type Stored = (Box<[u8]>, Box<[u8]>);

fn records(moment: &Moment, family: Family) -> io::Result<Vec<Stored>> {
    let mut records = Vec::new();
    let mut iterator = moment.iterator(family, None);
    iterator.seek_to_first();
    while let Some((key, value)) = iterator.item() {
        records.push((key.into(), value.into()));
        iterator.next();
    }
    disk::finished(&iterator)?;
    Ok(records)
}

impl History for Store {
    fn revision(&self) -> i64 {
        self.published.read().view.revision
    }

    fn compacted(&self) -> i64 {
        self.published.read().view.compacted
    }

    fn events(
        &self,
        from: i64,
        through: i64,
        max_revisions: usize,
        max_bytes: usize,
    ) -> io::Result<Vec<RevisionEvents>> {
        let view = self.view();
        let mut found: Vec<RevisionEvents> = Vec::new();
        let mut bytes = 0;
        let start = Rev {
            main: from.max(0),
            sub: 0,
        };
        let mut iterator = view.moment.iterator(Family::Rev, None);
        iterator.seek(codec::rev_key(start));
        while let Some((stored, value)) = iterator.item() {
            let rev = codec::parse_rev_key(stored)?;
            let event = Arc::new(codec::parse_rev_value(value, rev.main)?.to_event(rev.main));
            let revisions = found.len();
            match found.last_mut() {
                Some(last) if last.revision == rev.main => last.events.push(event),
                _ if rev.main > through || revisions >= max_revisions.max(1) => break,
                Some(_) if bytes >= max_bytes => break,
                _ => found.push(RevisionEvents {
                    revision: rev.main,
                    events: vec![event],
                }),
            }
            bytes += value.len();
            iterator.next();
        }
        disk::finished(&iterator)?;
        Ok(found)
    }

    fn previous(&self, key: &[u8], before: i64) -> io::Result<Option<KeyValue>> {
        let view = self.view();
        let at = before - 1;
        if at < view.compacted {
            return Ok(None);
        }
        let state = if at >= view.revision {
            view.get_current(key)?
        } else {
            view.get_past(key, at)?
        };
        Ok(state.map(|(meta, value)| meta.with(Bytes::copy_from_slice(key), value)))
    }
}

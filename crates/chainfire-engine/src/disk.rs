//! RocksDB as the engine uses it: column families, sizes, snapshots that can be shared.
//!
//! RocksDB's own log is off: what a crash loses is applied again from the Raft log. `atomic_flush` makes the
//! column families reach the disk together, so that the mark never runs ahead of the data.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBPinnableSlice, DBRawIterator, DataBlockIndexType, FlushOptions, ReadOptions, Snapshot,
    WriteBatch, checkpoint::Checkpoint,
};
use self_cell::self_cell;

use crate::{codec, options::Options};

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// History in order of revision.
    Rev,
    /// History in order of key, newest first.
    Ver,
    /// Live keys with their newest values.
    Cur,
    /// Leases and the keys on them.
    Lease,
    /// Users and roles.
    Auth,
    /// Everything there is one of.
    Meta,
}

impl Family {
    pub(crate) const ALL: [Self; 6] = [
        Self::Rev,
        Self::Ver,
        Self::Cur,
        Self::Lease,
        Self::Auth,
        Self::Meta,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Rev => "rev",
            Self::Ver => "ver",
            Self::Cur => "cur",
            Self::Lease => "lease",
            Self::Auth => "auth",
            Self::Meta => "meta",
        }
    }
}

/// Names in [`Family::Meta`].
pub(crate) mod name {
    pub(crate) const MARK: &[u8] = b"mark";
    pub(crate) const REVISION: &[u8] = b"revision";
    pub(crate) const COMPACTED: &[u8] = b"compacted";
    /// How far physical compaction has got.
    pub(crate) const COLLECTED: &[u8] = b"collected";
    /// Bytes ever written to `rev`, `ver` and `cur`, less what was deleted by commands.
    pub(crate) const BYTES: &[u8] = b"bytes";
    /// Bytes physical compaction has taken away again.
    pub(crate) const BYTES_COLLECTED: &[u8] = b"bytes-collected";
    pub(crate) const CLUSTER_ID: &[u8] = b"cluster-id";
    pub(crate) const INCARNATION: &[u8] = b"incarnation";
    /// Followed by alarm type and member id.
    pub(crate) const ALARM: &[u8] = b"alarm/";
    pub(crate) const FORMAT: &[u8] = b"format";
}

/// Keeps RocksDB's text and says what to do about it.
pub(crate) fn failed(doing: &str, error: &rocksdb::Error) -> io::Error {
    let kind = match error.kind() {
        rocksdb::ErrorKind::Corruption => io::ErrorKind::InvalidData,
        rocksdb::ErrorKind::Busy | rocksdb::ErrorKind::TryAgain => io::ErrorKind::WouldBlock,
        _ => io::ErrorKind::Other,
    };
    let advice = if kind == io::ErrorKind::InvalidData {
        "; this member's data is damaged: restore it from a snapshot or let it rejoin with an empty directory"
    } else {
        ""
    };
    io::Error::new(kind, format!("{doing}: {error}{advice}"))
}

/// An open RocksDB.
pub(crate) struct Disk {
    db: DB,
    path: PathBuf,
    retired: std::sync::atomic::AtomicBool,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.db.cancel_all_background_work(true);
        if *self.retired.get_mut() {
            // The files are open until the field is dropped; unlinking them first is fine on Linux.
            if let Err(error) = std::fs::remove_dir_all(&self.path) {
                tracing::warn!(path = %self.path.display(), %error, "an old state directory could not be removed");
            }
        }
    }
}

impl Disk {
    /// Opens the database; creates it only if that is wanted.
    pub(crate) fn open(path: &Path, options: &Options, create: bool) -> io::Result<Arc<Self>> {
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let families = Family::ALL.map(|family| {
            ColumnFamilyDescriptor::new(family.name(), family_options(family, options, &cache))
        });
        let db = DB::open_cf_descriptors(&database_options(options, create), path, families)
            .map_err(|error| failed(&format!("opening the store in {}", path.display()), &error))?;
        Ok(Arc::new(Self {
            db,
            path: path.to_owned(),
            retired: false.into(),
        }))
    }

    /// Opens a database without changing anything in its directory.
    pub(crate) fn open_read_only(path: &Path) -> io::Result<Arc<Self>> {
        let options = Options::default();
        let cache = Cache::new_lru_cache(options.block_cache_bytes);
        let families = Family::ALL.map(|family| {
            ColumnFamilyDescriptor::new(family.name(), family_options(family, &options, &cache))
        });
        let db = DB::open_cf_descriptors_read_only(
            &database_options(&options, false),
            path,
            families,
            false,
        )
        .map_err(|error| failed(&format!("opening the store in {}", path.display()), &error))?;
        Ok(Arc::new(Self {
            db,
            path: path.to_owned(),
            retired: false.into(),
        }))
    }

    /// The directory goes away with the last user of this database.
    pub(crate) fn retire(&self) {
        self.retired
            .store(true, std::sync::atomic::Ordering::Relaxed);
        self.db.cancel_all_background_work(false);
    }

    #[expect(
        clippy::expect_used,
        reason = "open() opens every family of the closed set"
    )]
    pub(crate) fn family(&self, family: Family) -> &ColumnFamily {
        self.db.cf_handle(family.name()).expect("family is open")
    }

    pub(crate) fn get(
        &self,
        family: Family,
        key: &[u8],
    ) -> io::Result<Option<DBPinnableSlice<'_>>> {
        self.db
            .get_pinned_cf(self.family(family), key)
            .map_err(|error| failed("reading the store", &error))
    }

    /// Writes the batch without RocksDB's log.
    pub(crate) fn write(&self, batch: WriteBatch) -> io::Result<()> {
        self.db
            .write_without_wal(batch)
            .map_err(|error| failed("writing the store", &error))
    }

    /// Whether RocksDB makes writers wait, because flushes or compactions cannot keep up.
    pub(crate) fn is_stalling(&self) -> bool {
        let is_set = |name: &str| {
            // Of the default family; the state is the whole database's.
            self.db
                .property_int_value(name)
                .is_ok_and(|value| value != Some(0))
        };
        is_set("rocksdb.is-write-stopped") || is_set("rocksdb.actual-delayed-write-rate")
    }

    /// Brings everything written so far to the disk.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let families = Family::ALL.map(|family| self.family(family));
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db
            .flush_cfs_opt(&families, &options)
            .map_err(|error| failed("flushing the store", &error))
    }

    /// Copies the flushed state into a directory that does not exist yet (hard links where possible).
    pub(crate) fn checkpoint(&self, to: &Path) -> io::Result<()> {
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(to))
            .map_err(|error| failed("writing a checkpoint", &error))
    }

    /// An iterator over a whole family that leaves the block cache alone; not yet positioned.
    pub(crate) fn everything(&self, family: Family) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_verify_checksums(true);
        self.db.raw_iterator_cf_opt(self.family(family), options)
    }

    /// The mark in a closed database.
    pub(crate) fn mark_of(path: &Path) -> io::Result<Vec<u8>> {
        let opening = |error| failed(&format!("reading the mark in {}", path.display()), &error);
        let names = Family::ALL.map(Family::name);
        let db = DB::open_cf_for_read_only(&rocksdb::Options::default(), path, names, false)
            .map_err(opening)?;
        let meta = db
            .cf_handle(Family::Meta.name())
            .ok_or_else(|| codec::corrupt("a checkpoint has no meta family"))?;
        let mark = db.get_cf(meta, name::MARK).map_err(opening)?;
        Ok(mark.unwrap_or_default())
    }

    /// Rewrites everything in the background's place; reads and writes go on.
    pub(crate) fn compact_all(&self) {
        for family in Family::ALL {
            self.db
                .compact_range_cf(self.family(family), None::<&[u8]>, None::<&[u8]>);
        }
    }

    fn property(&self, property: &str) -> i64 {
        let of = |family| {
            self.db
                .property_int_value_cf(self.family(family), property)
                .ok()
                .flatten()
                .unwrap_or(0)
        };
        let sum: u64 = Family::ALL.into_iter().map(of).sum();
        i64::try_from(sum).unwrap_or(i64::MAX)
    }

    /// Bytes of files and memtables.
    pub(crate) fn total_bytes(&self) -> i64 {
        self.property("rocksdb.total-sst-files-size")
            + self.property("rocksdb.cur-size-all-mem-tables")
    }

    pub(crate) fn meta(&self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.get(Family::Meta, name)?.map(|value| value.to_vec()))
    }

    pub(crate) fn meta_number(&self, name: &[u8]) -> io::Result<Option<i64>> {
        match self.get(Family::Meta, name)? {
            Some(value) => codec::parse_number(&value).map(Some),
            None => Ok(None),
        }
    }
}

fn database_options(options: &Options, create: bool) -> rocksdb::Options {
    let mut db = rocksdb::Options::default();
    db.create_if_missing(create);
    db.create_missing_column_families(true);
    db.set_atomic_flush(true);
    db.set_db_write_buffer_size(options.memtable_bytes);
    // One writer: the machinery for concurrent ones only costs.
    db.set_allow_concurrent_memtable_write(false);
    db.set_enable_pipelined_write(false);
    db.set_max_background_jobs(2);
    // Every file stays open: a state directory that was replaced is unlinked while readers finish.
    db.set_max_open_files(-1);
    db.set_max_file_opening_threads(2);
    db.set_paranoid_checks(true);
    db.set_bytes_per_sync(1 << 20);
    db.set_keep_log_file_num(4);
    db.set_max_log_file_size(4 << 20);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    db
}

fn family_options(family: Family, options: &Options, cache: &Cache) -> rocksdb::Options {
    let large = matches!(family, Family::Rev | Family::Ver | Family::Cur);
    let mut cf = rocksdb::Options::default();
    cf.set_write_buffer_size(if large {
        options.memtable_bytes / 3
    } else {
        4 << 20
    });
    cf.set_max_write_buffer_number(3);
    cf.set_level_compaction_dynamic_level_bytes(true);
    cf.set_compression_type(DBCompressionType::Lz4);
    cf.set_target_file_size_base(32 << 20);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(8 << 10);
    table.set_format_version(5);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    if family == Family::Cur {
        // Point reads: most puts look for a key that exists or has never been.
        table.set_bloom_filter(10.0, false);
        table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
        table.set_data_block_hash_ratio(0.75);
    }
    cf.set_block_based_table_factory(&table);
    cf
}

self_cell!(
    struct Held {
        owner: Arc<Disk>,
        #[covariant]
        dependent: Snapshot,
    }
);

/// The database at one moment; shared by readers, kept alive by them.
pub(crate) struct Moment(Held);

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Moment({:?})", self.0.borrow_owner())
    }
}

impl Moment {
    pub(crate) fn now(disk: Arc<Disk>) -> Self {
        Self(Held::new(disk, |disk| disk.db.snapshot()))
    }

    pub(crate) fn disk(&self) -> &Arc<Disk> {
        self.0.borrow_owner()
    }

    pub(crate) fn get(
        &self,
        family: Family,
        key: &[u8],
    ) -> io::Result<Option<DBPinnableSlice<'_>>> {
        self.0
            .borrow_dependent()
            .get_pinned_cf(self.disk().family(family), key)
            .map_err(|error| failed("reading the store", &error))
    }

    /// An iterator below `end`, not yet positioned.
    pub(crate) fn iterator(&self, family: Family, end: Option<&[u8]>) -> DBRawIterator<'_> {
        let mut options = ReadOptions::default();
        if let Some(end) = end {
            options.set_iterate_upper_bound(end);
        }
        self.0
            .borrow_dependent()
            .raw_iterator_cf_opt(self.disk().family(family), options)
    }
}

/// Tells the end of an iteration from its failure.
pub(crate) fn finished(iterator: &DBRawIterator<'_>) -> io::Result<()> {
    iterator
        .status()
        .map_err(|error| failed("reading the store", &error))
}

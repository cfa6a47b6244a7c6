//! Reading at a revision: the newest from `cur`, older ones through `ver` and `rev`.

use std::{collections::BTreeSet, io};

use bytes::{Bytes, BytesMut};
use photon_proto::mvccpb::KeyValue;

use crate::{
    codec::{self, Meta, Rev},
    disk::{self, Family, Moment},
    span::Span,
};

/// Where requests read from: the published state, or that with the uncommitted changes of a batch over it.
pub(crate) trait Reader {
    /// The newest revision it has.
    fn revision(&self) -> i64;
    /// The compacted revision, -1 if none.
    fn compacted(&self) -> i64;
    /// A key at a revision that is neither future nor compacted.
    fn get(&self, key: &[u8], at: i64) -> io::Result<Option<(Meta, Bytes)>>;
    /// Visits live keys of a range in order until the visitor says stop.
    fn scan(&self, span: &Span<'_>, at: i64, visit: &mut Visit<'_>) -> io::Result<()>;
    /// How many keys are live in it.
    fn count(&self, span: &Span<'_>, at: i64) -> io::Result<usize>;
}

/// What a scan calls for each key; false ends the scan.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &Meta, Value<'_>) -> bool + 'a;

/// The same for the versions of `ver`, by escaped key.
type VisitVersion<'a> = dyn FnMut(&[u8], Rev, Meta) -> io::Result<bool> + 'a;

/// A value where it lies: who only wants keys does not pay for a copy.
pub(crate) enum Value<'a> {
    /// In the database's memory.
    Borrowed(&'a [u8]),
    /// In an uncommitted change.
    Shared(&'a Bytes),
}

impl Value<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Collects rows; keys and values of many rows share one allocation.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    arena: BytesMut,
    pub(crate) kvs: Vec<KeyValue>,
}

/// What rows share at a time: large enough to be rare, small enough that one kept row pins little.
const ARENA: usize = 64 << 10;

impl Rows {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self {
            arena: BytesMut::new(),
            kvs: Vec::with_capacity(rows.min(4096)),
        }
    }

    pub(crate) fn push(&mut self, key: &[u8], meta: &Meta, value: Option<Value<'_>>) {
        let needed = key.len()
            + match value {
                Some(Value::Borrowed(bytes)) => bytes.len(),
                _ => 0,
            };
        if self.arena.capacity() - self.arena.len() < needed {
            // Grows with the answer: a single row allocates what it needs.
            let size = if self.kvs.len() < 8 {
                needed * 2
            } else {
                ARENA
            };
            self.arena = BytesMut::with_capacity(needed.max(size));
        }
        let key = self.store(key);
        let value = match value {
            Some(Value::Borrowed(bytes)) => self.store(bytes),
            Some(Value::Shared(bytes)) => bytes.clone(),
            None => Bytes::new(),
        };
        self.kvs.push(meta.with(key, value));
    }

    fn store(&mut self, bytes: &[u8]) -> Bytes {
        self.arena.extend_from_slice(bytes);
        self.arena.split().freeze()
    }
}

/// The published state at one revision.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) moment: Moment,
    pub(crate) revision: i64,
    pub(crate) compacted: i64,
    /// How far physical compaction had got.
    pub(crate) collected: i64,
    /// [`crate::Options::walk_changes`].
    pub(crate) walk_changes: usize,
}

/// Versions of one key to step over before seeking instead.
const STEPS_BEFORE_SEEK: usize = 6;
/// A live state of a key.
pub(crate) type State = (Meta, Bytes);

impl View {
    /// The newest state of a key.
    pub(crate) fn get_current(&self, key: &[u8]) -> io::Result<Option<(Meta, Bytes)>> {
        match self.moment.get(Family::Cur, key)? {
            Some(stored) => {
                let (meta, value) = codec::parse_cur_value(&stored)?;
                Ok(Some((meta, Bytes::copy_from_slice(value))))
            }
            None => Ok(None),
        }
    }

    /// The state of a key at an older revision.
    pub(crate) fn get_past(&self, key: &[u8], at: i64) -> io::Result<Option<(Meta, Bytes)>> {
        let Some((rev, Some(meta))) = self.version_at(key, at)? else {
            return Ok(None);
        };
        let value = self.value_of(key, rev)?;
        Ok(Some((meta, value)))
    }

    /// The newest version of a key at or below a revision; a tombstone has no meta.
    pub(crate) fn version_at(
        &self,
        key: &[u8],
        at: i64,
    ) -> io::Result<Option<(Rev, Option<Meta>)>> {
        let (mut from, mut escaped) = (Vec::new(), Vec::new());
        codec::ver_key(key, newest_of(at), &mut from);
        codec::escape(key, &mut escaped);
        let mut iterator = self.moment.iterator(Family::Ver, None);
        iterator.seek(&from);
        let Some((stored, value)) = iterator.item() else {
            disk::finished(&iterator)?;
            return Ok(None);
        };
        let (found, rev) = codec::split_ver_key(stored)?;
        if found != escaped {
            return Ok(None);
        }
        Ok(Some((rev, codec::parse_ver_value(value, rev.main)?)))
    }

    fn value_of(&self, key: &[u8], rev: Rev) -> io::Result<Bytes> {
        let stored = self
            .moment
            .get(Family::Rev, &codec::rev_key(rev))?
            .ok_or_else(|| codec::corrupt("a version has no history entry"))?;
        match codec::parse_rev_value(&stored, rev.main)? {
            entry if entry.key != key => {
                Err(codec::corrupt("a version points to another key's entry"))
            }
            codec::Entry {
                put: Some((_, value)),
                ..
            } => Ok(Bytes::copy_from_slice(value)),
            _ => Err(codec::corrupt("a version points to a tombstone")),
        }
    }

    /// Live keys now, in order.
    pub(crate) fn scan_current(&self, span: &Span<'_>, visit: &mut Visit<'_>) -> io::Result<()> {
        let (start, end) = match *span {
            Span::Point(key) => {
                if let Some(stored) = self.moment.get(Family::Cur, key)? {
                    let (meta, value) = codec::parse_cur_value(&stored)?;
                    visit(key, &meta, Value::Borrowed(value));
                }
                return Ok(());
            }
            Span::Range { .. } if span.is_empty() => return Ok(()),
            Span::Range { start, end } => (start, end),
        };
        let mut iterator = self.moment.iterator(Family::Cur, end);
        iterator.seek(start);
        while let Some((key, stored)) = iterator.item() {
            let (meta, value) = codec::parse_cur_value(stored)?;
            if !visit(key, &meta, Value::Borrowed(value)) {
                return Ok(());
            }
            iterator.next();
        }
        disk::finished(&iterator)
    }

    /// Live keys at an older revision, in order.
    pub(crate) fn scan_past(
        &self,
        span: &Span<'_>,
        at: i64,
        visit: &mut Visit<'_>,
    ) -> io::Result<()> {
        if let Span::Point(key) = *span {
            if let Some((meta, value)) = self.get_past(key, at)? {
                visit(key, &meta, Value::Shared(&value));
            }
            return Ok(());
        }
        if let Some(changed) = self.changed_since(span, at)? {
            let keys = changed.iter().map(|key| &key[..]);
            return self.scan_merged(span, keys, &|key| self.get_past(key, at), visit);
        }
        let mut key = Vec::new();
        self.scan_versions(span, at, &mut |escaped, rev, meta| {
            codec::unescape(escaped, &mut key)?;
            let value = self.value_of(&key, rev)?;
            Ok(visit(&key, &meta, Value::Shared(&value)))
        })
    }

    /// Live keys now, but those in `over` (ascending, within the span) as `state_of` says they are.
    pub(crate) fn scan_merged<'k>(
        &self,
        span: &Span<'_>,
        over: impl Iterator<Item = &'k [u8]>,
        state_of: &dyn Fn(&[u8]) -> io::Result<Option<State>>,
        visit: &mut Visit<'_>,
    ) -> io::Result<()> {
        let Span::Range { start, end } = *span else {
            return Ok(());
        };
        let mut over = over.peekable();
        let mut base = self.moment.iterator(Family::Cur, end);
        base.seek(start);
        loop {
            let item = base.item();
            // What lies before the base's next key, and that key itself if it is in both.
            while let Some(key) = over.next_if(|key| item.is_none_or(|(at, _)| *key < at)) {
                if let Some((meta, value)) = state_of(key)?
                    && !visit(key, &meta, Value::Shared(&value))
                {
                    return Ok(());
                }
            }
            let Some((key, stored)) = item else {
                return disk::finished(&base);
            };
            let goes_on = if over.next_if(|changed| *changed == key).is_some() {
                match state_of(key)? {
                    Some((meta, value)) => visit(key, &meta, Value::Shared(&value)),
                    None => true,
                }
            } else {
                let (meta, value) = codec::parse_cur_value(stored)?;
                visit(key, &meta, Value::Borrowed(value))
            };
            if !goes_on {
                return Ok(());
            }
            base.next();
        }
    }

    /// The keys of a range that have changed since a revision; `None` if there are too many changes to walk over.
    fn changed_since(&self, span: &Span<'_>, at: i64) -> io::Result<Option<BTreeSet<Vec<u8>>>> {
        let mut changed = BTreeSet::new();
        let walked = self.walk_since(at, self.walk_changes, &mut |entry| {
            if span.contains(entry.key) {
                changed.insert(entry.key.to_vec());
            }
        })?;
        Ok(walked.then_some(changed))
    }

    /// Visits every change after a revision; false if there are more than the limit.
    fn walk_since(
        &self,
        at: i64,
        limit: usize,
        visit: &mut dyn FnMut(&codec::Entry<'_>),
    ) -> io::Result<bool> {
        // A revision has at least one change.
        if self.revision - at > i64::try_from(limit).unwrap_or(i64::MAX) {
            return Ok(false);
        }
        let mut walked = 0;
        let mut iterator = self.moment.iterator(Family::Rev, None);
        iterator.seek(codec::rev_key(Rev {
            main: at + 1,
            sub: 0,
        }));
        while let Some((stored, value)) = iterator.item() {
            if walked == limit {
                return Ok(false);
            }
            let rev = codec::parse_rev_key(stored)?;
            visit(&codec::parse_rev_value(value, rev.main)?);
            walked += 1;
            iterator.next();
        }
        disk::finished(&iterator)?;
        Ok(true)
    }

    /// For each key live at a revision: its escaped form and its version.
    fn scan_versions(
        &self,
        span: &Span<'_>,
        at: i64,
        visit: &mut VisitVersion<'_>,
    ) -> io::Result<()> {
        let Span::Range { start, end } = *span else {
            return Ok(());
        };
        if span.is_empty() {
            return Ok(());
        }
        let (mut from, mut until) = (Vec::new(), Vec::new());
        codec::escape(start, &mut from);
        let end = end.map(|end| {
            codec::escape(end, &mut until);
            &until[..]
        });
        let mut iterator = self.moment.iterator(Family::Ver, end);
        iterator.seek(&from);
        let (mut current, mut done, mut steps, mut target) = (Vec::new(), false, 0, Vec::new());
        while let Some((stored, value)) = iterator.item() {
            let (escaped, rev) = codec::split_ver_key(stored)?;
            if current != escaped {
                current.clear();
                current.extend_from_slice(escaped);
                (done, steps) = (false, 0);
            }
            if !done && rev.main <= at {
                done = true;
                if let Some(meta) = codec::parse_ver_value(value, rev.main)?
                    && !visit(escaped, rev, meta)?
                {
                    return Ok(());
                }
            }
            steps += 1;
            if steps <= STEPS_BEFORE_SEEK {
                iterator.next();
                continue;
            }
            steps = 0;
            target.clear();
            target.extend_from_slice(&current);
            if done {
                // Past every version of this key: no revision is negative, so none is inverted to all ones.
                target.extend_from_slice(&[0xFF; 17]);
            } else {
                codec::push_inverted(newest_of(at), &mut target);
            }
            iterator.seek(&target);
        }
        disk::finished(&iterator)
    }

    /// Keys live at an older revision: today's count less what has changed since, or a scan if too much has.
    pub(crate) fn count_past(&self, span: &Span<'_>, at: i64, today: usize) -> io::Result<usize> {
        if let Some(change) = self.count_changes_since(span, at)? {
            return usize::try_from(i64::try_from(today).unwrap_or(i64::MAX) - change)
                .map_err(|_| codec::corrupt("the live keys do not fit the history"));
        }
        let mut count = 0;
        match span {
            Span::Point(key) => count += usize::from(self.get_past(key, at)?.is_some()),
            Span::Range { .. } => self.scan_versions(span, at, &mut |_, _, _| {
                count += 1;
                Ok(true)
            })?,
        }
        Ok(count)
    }

    /// By how many keys a range has grown since a revision; `None` if there are too many changes to walk over.
    fn count_changes_since(&self, span: &Span<'_>, at: i64) -> io::Result<Option<i64>> {
        let mut grown = 0;
        let limit = self.walk_changes.saturating_mul(10);
        let walked = self.walk_since(at, limit, &mut |entry| {
            if span.contains(entry.key) {
                grown += match entry.put {
                    Some((meta, _)) if meta.version == 1 => 1,
                    Some(_) => 0,
                    None => -1,
                };
            }
        })?;
        Ok(walked.then_some(grown))
    }
}

/// Sorts before every version at or below `at` in `ver`.
fn newest_of(at: i64) -> Rev {
    Rev {
        main: at,
        sub: i64::MAX,
    }
}

/// A view with counts that were taken while the live-key index was at the view's revision.
#[derive(Debug)]
pub(crate) struct Published<'a> {
    pub(crate) view: &'a View,
    /// What was counted, for the ranges the request has.
    pub(crate) counts: Vec<(Span<'a>, usize)>,
}

impl Published<'_> {
    fn today(&self, span: &Span<'_>) -> io::Result<usize> {
        if let Some((_, count)) = self.counts.iter().find(|(counted, _)| counted == span) {
            return Ok(*count);
        }
        // Nobody asked in advance: count what is there.
        let mut count = 0;
        self.view.scan_current(span, &mut |_, _, _| {
            count += 1;
            true
        })?;
        Ok(count)
    }
}

impl Reader for Published<'_> {
    fn revision(&self) -> i64 {
        self.view.revision
    }

    fn compacted(&self) -> i64 {
        self.view.compacted
    }

    fn get(&self, key: &[u8], at: i64) -> io::Result<Option<(Meta, Bytes)>> {
        if at >= self.view.revision {
            self.view.get_current(key)
        } else {
            self.view.get_past(key, at)
        }
    }

    fn scan(&self, span: &Span<'_>, at: i64, visit: &mut Visit<'_>) -> io::Result<()> {
        if at >= self.view.revision {
            self.view.scan_current(span, visit)
        } else {
            self.view.scan_past(span, at, visit)
        }
    }

    fn count(&self, span: &Span<'_>, at: i64) -> io::Result<usize> {
        let today = self.today(span)?;
        if at >= self.view.revision {
            Ok(today)
        } else {
            self.view.count_past(span, at, today)
        }
    }
}

//! What the log holds, in memory: its outline, where each entry stands in the files, and the newest payloads.
//!
//! ```text
//!   purged |first                                        end
//!          |---- slots: where each entry stands ----------|
//!          |    ... in files ...    |- being written -|...|
//!                          |------- cached payloads ------|
//!                     durable ^              placed ^
//! ```
//!
//! Entries have no holes, so both are queues. A payload leaves the cache only when its entry is durable: until then
//! there is nowhere else to read it from.

use std::{collections::VecDeque, io};

use crate::{
    codec::invalid,
    log::record::Change,
    types::{Entry, LogId, Payload, Vote, log_id},
};

/// The log's own state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) owner: Option<u64>,
    pub(crate) vote: Option<Vote>,
    pub(crate) purged: Option<LogId>,
    pub(crate) committed: Option<LogId>,
    pub(crate) last: Option<LogId>,
}

/// The index behind `id`.
pub(super) fn next(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index.saturating_add(1))
}

/// Where the payload of an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) term: u64,
    /// The file, by the number of its first frame.
    pub(super) segment: u64,
    /// In the file; until the entry is placed, in the buffer it was written to.
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) crc: u32,
}

/// Everything the log knows without reading files.
#[derive(Debug, Default)]
pub(super) struct Index {
    outline: Outline,
    /// Index of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
    /// Payloads of the last entries.
    cache: VecDeque<Payload>,
    cached_bytes: usize,
    cache_limit: usize,
    /// Entries before this have their place in a file.
    placed: u64,
    /// Entries before this are in a frame that is being written, or on disk.
    writing: u64,
    /// Entries before this are on disk.
    durable: u64,
    /// While files are read: entries before this may have stood in files that are gone.
    lost: u64,
}

impl Index {
    pub(super) fn new(cache_limit: usize) -> Self {
        Self {
            cache_limit,
            ..Self::default()
        }
    }

    pub(super) fn outline(&self) -> &Outline {
        &self.outline
    }

    /// The index behind the last slot.
    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Entries that are there.
    pub(super) fn range(&self) -> std::ops::Range<u64> {
        self.first..self.end()
    }

    fn slot(&self, index: u64) -> Option<&Slot> {
        let at = index.checked_sub(self.first)?;
        self.slots.get(usize::try_from(at).ok()?)
    }

    /// An entry's id and where it stands. `None`: it is not there.
    pub(super) fn get(&self, index: u64) -> Option<(LogId, Slot)> {
        let slot = self.slot(index)?;
        Some((log_id(slot.term, index), *slot))
    }

    /// The payload of an entry if it is in memory.
    pub(super) fn cached(&self, index: u64) -> Option<&Payload> {
        let from = self.end() - self.cache.len() as u64;
        let at = index.checked_sub(from)?;
        self.cache.get(usize::try_from(at).ok()?)
    }

    /// Whether `id` may be appended.
    pub(super) fn check_next(&self, id: &LogId) -> io::Result<()> {
        match self.outline.last {
            Some(last) if last.index.checked_add(1) != Some(id.index) => Err(invalid(format!(
                "entry {} follows entry {}",
                id.index, last.index
            ))),
            _ => Ok(()),
        }
    }

    /// An entry that was read from a file.
    pub(super) fn found(&mut self, id: LogId, slot: Slot) -> io::Result<()> {
        self.check_next(&id)?;
        self.push(id, slot);
        let end = self.end();
        (self.placed, self.writing, self.durable) = (end, end, end);
        Ok(())
    }

    /// An entry that is on its way to a file, whose id was checked.
    pub(super) fn accepted(&mut self, entry: Entry, slot: Slot) {
        self.push(entry.log_id, slot);
        self.cache.push_back(entry.payload);
        self.cached_bytes += slot.len as usize;
        self.evict();
    }

    fn push(&mut self, id: LogId, slot: Slot) {
        if self.slots.is_empty() {
            self.restart(id.index);
        }
        self.slots.push_back(slot);
        self.outline.last = Some(id);
    }

    /// Goes on at `first` without entries.
    fn restart(&mut self, first: u64) {
        self.first = first;
        (self.placed, self.writing, self.durable) = (first, first, first);
    }

    /// Gives up payloads, oldest first, that can be read from disk.
    fn evict(&mut self) {
        while self.cached_bytes > self.cache_limit {
            let oldest = self.end() - self.cache.len() as u64;
            if oldest >= self.durable || self.cache.pop_front().is_none() {
                return;
            }
            self.cached_bytes -= self.slot(oldest).map_or(0, |slot| slot.len as usize);
        }
    }

    /// Takes note of anything but an entry. Returns payloads that are not needed any more, to be dropped where that
    /// keeps nobody waiting.
    pub(super) fn change(&mut self, change: &Change) -> io::Result<Vec<Payload>> {
        let outline = &mut self.outline;
        match change {
            Change::Vote(vote) => outline.vote = Some(*vote),
            Change::Committed(id) => outline.committed = Some(*id),
            Change::Owner(owner) => outline.owner = Some(*owner),
            Change::TruncateAfter(last) => return self.truncate(*last),
            Change::PurgeUpto(upto) => return Ok(self.purge(*upto)),
            Change::State(state) => self.state(&state.outline)?,
        }
        Ok(Vec::new())
    }

    /// Every file repeats the state: what came before it need not be there any more.
    fn state(&mut self, state: &Outline) -> io::Result<()> {
        if self.outline == Outline::default() {
            self.outline = *state;
            self.restart(next(state.last));
            self.lost = next(state.last);
        } else if self.outline != *state {
            return Err(invalid(format!(
                "a file begins with {state:?}, but those before it end with {:?}",
                self.outline
            )));
        }
        Ok(())
    }

    fn truncate(&mut self, last: Option<LogId>) -> io::Result<Vec<Payload>> {
        let end = next(last);
        if end < next(self.outline.purged) {
            return Err(invalid(format!(
                "the log cannot be cut off before entry {end}: it was purged"
            )));
        }
        self.lost = self.lost.min(end);
        self.outline.last = last;
        if end <= self.first {
            let dropped = self.forget();
            self.restart(end);
            return Ok(dropped);
        }
        let mut dropped = Vec::new();
        while self.end() > end {
            let slot = self.slots.pop_back();
            if let Some(payload) = self.cache.pop_back() {
                self.cached_bytes -= slot.map_or(0, |slot| slot.len as usize);
                dropped.push(payload);
            }
        }
        for mark in [&mut self.placed, &mut self.writing, &mut self.durable] {
            *mark = (*mark).min(end);
        }
        Ok(dropped)
    }

    fn purge(&mut self, upto: LogId) -> Vec<Payload> {
        if next(self.outline.purged) > upto.index {
            return Vec::new();
        }
        self.outline.purged = Some(upto);
        let first = upto.index.saturating_add(1);
        if self.outline.last.is_none_or(|last| last.index < first) {
            self.outline.last = self.outline.last.max(Some(upto));
        }
        if first >= self.end() {
            let dropped = self.forget();
            self.restart(first);
            return dropped;
        }
        let mut dropped = Vec::new();
        while self.first < first {
            if self.cache.len() == self.slots.len() {
                dropped.extend(self.cache.pop_front());
                self.cached_bytes -= self.slots.front().map_or(0, |slot| slot.len as usize);
            }
            self.slots.pop_front();
            self.first += 1;
        }
        for mark in [&mut self.placed, &mut self.writing, &mut self.durable] {
            *mark = (*mark).max(first);
        }
        dropped
    }

    fn forget(&mut self) -> Vec<Payload> {
        self.slots.clear();
        self.cached_bytes = 0;
        self.cache.drain(..).collect()
    }

    /// Entries before `end` go into the frame that is written now.
    pub(super) fn begin_writing(&mut self, end: u64) {
        self.writing = end.clamp(self.placed, self.end().max(self.placed));
    }

    /// The entries being written stand in `segment`: byte `buffer_offset` of their buffer goes to `frame_offset`.
    pub(super) fn place(&mut self, segment: u64, frame_offset: u64, buffer_offset: u64) {
        for index in self.placed..self.writing {
            let at = usize::try_from(index - self.first).unwrap_or(usize::MAX);
            if let Some(slot) = self.slots.get_mut(at) {
                slot.segment = segment;
                slot.offset = slot.offset - buffer_offset + frame_offset;
            }
        }
        self.placed = self.writing;
    }

    /// The entries being written are on disk.
    pub(super) fn written(&mut self) {
        self.durable = self.writing;
        self.evict();
    }

    /// The oldest file with an entry that is still needed. `None`: only those that are still to be written.
    pub(super) fn oldest_segment(&self) -> Option<u64> {
        (self.first < self.placed).then(|| self.slots.front().map(|slot| slot.segment))?
    }

    /// Whether every entry that should be in the files was in them.
    pub(super) fn check_complete(&self) -> io::Result<()> {
        let expected = next(self.outline.purged);
        if self.lost > expected {
            return Err(invalid(format!(
                "the oldest files are missing: those with the entries {expected} to {}",
                self.lost - 1
            )));
        }
        if !self.slots.is_empty() && self.first > expected {
            return Err(invalid(format!(
                "the entries {expected} to {} are missing: nothing says that they were purged",
                self.first - 1
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use openraft::EntryPayload;

    use super::*;
    use crate::log::record::State;

    fn slot(offset: u64) -> Slot {
        Slot {
            term: 1,
            segment: 0,
            offset,
            len: 10,
            crc: 0,
        }
    }

    fn accept(index: &mut Index, numbers: std::ops::Range<u64>) {
        for number in numbers {
            let entry = Entry {
                log_id: log_id(1, number),
                payload: EntryPayload::Blank,
            };
            index.check_next(&entry.log_id).unwrap();
            index.accepted(entry, slot(100 + number));
        }
    }

    /// The frame with what was accepted so far goes to file 7, from byte 1000 on.
    fn write(index: &mut Index) {
        index.begin_writing(index.end());
        index.place(7, 1000, 100);
        index.written();
    }

    #[test]
    fn payloads_stay_until_they_are_durable() {
        let mut index = Index::new(35);
        accept(&mut index, 0..10);
        assert!(index.cached(0).is_some());
        index.begin_writing(5);
        accept(&mut index, 10..11);
        index.place(7, 1000, 100);
        assert!(index.cached(0).is_some());
        index.written();
        assert!(index.cached(4).is_none());
        assert!(index.cached(5).is_some());
        write(&mut index);
        assert!(index.cached(7).is_none());
        assert!(index.cached(8).is_some());
        assert_eq!(index.get(3).unwrap().1.offset, 1003);
        assert_eq!(index.get(3).unwrap().1.segment, 7);
    }

    #[test]
    fn an_entry_that_is_cut_off_while_it_is_written_does_not_lend_its_place() {
        let mut index = Index::new(0);
        accept(&mut index, 0..10);
        index.begin_writing(10);
        index
            .change(&Change::TruncateAfter(Some(log_id(1, 3))))
            .unwrap();
        accept(&mut index, 4..8);
        index.place(7, 1000, 100);
        index.written();
        assert_eq!(index.get(3).unwrap().1.offset, 1003);
        assert_eq!(index.get(4).unwrap().1.offset, 104);
        assert!(index.cached(3).is_none() && index.cached(4).is_some());
        assert_eq!(index.oldest_segment(), Some(7));
        index.change(&Change::PurgeUpto(log_id(1, 4))).unwrap();
        assert_eq!(index.oldest_segment(), None);
        assert_eq!(index.range(), 5..8);
    }

    #[test]
    fn purging_behind_the_end_starts_anew() {
        let mut index = Index::new(100);
        accept(&mut index, 0..10);
        index.begin_writing(10);
        let dropped = index.change(&Change::PurgeUpto(log_id(2, 20))).unwrap();
        assert_eq!(dropped.len(), 10);
        index.place(7, 1000, 100);
        index.written();
        assert_eq!(index.outline().last, Some(log_id(2, 20)));
        assert!(index.range().is_empty());
        accept(&mut index, 21..23);
        assert_eq!(index.get(21).unwrap().1.offset, 121);
        write(&mut index);
        assert_eq!(index.get(21).unwrap().1.offset, 1021);
        assert!(index.check_next(&log_id(2, 24)).is_err());
        assert!(
            index
                .change(&Change::TruncateAfter(Some(log_id(1, 19))))
                .is_err()
        );
    }

    #[test]
    fn lost_entries_are_noticed_unless_they_were_purged() {
        let state = State {
            outline: Outline {
                last: Some(log_id(1, 9)),
                ..Outline::default()
            },
            file_bytes: 4096,
        };
        let mut index = Index::new(0);
        index.change(&Change::State(state)).unwrap();
        assert!(index.check_complete().is_err());
        index.found(log_id(1, 10), slot(0)).unwrap();
        index.change(&Change::PurgeUpto(log_id(1, 8))).unwrap();
        assert!(index.check_complete().is_err());
        index.change(&Change::PurgeUpto(log_id(1, 9))).unwrap();
        index.check_complete().unwrap();
        assert_eq!(index.range(), 10..11);
    }

    #[test]
    fn a_log_that_begins_behind_what_was_purged_lacks_something() {
        let mut index = Index::new(0);
        index.found(log_id(1, 18), slot(0)).unwrap();
        index.found(log_id(1, 19), slot(0)).unwrap();
        let text = index.check_complete().unwrap_err().to_string();
        assert!(text.contains("0 to 17"), "{text}");
        index.change(&Change::PurgeUpto(log_id(1, 17))).unwrap();
        index.check_complete().unwrap();
    }
}

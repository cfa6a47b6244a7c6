//! What was accepted and is not on disk yet: one buffer that is filled while another is written.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
};

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use crate::{
    log::{
        frame,
        index::{Index, Outline, Slot},
        record::{self, Change, STATE_LEN},
        segment::Segment,
    },
    types::{Entry, Payload, TypeConfig},
};

/// Room before a body: for a header, and for the state record when the frame is the first of a file.
pub(super) const FRONT: usize = frame::HEADER + STATE_LEN;
/// A buffer with more than this takes no more entries; one entry may be larger.
const FULL: usize = 16 << 20;
/// Buffers that grew beyond this are not kept.
const KEPT: usize = 4 << 20;

/// Who is told when what stands before him is durable.
pub(super) enum Waiter {
    Append(IOFlushed<TypeConfig>),
    Write(oneshot::Sender<()>),
    /// Nobody waits; only the order matters (purge: files go after the record of it is durable).
    Nobody,
}

impl Waiter {
    pub(super) fn done(self) {
        match self {
            Self::Append(callback) => callback.io_completed(Ok(())),
            // The waiter may have been dropped; the write is durable all the same.
            Self::Write(tx) => drop(tx.send(())),
            Self::Nobody => {}
        }
    }
}

/// The content of one frame to be.
pub(super) struct Batch {
    /// `FRONT` bytes, then records.
    pub(super) buffer: Vec<u8>,
    /// What the log was before it.
    pub(super) before: Outline,
    pub(super) waiters: Vec<Waiter>,
    /// Index behind its last entry that still counts; known when it is sealed.
    end: u64,
    /// It purges, so files may go.
    purges: bool,
    /// Once this is durable, files before this one are not needed; `None`: all stay.
    pub(super) needed_from: Option<u64>,
}

impl Batch {
    fn new(before: Outline, (mut buffer, waiters): Spare) -> Self {
        buffer.clear();
        buffer.resize(FRONT, 0);
        Self {
            buffer,
            before,
            waiters,
            end: 0,
            purges: false,
            needed_from: None,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.len() == FRONT
    }
}

type Spare = (Vec<u8>, Vec<Waiter>);

/// The log as everybody but its writer sees it.
pub(super) struct Live {
    pub(super) index: Index,
    pub(super) segments: BTreeMap<u64, Arc<Segment>>,
    /// Full, oldest first.
    sealed: VecDeque<Batch>,
    open: Batch,
    spare: Option<Spare>,
    /// A batch has been taken and is not on disk yet.
    pub(super) writing: bool,
    /// The writer sleeps until it is woken.
    pub(super) parked: bool,
    pub(super) closed: bool,
}

impl Live {
    pub(super) fn new(index: Index, segments: BTreeMap<u64, Arc<Segment>>) -> Self {
        Self {
            open: Batch::new(*index.outline(), Spare::default()),
            index,
            segments,
            sealed: VecDeque::new(),
            spare: None,
            writing: false,
            parked: false,
            closed: false,
        }
    }

    /// Takes an entry; it can be read at once.
    pub(super) fn append(&mut self, entry: Entry) -> io::Result<()> {
        self.index.check_next(&entry.log_id)?;
        if self.open.buffer.len() > FULL {
            self.seal();
        }
        let buffer = &mut self.open.buffer;
        let range = record::put_entry(buffer, &entry)?;
        let slot = Slot {
            term: entry.log_id.leader_id.term,
            segment: 0,
            offset: range.start as u64,
            // Bounded by put_entry.
            len: u32::try_from(range.len()).map_err(io::Error::other)?,
            crc: crc32fast::hash(&buffer[range]),
        };
        self.index.accepted(entry, slot);
        Ok(())
    }

    /// Takes anything else. The payloads are the caller's to drop, outside the lock.
    pub(super) fn change(&mut self, change: &Change) -> io::Result<Vec<Payload>> {
        let dropped = self.index.change(change)?;
        record::put(&mut self.open.buffer, change);
        match change {
            Change::PurgeUpto(_) => self.open.purges = true,
            Change::TruncateAfter(_) => {
                let end = self.index.range().end;
                for batch in &mut self.sealed {
                    batch.end = batch.end.min(end);
                }
            }
            _ => {}
        }
        Ok(dropped)
    }

    /// Has `waiter` told when everything accepted so far is durable.
    pub(super) fn wait(&mut self, waiter: Waiter) {
        self.open.waiters.push(waiter);
    }

    fn seal(&mut self) {
        let spare = self.spare.take().unwrap_or_default();
        let open = Batch::new(*self.index.outline(), spare);
        let mut batch = std::mem::replace(&mut self.open, open);
        batch.end = self.index.range().end;
        self.sealed.push_back(batch);
    }

    /// Whether anything is to be written: somebody waits for it, or the log is being closed.
    pub(super) fn is_due(&self) -> bool {
        !self.sealed.is_empty()
            || !self.open.waiters.is_empty()
            || (self.closed && !self.open.is_empty())
    }

    /// What is to be written next, if anything is and nothing is being written. Whoever takes it writes it.
    pub(super) fn next(&mut self) -> Option<Batch> {
        if self.writing || !self.is_due() {
            return None;
        }
        if self.sealed.is_empty() {
            self.seal();
        }
        let mut batch = self.sealed.pop_front()?;
        self.writing = true;
        self.index.begin_writing(batch.end);
        if batch.purges {
            // The index is ahead of this batch unless it is the last.
            match self.sealed.front_mut() {
                Some(next) => next.purges = true,
                None if self.open.is_empty() => {
                    batch.needed_from = Some(self.index.oldest_segment().unwrap_or(u64::MAX));
                }
                None => self.open.purges = true,
            }
        }
        Some(batch)
    }

    /// Takes the buffers of a batch that is durable back.
    pub(super) fn written(&mut self, mut buffer: Vec<u8>, waiters: Vec<Waiter>) {
        self.index.written();
        self.writing = false;
        if buffer.capacity() > KEPT {
            buffer = Vec::new();
        }
        self.spare = Some((buffer, waiters));
    }
}

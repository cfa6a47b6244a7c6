//! Records: what the body of a frame consists of, back to back.
//!
//! ```text
//!  type (1)  length (4)  content
//!  1  entry           term, index (8 + 8), protobuf `Payload`
//!  2  vote            term, node (8 + 8), granted by a quorum (1)
//!  3  committed       term, index
//!  4  truncate after  term, index; or nothing, when no entry is left
//!  5  purge up to     term, index
//!  6  owner           node (8)
//!  7  state           the outline before this frame, the length of the file (8); the first record of every file
//! ```
//!
//! Checksums are the frame's business; these decode whatever bytes they are given, or say what is wrong.

use std::{io, ops::Range};

use photon_proto::photon::raft::v1 as pb;
use prost::Message;

use crate::{
    codec::{get_payload, invalid, put_payload},
    log::index::Outline,
    types::{Entry, LogId, Payload, Vote, log_id},
};

/// Larger payloads are refused; those that are read are damage.
const MAX_PAYLOAD: usize = 256 << 20;
const RECORD_HEADER: usize = 5;

const ENTRY: u8 = 1;
const VOTE: u8 = 2;
const COMMITTED: u8 = 3;
const TRUNCATE: u8 = 4;
const PURGE: u8 = 5;
const OWNER: u8 = 6;
const STATE: u8 = 7;

/// Bytes of a state record.
pub(super) const STATE_LEN: usize = RECORD_HEADER + 1 + 8 + 17 + 3 * 16 + 8;

/// What every file begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// The log before the file's first frame.
    pub(super) outline: Outline,
    /// The length the file was made with: one that is shorter has lost its end.
    pub(super) file_bytes: u64,
}

/// Everything but entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Vote(Vote),
    Committed(LogId),
    TruncateAfter(Option<LogId>),
    PurgeUpto(LogId),
    Owner(u64),
    State(State),
}

/// One record as it stands in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    Entry {
        id: LogId,
        /// Where its payload stands in the body.
        payload: Range<usize>,
    },
    Change(Change),
}

/// Appends an entry and returns where its payload stands.
pub(super) fn put_entry(buffer: &mut Vec<u8>, entry: &Entry) -> io::Result<Range<usize>> {
    let message = put_payload(&entry.payload);
    let len = message.encoded_len();
    if len > MAX_PAYLOAD {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "entry too large for the log",
        ));
    }
    buffer.reserve(RECORD_HEADER + 16 + len);
    let at = begin(buffer, ENTRY);
    put_id(buffer, &entry.log_id);
    let start = buffer.len();
    message.encode_raw(buffer);
    end(buffer, at);
    Ok(start..buffer.len())
}

/// Appends a record that is no entry.
pub(super) fn put(buffer: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Vote(vote) => {
            let at = begin(buffer, VOTE);
            put_vote(buffer, vote);
            end(buffer, at);
        }
        Change::Committed(id) => put_ids(buffer, COMMITTED, Some(id)),
        Change::TruncateAfter(id) => put_ids(buffer, TRUNCATE, id.as_ref()),
        Change::PurgeUpto(id) => put_ids(buffer, PURGE, Some(id)),
        Change::Owner(owner) => {
            let at = begin(buffer, OWNER);
            buffer.extend(owner.to_be_bytes());
            end(buffer, at);
        }
        Change::State(state) => put_state(buffer, state),
    }
}

/// Everything is there, also what is not: the length is always the same.
fn put_state(buffer: &mut Vec<u8>, state: &State) {
    let at = begin(buffer, STATE);
    let outline = &state.outline;
    let present = [
        outline.owner.is_some(),
        outline.vote.is_some(),
        outline.purged.is_some(),
        outline.committed.is_some(),
        outline.last.is_some(),
    ];
    let flags = (0..).zip(present);
    buffer.push(flags.fold(0, |byte, (bit, present)| byte | u8::from(present) << bit));
    buffer.extend(outline.owner.unwrap_or_default().to_be_bytes());
    put_vote(buffer, &outline.vote.unwrap_or(Vote::new(0, 0)));
    for id in [outline.purged, outline.committed, outline.last] {
        put_id(buffer, &id.unwrap_or(log_id(0, 0)));
    }
    buffer.extend(state.file_bytes.to_be_bytes());
    end(buffer, at);
}

fn begin(buffer: &mut Vec<u8>, kind: u8) -> usize {
    let at = buffer.len();
    buffer.extend([kind, 0, 0, 0, 0]);
    at
}

fn end(buffer: &mut [u8], at: usize) {
    // Contents are bounded far below 4 GiB: by MAX_PAYLOAD, and otherwise by being fixed.
    let len = u32::try_from(buffer.len() - at - RECORD_HEADER).unwrap_or(u32::MAX);
    buffer[at + 1..at + RECORD_HEADER].copy_from_slice(&len.to_be_bytes());
}

fn put_ids(buffer: &mut Vec<u8>, kind: u8, id: Option<&LogId>) {
    let at = begin(buffer, kind);
    if let Some(id) = id {
        put_id(buffer, id);
    }
    end(buffer, at);
}

fn put_id(buffer: &mut Vec<u8>, id: &LogId) {
    buffer.extend(id.leader_id.term.to_be_bytes());
    buffer.extend(id.index.to_be_bytes());
}

fn put_vote(buffer: &mut Vec<u8>, vote: &Vote) {
    buffer.extend(vote.leader_id.term.to_be_bytes());
    buffer.extend(vote.leader_id.voted_for.to_be_bytes());
    buffer.push(u8::from(vote.committed));
}

/// The payload of an entry.
pub(super) fn payload(bytes: impl bytes::Buf) -> io::Result<Payload> {
    let payload = pb::Payload::decode(bytes).map_err(|error| invalid(format!("entry: {error}")))?;
    get_payload(Some(payload))
}

/// The records of a body, up to the first that makes no sense.
pub(super) struct Records<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    fn read(&mut self) -> io::Result<Record> {
        let mut rest = Bytes(&self.body[self.at..]);
        let kind = rest.u8()?;
        let len = usize::try_from(rest.u32()?).map_err(io::Error::other)?;
        let mut content = Bytes(rest.take(len)?);
        let end = self.at + RECORD_HEADER + len;
        self.at = end;
        let record = match kind {
            ENTRY => {
                let id = content.id()?;
                let payload = end - content.0.len()..end;
                if payload.len() > MAX_PAYLOAD {
                    return Err(invalid(format!("entry of {} bytes", payload.len())));
                }
                return Ok(Record::Entry { id, payload });
            }
            VOTE => Change::Vote(content.vote()?),
            COMMITTED => Change::Committed(content.id()?),
            TRUNCATE if len == 0 => Change::TruncateAfter(None),
            TRUNCATE => Change::TruncateAfter(Some(content.id()?)),
            PURGE => Change::PurgeUpto(content.id()?),
            OWNER => Change::Owner(content.u64()?),
            STATE => Change::State(State {
                outline: content.outline()?,
                file_bytes: content.u64()?,
            }),
            other => return Err(invalid(format!("a record has the unknown type {other}"))),
        };
        if !content.0.is_empty() {
            return Err(invalid(format!("a record of type {kind} is too long")));
        }
        Ok(Record::Change(record))
    }
}

impl Iterator for Records<'_> {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<io::Result<Record>> {
        if self.at >= self.body.len() {
            return None;
        }
        let record = self.read();
        if record.is_err() {
            self.at = self.body.len();
        }
        Some(record)
    }
}

/// What is left to be decoded.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| invalid("a record ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> io::Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn id(&mut self) -> io::Result<LogId> {
        Ok(log_id(self.u64()?, self.u64()?))
    }

    fn vote(&mut self) -> io::Result<Vote> {
        let (term, node) = (self.u64()?, self.u64()?);
        match self.u8()? {
            0 => Ok(Vote::new(term, node)),
            1 => Ok(Vote::new_committed(term, node)),
            other => Err(invalid(format!("vote flag {other}"))),
        }
    }

    fn outline(&mut self) -> io::Result<Outline> {
        let flags = self.u8()?;
        let present = |bit: u8| flags & 1 << bit != 0;
        let owner = self.u64()?;
        let vote = self.vote()?;
        let (purged, committed, last) = (self.id()?, self.id()?, self.id()?);
        Ok(Outline {
            owner: present(0).then_some(owner),
            vote: present(1).then_some(vote),
            purged: present(2).then_some(purged),
            committed: present(3).then_some(committed),
            last: present(4).then_some(last),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use openraft::EntryPayload;
    use proptest::prelude::*;

    use super::*;

    fn ids() -> impl Strategy<Value = LogId> {
        (any::<u64>(), any::<u64>()).prop_map(|(term, index)| log_id(term, index))
    }

    fn votes() -> impl Strategy<Value = Vote> {
        (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(term, node, committed)| {
            if committed {
                Vote::new_committed(term, node)
            } else {
                Vote::new(term, node)
            }
        })
    }

    fn outlines() -> impl Strategy<Value = Outline> {
        let id = || prop::option::of(ids());
        let (owner, vote) = (prop::option::of(any::<u64>()), prop::option::of(votes()));
        (owner, vote, id(), id(), id()).prop_map(|(owner, vote, purged, committed, last)| Outline {
            owner,
            vote,
            purged,
            committed,
            last,
        })
    }

    fn states() -> impl Strategy<Value = State> {
        (outlines(), any::<u64>()).prop_map(|(outline, file_bytes)| State {
            outline,
            file_bytes,
        })
    }

    fn changes() -> impl Strategy<Value = Change> {
        prop_oneof![
            votes().prop_map(Change::Vote),
            ids().prop_map(Change::Committed),
            prop::option::of(ids()).prop_map(Change::TruncateAfter),
            ids().prop_map(Change::PurgeUpto),
            any::<u64>().prop_map(Change::Owner),
            states().prop_map(Change::State),
        ]
    }

    proptest! {
        #[test]
        fn records_round_trip(changes in prop::collection::vec(changes(), 0..8), id in ids(), at in 0..8usize) {
            let entry = Entry { log_id: id, payload: EntryPayload::Blank };
            let mut body = Vec::new();
            let mut expected = Vec::new();
            for (n, change) in changes.iter().enumerate() {
                if n == at {
                    let payload = put_entry(&mut body, &entry).unwrap();
                    expected.push(Record::Entry { id, payload });
                }
                put(&mut body, change);
                expected.push(Record::Change(*change));
            }
            let read: Vec<Record> = Records::new(&body).map(Result::unwrap).collect();
            prop_assert_eq!(&read, &expected);
            for record in read {
                if let Record::Entry { payload: range, .. } = record {
                    prop_assert_eq!(payload(&body[range]).unwrap(), EntryPayload::Blank);
                }
            }
        }

        #[test]
        fn a_state_has_one_length(state in states()) {
            let mut body = Vec::new();
            put(&mut body, &Change::State(state));
            prop_assert_eq!(body.len(), STATE_LEN);
        }

        #[test]
        fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..100), kind in 0..9u8, len in 0..40u8) {
            let _ = Records::new(&garbage).count();
            let _ = payload(&garbage[..]);
            let mut record = vec![kind, 0, 0, 0, len];
            record.extend(garbage);
            let _ = Records::new(&record).count();
        }
    }
}

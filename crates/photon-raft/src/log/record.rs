//! How records of the log look on disk, inside raft-log's framing (type, content, CRC-32 per record).
//!
//! Everything has a fixed size except an entry's payload. The payload's length has a checksum of its
//! own: a damaged length must not look like a record that ends behind the end of the file, because
//! that is how a torn tail looks, and a torn tail is cut off.

use std::{cmp::Ordering, io};

use openraft::EntryPayload;
use photon_proto::photon::raft::v1 as pb;
use prost::Message;
use raft_log::codeq::{Decode, Encode};

use crate::{
    codec::{get_payload, invalid, put_payload},
    log::store::Flushed,
    types::{self, LogId, Vote},
};

/// Larger payloads are taken for damage.
const MAX_PAYLOAD: usize = 256 << 20;
const VERSION: u8 = 1;

/// The types raft-log is parameterized with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Records;

impl raft_log::Types for Records {
    type LogId = DiskLogId;
    type LogPayload = DiskPayload;
    type Vote = DiskVote;
    type Callback = Flushed;
    /// The node the log belongs to.
    type UserData = u64;

    fn log_index(log_id: &DiskLogId) -> u64 {
        log_id.index
    }

    fn payload_size(payload: &DiskPayload) -> u64 {
        payload.size() as u64
    }
}

/// Term and index, big endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DiskLogId {
    term: u64,
    index: u64,
}

impl DiskLogId {
    pub(super) fn new(id: &LogId) -> Self {
        Self {
            term: id.leader_id.term,
            index: id.index,
        }
    }

    pub(super) fn log_id(self) -> LogId {
        types::log_id(self.term, self.index)
    }
}

impl Encode for DiskLogId {
    fn encode<W: io::Write>(&self, mut w: W) -> io::Result<usize> {
        w.write_all(&self.term.to_be_bytes())?;
        w.write_all(&self.index.to_be_bytes())?;
        Ok(16)
    }
}

impl Decode for DiskLogId {
    fn decode<R: io::Read>(mut r: R) -> io::Result<Self> {
        Ok(Self {
            term: read_u64(&mut r)?,
            index: read_u64(&mut r)?,
        })
    }
}

/// A version byte, term, node and whether a quorum granted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DiskVote(pub(super) Vote);

impl PartialOrd for DiskVote {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.0.partial_cmp(&other.0)
    }
}

impl Encode for DiskVote {
    fn encode<W: io::Write>(&self, mut w: W) -> io::Result<usize> {
        w.write_all(&[VERSION])?;
        w.write_all(&self.0.leader_id.term.to_be_bytes())?;
        w.write_all(&self.0.leader_id.voted_for.to_be_bytes())?;
        w.write_all(&[u8::from(self.0.committed)])?;
        Ok(18)
    }
}

impl Decode for DiskVote {
    fn decode<R: io::Read>(mut r: R) -> io::Result<Self> {
        check_version(read_u8(&mut r)?)?;
        let (term, node) = (read_u64(&mut r)?, read_u64(&mut r)?);
        match read_u8(&mut r)? {
            0 => Ok(Self(Vote::new(term, node))),
            1 => Ok(Self(Vote::new_committed(term, node))),
            other => Err(invalid(format!("vote flag {other}"))),
        }
    }
}

/// A version byte, the length, a CRC-32 of both, and a protobuf `Payload`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DiskPayload(pub(super) types::Payload);

impl DiskPayload {
    pub(super) fn size(&self) -> usize {
        match &self.0 {
            EntryPayload::Normal(command) => command.0.len() + 16,
            EntryPayload::Blank => 16,
            EntryPayload::Membership(membership) => 256 * (1 + membership.nodes().count()),
        }
    }
}

fn header(len: u32) -> [u8; 9] {
    let mut header = [0; 9];
    header[0] = VERSION;
    header[1..5].copy_from_slice(&len.to_be_bytes());
    let crc = crc32fast::hash(&header[..5]);
    header[5..].copy_from_slice(&crc.to_be_bytes());
    header
}

impl Encode for DiskPayload {
    fn encode<W: io::Write>(&self, mut w: W) -> io::Result<usize> {
        let body = put_payload(&self.0).encode_to_vec();
        if body.len() > MAX_PAYLOAD {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "entry too large for the log",
            ));
        }
        let len = u32::try_from(body.len()).map_err(io::Error::other)?;
        w.write_all(&header(len))?;
        w.write_all(&body)?;
        Ok(9 + body.len())
    }
}

impl Decode for DiskPayload {
    fn decode<R: io::Read>(mut r: R) -> io::Result<Self> {
        let mut bytes = [0; 9];
        r.read_exact(&mut bytes)?;
        let len = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
        if bytes != header(len) {
            // A newer version writes another first byte, and a valid checksum beside it.
            let crc = crc32fast::hash(&bytes[..5]).to_be_bytes();
            if bytes[5..] == crc {
                check_version(bytes[0])?;
            }
            return Err(invalid("entry header is damaged"));
        }
        let len = usize::try_from(len).map_err(io::Error::other)?;
        if len > MAX_PAYLOAD {
            return Err(invalid(format!("entry of {len} bytes")));
        }
        let mut body = vec![0; len];
        r.read_exact(&mut body)?;
        let payload = pb::Payload::decode(bytes::Bytes::from(body))
            .map_err(|error| invalid(format!("entry: {error}")))?;
        Ok(Self(get_payload(Some(payload))?))
    }
}

fn check_version(version: u8) -> io::Result<()> {
    if version == VERSION {
        return Ok(());
    }
    Err(invalid(format!(
        "log record has format version {version}, this program knows {VERSION}"
    )))
}

fn read_u8(mut r: impl io::Read) -> io::Result<u8> {
    let mut bytes = [0; 1];
    r.read_exact(&mut bytes)?;
    Ok(bytes[0])
}

fn read_u64(mut r: impl io::Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    r.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;
    use crate::types::Command;

    fn bytes(value: &impl Encode) -> Vec<u8> {
        let mut out = Vec::new();
        let n = value.encode(&mut out).unwrap();
        assert_eq!(n, out.len());
        out
    }

    proptest! {
        #[test]
        fn records_round_trip(term in any::<u64>(), index in any::<u64>(), node in any::<u64>(), committed in any::<bool>(), command in prop::collection::vec(any::<u8>(), 0..300)) {
            let id = DiskLogId { term, index };
            prop_assert_eq!(DiskLogId::decode(&*bytes(&id)).unwrap(), id);
            let vote = DiskVote(if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) });
            prop_assert_eq!(DiskVote::decode(&*bytes(&vote)).unwrap(), vote);
            let payload = DiskPayload(EntryPayload::Normal(Command(command.into())));
            prop_assert_eq!(DiskPayload::decode(&*bytes(&payload)).unwrap(), payload);
        }

        #[test]
        fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = DiskLogId::decode(&*garbage);
            let _ = DiskVote::decode(&*garbage);
            let _ = DiskPayload::decode(&*garbage);
        }

        /// A flipped bit in a payload's header must never look like the end of the file.
        #[test]
        fn a_damaged_length_is_not_a_torn_tail(command in prop::collection::vec(any::<u8>(), 0..50), bit in 0..72usize) {
            let mut damaged = bytes(&DiskPayload(EntryPayload::Normal(Command(command.into()))));
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = DiskPayload::decode(&*damaged).unwrap_err();
            prop_assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}

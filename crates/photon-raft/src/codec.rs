//! Between openraft's types and `photon.raft.v1`, on the wire and on disk.
//!
//! Decoding never panics, whatever the bytes: what does not make sense is an `InvalidData` error.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use bytes::Bytes;
use openraft::{
    EntryPayload,
    raft::{
        AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest,
        VoteRequest, VoteResponse,
    },
};
use photon_proto::photon::raft::v1 as pb;
use prost::Message;

use crate::{
    member::{Member, Node},
    types::{
        Commands, Entry, LogId, Membership, Payload, StoredMembership, TypeConfig, Vote, log_id,
    },
};

/// The format of marks and snapshots written by this version.
pub(crate) const FORMAT_VERSION: u32 = 1;

pub(crate) fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

fn required<T>(value: Option<T>, field: &str) -> io::Result<T> {
    value.ok_or_else(|| invalid(format!("{field} is missing")))
}

// --- log ids and votes ----------------------------------------------------------------------------

pub(crate) fn put_log_id(id: &LogId) -> pb::LogId {
    pb::LogId {
        term: id.leader_id.term,
        index: id.index,
    }
}

pub(crate) fn get_log_id(id: &pb::LogId) -> LogId {
    log_id(id.term, id.index)
}

pub(crate) fn put_vote(vote: &Vote) -> pb::Vote {
    pb::Vote {
        term: vote.leader_id.term,
        voted_for: vote.leader_id.voted_for,
        committed: vote.committed,
    }
}

pub(crate) fn get_vote(vote: Option<&pb::Vote>) -> io::Result<Vote> {
    let vote = required(vote, "vote")?;
    Ok(if vote.committed {
        Vote::new_committed(vote.term, vote.voted_for)
    } else {
        Vote::new(vote.term, vote.voted_for)
    })
}

// --- membership -----------------------------------------------------------------------------------

pub(crate) fn put_member(member: &Member) -> pb::Member {
    put_node(member.node_id, &member.node(&Arc::default()))
}

fn put_node(node_id: u64, node: &Node) -> pb::Member {
    pb::Member {
        node_id,
        name: node.name.clone(),
        peer_address: node.peer_address.clone(),
        client_addresses: node.client_addresses.clone(),
        promote: node.promote,
    }
}

fn get_node(member: pb::Member, retired: &Arc<BTreeSet<u64>>) -> (u64, Node) {
    (
        member.node_id,
        Node {
            name: member.name,
            peer_address: member.peer_address,
            client_addresses: member.client_addresses,
            promote: member.promote,
            retired: Arc::clone(retired),
        },
    )
}

/// The ids that are never taken again. What one node carries counts, so that no change can lose one by leaving it
/// out at another.
pub(crate) fn retired(membership: &Membership) -> BTreeSet<u64> {
    membership
        .nodes()
        .flat_map(|(_, node)| node.retired.iter().copied())
        .collect()
}

/// The member as sent; whether it is a learner is not part of the message.
pub(crate) fn get_member(member: pb::Member, learner: bool) -> Member {
    let (node_id, node) = get_node(member, &Arc::default());
    Member::from_node(node_id, &node, learner)
}

fn put_membership(membership: &Membership) -> pb::Membership {
    pb::Membership {
        voters: membership
            .get_joint_config()
            .iter()
            .map(|set| pb::membership::Voters {
                node_ids: set.iter().copied().collect(),
            })
            .collect(),
        members: membership
            .nodes()
            .map(|(id, node)| put_node(*id, node))
            .collect(),
        retired: retired(membership).into_iter().collect(),
    }
}

fn get_membership(membership: pb::Membership) -> io::Result<Membership> {
    // A node that has not joined yet stores an empty membership, which `Membership::new` accepts.
    if membership.voters.len() > 2 {
        return Err(invalid("membership has more than two voter sets"));
    }
    let voters: Vec<BTreeSet<u64>> = membership
        .voters
        .into_iter()
        .map(|set| set.node_ids.into_iter().collect())
        .collect();
    let retired = Arc::new(membership.retired.into_iter().collect());
    let members = membership.members.into_iter();
    let nodes: BTreeMap<u64, Node> = members.map(|member| get_node(member, &retired)).collect();
    Membership::new(voters, nodes).map_err(|error| invalid(format!("membership: {error}")))
}

fn put_stored(stored: &StoredMembership) -> pb::StoredMembership {
    pb::StoredMembership {
        log_id: stored.log_id().as_ref().map(put_log_id),
        membership: Some(put_membership(stored.membership())),
    }
}

fn get_stored(stored: Option<pb::StoredMembership>) -> io::Result<StoredMembership> {
    let stored = required(stored, "membership")?;
    let membership = get_membership(required(stored.membership, "membership.membership")?)?;
    Ok(StoredMembership::new(
        stored.log_id.as_ref().map(get_log_id),
        membership,
    ))
}

// --- entries --------------------------------------------------------------------------------------

pub(crate) fn put_payload(payload: &Payload) -> pb::Payload {
    use pb::payload::Kind;
    let kind = match payload {
        EntryPayload::Blank => Kind::Blank(pb::payload::Blank {}),
        EntryPayload::Normal(commands) => Kind::Commands(pb::payload::Commands {
            commands: commands.as_slice().to_vec(),
        }),
        EntryPayload::Membership(membership) => Kind::Membership(put_membership(membership)),
    };
    pb::Payload { kind: Some(kind) }
}

pub(crate) fn get_payload(payload: Option<pb::Payload>) -> io::Result<Payload> {
    use pb::payload::Kind;
    Ok(
        match required(payload.and_then(|payload| payload.kind), "payload")? {
            Kind::Blank(_) => EntryPayload::Blank,
            Kind::Commands(commands) => EntryPayload::Normal(Commands::new(commands.commands)),
            Kind::Membership(membership) => EntryPayload::Membership(get_membership(membership)?),
        },
    )
}

fn put_entry(entry: &Entry) -> pb::Entry {
    pb::Entry {
        log_id: Some(put_log_id(&entry.log_id)),
        payload: Some(put_payload(&entry.payload)),
    }
}

fn get_entry(entry: pb::Entry) -> io::Result<Entry> {
    let log_id = get_log_id(&required(entry.log_id, "entry.log_id")?);
    Ok(Entry {
        log_id,
        payload: get_payload(entry.payload)?,
    })
}

// --- marks ----------------------------------------------------------------------------------------

/// What the state machine stores with its data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub(crate) log_id: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

impl Mark {
    pub(crate) fn message(&self) -> pb::Mark {
        pb::Mark {
            version: FORMAT_VERSION,
            log_id: self.log_id.as_ref().map(put_log_id),
            membership: Some(put_stored(&self.membership)),
        }
    }

    pub(crate) fn from_message(mark: pb::Mark) -> io::Result<Self> {
        if mark.version != FORMAT_VERSION {
            return Err(invalid(format!(
                "mark has format version {}, this program knows {FORMAT_VERSION}",
                mark.version
            )));
        }
        Ok(Self {
            log_id: mark.log_id.as_ref().map(get_log_id),
            membership: get_stored(mark.membership)?,
        })
    }

    pub(crate) fn encode(&self) -> Bytes {
        self.message().encode_to_vec().into()
    }

    pub(crate) fn decode(bytes: Bytes) -> io::Result<Self> {
        let mark = pb::Mark::decode(bytes).map_err(|error| invalid(format!("mark: {error}")))?;
        Self::from_message(mark)
    }
}

// --- calls between peers --------------------------------------------------------------------------

pub(crate) fn put_append(request: &AppendEntriesRequest<TypeConfig>) -> pb::AppendRequest {
    pb::AppendRequest {
        vote: Some(put_vote(&request.vote)),
        prev_log_id: request.prev_log_id.as_ref().map(put_log_id),
        entries: request.entries.iter().map(put_entry).collect(),
        leader_commit: request.leader_commit.as_ref().map(put_log_id),
    }
}

pub(crate) fn get_append(
    request: pb::AppendRequest,
) -> io::Result<AppendEntriesRequest<TypeConfig>> {
    let prev_log_id = request.prev_log_id.as_ref().map(get_log_id);
    let entries = request
        .entries
        .into_iter()
        .map(get_entry)
        .collect::<io::Result<Vec<_>>>()?;
    // openraft takes consecutive entries for granted.
    let mut next = prev_log_id.map_or(Some(0), |id| id.index.checked_add(1));
    for entry in &entries {
        if next != Some(entry.log_id.index) {
            return Err(invalid("entries are not consecutive"));
        }
        next = entry.log_id.index.checked_add(1);
    }
    Ok(AppendEntriesRequest {
        vote: get_vote(request.vote.as_ref())?,
        prev_log_id,
        entries,
        leader_commit: request.leader_commit.as_ref().map(get_log_id),
    })
}

pub(crate) fn put_append_reply(result: &StreamAppendResult<TypeConfig>) -> pb::AppendReply {
    use pb::append_reply::{Matched, Outcome};
    let outcome = match result {
        Ok(matched) => Outcome::Matched(Matched {
            log_id: matched.as_ref().map(put_log_id),
        }),
        Err(StreamAppendError::Conflict(id)) => Outcome::Conflict(put_log_id(id)),
        Err(StreamAppendError::HigherVote(vote)) => Outcome::HigherVote(put_vote(vote)),
    };
    pb::AppendReply {
        outcome: Some(outcome),
    }
}

pub(crate) fn get_append_reply(
    reply: pb::AppendReply,
) -> io::Result<StreamAppendResult<TypeConfig>> {
    use pb::append_reply::Outcome;
    Ok(match required(reply.outcome, "outcome")? {
        Outcome::Matched(matched) => Ok(matched.log_id.as_ref().map(get_log_id)),
        Outcome::Conflict(id) => Err(StreamAppendError::Conflict(get_log_id(&id))),
        Outcome::HigherVote(vote) => Err(StreamAppendError::HigherVote(get_vote(Some(&vote))?)),
    })
}

pub(crate) fn put_vote_request(request: &VoteRequest<TypeConfig>) -> pb::VoteRequest {
    pb::VoteRequest {
        vote: Some(put_vote(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(put_log_id),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(crate) fn get_vote_request(request: &pb::VoteRequest) -> io::Result<VoteRequest<TypeConfig>> {
    let mut vote = VoteRequest::new(
        get_vote(request.vote.as_ref())?,
        request.last_log_id.as_ref().map(get_log_id),
    );
    vote.leadership_transfer = request.leadership_transfer;
    Ok(vote)
}

pub(crate) fn put_vote_reply(reply: &VoteResponse<TypeConfig>) -> pb::VoteReply {
    pb::VoteReply {
        vote: Some(put_vote(&reply.vote)),
        last_log_id: reply.last_log_id.as_ref().map(put_log_id),
        granted: reply.vote_granted,
    }
}

pub(crate) fn get_vote_reply(reply: &pb::VoteReply) -> io::Result<VoteResponse<TypeConfig>> {
    Ok(VoteResponse::new(
        get_vote(reply.vote.as_ref())?,
        reply.last_log_id.as_ref().map(get_log_id),
        reply.granted,
    ))
}

pub(crate) fn put_transfer(
    request: &TransferLeaderRequest<TypeConfig>,
) -> pb::TransferLeaderRequest {
    pb::TransferLeaderRequest {
        from_leader: Some(put_vote(request.from_leader())),
        to_node_id: *request.to_node_id(),
        last_log_id: request.last_log_id().map(put_log_id),
    }
}

pub(crate) fn get_transfer(
    request: &pb::TransferLeaderRequest,
) -> io::Result<TransferLeaderRequest<TypeConfig>> {
    Ok(TransferLeaderRequest::new(
        get_vote(request.from_leader.as_ref())?,
        request.to_node_id,
        request.last_log_id.as_ref().map(get_log_id),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn any_log_id() -> impl Strategy<Value = LogId> {
        (0..u64::MAX, 0..u64::MAX - 1_000_000).prop_map(|(term, index)| log_id(term, index))
    }

    fn any_vote() -> impl Strategy<Value = Vote> {
        (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(term, node, committed)| {
            if committed {
                Vote::new_committed(term, node)
            } else {
                Vote::new(term, node)
            }
        })
    }

    fn any_membership() -> impl Strategy<Value = Membership> {
        let node = (
            "[a-z]{0,8}",
            "[a-z0-9.:]{1,20}",
            prop::collection::vec("[a-z:/.]{1,20}", 0..3),
            any::<bool>(),
        )
            .prop_map(|(name, peer_address, client_addresses, promote)| Node {
                name,
                peer_address,
                client_addresses,
                promote,
                retired: Arc::default(),
            });
        (
            prop::collection::btree_map(any::<u64>(), node, 1..6),
            any::<bool>(),
            1..6usize,
            prop::collection::btree_set(any::<u64>(), 0..5),
        )
            .prop_map(|(mut nodes, joint, voters, retired)| {
                let retired = Arc::new(retired);
                for node in nodes.values_mut() {
                    node.retired = Arc::clone(&retired);
                }
                let ids: BTreeSet<u64> = nodes.keys().copied().take(voters).collect();
                let sets = if joint {
                    vec![ids.clone(), ids]
                } else {
                    vec![ids]
                };
                Membership::new(sets, nodes).unwrap()
            })
    }

    fn any_payload() -> impl Strategy<Value = Payload> {
        prop_oneof![
            Just(EntryPayload::Blank),
            prop::collection::vec(any::<u8>(), 0..200)
                .prop_map(|bytes| EntryPayload::Normal(Commands::one(bytes.into()))),
            any_membership().prop_map(EntryPayload::Membership),
        ]
    }

    proptest! {
        #[test]
        fn marks_round_trip(log_id in prop::option::of(any_log_id()), at in prop::option::of(any_log_id()), membership in any_membership()) {
            let mark = Mark { log_id, membership: StoredMembership::new(at, membership) };
            prop_assert_eq!(Mark::decode(mark.encode()).unwrap(), mark);
        }

        #[test]
        fn appends_round_trip(vote in any_vote(), prev in prop::option::of(any_log_id()), payloads in prop::collection::vec(any_payload(), 0..5), commit in prop::option::of(any_log_id())) {
            let first = prev.map_or(0, |id| id.index + 1);
            let entries = payloads.into_iter().enumerate()
                .map(|(i, payload)| Entry { log_id: log_id(vote.leader_id.term, first + i as u64), payload })
                .collect::<Vec<_>>();
            let request = AppendEntriesRequest { vote, prev_log_id: prev, entries, leader_commit: commit };
            let bytes = put_append(&request).encode_to_vec();
            let back = get_append(pb::AppendRequest::decode(&*bytes).unwrap()).unwrap();
            prop_assert_eq!(back.vote, request.vote);
            prop_assert_eq!(back.prev_log_id, request.prev_log_id);
            prop_assert_eq!(back.leader_commit, request.leader_commit);
            prop_assert_eq!(back.entries, request.entries);
        }

        #[test]
        fn votes_round_trip(vote in any_vote(), last in prop::option::of(any_log_id()), flag in any::<bool>()) {
            let mut request = VoteRequest::new(vote, last);
            request.leadership_transfer = flag;
            prop_assert_eq!(get_vote_request(&put_vote_request(&request)).unwrap(), request);
            let reply = VoteResponse::new(vote, last, flag);
            prop_assert_eq!(get_vote_reply(&put_vote_reply(&reply)).unwrap(), reply);
            let transfer = TransferLeaderRequest::new(vote, 7, last);
            prop_assert_eq!(get_transfer(&put_transfer(&transfer)).unwrap(), transfer);
        }

        #[test]
        fn append_replies_round_trip(matched in prop::option::of(any_log_id()), id in any_log_id(), vote in any_vote()) {
            for result in [Ok(matched), Err(StreamAppendError::Conflict(id)), Err(StreamAppendError::HigherVote(vote))] {
                prop_assert_eq!(get_append_reply(put_append_reply(&result)).unwrap(), result);
            }
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let bytes = Bytes::from(bytes);
            let _ = Mark::decode(bytes.clone());
            if let Ok(message) = pb::AppendRequest::decode(bytes.clone()) { let _ = get_append(message); }
            if let Ok(message) = pb::AppendReply::decode(bytes.clone()) { let _ = get_append_reply(message); }
            if let Ok(message) = pb::VoteRequest::decode(bytes.clone()) { let _ = get_vote_request(&message); }
            if let Ok(message) = pb::VoteReply::decode(bytes.clone()) { let _ = get_vote_reply(&message); }
            if let Ok(message) = pb::TransferLeaderRequest::decode(bytes.clone()) { let _ = get_transfer(&message); }
            if let Ok(message) = pb::Payload::decode(bytes) { let _ = get_payload(Some(message)); }
        }
    }

    #[test]
    fn a_mark_of_another_version_is_refused() {
        let mut message = Mark::default().message();
        message.version = 2;
        assert!(
            Mark::from_message(message)
                .unwrap_err()
                .to_string()
                .contains("version 2")
        );
    }

    #[test]
    fn holes_in_an_append_are_refused() {
        let entry = |index| {
            put_entry(&Entry {
                log_id: log_id(1, index),
                payload: EntryPayload::Blank,
            })
        };
        let request = pb::AppendRequest {
            vote: Some(put_vote(&Vote::new_committed(1, 1))),
            prev_log_id: None,
            entries: vec![entry(0), entry(2)],
            leader_commit: None,
        };
        assert!(get_append(request).is_err());
    }
}

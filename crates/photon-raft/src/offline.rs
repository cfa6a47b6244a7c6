//! Work on a node that does not run: looking at its log, and making it the only member of a new cluster.
//!
//! The caller holds whatever keeps a second process away. Everything here blocks.

use std::{collections::BTreeSet, io, path::Path, sync::Arc};

use bytes::Bytes;
use openraft::EntryPayload;

use crate::{
    Error, Member, NodeId, StateMachine,
    codec::{Mark, retired},
    log::{self, LogStore, Outline},
    types::{Commands, Entry, LogId, Membership, StoredMembership, Vote, log_id},
};

/// What a stopped node's log and mark say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The node the log belongs to; `None` in a log that was never used.
    pub node_id: Option<NodeId>,
    /// The newest term the node has taken part in.
    pub term: u64,
    /// Index of the last entry in the flushed state; what follows is applied from the log at the next start.
    pub applied: u64,
    /// Index of the last entry this node has written down as committed; more may have been.
    pub committed: u64,
    /// Index of the last entry.
    pub last_log: u64,
    /// Index up to which the log was purged.
    pub purged: u64,
    /// Entries that are there.
    pub entries: u64,
    /// Files of the log.
    pub files: usize,
    /// Bytes of the log's files, each up to where its records end.
    pub bytes: u64,
    /// Bytes of a record that was being written when the process died; harmless.
    pub torn_bytes: u64,
    /// Members by the newest membership in the log, committed or not.
    pub members: Vec<Member>,
    /// Ids of members that were removed, which are never taken again.
    pub retired: BTreeSet<NodeId>,
}

fn storage(error: io::Error) -> Error {
    Error::Storage(error.to_string())
}

fn read_mark(mark: Option<Bytes>) -> Result<Mark, Error> {
    mark.map_or(Ok(Mark::default()), Mark::decode)
        .map_err(|error| {
            Error::Storage(format!(
                "the state's mark cannot be read: {error}; restore this member from a snapshot, or remove it from the \
                 cluster and let it join again with an empty directory under a new id"
            ))
        })
}

/// Reads every record of the log in `data_dir`, checks that it goes on where the state with `mark` ends, and
/// changes nothing.
///
/// # Errors
/// [`Error::Storage`]: a damaged or missing record; the text says what to do.
pub fn examine(data_dir: &Path, mark: Option<Bytes>) -> Result<Report, Error> {
    let mark = read_mark(mark)?;
    let dir = data_dir.join("raft");
    if !dir.exists() {
        return no_log(&dir, &mark).map(|()| Report::default());
    }
    let examined = log::examine(&dir)?;
    let outline = examined.outline;
    if outline.vote.is_none() {
        no_log(&dir, &mark)?;
    }
    let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
    let next_to_apply = mark.log_id.map_or(0, |id| id.index + 1);
    if let Some(last) = outline.last
        && last.index >= next_to_apply
        && examined.first.is_none_or(|first| first > next_to_apply)
    {
        return Err(Error::Storage(format!(
            "the state ends before entry {next_to_apply}, and the log in {} begins at entry {}: what is between them is \
             missing. Restore this member from a snapshot, or remove it from the cluster and let it join again with an \
             empty directory under a new id",
            dir.display(),
            examined.first.unwrap_or(last.index + 1)
        )));
    }
    let membership = examined
        .memberships
        .last()
        .filter(|(id, _)| Some(*id) > *mark.membership.log_id())
        .map_or(mark.membership.membership(), |(_, membership)| membership);
    Ok(Report {
        node_id: outline.owner,
        term: term_of(&outline, &mark),
        applied: index(mark.log_id),
        committed: index(outline.committed.max(mark.log_id)),
        last_log: index(outline.last.max(mark.log_id)),
        purged: index(outline.purged),
        entries: match (examined.first, outline.last) {
            (Some(first), Some(last)) => last.index + 1 - first,
            _ => 0,
        },
        files: examined.files,
        bytes: examined.bytes,
        torn_bytes: examined.torn_bytes,
        members: members_of(membership),
        retired: retired(membership),
    })
}

/// A state without a log belongs to a node that has forgotten whom it voted for.
pub(crate) fn no_log(dir: &Path, mark: &Mark) -> Result<(), Error> {
    if mark.log_id.is_none() {
        return Ok(());
    }
    Err(Error::Storage(format!(
        "there is a state, but the log in {} is missing or empty: without it this node does not know what it has \
         promised to the others. Restore it from a snapshot, or remove it from the cluster and let it join again with an \
         empty directory under a new id",
        dir.display()
    )))
}

fn members_of(membership: &Membership) -> Vec<Member> {
    let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
    membership
        .nodes()
        .map(|(id, node)| Member::from_node(*id, node, !voters.contains(id)))
        .collect()
}

fn term_of(outline: &Outline, mark: &Mark) -> u64 {
    let of = |id: Option<LogId>| id.map_or(0, |id| id.leader_id.term);
    let voted = outline.vote.map_or(0, |vote| vote.leader_id.term);
    voted.max(of(outline.last)).max(of(mark.log_id))
}

/// A stopped node, opened for changes. Dropping it closes the log.
pub struct Stopped<'a, S: StateMachine> {
    log: LogStore,
    state_machine: &'a S,
    mark: Mark,
}

impl<S: StateMachine> std::fmt::Debug for Stopped<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopped")
            .field("applied", &self.mark.log_id)
            .finish_non_exhaustive()
    }
}

impl<S: StateMachine> Drop for Stopped<'_, S> {
    fn drop(&mut self) {
        self.log.close();
    }
}

impl<'a, S: StateMachine> Stopped<'a, S> {
    /// Opens the log in `data_dir`, or makes a new one beside a state that has none. A torn tail is cut off.
    ///
    /// # Errors
    /// [`Error::Storage`]: damage; the text says what to do.
    pub fn open(data_dir: &Path, state_machine: &'a S) -> Result<Self, Error> {
        let mark = read_mark(state_machine.mark().map_err(storage)?)?;
        let log = LogStore::open_stopped(&data_dir.join("raft"))?;
        Ok(Self {
            log,
            state_machine,
            mark,
        })
    }

    /// Applies every entry of the log, whether or not this node knew it to be committed. An entry that a quorum
    /// with this node acknowledged is among them; so may be entries that nobody was told about.
    ///
    /// # Errors
    /// [`Error::Storage`]: the log or the state cannot be read or written.
    pub fn apply_all(&mut self) -> Result<(), Error> {
        let last = self.log.outline().map_err(storage)?.last;
        let end = last.map_or(0, |id| id.index + 1);
        let mut next = self.mark.log_id.map_or(0, |id| id.index + 1);
        while next < end {
            let slice = self.log.slice(next, end).map_err(storage)?;
            match (slice.first(), slice.last()) {
                (Some(first), Some(last)) if first.log_id.index == next => {
                    next = last.log_id.index + 1;
                }
                _ => return Err(Error::Storage(format!("the log lacks entry {next}"))),
            }
            self.apply(slice)?;
        }
        Ok(())
    }

    fn apply(&mut self, entries: Vec<Entry>) -> Result<Vec<S::Reply>, Error> {
        let mut commands = Vec::new();
        for entry in entries {
            self.mark.log_id = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(many) => commands.extend_from_slice(many.as_slice()),
                EntryPayload::Membership(membership) => {
                    self.mark.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
        }
        self.state_machine
            .apply(&commands, self.mark.encode())
            .map_err(storage)
    }

    /// Makes `member` the only member and voter, in a new term, and applies `commands` as the first of the new
    /// cluster. It never takes a node with an id in `retired`. The log is purged behind them, so that members that join later get a copy of the state. Doing it
    /// again after a crash is harmless. Returns what the commands answered.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a state without a history; [`Error::Storage`].
    pub fn found(
        self,
        member: &Member,
        retired: &BTreeSet<NodeId>,
        commands: Vec<Bytes>,
    ) -> Result<Vec<S::Reply>, Error> {
        let mut this = self;
        let outline = this.log.outline().map_err(storage)?;
        let Some(after) = outline.last.max(this.mark.log_id) else {
            return Err(Error::Invalid(
                "there is nothing in this state: it has never been part of a cluster".to_owned(),
            ));
        };
        let term = term_of(&outline, &this.mark) + 1;
        let alone = Membership::new(
            vec![BTreeSet::from([member.node_id])],
            std::collections::BTreeMap::from([(
                member.node_id,
                member.node(&Arc::new(retired.clone())),
            )]),
        )
        .map_err(|error| Error::Invalid(error.to_string()))?;
        let payloads = std::iter::once(EntryPayload::Membership(alone)).chain(
            commands
                .into_iter()
                .map(|command| EntryPayload::Normal(Commands::one(command))),
        );
        let entries: Vec<Entry> = (after.index + 1..)
            .zip(payloads)
            .map(|(index, payload)| Entry {
                log_id: log_id(term, index),
                payload,
            })
            .collect();
        let vote = Vote::new_committed(term, member.node_id);
        this.log
            .found(member.node_id, vote, after, entries.clone())
            .map_err(storage)?;
        let replies = this.apply(entries)?;
        this.state_machine.flush().map_err(storage)?;
        this.log.purge_all().map_err(storage)?;
        Ok(replies)
    }
}

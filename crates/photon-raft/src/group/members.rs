//! Membership: learners are added, promoted when they have caught up, and removed; one change at a
//! time, decided at the leader.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use openraft::{
    ChangeMembers, Instant as _,
    async_runtime::watch::WatchReceiver,
    errors::{ChangeMembershipError, RaftError},
    type_config::alias::CommittedLeaderIdOf,
};
use photon_proto::photon::raft::v1::{self as pb, change_members_request::Change};
use tokio::{sync::OwnedMutexGuard, time::Instant};

use super::{Group, Shared, forward::timeout_ms};
use crate::{
    Error, Member, NodeId, StateMachine, codec,
    failure::{Attempt, Refusal, get_refusal},
    member::Node,
    transport::{identify_over, not_sent, with_deadline},
    types::{Membership, TypeConfig},
};

/// A promoted learner holds at least this share of the leader's log, in percent.
const CAUGHT_UP: u64 = 90;
/// How often a leader looks whether a change was left unfinished, or a learner has caught up.
const FINISH: Duration = Duration::from_millis(250);
/// How long it then waits for what it began.
const FINISH_WITHIN: Duration = Duration::from_secs(10);
/// How long a new member may take to say who it is.
const IDENTIFY: Duration = Duration::from_secs(3);
/// How often a change that finds another under way looks whether that is done.
const NEXT_TURN: Duration = Duration::from_millis(25);

/// What a change did: the index of its entry, and for an addition the member as stored.
pub(super) struct Changed {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) member: Option<Member>,
}

pub(super) fn refused(
    error: &ChangeMembershipError<CommittedLeaderIdOf<TypeConfig>, NodeId>,
) -> Error {
    match error {
        // The leader has just been elected: its first entry is not committed yet.
        ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_) => {
            Error::ChangeInProgress
        }
        ChangeMembershipError::EmptyMembership(_) => Error::LastVoter,
        ChangeMembershipError::LearnerNotFound(missing) => Error::MemberNotFound(missing.node_id),
        other => Error::Invalid(other.to_string()),
    }
}

impl<S: StateMachine> Group<S> {
    /// Adds a node as a learner; it must answer at its peer address and not belong to a cluster.
    /// `member.node_id` 0 takes the id it answers with; what the caller leaves empty is taken from
    /// its answer too. Returns the member as stored.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::IdentityMismatch`], [`Error::DuplicatePeer`],
    /// [`Error::DuplicateMember`], [`Error::Retired`], and those of [`Group::propose`]. Like every change:
    /// [`Error::ChangeInProgress`] when another was not done by the deadline.
    pub async fn add_learner(&self, member: Member, deadline: Instant) -> Result<Member, Error> {
        let change = Change::AddLearner(codec::put_member(&member));
        let changed = self.0.change(change, deadline).await?;
        changed.member.ok_or(Error::Unknown)
    }

    /// Makes a learner a voter.
    ///
    /// # Errors
    /// [`Error::LearnerBehind`] while it lacks more than a tenth of the leader's log,
    /// [`Error::NotLearner`], [`Error::MemberNotFound`], and those of [`Group::propose`].
    pub async fn promote(&self, node_id: NodeId, deadline: Instant) -> Result<(), Error> {
        self.0
            .change(Change::Promote(node_id), deadline)
            .await
            .map(drop)
    }

    /// Removes a member, dead or alive. Removing the leader makes it step down afterwards.
    ///
    /// # Errors
    /// [`Error::LastVoter`], [`Error::MemberNotFound`], and those of [`Group::propose`].
    pub async fn remove(&self, node_id: NodeId, deadline: Instant) -> Result<(), Error> {
        self.0
            .change(Change::Remove(node_id), deadline)
            .await
            .map(drop)
    }

    /// Changes a member's name and addresses. At a new peer address the member must answer.
    ///
    /// # Errors
    /// Those of [`Group::add_learner`], and [`Error::MemberNotFound`].
    pub async fn update(&self, member: Member, deadline: Instant) -> Result<(), Error> {
        let change = Change::Update(codec::put_member(&member));
        self.0.change(change, deadline).await.map(drop)
    }

    /// Hands leadership to a voter and returns when it leads.
    ///
    /// # Errors
    /// [`Error::MemberNotFound`], [`Error::Invalid`] for a learner, [`Error::Timeout`] when it does
    /// not lead by the deadline.
    pub async fn transfer_leadership(&self, to: NodeId, deadline: Instant) -> Result<(), Error> {
        self.0
            .change(Change::TransferLeadership(to), deadline)
            .await?;
        let mut metrics = self.0.raft.metrics();
        loop {
            if metrics.borrow_and_update().current_leader == Some(to) {
                return Ok(());
            }
            match tokio::time::timeout_at(deadline, metrics.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Error::Stopped),
                Err(_) => return Err(Error::Timeout),
            }
        }
    }
}

impl<S: StateMachine> Shared<S> {
    async fn change(&self, change: Change, deadline: Instant) -> Result<Changed, Error> {
        let mut search = self.search(deadline);
        let changed = loop {
            let leader = search.leader().await?;
            let attempt = if leader == self.config.node_id {
                self.change_here(change.clone(), deadline).await
            } else {
                self.change_there(leader, change.clone(), deadline).await
            };
            if let Some(changed) = search.settle(attempt).await? {
                break changed;
            }
        };
        self.wait_applied(changed.index, deadline).await;
        Ok(changed)
    }

    async fn change_there(
        &self,
        leader: NodeId,
        change: Change,
        deadline: Instant,
    ) -> Attempt<Changed> {
        use pb::change_members_reply::Outcome;
        let nobody = || Refusal::NotLeader(None);
        let mut client = self.client(leader).ok_or_else(nobody)?;
        let message = pb::ChangeMembersRequest {
            timeout_ms: timeout_ms(deadline),
            change: Some(change),
        };
        let message = self.caller.request(message, leader).map_err(|_| nobody())?;
        match with_deadline(deadline, client.change_members(message)).await {
            Ok(reply) => match reply.into_inner().outcome {
                Some(Outcome::Done(done)) => {
                    let log_id = done.log_id.unwrap_or_default();
                    Ok(Changed {
                        index: log_id.index,
                        term: log_id.term,
                        member: done.member.map(|member| codec::get_member(member, true)),
                    })
                }
                Some(Outcome::Failure(failure)) => Err(get_refusal(failure)),
                None => Err(Error::Unknown.into()),
            },
            Err(status) if not_sent(&status) => {
                self.caller.note(leader, &status);
                Err(nobody())
            }
            Err(_) => Err(Error::Unknown.into()),
        }
    }

    /// One change at this node, if it leads. Where another is under way (a learner that has caught up becomes a voter
    /// without anybody asking), it is this one's turn after that.
    pub(super) async fn change_here(&self, change: Change, deadline: Instant) -> Attempt<Changed> {
        loop {
            let attempt = self.try_change(change.clone(), deadline).await;
            let next_turn = Instant::now() + NEXT_TURN;
            match attempt {
                // Certainly nothing was done.
                Err(Refusal::Failed(Error::ChangeInProgress)) if next_turn < deadline => {
                    tokio::time::sleep_until(next_turn).await;
                }
                attempt => return attempt,
            }
        }
    }

    async fn try_change(&self, change: Change, deadline: Instant) -> Attempt<Changed> {
        if !self.leads() {
            return Err(Refusal::NotLeader(self.leader()));
        }
        if let Change::TransferLeadership(to) = change {
            return self.transfer_here(to, deadline).await;
        }
        let one = self
            .changing
            .clone()
            .try_lock_owned()
            .map_err(|_| Error::ChangeInProgress)?;
        match change {
            Change::AddLearner(member) => {
                self.add_here(codec::get_member(member, true), one, deadline)
                    .await
            }
            Change::Promote(node_id) => {
                self.check_caught_up(node_id)?;
                self.check_answering_with(node_id)?;
                let voter = ChangeMembers::AddVoterIds(BTreeSet::from([node_id]));
                self.commit(voter, one, deadline).await
            }
            Change::Remove(node_id) => self.remove_here(node_id, one, deadline).await,
            Change::Update(member) => {
                self.update_here(codec::get_member(member, false), one, deadline)
                    .await
            }
            Change::TransferLeadership(_) => Err(Error::Invalid("handled above".to_owned()).into()),
        }
    }

    fn membership(&self) -> Membership {
        self.raft
            .metrics()
            .borrow_watched()
            .membership_config
            .membership()
            .clone()
    }

    /// openraft makes a change of voters in two steps, driven by one future: dropped between them, two
    /// configurations would stay in force. So the change runs in a task, which holds the right to make one, and only
    /// the waiting ends at the deadline.
    async fn commit(
        &self,
        change: ChangeMembers<NodeId, Node>,
        one: OwnedMutexGuard<()>,
        deadline: Instant,
    ) -> Attempt<Changed> {
        let raft = self.raft.clone();
        let made = tokio::spawn(async move {
            let made = raft.change_membership(change, false).await;
            drop(one);
            made
        });
        match tokio::time::timeout_at(deadline, made).await {
            Ok(Ok(Ok(done))) => Ok(Changed {
                index: done.log_id.index,
                term: done.log_id.leader_id.term,
                member: None,
            }),
            Ok(Ok(Err(RaftError::APIError(error)))) => Err(super::refused(error)),
            Ok(Ok(Err(RaftError::Fatal(_))) | Err(_)) | Err(_) => Err(Error::Unknown.into()),
        }
    }

    /// Takes the next step of a change whose leader or caller did not live to take it, and makes learners that are
    /// to vote voters once they have caught up. Runs as long as the group.
    pub(super) async fn finish_changes(self: Arc<Self>) {
        loop {
            tokio::time::sleep(FINISH).await;
            if !self.leads() {
                continue;
            }
            // Somebody else's change is under way.
            let Ok(one) = self.changing.clone().try_lock_owned() else {
                continue;
            };
            let membership = self.membership();
            let voters = if membership.get_joint_config().len() > 1 {
                // Adding nobody leads from both configurations to the newer one.
                BTreeSet::new()
            } else if let Some(learner) = self.caught_up(&membership) {
                BTreeSet::from([learner])
            } else {
                continue;
            };
            let deadline = Instant::now() + FINISH_WITHIN;
            let change = ChangeMembers::AddVoterIds(voters.clone());
            match self.commit(change, one, deadline).await {
                Ok(done) => {
                    tracing::info!(index = done.index, promoted = ?voters, "membership change done");
                }
                Err(_) => tracing::debug!("a membership change is not done yet"),
            }
        }
    }

    /// A learner that is to vote and can.
    fn caught_up(&self, membership: &Membership) -> Option<NodeId> {
        let voters: BTreeSet<_> = membership.voter_ids().collect();
        membership
            .nodes()
            .filter(|(id, node)| node.promote && !voters.contains(id))
            .map(|(id, _)| *id)
            .find(|id| self.check_caught_up(*id).is_ok() && self.check_answering_with(*id).is_ok())
    }

    async fn remove_here(
        &self,
        node_id: NodeId,
        one: OwnedMutexGuard<()>,
        deadline: Instant,
    ) -> Attempt<Changed> {
        let membership = self.membership();
        if membership.get_node(&node_id).is_none() {
            return Err(Error::MemberNotFound(node_id).into());
        }
        let ids = BTreeSet::from([node_id]);
        let removal = if membership.voter_ids().any(|id| id == node_id) {
            let stay: BTreeSet<_> = membership.voter_ids().filter(|id| *id != node_id).collect();
            if stay.is_empty() {
                return Err(Error::LastVoter.into());
            }
            self.check_answering(&stay)?;
            ChangeMembers::RemoveVoters(ids)
        } else {
            ChangeMembers::RemoveNodes(ids)
        };
        let mut retired = codec::retired(&membership);
        retired.insert(node_id);
        let retired = Arc::new(retired);
        let stay = membership.nodes().filter(|(id, _)| **id != node_id);
        let stay = stay.map(|(id, node)| {
            let retired = Arc::clone(&retired);
            (
                *id,
                Node {
                    retired,
                    ..node.clone()
                },
            )
        });
        let remember = ChangeMembers::SetNodes(stay.collect());
        self.commit(ChangeMembers::Batch(vec![removal, remember]), one, deadline)
            .await
    }

    /// The ids that are never taken again, for a node's record.
    pub(super) fn retired_ids(&self) -> Arc<BTreeSet<NodeId>> {
        Arc::new(codec::retired(&self.membership()))
    }

    /// Which voter is to lead when this node, which leads, goes away: of those that answered within the shortest
    /// election timeout the one whose log reaches farthest.
    pub(super) fn successor(&self) -> Option<NodeId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let (heard, held) = (metrics.heartbeat.as_ref()?, metrics.replication.as_ref()?);
        let membership = metrics.membership_config.membership();
        let others = membership
            .voter_ids()
            .filter(|id| *id != self.config.node_id);
        let answering = others.filter(|id| {
            let at = heard.get(id).copied().flatten();
            at.is_some_and(|at| at.elapsed() < self.config.election_min)
        });
        answering.max_by_key(|id| held.get(id).copied().flatten().map(|id| id.index))
    }

    /// The same for the present voters and one more.
    fn check_answering_with(&self, node_id: NodeId) -> Attempt<()> {
        let mut voters: BTreeSet<_> = self.membership().voter_ids().collect();
        voters.insert(node_id);
        self.check_answering(&voters)
    }

    /// Whether a majority of `voters` answered lately, so that making them the voters costs no quorum. etcd's
    /// strict check of a reconfiguration.
    fn check_answering(&self, voters: &BTreeSet<NodeId>) -> Attempt<()> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let lately = self.config.election_max * 2;
        let answered = |id: &NodeId| {
            *id == self.config.node_id
                || metrics
                    .heartbeat
                    .as_ref()
                    .and_then(|heard| heard.get(id).copied().flatten())
                    .is_some_and(|at| at.elapsed() < lately)
        };
        if voters.iter().filter(|id| answered(id)).count() > voters.len() / 2 {
            Ok(())
        } else {
            Err(Error::Unhealthy.into())
        }
    }

    async fn add_here(
        &self,
        mut member: Member,
        one: OwnedMutexGuard<()>,
        deadline: Instant,
    ) -> Attempt<Changed> {
        if member.peer_address.is_empty() {
            return Err(Error::Invalid("a member needs a peer address".to_owned()).into());
        }
        self.check_address(&member)?;
        let asked_by = deadline.min(Instant::now() + IDENTIFY);
        let found = identify_over(
            self.transport.connections(),
            &self.config.group,
            &member.peer_address,
            asked_by,
        )
        .await?;
        let found_id = found.member.node_id;
        if member.node_id != 0 && member.node_id != found_id {
            return Err(Error::IdentityMismatch {
                address: member.peer_address,
                expected: member.node_id,
                found: found_id,
            }
            .into());
        }
        member.node_id = found_id;
        if self.membership().get_node(&found_id).is_some() {
            return Err(Error::DuplicateMember(found_id).into());
        }
        let retired = self.retired_ids();
        if retired.contains(&found_id) {
            return Err(Error::Retired(found_id).into());
        }
        if found.joined {
            // Its log belongs to another history; taking it in could count votes that were given there.
            let text = format!(
                "node {found_id} at {} belongs to a cluster already; it must start with an empty data directory and a new id",
                member.peer_address
            );
            return Err(Error::Invalid(text).into());
        }
        if member.name.is_empty() {
            member.name = found.member.name;
        }
        if member.client_addresses.is_empty() {
            member.client_addresses = found.member.client_addresses;
        }
        let nodes = BTreeMap::from([(found_id, member.node(&retired))]);
        let mut changed = self
            .commit(ChangeMembers::AddNodes(nodes), one, deadline)
            .await?;
        changed.member = Some(member);
        Ok(changed)
    }

    /// No other member has this peer address.
    fn check_address(&self, member: &Member) -> Attempt<()> {
        let membership = self.membership();
        let taken = membership
            .nodes()
            .any(|(id, node)| *id != member.node_id && node.peer_address == member.peer_address);
        if taken {
            Err(Error::DuplicatePeer(member.peer_address.clone()).into())
        } else {
            Ok(())
        }
    }

    async fn update_here(
        &self,
        mut member: Member,
        one: OwnedMutexGuard<()>,
        deadline: Instant,
    ) -> Attempt<Changed> {
        let node_id = member.node_id;
        let known = self
            .membership()
            .get_node(&node_id)
            .cloned()
            .ok_or(Error::MemberNotFound(node_id))?;
        self.check_address(&member)?;
        if member.peer_address != known.peer_address {
            // A wrong address would take a member's place with another node.
            let asked_by = deadline.min(Instant::now() + IDENTIFY);
            let found = identify_over(
                self.transport.connections(),
                &self.config.group,
                &member.peer_address,
                asked_by,
            )
            .await?;
            if found.member.node_id != node_id {
                return Err(Error::IdentityMismatch {
                    address: member.peer_address,
                    expected: node_id,
                    found: found.member.node_id,
                }
                .into());
            }
        }
        member.promote = known.promote;
        let node = member.node(&self.retired_ids());
        let nodes = BTreeMap::from([(node_id, node)]);
        self.commit(ChangeMembers::SetNodes(nodes), one, deadline)
            .await
    }

    /// Whether the learner's log reaches far enough that the group stays able to commit with it.
    fn check_caught_up(&self, node_id: NodeId) -> Attempt<()> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        if membership.get_node(&node_id).is_none() {
            return Err(Error::MemberNotFound(node_id).into());
        }
        if membership.voter_ids().any(|id| id == node_id) {
            return Err(Error::NotLearner(node_id).into());
        }
        let matched = metrics
            .replication
            .as_ref()
            .and_then(|all| all.get(&node_id))
            .copied()
            .flatten()
            .map_or(0, |id| id.index);
        let last = metrics.last_log_index.unwrap_or_default();
        if matched.saturating_mul(100) < last.saturating_mul(CAUGHT_UP) {
            return Err(Error::LearnerBehind {
                node_id,
                matched,
                last,
            }
            .into());
        }
        Ok(())
    }

    /// Asks the voter to take over, again every election timeout, until another leads.
    async fn transfer_here(&self, to: NodeId, deadline: Instant) -> Attempt<Changed> {
        let membership = self.membership();
        if membership.get_node(&to).is_none() {
            return Err(Error::MemberNotFound(to).into());
        }
        if !membership.voter_ids().any(|id| id == to) {
            return Err(Error::Invalid(format!("member {to} is a learner and cannot lead")).into());
        }
        let mut metrics = self.raft.metrics();
        let done = |term| Changed {
            index: 0,
            term,
            member: None,
        };
        let term = metrics.borrow_watched().current_term;
        if to == self.config.node_id {
            return Ok(done(term));
        }
        while Instant::now() < deadline {
            self.raft
                .trigger()
                .transfer_leader(to)
                .await
                .map_err(|_| Error::Stopped)?;
            let again = deadline.min(Instant::now() + self.config.election_max);
            loop {
                let leader = metrics.borrow_and_update().current_leader;
                if leader.is_some_and(|leader| leader != self.config.node_id) {
                    return Ok(done(term));
                }
                match tokio::time::timeout_at(again, metrics.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(Error::Stopped.into()),
                    Err(_) => break,
                }
            }
        }
        Err(Error::Timeout.into())
    }
}

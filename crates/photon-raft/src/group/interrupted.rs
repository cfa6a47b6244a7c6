//! Membership changes that meet another, and leaders that die between the two steps of one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{ChangeMembers, async_runtime::watch::WatchReceiver as _};
use tokio::time::Instant;

use super::Group;
use crate::{
    Error, Member, NodeId,
    cluster::{Cluster, soon, until},
    member::Node,
    records::Records,
};

/// Whether the node knows two sets of voters to be committed.
fn is_joint(group: &Group<Records>) -> bool {
    let metrics = group.0.raft.metrics();
    let metrics = metrics.borrow_watched();
    let membership = metrics.committed_membership_config.membership();
    membership.get_joint_config().len() == 2
}

fn voters(group: &Group<Records>) -> Vec<NodeId> {
    let members = group.status().members.into_iter();
    let voters = members.filter(|member| !member.learner);
    voters.map(|member| member.node_id).collect()
}

/// Three voters and node 4 as a learner that has caught up.
async fn three_and_a_learner() -> Cluster {
    let mut cluster = Cluster::three(|_| {}).await;
    let member = cluster.add(4).await.member();
    let leader = cluster.leader().await;
    leader.propose("first").await.unwrap();
    leader.group.add_learner(member, soon()).await.unwrap();
    until("the learner has caught up", || {
        cluster.node(4).records.commands() == ["first"]
    })
    .await;
    cluster
}

/// The members agree on one set of voters, writes go on, and who was away takes part again.
async fn whole(cluster: &mut Cluster, expected: &[NodeId]) {
    cluster.leader().await.propose("last").await.unwrap();
    for node in cluster.nodes.values() {
        until("one set of voters", || {
            let status = node.group.status();
            !status.changing && voters(&node.group) == expected
        })
        .await;
    }
    assert_eq!(cluster.agreed().await, ["first", "last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_step_that_was_committed_is_followed_by_the_second() {
    let mut cluster = three_and_a_learner().await;
    let old = cluster.leader().await.id;
    let leader = cluster.node(old).group.clone();
    // Its own look for unfinished changes stays out of it.
    let held = leader.0.changing.clone().lock_owned().await;
    let change = ChangeMembers::AddVoterIds(BTreeSet::from([4]));
    let mut change = Box::pin(leader.0.raft.change_membership(change, false));
    // The first poll asks for the first step; the second step would be asked for by a later one.
    assert!(futures::poll!(change.as_mut()).is_pending());
    for node in cluster.nodes.values() {
        until("the first step is committed", || is_joint(&node.group)).await;
        assert!(node.group.status().changing);
    }
    drop(change);
    let killed = cluster.kill(old).await;
    drop((held, leader));

    let next = cluster.leader().await.group.clone();
    until("the second step is made", || !next.status().changing).await;
    cluster.revive(old, killed).await;
    whole(&mut cluster, &[1, 2, 3, 4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_step_that_nobody_else_has_is_undone() {
    let mut cluster = three_and_a_learner().await;
    let old = cluster.leader().await.id;
    let leader = cluster.node(old).group.clone();
    let held = leader.0.changing.clone().lock_owned().await;
    let mut killed = Vec::new();
    for id in [1, 2, 3, 4].into_iter().filter(|id| *id != old) {
        killed.push((id, cluster.kill(id).await));
    }
    let change = ChangeMembers::AddVoterIds(BTreeSet::from([4]));
    let mut change = Box::pin(leader.0.raft.change_membership(change, false));
    assert!(futures::poll!(change.as_mut()).is_pending());
    until("the first step is in its log", || leader.status().changing).await;
    assert!(!is_joint(&leader));
    drop(change);
    let alone = cluster.kill(old).await;
    drop((held, leader));

    for (id, files) in killed {
        cluster.revive(id, files).await;
    }
    let next = cluster.leader().await;
    assert!(!next.group.status().changing);
    cluster.revive(old, alone).await;
    whole(&mut cluster, &[1, 2, 3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_waits_for_the_one_under_way() {
    let mut cluster = three_and_a_learner().await;
    let member = cluster.add(5).await.member();
    let leader = cluster.leader().await.group.clone();
    let follower = cluster.follower_of(4).await.group.clone();
    // As while a learner becomes a voter.
    let held = leader.0.changing.clone().lock_owned().await;
    let short = Instant::now() + Duration::from_millis(200);
    assert_eq!(
        leader.add_learner(member.clone(), short).await.unwrap_err(),
        Error::ChangeInProgress
    );
    let adding = tokio::spawn(async move { follower.add_learner(member, soon()).await });
    let promoting = tokio::spawn({
        let leader = leader.clone();
        async move { leader.promote(4, soon()).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!adding.is_finished() && !promoting.is_finished());
    drop(held);
    assert_eq!(adding.await.unwrap().unwrap().node_id, 5);
    promoting.await.unwrap().unwrap();
    assert_eq!(voters(&leader), [1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_is_to_vote_does_whoever_leads_by_then() {
    let mut cluster = three_and_a_learner().await;
    let member = cluster.add(5).await.member();
    let old = cluster.leader().await.id;
    let leader = cluster.node(old).group.clone();
    let held = leader.0.changing.clone().lock_owned().await;
    // As `add_learner` does, which would let the leader promote it at once.
    let node: Node = Member {
        promote: true,
        ..member
    }
    .node(&leader.0.retired_ids());
    let add = ChangeMembers::AddNodes(BTreeMap::from([(5, node)]));
    leader.0.raft.change_membership(add, false).await.unwrap();
    let others = cluster
        .nodes
        .values()
        .filter(|node| node.id != old && node.id < 4);
    for node in others {
        until("the learner is known", || {
            node.group.status().members.len() == 5
        })
        .await;
    }
    assert_eq!(voters(&leader), [1, 2, 3]);
    let killed = cluster.kill(old).await;
    drop((held, leader));

    let next = cluster.leader().await.group.clone();
    until("the learner votes", || voters(&next) == [1, 2, 3, 5]).await;
    cluster.revive(old, killed).await;
    whole(&mut cluster, &[1, 2, 3, 5]).await;
}

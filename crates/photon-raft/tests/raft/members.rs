//! Adding, promoting, removing, moving leadership.

use photon_raft::{Error, Member, Role};

use crate::cluster::{Cluster, listen, soon, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_receives_is_promoted_and_removed() {
    let mut cluster = Cluster::three(|_| {}).await;
    cluster.leader().await.propose("before").await.unwrap();
    let member = cluster.add(4).await.member();
    assert!(!cluster.node(4).group.status().joined);

    // Through a follower: it is forwarded.
    let stored = cluster
        .follower()
        .await
        .group
        .add_learner(member.clone(), soon())
        .await
        .unwrap();
    assert_eq!(stored.node_id, 4);
    assert_eq!(stored.name, "node-4");
    assert!(stored.learner);
    until("the learner has the log", || {
        cluster.node(4).records.commands() == ["before"]
    })
    .await;
    let status = cluster.node(4).group.status();
    assert!(status.joined && status.is_learner && status.role == Role::Learner);

    let again = cluster
        .leader()
        .await
        .group
        .add_learner(member.clone(), soon())
        .await
        .unwrap_err();
    assert!(
        matches!(again, Error::DuplicatePeer(_) | Error::DuplicateMember(4)),
        "{again}"
    );
    let other_id = Member {
        node_id: 9,
        ..member
    };
    assert!(matches!(
        cluster
            .leader()
            .await
            .group
            .add_learner(other_id, soon())
            .await
            .unwrap_err(),
        Error::DuplicatePeer(_)
    ));

    cluster.promote(4).await;
    until("the new voter knows", || {
        !cluster.node(4).group.status().is_learner
    })
    .await;
    assert_eq!(
        cluster
            .leader()
            .await
            .group
            .promote(4, soon())
            .await
            .unwrap_err(),
        Error::NotLearner(4)
    );
    assert_eq!(
        cluster
            .leader()
            .await
            .group
            .promote(77, soon())
            .await
            .unwrap_err(),
        Error::MemberNotFound(77)
    );

    cluster
        .leader()
        .await
        .group
        .remove(4, soon())
        .await
        .unwrap();
    assert_eq!(cluster.leader().await.group.status().members.len(), 3);
    assert_eq!(
        cluster
            .leader()
            .await
            .group
            .remove(4, soon())
            .await
            .unwrap_err(),
        Error::MemberNotFound(4)
    );
    cluster.kill(4).await;
    cluster.leader().await.propose("after").await.unwrap();
    assert_eq!(cluster.agreed().await, ["before", "after"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_added_is_asked_first() {
    let mut cluster = Cluster::one(|_| {}).await;
    let member = cluster.add(2).await.member();
    let leader = cluster.node(1).group.clone();
    let wrong = Member {
        node_id: 5,
        ..member.clone()
    };
    assert!(matches!(
        leader.add_learner(wrong, soon()).await.unwrap_err(),
        Error::IdentityMismatch {
            expected: 5,
            found: 2,
            ..
        }
    ));
    // Nobody listens there once the listener is dropped.
    let nobody = listen("127.0.0.1:0")
        .await
        .local_addr()
        .unwrap()
        .to_string();
    let absent = Member {
        peer_address: nobody,
        ..Member::default()
    };
    assert!(matches!(
        leader.add_learner(absent, soon()).await.unwrap_err(),
        Error::Unreachable { .. }
    ));
    // A node with a history of its own.
    cluster.node(2).group.bootstrap().await.unwrap();
    until("it has one", || cluster.node(2).group.status().joined).await;
    assert!(matches!(
        leader.add_learner(member, soon()).await.unwrap_err(),
        Error::Invalid(_)
    ));
    assert_eq!(leader.status().members.len(), 1);
    assert_eq!(
        leader.remove(1, soon()).await.unwrap_err(),
        Error::LastVoter
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_member_can_be_removed_and_replaced() {
    let mut cluster = Cluster::three(|_| {}).await;
    let dead = cluster.follower().await.id;
    cluster.kill(dead).await;
    cluster
        .leader()
        .await
        .group
        .remove(dead, soon())
        .await
        .unwrap();
    cluster.join(4).await;
    cluster.leader().await.propose("x").await.unwrap();
    assert_eq!(cluster.agreed().await, ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_is_behind_is_not_promoted() {
    let mut cluster = Cluster::one(|_| {}).await;
    for n in 0..50 {
        cluster.node(1).propose(format!("c{n}")).await.unwrap();
    }
    let member = cluster.add(2).await.member();
    let leader = cluster.node(1).group.clone();
    leader.add_learner(member, soon()).await.unwrap();
    until("it has caught up", || {
        cluster.node(2).records.commands().len() == 50
    })
    .await;
    cluster.kill(2).await;
    for n in 50..200 {
        cluster.node(1).propose(format!("c{n}")).await.unwrap();
    }
    assert!(matches!(
        leader.promote(2, soon()).await.unwrap_err(),
        Error::LearnerBehind { node_id: 2, .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_where_it_is_asked_to() {
    let cluster = Cluster::three(|_| {}).await;
    for to in [2, 3, 1] {
        // Asked of any member.
        cluster
            .node(1)
            .group
            .transfer_leadership(to, soon())
            .await
            .unwrap();
        until("it leads", || {
            cluster.node(to).group.status().role == Role::Leader
        })
        .await;
        cluster.node(to).propose(format!("by {to}")).await.unwrap();
    }
    assert_eq!(cluster.agreed().await.len(), 3);
    assert_eq!(
        cluster
            .node(1)
            .group
            .transfer_leadership(9, soon())
            .await
            .unwrap_err(),
        Error::MemberNotFound(9)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_leader_steps_down() {
    let mut cluster = Cluster::three(|_| {}).await;
    let old = cluster.leader().await.id;
    cluster.node(old).group.remove(old, soon()).await.unwrap();
    until("it no longer leads", || {
        cluster.node(old).group.status().role != Role::Leader
    })
    .await;
    cluster.kill(old).await;
    let leader = cluster.leader().await;
    assert_ne!(leader.id, old);
    assert_eq!(leader.group.status().members.len(), 2);
    leader.propose("x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_addresses_change() {
    let mut cluster = Cluster::three(|_| {}).await;
    let id = cluster.follower().await.id;
    let mut member = cluster
        .leader()
        .await
        .group
        .status()
        .members
        .into_iter()
        .find(|member| member.node_id == id)
        .unwrap();
    member.name = "other".to_owned();
    member.client_addresses = vec!["http://elsewhere".to_owned()];
    cluster
        .leader()
        .await
        .group
        .update(member.clone(), soon())
        .await
        .unwrap();
    let shown = cluster
        .leader()
        .await
        .group
        .status()
        .members
        .into_iter()
        .find(|member| member.node_id == id)
        .unwrap();
    assert_eq!(shown, member);

    // It comes back at another address.
    let (dir, _) = cluster.kill(id).await;
    let elsewhere = listen("127.0.0.1:0").await.local_addr().unwrap();
    cluster.revive(id, (dir, elsewhere)).await;
    let wrong = Member {
        peer_address: cluster.leader().await.address.to_string(),
        ..member.clone()
    };
    assert!(matches!(
        cluster
            .leader()
            .await
            .group
            .update(wrong, soon())
            .await
            .unwrap_err(),
        Error::DuplicatePeer(_)
    ));
    let moved = Member {
        peer_address: elsewhere.to_string(),
        ..member
    };
    cluster
        .leader()
        .await
        .group
        .update(moved, soon())
        .await
        .unwrap();
    cluster.leader().await.propose("there").await.unwrap();
    assert_eq!(cluster.agreed().await, ["there"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_id_is_never_taken_again() {
    // So that node 4 gets a snapshot, and no log says who was a member once.
    let mut cluster = Cluster::three(|config| {
        config.snapshot_every = 20;
        config.keep_entries = 1;
    })
    .await;
    let (dir, _) = cluster.kill(3).await;
    let leader = cluster.leader().await.group.clone();
    leader.remove(3, soon()).await.unwrap();
    for n in 0..100 {
        cluster
            .leader()
            .await
            .propose(format!("c{n}"))
            .await
            .unwrap();
    }
    cluster.join(4).await;
    let leader = cluster.leader().await.id;
    for id in [1, 2].into_iter().filter(|id| *id != leader) {
        cluster
            .leader()
            .await
            .group
            .remove(id, soon())
            .await
            .unwrap();
        cluster.kill(id).await;
    }
    // Whoever leads knows, also when all that is left is what node 4 was sent.
    let leader = cluster.node(4).group.clone();
    leader.transfer_leadership(4, soon()).await.unwrap();
    let (files, address) = cluster.kill(4).await;
    cluster.revive(4, (files, address)).await;
    cluster
        .node(4)
        .group
        .transfer_leadership(4, soon())
        .await
        .unwrap();

    std::fs::remove_dir_all(&dir).unwrap();
    let again = cluster.add(3).await.member();
    let refused = cluster
        .leader()
        .await
        .group
        .add_learner(again, soon())
        .await;
    assert_eq!(refused.unwrap_err(), Error::Retired(3));
    // Also through a member that does not lead, and before the address is asked for more.
    let named = Member {
        node_id: 3,
        ..cluster.node(3).member()
    };
    let refused = cluster
        .follower_of(3)
        .await
        .group
        .add_learner(named, soon())
        .await;
    assert_eq!(refused.unwrap_err(), Error::Retired(3));
    cluster.kill(3).await;
    cluster.join(5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_member_says_so() {
    let mut cluster = Cluster::three(|_| {}).await;
    let learner = cluster.add(4).await.member();
    cluster
        .leader()
        .await
        .group
        .add_learner(learner, soon())
        .await
        .unwrap();
    until("the learner knows", || {
        cluster.node(4).group.status().joined
    })
    .await;
    let removed = cluster.follower_of(4).await.id;
    let leader = cluster.leader().await.group.clone();
    leader.remove(4, soon()).await.unwrap();
    leader.remove(removed, soon()).await.unwrap();
    for id in [4, removed] {
        let group = cluster.node(id).group.clone();
        // Whoever serves clients asks now and then whether there is a leader.
        let asking = tokio::spawn({
            let group = group.clone();
            async move {
                loop {
                    drop(group.read_index(soon()).await);
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
        });
        until("it says that it was removed", || {
            let status = group.status();
            status.role == Role::Removed && !status.joined
        })
        .await;
        asking.abort();
    }
    // One that was away when it happened learns it when it is back.
    let leader = cluster.leader().await.id;
    let away = [1, 2, 3]
        .into_iter()
        .find(|id| ![removed, leader].contains(id))
        .unwrap();
    cluster.join(5).await;
    let killed = cluster.kill(away).await;
    cluster
        .leader()
        .await
        .group
        .remove(away, soon())
        .await
        .unwrap();
    cluster.revive(away, killed).await;
    until("it learns that it was removed", || {
        cluster.node(away).group.status().role == Role::Removed
    })
    .await;
    cluster.leader().await.propose("x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_successor_is_one_that_answers() {
    let mut cluster = Cluster::three(|_| {}).await;
    let leader = cluster.leader().await;
    until("both answer", || leader.group.successor().is_some()).await;
    assert!(leader.group.leads_with_quorum());
    let leader = leader.id;
    let follower = cluster.follower().await;
    assert_eq!(follower.group.successor(), None);
    assert!(!follower.group.leads_with_quorum());
    let dead = follower.id;
    cluster.kill(dead).await;
    let left = [1, 2, 3]
        .into_iter()
        .find(|id| ![dead, leader].contains(id));
    let group = cluster.node(leader).group.clone();
    for _ in 0..20 {
        group.propose("x".into(), soon()).await.unwrap();
    }
    until("only one is asked", || group.successor() == left).await;
    cluster.kill(left.unwrap()).await;
    until("it no longer claims to lead", || !group.leads_with_quorum()).await;
    assert_eq!(group.successor(), None);
}
